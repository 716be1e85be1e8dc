"""Slots of Airflow's executor that nobody gives back.

The CeleryExecutor frees a slot when Celery's result says that the task's message is done. A worker that is killed with
SIGKILL between the end of a task and that result leaves a task of which Airflow knows that it has succeeded, and a
message that stays "started": the scheduler waits for it as long as it lives. (A task that was still running misses its
heartbeats, and its slot is freed.) Redis delivers the message again after `visibility_timeout`, by default a day later;
RabbitMQ does so as soon as the worker's connection is lost. A scheduler that starts again knows only of tasks that are
queued or running.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FULL = "0 open slots"
"""What a scheduler's log says, at each of its rounds, while all slots of its executor are taken."""


class SlotWatch:
    """Notices that slots are taken by tasks that have ended.

    Args:
        log: the scheduler's log.
        parallelism: the slots of its executor.
        at_work: returns the number of tasks that are queued or running, as Airflow's database has it.
        pause: seconds between two looks.
    """

    def __init__(self, log: Path, parallelism: int, at_work: Callable[[], int], pause: float = 5.0) -> None:
        self._log = log
        self._parallelism = parallelism
        self._at_work = at_work
        self._pause = pause
        self._read = 0
        self._lost = 0
        self._next = 0.0

    def leaked(self) -> int:
        """Return how many slots are lost, if all are taken and not all by tasks that are at work; 0 otherwise.

        It takes two looks in a row: a task that has just ended holds its slot for a moment longer.
        """
        now = time.monotonic()
        if now < self._next:
            return 0
        self._next = now + self._pause
        lost = max(0, self._parallelism - self._at_work()) if FULL in self._news() else 0
        before, self._lost = self._lost, lost
        return min(before, lost)

    def _news(self) -> str:
        """What the log has got since the last look; from its beginning, where it was begun again."""
        with suppress(FileNotFoundError), self._log.open("rb") as file:
            if self._log.stat().st_size >= self._read:
                file.seek(self._read)
            text = file.read()
            self._read = file.tell()
            return text.decode(errors="replace")
        return ""
