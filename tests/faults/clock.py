"""A wall clock that is wrong on one host: a small C library, preloaded into its processes.

The kernel has no wall clock per host (time namespaces shift the monotonic one alone), and libfaketime 0.9.10 breaks the
`time.sleep` of Python 3.11, which sleeps until a moment of the monotonic clock.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

_SOURCE = Path(__file__).with_name("wrong_clock.c")


def lacking() -> str | None:
    """None where clocks can be wrong; else why not, as a clause."""
    return None if shutil.which("cc") else "there is no C compiler for wrong clocks"


def wrong(seconds: int) -> dict[str, str]:
    """The environment of a process whose clock is ahead by so many seconds."""
    return {"LD_PRELOAD": str(_library()), "WRONG_CLOCK": str(seconds)}


@cache
def _library() -> Path:
    made = Path(mkdtemp(prefix="manifold-clock-")) / "wrong_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", made, _SOURCE], check=True)
    return made
