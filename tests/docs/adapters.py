"""The tables of docs/concepts.md that are made of the rows of `manifold.registry`.

`python -m tests.docs.adapters` writes them into the page.
"""

from __future__ import annotations

from manifold.adapter import Adapter
from manifold.registry import ENGINES, FORMATS, STORES

from .markdown import ROOT, between

PAGE = ROOT / "docs" / "concepts.md"
_WORKERS = {"process": "in the coordinator's process", "host": "on its host", "hosts": "elsewhere"}
_NONE, _ASYNC = "\N{EN DASH}", "only `async def` functions"


def page(text: str) -> str:
    """The page with its tables made anew."""
    tables = {"engines": _engines(), "engines, each": _each(), "stores": _stores(), "formats": _formats()}
    for name, table in tables.items():
        text = between(text, name, table)
    return text


def _engines() -> str:
    own = ("an `Executor` of your own", "wherever that runs its calls (plain Python only)", "what you have already")
    rows = [(f"`{form.example}`", form.says, form.use) for row in ENGINES.entries.values() for form in row.forms]
    return _table(("URL", "chunks run on", "use it for"), *rows, own)


def _each() -> str:
    heads = (
        "engine",
        "connection type",
        "its host field",
        "options in the URL",
        "`item_timeout`",
        "workers",
        "install",
    )
    own = ("your own", _NONE, _NONE, "none", _ASYNC, "its own", _NONE)
    return _table(heads, *map(_one, ENGINES.entries.values()), own)


def _one(row: Adapter) -> tuple[str, ...]:
    connection = (f"`{row.connection_type}`", row.connection.host.lower()) if row.connection else (_NONE, _NONE)
    timeout = "yes" if row.kills_items else _ASYNC
    return (f"`{row.scheme}://`", *connection, row.options or "none", timeout, _WORKERS[row.reach], _install(row))


def _stores() -> str:
    forms = [form for row in STORES.entries.values() for form in row.forms]
    rows = [(f"`{form.example}`", form.says, form.use, form.limit) for form in forms]
    return _table(("URL", "results rest in", "use it for", "a value may have"), *rows)


def _formats() -> str:
    return _table(
        ("format", "files", "an item is", "results are written to", "install"),
        *(
            (f"`{row.scheme}`", _endings(row.suffixes), row.forms[0].says, _endings(row.written), _install(row))
            for row in FORMATS.entries.values()
        ),
    )


def _endings(names: tuple[str, ...]) -> str:
    return ", ".join(f"`.{name}`" for name in names) or _NONE


def _install(row: Adapter) -> str:
    return f"`{row.install}`" if row.extra else _NONE


def _table(*rows: tuple[str, ...]) -> str:
    head, *body = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
