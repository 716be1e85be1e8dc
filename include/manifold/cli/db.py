"""`manifold db`: the ledger's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from manifold import config
from manifold.cli import out, shapes
from manifold.cli.context import answering
from manifold.cli.exits import FAILED
from manifold.cli.params import AsJson
from manifold.errors import SchemaError
from manifold.redaction import masked

if TYPE_CHECKING:
    from sqlalchemy import Engine


def migrate(as_json: AsJson = False) -> None:
    """Make the ledger's tables, or bring them to this version.

    Needs a database user who may run DDL; tasks need none of that. `airflow db migrate` does it too. Safe to run twice,
    and by several at once.
    """
    from manifold.ledger import schema

    with answering(config.ledger_url()) as database:
        was = schema.migrate(database)
        found = _schema(database, was)
    if as_json:
        out.say_json(found)
    elif found.was == found.version:
        out.say(f"the ledger {found.ledger} has tables of version {found.version} already")
    else:
        out.say(f"the ledger {found.ledger} has tables of version {found.version} now (it had {found.was or 'none'})")


def check(as_json: AsJson = False) -> None:
    """Say whether the ledger's tables are those that this version needs. Exit code 1 if not."""
    from manifold.ledger import schema

    with answering(config.ledger_url()) as database:
        found = _schema(database, schema.found_version(database))
        text = "are those that this version needs"
        try:
            schema.check(database)
        except SchemaError as exc:
            found.ok, text = False, str(exc)
    if as_json:
        out.say_json(found)
    else:
        out.say(f"the tables of the ledger {found.ledger} {text}" if found.ok else text)
    if not found.ok:
        raise typer.Exit(FAILED)


def _schema(database: Engine, was: int) -> shapes.Schema:
    from manifold.ledger import schema

    where = masked(database.url.render_as_string(hide_password=False))
    return shapes.Schema(ok=True, ledger=where, version=schema.version(), was=was)
