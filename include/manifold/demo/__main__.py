"""`python -m manifold.demo`: the same as `manifold demo`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from manifold.demo.reach import remove_rooms
from manifold.demo.run import clean, main
from manifold.errors import ManifoldError

parser = argparse.ArgumentParser(prog="python -m manifold.demo", description="Run the whole stack on this machine.")
parser.add_argument("--once", action="store_true", help="end after the answer")
parser.add_argument("--clean", action="store_true", help="end what is left over, and delete what lies in /var/tmp")
parser.add_argument("--root", type=Path, help="the checkout to run; default: the one that manifold is installed from")
options = parser.parse_args()
if not options.clean:
    sys.exit(main(once=options.once, root=options.root))
try:
    clean(options.root)
    remove_rooms()  # only here: what else this installation runs may live in them
except ManifoldError as exc:
    sys.exit(str(exc))
