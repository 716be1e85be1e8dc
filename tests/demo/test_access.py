"""The way into the demo from another terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manifold.cli import exits
from manifold.cli.app import app
from manifold.demo import access
from manifold.demo.environment import Place
from manifold.errors import ConfigError
from tests.demo.test_settings import made

SECRET = 'it\'s a "secret" of $HOME and `ls` 50%'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout, as far as its place is looked for, below a folder with a space."""
    root = tmp_path / "check out"
    (root / "dags").mkdir(parents=True)
    (root / "dags" / "flight_delays.py").touch()
    (root / ".manifold").mkdir()
    return root


@pytest.fixture
def place(root: Path) -> Place:
    """A stack's place, with its variables saved."""
    place = access.checkout(root)
    own = {"MANIFOLD_SECRET": SECRET, "AIRFLOW_HOME": str(place.state / "airflow"), "MANIFOLD_HOME": str(place.state)}
    access.save(place, own)
    return place


def in_shell(command: str, **env: str) -> str:
    told = subprocess.run(
        ["bash", "-eu", "-c", command], env=os.environ | env, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


def test_a_shell_that_reads_the_file_is_one_of_the_stacks(place: Place) -> None:
    told = in_shell(
        f"source '{place.variables}'; printf %s \"$MANIFOLD_SECRET\"; echo; command -v python; env",
        MANIFOLD_STORE="s3://production",
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
    )
    assert told.splitlines()[:2] == [SECRET, str(Path(sys.executable).parent / "python")]
    assert "s3://production" not in told
    assert "LocalExecutor" not in told


def test_a_shell_without_settings_reads_it_too(place: Place) -> None:
    assert (
        in_shell(f"for name in ${{!AIRFLOW@}} ${{!MANIFOLD_@}}; do unset $name; done; source '{place.variables}'") == ""
    )


def test_nobody_else_can_read_it_and_it_goes_with_the_stack(place: Place) -> None:
    assert place.variables.stat().st_mode & 0o077 == 0
    access.remove(place)
    assert not place.variables.exists()
    access.remove(place)


def test_a_command_is_one_of_the_stacks_while_the_stack_is_up(
    place: Place, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy() | {"MANIFOLD_STORE": "s3://production"})
    with place.lock.open("a+") as file:
        assert access.hold(file)
        access.enter(root)
        assert os.environ["MANIFOLD_SECRET"] == SECRET
        assert "MANIFOLD_STORE" not in os.environ


@pytest.mark.parametrize("left", ["nothing", "variables", "lock"])
def test_a_command_without_a_stack_says_how_to_start_one(
    root: Path, place: Place, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.environ.copy()
    monkeypatch.setattr(os, "environ", before.copy())
    if left == "lock":
        place.lock.touch()
    if left == "nothing":
        access.remove(place)
    with pytest.raises(ConfigError, match=r"no demo runs from .*check out: `make demo` starts one"):
        access.enter(root)
    assert os.environ == before


def test_a_place_without_a_checkout_is_refused_with_where_to_run_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="by `make demo`"):
        access.enter(tmp_path)


def test_what_is_to_be_typed_is_as_short_as_the_shell_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space" / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "manifold").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    assert access.command() == f"'{folder}/manifold'"
    monkeypatch.chdir(tmp_path / "with space")
    assert access.command() == ".venv/bin/manifold"
    monkeypatch.setenv("PATH", str(folder))
    assert access.command() == "manifold"


def test_the_variables_of_the_real_stack_come_through_as_they_are(root: Path) -> None:
    place = access.checkout(root)
    real = {name: value for name, value in made(root).items() if name.startswith(("AIRFLOW", "MANIFOLD_"))}
    access.save(place, real)
    told = in_shell(
        f"source '{place.variables}'; {sys.executable} -c 'import os, json; print(json.dumps(dict(os.environ)))'"
    )
    assert json.loads(told).items() >= real.items()


def test_the_option_of_every_command_leads_to_the_stack_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def enter() -> None:
        monkeypatch.setenv("MANIFOLD_LEDGER", f"sqlite:///{tmp_path}/of-the-demo.db")

    monkeypatch.setattr(access, "enter", enter)
    told = CliRunner().invoke(app, ["--demo", "db", "migrate"])
    assert told.exit_code == 0, told.output
    assert (tmp_path / "of-the-demo.db").exists()


def test_the_option_says_how_to_start_a_stack_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def enter() -> None:
        raise ConfigError("no demo runs from here")

    monkeypatch.setattr(access, "enter", enter)
    told = CliRunner().invoke(app, ["--demo", "ls"])
    assert told.exit_code == exits.USAGE
    assert "no demo runs from here" in told.output
