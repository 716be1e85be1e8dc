"""`pause`, `resume`, `drain`, `cancel`, `set`: requests for a coordinator, or for this process where none lives."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from manifold.cli import shapes
from manifold.ledger import Claim, Ledger, Owner
from tests.cli.conftest import Cli, said
from tests.cli.test_show import made


@pytest.fixture
def claim(book: Ledger) -> Iterator[Claim]:
    """A scatter that a coordinator is at work on."""
    claimed = book.acquire(made(book, "busy"), Owner.here("a coordinator"))
    yield claimed
    if claimed.row.state == "running":
        claimed.release()


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "cancel"])
def test_a_request_goes_to_the_coordinator(cli: Cli, book: Ledger, claim: Claim, verb: str) -> None:
    asked = said(cli(verb, "busy", "--json"), shapes.Asked)
    assert (asked.verb, asked.coordinator, asked.done, asked.value) == (verb, "a coordinator", False, {})
    (request,) = book.pending_controls(claim.uid)
    assert request.verb == verb
    assert "@" in request.by_whom
    assert f"a coordinator will {verb} it" in cli(verb, "busy").stdout


def test_a_request_that_waits_is_shown(cli: Cli, claim: Claim) -> None:
    assert cli("pause", "busy").exit_code == 0
    shown = said(cli("show", "busy", "--json"), shapes.Shown)
    assert [request.verb for request in shown.control_requests] == ["pause"]
    assert shown.paused_by == shown.control_requests[0].by_whom
    assert "manifold resume" in cli("show", "busy").stdout
    assert cli("resume", "busy").exit_code == 0
    assert said(cli("show", "busy", "--json"), shapes.Shown).paused_by is None


def test_settings_are_checked_before_they_are_written(cli: Cli, book: Ledger, claim: Claim) -> None:
    for words, told in (
        (["chunk_size=5"], "chunk_size cannot be changed while a scatter runs"),
        (["rate_limit=-1"], "rate_limit=-1 must be"),
        (["tolerate=abc"], "tolerate='abc' is neither"),
        (["max_concurrency"], "not of the form name=value"),
    ):
        result = cli("set", "busy", *words)
        assert result.exit_code == 2, result.output
        assert told in result.stderr
    assert book.pending_controls(claim.uid) == []
    asked = said(cli("set", "busy", "max_concurrency=4", "rate_limit=none", "tolerate=2%", "--json"), shapes.Asked)
    assert asked.value == {"max_concurrency": 4, "rate_limit": None, "tolerate": "2%"}
    (request,) = book.pending_controls(claim.uid)
    assert (request.verb, request.value) == ("set", asked.value)


def test_a_scatter_that_nobody_runs_is_cancelled_here(cli: Cli, book: Ledger) -> None:
    uid = made(book, "idle")
    asked = said(cli("cancel", "idle", "--json"), shapes.Asked)
    assert (asked.done, asked.coordinator) == (True, None)
    row = book.scatter(uid)
    assert row.state == "cancelled"
    assert "cancelled by" in (row.message or "")


def test_a_pause_of_a_scatter_that_nobody_runs_waits_for_the_next_try(cli: Cli, book: Ledger) -> None:
    uid = made(book, "idle")
    assert "its next try begins paused" in cli("pause", "idle").stdout
    assert [one.verb for one in book.pending_controls(uid)] == ["pause"]


def test_a_drain_of_a_scatter_that_nobody_runs_says_that_it_does_nothing_and_leaves_no_request(
    cli: Cli, book: Ledger
) -> None:
    uid = made(book, "idle")
    told = cli("drain", "idle")
    assert told.exit_code == 0
    assert "nothing to drain and nothing changes" in told.stdout
    assert "manifold pause" in told.stdout
    assert book.pending_controls(uid) == []


def test_a_drained_scatter_says_who_drained_it_and_how_it_continues(cli: Cli, book: Ledger) -> None:
    uid = made(book, "spared")
    book.acquire(uid, Owner.here("a coordinator")).release(ending="drained", message="drained by ann: for the night")
    assert "drained by ann: for the night" in cli("ls", "--state", "drained").stdout
    text = cli("show", "spared").stdout
    assert "drained by ann: for the night" in text
    assert "drained already" in cli("drain", "spared").stdout
    assert "within a minute" in cli("resume", "spared").stdout
    assert book.lets_continue(uid)


@pytest.mark.parametrize("words", [["pause", "pages"], ["cancel", "pages"], ["set", "pages", "tolerate=5"]])
def test_what_has_ended_cannot_be_controlled(cli: Cli, pages: str, words: list[str]) -> None:
    result = cli(*words)
    assert result.exit_code == 5
    assert "pages has ended (succeeded)" in result.stderr


def test_a_running_scatter_obeys_within_seconds(cli: Cli, work: str, book: Ledger, tmp_path: Path) -> None:
    words = ["run", f"{work}:gated", "--items", "range:4", "--engine", "threads://1", "--id", "live"]
    command = [sys.executable, "-m", "manifold.cli", *words, "--option", "chunk_size=1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            _wait(lambda: (row := book.find("live")) is not None and row.owner is not None, "it runs")
            assert cli("pause", "live").exit_code == 0
            _wait(lambda: not book.pending_controls(_uid(book)), "the pause is seen to")
            assert said(cli("show", "live", "--json"), shapes.Shown).paused_by is not None
            assert cli("cancel", "live").exit_code == 0
            (tmp_path / "go").touch()
            _, errors = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 1
    assert "error: cancelled by" in errors
    assert book.scatter(_uid(book)).state == "cancelled"


def _uid(book: Ledger) -> str:
    row = book.find("live")
    assert row is not None
    return row.uid


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.05)
