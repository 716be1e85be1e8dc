"""The program as a whole: help, examples, exit codes, errors."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command

import manifold
from manifold import errors
from manifold.cli import exits, shapes
from manifold.cli.app import EXAMPLES, app
from manifold.ledger import Ledger
from tests.cli.conftest import Cli
from tests.cli.test_show import made


def commands() -> Iterator[tuple[str, Any]]:
    """(name, command) of every command there is, "db check" among them."""

    def walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, f"{prefix}{name} ")
            else:
                yield f"{prefix}{name}", command

    return walk(get_command(app), "")


NAMES = [name for name, _ in commands()]
COMMANDS = dict(commands())


def test_every_command_has_examples() -> None:
    assert sorted(EXAMPLES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_the_examples(cli: Cli, name: str) -> None:
    result = cli(*name.split(), "--help")
    assert result.exit_code == 0
    for example in EXAMPLES[name]:
        assert f"  {example}\n" in result.stdout


@pytest.mark.parametrize(("name", "example"), [(name, one) for name in NAMES for one in EXAMPLES[name]])
def test_every_example_is_understood(name: str, example: str) -> None:
    words = shlex.split(example.rpartition("| ")[2])
    if words[1:2] == ["--demo"]:  # which any command may have before it
        del words[1]
    assert words[: 1 + len(name.split())] == ["manifold", *name.split()]
    with COMMANDS[name].make_context(name, words[1 + len(name.split()) :]):  # raises where it is not
        pass


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("demo", "exporter", "hub", "worker")])
def test_every_command_answers_in_json_if_asked(name: str) -> None:
    assert "--json" in {flag for option in COMMANDS[name].params for flag in option.opts}


def test_help_tells_the_exit_codes(cli: Cli) -> None:
    text = cli("--help").stdout
    for code, meaning in exits.MEANINGS.items():
        assert re.search(rf"^ +{code}  {re.escape(meaning)}$", text, re.MULTILINE)


@pytest.mark.parametrize("words", [[], ["nonsense"], ["ls", "--nonsense"], ["show"], ["ls", "--state", "odd"], ["db"]])
def test_a_wrong_line_ends_in_code_2_with_help(cli: Cli, words: list[str]) -> None:
    result = cli(*words)
    assert result.exit_code == exits.USAGE
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError, 2),
        (errors.MissingExtra, 2),
        (exits.NotFound, 3),
        (errors.LedgerError, 4),
        (errors.SchemaError, 4),
        (errors.StoreError, 4),
        (errors.StoreNotShared, 4),
        (errors.EngineError, 4),
        (errors.VersionMismatch, 4),
        (exits.Unreachable, 4),
        (errors.ScatterBusy, 5),
        (errors.Fenced, 5),
        (exits.Conflict, 5),
        (errors.TooManyFailures, 1),
        (errors.Cancelled, 1),
        (errors.ItemsChanged, 1),
        (errors.ResultsLost, 1),
        (errors.WireError, 1),
    ],
)
def test_every_kind_of_error_has_its_code(error: type[errors.ManifoldError], code: int) -> None:
    assert exits.code_of(error("why")) == code
    assert code in exits.MEANINGS


def test_an_error_is_a_sentence_and_with_debug_a_traceback(cli: Cli) -> None:
    plain, debug = cli("show", "nix"), cli("--debug", "show", "nix")
    assert (plain.exit_code, debug.exit_code) == (3, 3)
    assert plain.stderr.startswith("error: the ledger sqlite:///")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert "error: the ledger" in debug.stderr


def test_the_version_is_that_of_the_library(cli: Cli) -> None:
    assert cli("--version").stdout == f"{manifold.__version__}\n"


def test_the_script_that_pip_installs_is_this_program(work: str, tmp_path: Path) -> None:
    script = str(Path(sys.executable).with_name("manifold"))
    words = ["run", f"{work}:half", "--items", "range:3", "--engine", "processes://1", "--id", "three"]
    ran = subprocess.run([script, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("three (")
    missing = subprocess.run([script, "show", "nix"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert missing.returncode == exits.NOT_FOUND
    assert (missing.stdout, missing.stderr.count("\n")) == ("", 1)


def test_json_has_stdout_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text("import os\nprint('imported')\ndef f(x):\n    os.write(1, b'loud')\n")
    command = [sys.executable, "-m", "manifold.cli", "run", "loud:f", "--items", "range:2", "--json", "--engine"]
    for engine in ("threads://1", "processes://1"):
        ran = subprocess.run([*command, engine], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert msgspec.json.decode(ran.stdout, type=shapes.Ran).succeeded == 2
        assert "imported" in ran.stderr


def test_ctrl_c_ends_in_code_130(book: Ledger, tmp_path: Path) -> None:
    made(book, "endless")
    command = [sys.executable, "-m", "manifold.cli", "watch", "endless", "--every", "0.1", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("{")
        time.sleep(0.05)  # into its wait
        watching.send_signal(signal.SIGINT)
        _, stderr = watching.communicate(timeout=60)
    assert watching.returncode == exits.INTERRUPTED
    assert stderr == "interrupted\n"


def test_the_program_starts_without_what_it_does_not_need() -> None:
    script = "import sys, manifold.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"airflow", "celery", "sqlalchemy", "fsspec", "pyarrow"} & set(loaded)
