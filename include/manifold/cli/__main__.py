"""`python -m manifold.cli`: the same as `manifold`."""

from __future__ import annotations

from manifold.cli import main

main()
