"""The command line: `manifold`, and the same under `airflow manifold`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None, *, name: str = "manifold") -> None:
    """Run one command and end the process with its exit code (`manifold.cli.exits`).

    Args:
        arguments: the words after the program's name; None takes those of this process.
        name: what the help texts call the program.
    """
    from manifold.cli.app import app  # typer and rich; `airflow` imports this package for every command of its own

    app(args=list(sys.argv[1:] if arguments is None else arguments), prog_name=name)
