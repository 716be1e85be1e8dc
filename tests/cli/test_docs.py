"""docs/cli.md says what there is: every command, option, exit code and field, and nothing else."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import msgspec
import pytest

from manifold import views
from manifold.cli import exits, shapes
from tests.cli.test_program import COMMANDS, NAMES

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def sections() -> dict[str, str]:
    """The text below each third-level heading of docs/cli.md, by what stands in its backquotes."""
    parts = re.split(r"^### `([^`]+)`.*$", DOCS.read_text(), flags=re.MULTILINE)
    return {
        name: re.split(r"^##? ", text, flags=re.MULTILINE)[0]
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def documented_shapes() -> dict[str, type[msgspec.Struct]]:
    """Every shape of `--json`."""
    return {
        name: shape
        for name, shape in inspect.getmembers(shapes, inspect.isclass)
        if issubclass(shape, msgspec.Struct) and shape.__module__ in (shapes.__name__, views.__name__)
    }


def test_every_command_is_documented_and_no_other() -> None:
    documented = {name.removeprefix("manifold ") for name in sections() if name.startswith("manifold ")}
    assert documented == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_command_is_documented_and_no_other(name: str) -> None:
    real = {flag for option in COMMANDS[name].params for flag in option.opts if flag.startswith("--")} - {"--help"}
    table = re.findall(r"^\| `(--[a-z-]+)", sections()[f"manifold {name}"], re.MULTILINE)
    assert set(table) == real - {"--json"}, "--json is described once, for all"


@pytest.mark.parametrize("name", sorted(documented_shapes()))
def test_every_field_of_an_answer_is_documented_and_no_other(name: str) -> None:
    shape = documented_shapes()[name]
    parents = [one for one in documented_shapes().values() if one is not shape and issubclass(shape, one)]
    inherited = {field for parent in parents for field in parent.__struct_fields__}
    text = sections()[name]
    documented = re.findall(r"^\| `([a-z0-9_]+)`", text, re.MULTILINE)
    assert documented == [field for field in shape.__struct_fields__ if field not in inherited]
    for parent in parents:
        if parent.__name__ in {base.__name__ for base in shape.__bases__}:
            assert f"`{parent.__name__}`" in text


def test_the_exit_codes_are_documented() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", DOCS.read_text(), re.MULTILINE))
    assert {int(code): meaning for code, meaning in rows.items()} == exits.MEANINGS
