"""A clock is wrong where it should be, and right in all else."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.faults import clock

if clock.lacking() is None:

    def test_the_wall_clock_is_wrong_and_the_others_are_right() -> None:
        code = (
            "import time; a = time.monotonic(); time.sleep(0.2); b = time.monotonic(); "
            "import datetime as d; print(time.time(), b - a, d.datetime.now().timestamp(), a)"
        )
        env = {**os.environ, **clock.wrong(600)}
        told = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
        wall, slept, today, monotonic = map(float, told.stdout.split())
        assert 590 < wall - time.time() <= 600
        assert 590 < today - time.time() <= 600
        assert 0.2 <= slept < 10
        assert abs(monotonic - time.monotonic()) < 60
