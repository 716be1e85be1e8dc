"""The author's file as different tries have it: another process loads it again, or somebody has changed a global."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

from tests.simulation import authored
from tests.simulation.work import Given

FORMS = ("plain", "awaits", "awaitable")
"""How a function is written: as usual; as `async def`; as a function that returns what is to be awaited."""
EDITIONS: dict[str, tuple[str, str] | None] = {
    "loaded again": None,
    "another constant": ('RATE = "a rate"', 'RATE = "another rate"'),
    "another table": ('"another row"', '"a row that was changed"'),
    "another attribute": ('"an attribute"', '"another attribute"'),
    "another global of a helper's": ('"a global of a helper\'s"', '"another global of a helper\'s"'),
}
"""What has become of the file, and by which text for which."""


@cache
def _edition(name: str) -> ModuleType:
    if name == "first":
        return authored
    assert authored.__file__ is not None
    module = f"{authored.__name__}_{name.replace(' ', '_').replace(chr(39), '')}"
    spec = spec_from_file_location(module, authored.__file__)
    assert spec is not None
    made = sys.modules[module] = module_from_spec(spec)
    with open(authored.__file__, encoding="utf-8") as file:
        text = file.read()
    if (changed := EDITIONS[name]) is not None:
        assert text.count(changed[0]) == 1
        text = text.replace(*changed)
    exec(compile(text, authored.__file__, "exec"), vars(made))
    return made


@cache
def function(edition: str, form: str, code: str) -> Callable[..., Any]:
    """The function of that form and wording ("first" or "second")."""
    found: Callable[..., Any] = getattr(_edition(edition), form + ("_again" if code == "second" else ""))
    return found


@cache
def given(edition: str, code: str, constant: str) -> Given:
    """What it gives to an item."""
    made: Given = _edition(edition).given(constant, code)
    return made
