"""`manifold demo`: the whole stack on this machine."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the answer, and leave no process behind.")] = False,
) -> None:
    """Run the whole stack on this machine, and real flights through it.

    It starts PostgreSQL, Redis, Airflow and two Celery workers, sends 336,776 flights through them, prints where to
    look, and stays up until Ctrl-C. State rests in .manifold/ of the checkout. Exit code 0 only if
    the answer came and every item is accounted for.
    """
    from manifold.demo.run import main

    raise typer.Exit(main(once=once))
