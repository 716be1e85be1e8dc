"""`python -m tests.simulation --seed N -v` replays one seed, with everything that happens in it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from tests.simulation import celery
from tests.simulation.faults import ASKED_FOR, KINDS
from tests.simulation.setting import SHAPES
from tests.simulation.story import simulate
from tests.simulation.world import Violation


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if all seeds are sound, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first violation")
    parser.add_argument("--wild", action="store_true", help="with far more rivals and gc")
    parser.add_argument(
        "--focus", action="append", default=[], choices=KINDS + ASKED_FOR, help="what is to go wrong often"
    )
    parser.add_argument("--shape", default="any", choices=SHAPES, help="what the seeds are about")
    parser.add_argument("--celery", action="store_true", help="how Celery's losses are judged, instead")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the trace")
    given = parser.parse_args(arguments)
    os.environ.setdefault("MANIFOLD_SECRET", f"k1:{'5e' * 32}")
    out, wrong, began = sys.stdout, 0, time.monotonic()
    for seed in range(given.seed, given.seed + given.count):
        try:
            tell = (lambda line: print(line, file=out)) if given.verbose else None
            if given.celery:
                world = celery.simulate(seed, tell)
            else:
                world = simulate(seed, tell, wild=given.wild, focus=given.focus, shape=given.shape)
        except Violation as exc:
            wrong += 1
            print(f"seed {seed}: {exc}", file=out)
            shape = f" --shape '{given.shape}'" * (given.shape != "any")
            how = "".join(
                [
                    " --celery" * given.celery,
                    " --wild" * given.wild,
                    shape,
                    *(f" --focus '{kind}'" for kind in given.focus),
                ]
            )
            print(f"replay it by: python -m tests.simulation --seed {seed}{how} -v", file=out)
            if not given.keep_going:
                return 1
        else:
            if given.count == 1:
                print(f"seed {seed} is sound; its trace has the digest {world.digest()[:16]}", file=out)
    if given.count > 1:
        print(f"{given.count - wrong:,} of {given.count:,} seeds are sound, {time.monotonic() - began:.1f} s", file=out)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
