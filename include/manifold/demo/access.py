"""The way into the stack from another terminal: its variables, in a file that a shell can read.

- The file is there, and true, only while the stack is up: ports are chosen at each start.
- It has the stack's secrets, so it is its owner's alone.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import manifold
from manifold.demo.environment import FOREIGN, Place
from manifold.demo.flights import DAG
from manifold.demo.secrets import write_private
from manifold.errors import ConfigError


def checkout(root: Path | None = None) -> Place:
    """Return the place of the stack that runs from `root`, by default from where this manifold is installed.

    Raises:
        ConfigError: there is no checkout of the project.
    """
    root = (root or Path(manifold.__file__).parents[2]).absolute()
    if not (root / "dags" / f"{DAG}.py").exists():
        raise ConfigError(f"{root} has no dags/{DAG}.py: the demo runs from a checkout of the project, by `make demo`")
    return Place(state=root / ".manifold", dags=root / "dags", plugins=root / "plugins")


def save(place: Place, variables: Mapping[str, str]) -> None:
    """Write the file: `source` it, and `manifold` and `airflow` of that shell are the stack's."""
    foreign = "|".join(FOREIGN)
    lines = [
        "# Makes a shell one of the demo's: source it. It holds while the demo runs.",
        f"unset $(env | grep -oE '^({foreign})[A-Za-z0-9_]*' || true)",
        f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        *(f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())),
    ]
    write_private(place.variables, "\n".join(lines) + "\n")


def remove(place: Place) -> None:
    """Delete the file: what it says has ended."""
    place.variables.unlink(missing_ok=True)


def enter(root: Path | None = None) -> None:
    """Make this process one of the stack's, in place of what its environment said of Airflow and Manifold.

    Raises:
        ConfigError: no stack is up.
    """
    place = checkout(root)
    if not (place.variables.exists() and _is_up(place)):
        raise ConfigError(f"no demo runs from {place.state.parent}: `make demo` starts one and stays until Ctrl-C")
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ |= _read(place.variables)


def command() -> str:
    """Return what to type for this installation's `manifold`: its name where the shell finds it, else its path."""
    own = Path(sys.executable).parent / "manifold"
    if shutil.which("manifold") == str(own):
        return "manifold"
    here = Path.cwd()
    return shlex.quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


def hold(file: IO[Any]) -> bool:
    """Take the lock of a file, and hold it as long as the file is open; False where another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_up(place: Place) -> bool:
    try:
        with place.lock.open("r") as file:
            return not hold(file)
    except FileNotFoundError:
        return False


def _read(path: Path) -> dict[str, str]:
    assignments = [shlex.split(line) for line in path.read_text().splitlines() if line.startswith("export ")]
    named = dict(words[1].split("=", 1) for words in assignments)
    del named["PATH"]  # a program that runs already has found what it needs
    return named
