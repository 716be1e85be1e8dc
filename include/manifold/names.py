"""Names of scatters: how the ledger keeps them, how people are shown them, and what people mean by what they write.

The scatter of an Airflow task is named `dag/run/task/map index`, each part percent-quoted, so that no two tasks share a
name; -1 is the index of a task that is not mapped. People read and write the parts as they are: `dag/run/task`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

from manifold.text import storable

_INDEX = re.compile(r"-1|0|[1-9][0-9]{0,9}")
_BRACKETS = re.compile(r"(.+)\[(-1|0|[1-9][0-9]{0,9})\]", re.DOTALL)


def scatter_name(*parts: str | int) -> str:
    """One name of several parts (dag, run, task, map index), each percent-quoted so that no two join to the same."""
    return "/".join(_quoted(str(part)) for part in parts)


def name_parts(name: str) -> tuple[str, str, str, int]:
    """(dag, run, task, map index) of the name of an Airflow task's scatter."""
    dag, run, task, index = (unquote(part) for part in name.split("/"))
    return dag, run, task, int(index)


def shown_name(name: str) -> str:
    """Return a name of the ledger as people write it: `dag/run/task`, and `dag/run/task/3` of a mapped task.

    A name that is not of that form, such as a `scatter_id`, is returned as it is. `meant` takes back what is returned.
    """
    *parts, index = name.split("/")
    plain = [unquote(part) for part in parts]
    if len(parts) != 3 or not _INDEX.fullmatch(index) or [_quoted(part) for part in plain] != parts:
        return name
    return "/".join(plain if index == "-1" else [*plain, index])


def meant(text: str) -> list[str]:
    """Return the names in the ledger that `text` may mean: itself, or those of an Airflow task, quoted there or not.

    A run's id can have slashes, and a task's a number for a name: so there may be several.
    """
    found = [text]
    parts = text.split("/")
    for dag, run, task, index in _readings(parts):
        found.append(scatter_name(dag, run, task, index))
    if len(parts) in (3, 4):
        found += [scatter_name(*map(unquote, reading)) for reading in _readings(parts)]
    return list(dict.fromkeys(storable(name) for name in found))


def parts_meant(text: str) -> list[str]:
    """Return what a part of a name, as people write it, may stand as in a name of the ledger."""
    text = storable(text)
    return list(dict.fromkeys((text, quote(text, safe="/"), quote(text, safe=""))))


def _readings(parts: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """(dag, run, task, map index): the run has all slashes that are left over."""
    if len(parts) >= 3:
        yield parts[0], "/".join(parts[1:-1]), parts[-1], "-1"
        if match := _BRACKETS.fullmatch(parts[-1]):
            yield parts[0], "/".join(parts[1:-1]), match[1], match[2]
    if len(parts) >= 4 and _INDEX.fullmatch(parts[-1]):
        yield parts[0], "/".join(parts[1:-2]), parts[-2], parts[-1]


def _quoted(part: str) -> str:
    return quote(storable(part), safe="")
