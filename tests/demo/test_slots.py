"""Slots that Airflow's executor never gets back: noticed by what the real one says, and freed."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from manifold.demo.environment import Place
from manifold.demo.process import Child
from manifold.demo.screen import Screen
from manifold.demo.slots import SlotWatch
from manifold.demo.stack import Stack
from tests.demo.test_settings import made

FULL = "Executor parallelism limit reached. 0 open slots.\n"
LEAKING = """
import logging
logging.basicConfig(level="INFO")
from airflow.providers.celery.executors.celery_executor import CeleryExecutor
executor = CeleryExecutor(parallelism={parallelism})
executor.running = {{("a task that has ended", number) for number in range(2)}}  # whose messages stay "started"
executor.heartbeat()
print(executor.slots_available, "slots for the next task")
"""


def say(log: Path, root: Path, parallelism: int) -> None:
    """Let an executor of so many slots, two of them leaked, do what the scheduler's loop does."""
    code = LEAKING.format(parallelism=parallelism)
    with log.open("ab") as output:
        subprocess.run(
            [sys.executable, "-c", code], env=made(root), stdout=output, stderr=output, timeout=100, check=True
        )


def looks(watch: SlotWatch, log: Path) -> list[int]:
    """What two looks see, while the scheduler's log says each time that no slot is open."""
    seen = []
    for _ in range(2):
        with log.open("a") as file:
            file.write(FULL)
        seen.append(watch.leaked())
    return seen


def test_an_executor_without_slots_is_told_by_its_own_words(tmp_path: Path) -> None:
    log = tmp_path / "scheduler.log"
    watch = SlotWatch(log, 2, lambda: 0, pause=0)
    assert watch.leaked() == 0, "there is no log yet"
    say(log, tmp_path, parallelism=3)
    assert "1 slots for the next task" in log.read_text()
    assert watch.leaked() == 0
    say(log, tmp_path, parallelism=2)
    assert "0 slots for the next task" in log.read_text()
    assert watch.leaked() == 0, "one look may be at a task that has just ended"
    assert watch.leaked() == 0, "that line was read before"
    for lost in (0, 2):
        say(log, tmp_path, parallelism=2)
        assert watch.leaked() == lost


def test_slots_of_tasks_that_are_at_work_are_not_lost(tmp_path: Path) -> None:
    log = tmp_path / "scheduler.log"
    for at_work, lost in ((2, 0), (1, 1)):
        watch = SlotWatch(log, 2, partial(int, at_work), pause=0)
        assert looks(watch, log) == [0, lost]


def test_a_log_that_is_begun_again_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "scheduler.log"
    log.write_text("a long line of the scheduler that was there before\n" * 10)
    watch = SlotWatch(log, 2, lambda: 0, pause=0)
    assert watch.leaked() == 0
    log.write_text(FULL)
    assert looks(watch, log) == [0, 2]


def test_a_busy_log_is_not_read_at_each_look(tmp_path: Path) -> None:
    log = tmp_path / "scheduler.log"
    watch = SlotWatch(log, 2, lambda: 0, pause=3600)
    assert watch.leaked() == 0
    assert looks(watch, log) == [0, 0]


class Said(Screen):
    """A screen that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def scheduler(place: Place) -> Child:
    """A process that does nothing, in the place of the scheduler."""
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    return Child.start("scheduler", command, log=place.logs / "scheduler.log", records=place.records)


def test_the_stack_says_so_and_starts_its_scheduler_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(state=tmp_path / ".manifold", dags=tmp_path / "dags", plugins=tmp_path / "plugins")
    place.state.mkdir()
    screen = Said()
    stack = Stack(place, screen)
    monkeypatch.setattr(stack, "_airflow", lambda name, command: scheduler(place))
    monkeypatch.setattr(stack, "_slots", SlotWatch(place.logs / "scheduler.log", 32, lambda: 1, pause=0))
    for server in (stack.postgres, stack.redis):
        monkeypatch.setattr(server, "_child", Running())
    first = scheduler(place)
    stack._services["scheduler"] = first
    try:
        stack.watch()
        assert (stack._services["scheduler"], screen.lines) == (first, [])
        for _ in range(2):
            first.log.write_text(first.log.read_text() + FULL)
            stack.watch()
        assert not first.alive()
        assert stack._services["scheduler"].alive()
        (line,) = screen.lines
        assert line.startswith("Airflow's executor has no slot left, and holds 31 slots for tasks that have ended")
        stack.watch()
        assert len(screen.lines) == 1, "the new one has its slots"
    finally:
        stack._services["scheduler"].stop()


class Running:
    """A server's process, as far as `watch` looks at it."""

    def check(self) -> None: ...
