"""Measuring: a row of the table, the clock, and what machine this is."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `value` is in the unit that `what` speaks of; `floor` says whether more is better."""

    what: str
    value: float
    target: float
    unit: str = "times"
    floor: bool = True
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.floor else self.value <= self.target

    def cells(self) -> tuple[str, str, str, str, str]:
        sign = "≥" if self.floor else "≤"
        return (
            self.what,
            f"{self.value:,.{0 if self.value >= 100 else 3}{'f' if self.value >= 100 else 'g'}} {self.unit}",
            f"{sign} {self.target:g} {self.unit}",
            "yes" if self.met else "**no**",
            self.detail,
        )


def best(work: Callable[[], object], tries: int = 3) -> float:
    """Seconds of the fastest of some tries: what the machine can do, with the least of its noise."""
    return min(_seconds(work) for _ in range(tries))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_memory() -> float:
    """The most memory that this process has had resident, in MB.

    Not by `getrusage`: on Linux a process that was forked and then ran another program counts its parent's peak, too.
    """
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


@contextmanager
def home() -> Iterator[Path]:
    """A home of its own: ledger, store and secret on this disk, as a user has them."""
    before = os.environ.get("MANIFOLD_HOME")
    with TemporaryDirectory(prefix="manifold-bench-") as folder:
        os.environ["MANIFOLD_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["MANIFOLD_HOME"]
            else:
                os.environ["MANIFOLD_HOME"] = before


def machine() -> str:
    """This machine, in a line."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, {system}, Python {platform.python_version()}"
