"""`manifold doctor`: is this deployment fit to scatter, and what is to be fixed?"""

from __future__ import annotations

from typing import Annotated

import typer

from manifold import config
from manifold.cli import out, shapes
from manifold.cli.engines import default
from manifold.cli.exits import FAILED
from manifold.cli.params import AsJson


def doctor(
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="Which engine to try; the default one without it. Several times.", show_default=False
        ),
    ] = None,
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help="Only print a fresh value for MANIFOLD_SECRET.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find out what is broken here, and how to fix it.

    Looks at versions, settings, ledger, secret, store and engine. A call is sent to a worker of each engine: it comes
    back only if the worker knows Manifold's task, has the same secret and fitting versions, and it tells whether the
    worker's store is the one that is used here. Run it where coordinators run, such as on a Celery worker's host.
    Exit code 1 if anything is broken.
    """
    from manifold.cli.checks import examine

    if new_secret:
        fresh = config.new_secret()
        if as_json:
            out.say_json(shapes.NewSecret(secret=fresh))
        else:
            out.say(fresh)
        return
    checks = []
    for found in examine(engine or [default()]):
        checks.append(found)
        if not as_json:
            _tell(found)
    ok = all(one.state != "broken" for one in checks)
    if as_json:
        out.say_json(shapes.Examined(ok=ok, checks=checks))
    else:
        out.say("\nnothing is broken" if ok else "\nbroken; fix it from the top")
    if not ok:
        raise typer.Exit(FAILED)


def _tell(found: shapes.Check) -> None:
    out.say(f"{found.state:7} {found.name}: {found.found}")
    if found.fix:
        out.say("\n".join(f"        {line}" for line in found.fix.splitlines()))
