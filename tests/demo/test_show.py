from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

import manifold
from manifold import events
from manifold.demo.follow import PlainProgress
from manifold.demo.run import main
from manifold.demo.screen import Screen
from manifold.demo.show import show_account, show_answer
from manifold.ledger import Ledger


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(said: io.StringIO) -> Screen:
    """A screen that is not a terminal, 80 columns wide."""
    return Screen(Console(file=said, width=80, highlight=False))


def test_what_is_waited_for_is_one_line_each_where_there_is_no_terminal(screen: Screen, said: io.StringIO) -> None:
    for text in ("waiting for a", "waiting for a", "waiting for b"):
        screen.waiting(text)
    screen.done()
    assert said.getvalue().splitlines() == ["waiting for a", "waiting for b"]


def test_a_long_line_is_not_cut(screen: Screen, said: io.StringIO) -> None:
    screen.say("x" * 200)
    assert said.getvalue().splitlines() == ["x" * 200]


def test_progress_without_a_terminal_tells_items_rate_time_left_and_failures(screen: Screen, said: io.StringIO) -> None:
    monitor = PlainProgress(screen, seconds=0)
    monitor.emit(events.ScatterStarted("u", 1, name="f", engine="e", why="", total=None))
    monitor.emit(events.Progress("u", 1, None, 1000, 0, 0, in_flight=0, slots=0))
    monitor.emit(events.Progress("u", 1, 4000, 1900, 90, 10, in_flight=0, slots=0))
    first, second = said.getvalue().splitlines()
    assert first.startswith("1,000 items, ")
    assert second.startswith("2,000 of 4,000 items, ")
    assert " s left, " in second
    assert second.endswith("90 failed")


def test_the_answer_is_shown_whole_on_a_narrow_screen(tmp_path: Path, screen: Screen, said: io.StringIO) -> None:
    answer = tmp_path / "answer.csv"
    answer.write_text(
        "origin,carrier,flights,cancelled,diverted,ground_minutes,air_minutes,bad_weather_minutes\n"
        "EWR,B6,43939,2164,218,833198,-125789,153747\n"
    )
    assert show_answer(answer, screen)
    shown = said.getvalue()
    for cell in ("EWR", "B6", "43,939", "-125,789", "153,747", "cancelled", "weather"):
        assert cell in shown.split(), cell


@pytest.mark.parametrize("text", [None, "origin,carrier,flights\n"])
def test_no_answer_is_no_success(tmp_path: Path, screen: Screen, text: str | None) -> None:
    answer = tmp_path / "answer.csv"
    if text is not None:
        answer.write_text(text)
    assert not show_answer(answer, screen)


def tens_fail(number: int) -> int:
    if number % 10 == 0:
        raise ValueError("a ten")
    if number % 10 == 1:
        raise manifold.SkipItem("a one")
    return number


def test_the_account_tells_what_became_of_every_item(
    tmp_path: Path, sqlite_ledger: Ledger, screen: Screen, said: io.StringIO
) -> None:
    results = manifold.scatter(
        tens_fail, range(1000), engine="threads://2", ledger=sqlite_ledger, store=f"file://{tmp_path}", tolerate="10%"
    )
    assert show_account(sqlite_ledger, sqlite_ledger.scatter(results.uid), screen)
    account = "800 succeeded, 100 failed, 100 skipped, 0 without outcome; of 1,000 items"
    assert account in said.getvalue()


def test_the_account_of_a_scatter_that_broke_off_does_not_close(
    tmp_path: Path, sqlite_ledger: Ledger, screen: Screen, said: io.StringIO
) -> None:
    with pytest.raises(manifold.ManifoldError):
        manifold.scatter(
            tens_fail,
            range(1000),
            engine="threads://1",
            chunk_size=10,
            ledger=sqlite_ledger,
            store=f"file://{tmp_path}",
        )
    (row,) = sqlite_ledger.scatters()
    assert not show_account(sqlite_ledger, row, screen)
    assert "without outcome; of 1,000 items" in said.getvalue()


def test_the_account_of_an_input_that_was_not_read_to_its_end_does_not_close(
    tmp_path: Path, sqlite_ledger: Ledger, screen: Screen, said: io.StringIO
) -> None:
    endless = (number for number in range(10, 10_000_000, 10))
    with pytest.raises(manifold.ManifoldError):
        manifold.scatter(tens_fail, endless, engine="threads://1", ledger=sqlite_ledger, store=f"file://{tmp_path}")
    (row,) = sqlite_ledger.scatters()
    assert not show_account(sqlite_ledger, row, screen)
    assert "the input was not read to its end" in said.getvalue()


def test_a_run_without_a_scatter_has_no_account(sqlite_ledger: Ledger, screen: Screen) -> None:
    assert not show_account(sqlite_ledger, None, screen)


def test_outside_of_a_checkout_it_says_where_to_run_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(root=tmp_path) == 1
    assert "the demo runs from a checkout of the project, by `make demo`" in capsys.readouterr().out
