"""The progress bar of plain Python."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

import manifold
from manifold.events import ChunkCommitted, Notice, Progress, ScatterEnded, ScatterStarted
from manifold.monitors import progress
from manifold.monitors.progress import ProgressMonitor


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen() -> Terminal:
    return Terminal()


@pytest.fixture
def bar(screen: Terminal) -> ProgressMonitor:
    return ProgressMonitor(Console(file=screen, width=200, force_terminal=True, color_system=None))


def test_it_shows_items_failures_and_how_it_ended(bar: ProgressMonitor, screen: Terminal) -> None:
    bar.emit(ScatterStarted("uid", 1, name="pages", engine="threads://1", why="", total=1000, n_ok=100))
    bar.emit(Progress("uid", 1, total=1000, n_ok=400, n_failed=3, n_skipped=2, in_flight=1, slots=1, paused=True))
    bar.emit(ScatterEnded("uid", 1, state="succeeded", total=1000, n_ok=995, n_failed=3, n_skipped=2, seconds=1.0))
    for text in ("pages", "1000/1000", "3 failed", "2 skipped"):
        assert text in screen.getvalue()


def test_the_first_commits_tell_no_wild_rate_and_a_pause_leaves_no_time(
    bar: ProgressMonitor, screen: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four workers began together and needed ten seconds each for 100 items; their commits come within milliseconds."""
    now = [1000.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    bar.emit(ScatterStarted("uid", 1, name="pages", engine="threads://4", why="", total=4000))
    for done in (100, 200, 300, 400):
        now[0] += 0.001
        bar.emit(ChunkCommitted("uid", 1, start=done - 100, stop=done, worker="w", seconds=10.0, n_failed=0))
        bar.emit(Progress("uid", 1, total=4000, n_ok=done, n_failed=0, n_skipped=0, in_flight=4, slots=4))
    (task,) = bar._progress.tasks
    assert (task.fields["rate"], task.fields["left"]) == ("40/s", "about 0:01:30 left")
    bar.emit(Progress("uid", 1, total=4000, n_ok=400, n_failed=0, n_skipped=0, in_flight=0, slots=4, paused=True))
    assert task.fields["left"] == ""
    bar.close()


def test_names_and_warnings_are_shown_as_they_are(bar: ProgressMonitor, screen: Terminal) -> None:
    bar.emit(ScatterStarted("uid", 1, name="a[/b]", engine="threads://1", why="", total=None))
    bar.emit(Notice("uid", 1, "warning", "no space in [/tmp]"))
    bar.emit(Notice("uid", 1, "info", "resume by somebody"))
    bar.close()
    assert "a[/b]" in screen.getvalue()
    assert "no space in [/tmp]" in screen.getvalue()
    assert "somebody" not in screen.getvalue()


def test_a_terminal_has_one_and_anything_else_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("MANIFOLD_LEDGER", "MANIFOLD_STORE", "MANIFOLD_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path))
    manifold.scatter(str, range(3), engine="threads://1")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    (shown,) = progress.default()
    assert isinstance(shown, ProgressMonitor)
    manifold.scatter(str, range(3), engine="threads://1")
    assert "3/3" in screen.getvalue()
