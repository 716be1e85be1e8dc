"""What items say, and what they are called, is shown to people and does nothing else."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
from rich.console import Console

from manifold import events, redaction
from manifold.airflow.monitor import TaskLogMonitor
from manifold.cli import out
from manifold.monitors.progress import ProgressMonitor
from manifold.protocol.records import Failure, LogLine
from manifold.text import on_one_line, visible
from manifold.worker import capture, error_report

CLEAR = "\x1b[2J\x1b]0;owned\x07"
ACTING = [CLEAR, "\r", "\x00", "\x7f", "\x9b31m", "\u202e", "\u2028", "\u2066"]


@pytest.mark.parametrize("text", ACTING, ids=ascii)
def test_what_would_act_on_a_terminal_is_written_out(text: str) -> None:
    assert visible(f"a{text}b").isprintable()
    assert ascii(text)[1:3] in visible(text)


def test_other_text_stays_as_it_is() -> None:
    text = "Grüße, 世界 🎉\tx\ny"
    assert visible(text) == text
    assert on_one_line(text) == "Grüße, 世界 🎉\tx\\ny"


@pytest.mark.parametrize("text", ACTING, ids=ascii)
def test_the_command_line_prints_it_so(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = out.table("message")
    table.add_row(f"bad{text}item")
    out.say(f"bad{text}item", table)
    out.note(f"bad{text}item")
    printed = capsys.readouterr()
    assert text not in printed.out + printed.err
    assert printed.out.count(f"bad{visible(text)}item") == 2


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, level: int, text: Any, /, *args: Any) -> None:
        self.lines.append(str(text) % args if args else str(text))


def test_a_failed_item_writes_no_line_of_its_own_into_the_tasks_log() -> None:
    log, forged = Log(), "x\n[2026-11-25] INFO - all is well\x1b[2J"
    failure = Failure(0, "f", "ValueError", forged, key=forged, item_repr=forged)
    chunk = events.ChunkCommitted(
        "u", 1, start=0, stop=1, worker=forged, seconds=1.0, n_failed=1, failures=[failure], kinds={"f": forged},
        lines=[LogLine(0, "info", forged)],
    )  # fmt: skip
    monitor = TaskLogMonitor(log)
    monitor.emit(chunk)
    monitor.emit(events.ChunkLost("u", 1, 0, 1, forged, forged))
    text = "".join(log.lines)
    assert "\x1b" not in text
    assert sum("\n" in line for line in log.lines) == 1, "the traceback alone has several lines"


def test_a_percent_sign_in_a_notice_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    TaskLogMonitor(log).emit(events.Notice("u", 1, "warning", "50 %s of %d"))
    assert log.lines == ["50 %s of %d"]


def test_brackets_in_a_name_or_notice_are_no_markup_of_the_progress_bar() -> None:
    console = Console(file=io.StringIO(), width=200)
    monitor = ProgressMonitor(console)
    monitor.emit(events.ScatterStarted("u", 1, name="[/x] [red]", engine="e", why="", total=1))
    monitor.emit(events.Notice("u", 1, "warning", "[/y] \x1b[2J"))
    monitor.emit(events.Progress("u", 1, 1, 1, 0, 0, in_flight=0, slots=1))
    monitor.close()
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "[/y] \\x1b[2J" in printed
    assert "[/x] [red]" in printed


# Secrets


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MANIFOLD_LEDGER", "postgresql://user:hunter2hunter2@host/db"),
        ("MANIFOLD_STORE", "sql+postgresql://user:hunter2hunter2@host/db"),
        ("AIRFLOW__CELERY__BROKER_URL", "redis://:hunter2hunter2@host:6379/0"),
        ("AIRFLOW__CELERY__RESULT_BACKEND", "db+postgresql://user:hunter2hunter2@host/db"),
        ("SOME_URL", "https://user:hunter2%68unter2@host"),
        ("AIRFLOW_CONN_X", '{"conn_type": "http", "password": "hunter2hunter2"}'),
        ("MANIFOLD_SECRET", "k1:hunter2hunter2"),
        ("SOME_TOKEN", "hunter2hunter2"),
    ],
)
def test_an_item_that_fails_over_a_secret_does_not_tell_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    try:
        raise ConnectionError("no login as user with hunter2hunter2")
    except ConnectionError as exc:
        record, text = error_report.failure(
            exc, pos=0, attempts=1, item="hunter2hunter2", key="hunter2hunter2", digest=None
        )
    for shown in (record.message, record.item_repr, record.key, text, redaction.mask("hunter2hunter2")):
        assert shown is not None
        assert "hunter2" not in shown.replace('"no login as user with hunter2hunter2"', "")
        assert "***" in shown


def test_a_secret_at_the_edge_of_a_long_line_is_masked_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")
    lines = capture.Lines(lambda: 0, 10)
    lines.add("info", "x" * (capture._LINE - 7) + "hunter2hunter2")
    (line,) = lines.close()
    assert "hunter" not in line.text
    assert len(line.text) <= capture._LINE


def test_a_secret_at_the_edge_of_a_long_print_is_masked_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")
    lines = capture.Lines(lambda: 0, 10)
    lines.write("stdout", "hunter2hunter2" + "x" * (capture._LINE - 7))  # as print does: first the text,
    lines.write("stdout", "\n")  # then the end of the line
    (line,) = lines.close()
    assert "hunter" not in line.text
    assert line.text.startswith("***x")


def test_log_records_of_items_are_masked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")
    lines = capture.Lines(lambda: 0, 10)
    with capture.capturing(lines):
        logging.getLogger("an item").warning("login with %s", "hunter2hunter2")
    assert "hunter2" not in lines.close()[0].text
