"""Each test has a working folder, a home, a ledger and a store of its own, and runs commands in them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from typer.testing import CliRunner, Result

from manifold import config
from manifold.cli.app import app
from manifold.ledger import Ledger, open_ledger

S = TypeVar("S", bound=msgspec.Struct)
Cli = Callable[..., Result]

WORK = """
import os

def half(x):
    return x / 2

def picky(x):
    if x % 10 == 3:
        raise ValueError(f"no {x}")
    if x % 10 == 7:
        raise KeyError(x)
    return x

def fixed(x):
    return -x

def add(a, b):
    return a + b

def gated(x):
    while not os.path.exists("go"):
        __import__("time").sleep(0.01)
    return x

number = 7
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("MANIFOLD_", "AIRFLOW"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "fillers", [])
    monkeypatch.setattr(config, "resolvers", [])
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "home"
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def work(tmp_path: Path) -> str:
    """The name of a module in the working folder, which no other test has imported."""
    name = f"work_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(WORK)
    return name


@pytest.fixture
def cli() -> Cli:
    """Runs a command in this process."""

    def invoke(*words: str, input: str | None = None) -> Result:
        return CliRunner().invoke(app, list(words), input=input)

    return invoke


@pytest.fixture
def book(home: Path) -> Iterator[Ledger]:
    """The ledger that the commands use."""
    ledger = open_ledger()
    yield ledger
    ledger.close()


@pytest.fixture
def pages(cli: Cli, work: str) -> str:
    """The name of a scatter of 100 items: ten failed by ValueError, ten by KeyError, and 80 succeeded."""
    ran = cli(
        *("run", f"{work}:picky", "--items", "range:100", "--engine", "threads://2", "--id", "pages"),
        *("--option", "tolerate=20", "--option", "chunk_size=25"),
    )
    assert ran.exit_code == 0, ran.output
    return "pages"


def said(result: Result, shape: type[S], code: int = 0) -> S:
    """The JSON that a command answered with: that shape, all of its fields, no others."""
    assert result.exit_code == code, result.output
    told = msgspec.json.decode(result.stdout)
    found = msgspec.convert(told, shape)
    assert msgspec.to_builtins(found) == told, "fields that the shape does not have"
    assert list(told) == list(shape.__struct_fields__)
    return found
