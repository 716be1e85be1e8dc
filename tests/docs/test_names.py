"""What the documents name is there: commands, options, variables, files, error texts."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import manifold.errors
from manifold.airflow.provider import get_provider_info
from manifold.cli.app import app

from . import adapters, options
from .markdown import ALL, PAGES, ROOT, Block, anchors, blocks, prose

NAMED = [block for page in PAGES for block in blocks(page) if block.how == "names"]
TROUBLE = ROOT / "docs" / "troubleshooting.md"
NO_ERRORS = {"To start from scratch", "Everything else"}


def test_the_page_of_options_is_what_policy_says() -> None:
    text = options.PAGE.read_text()
    assert options.page(text) == text, "run: python -m tests.docs.options"


def test_the_tables_of_adapters_are_what_their_rows_say() -> None:
    text = adapters.PAGE.read_text()
    assert adapters.page(text) == text, "run: python -m tests.docs.adapters"


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


def test_every_command_that_is_not_run_is_one_that_could_be(airflow_env: dict[str, str]) -> None:
    of_airflow: list[list[str]] = []
    for block in NAMED:
        for words in _commands(block):
            program, *rest = words
            if program == "airflow":
                of_airflow.append(rest)
            else:
                _CHECKS[program](block, rest)
    assert of_airflow
    _parsed_by_airflow(of_airflow, airflow_env)


def test_every_command_in_the_prose_is_one_of_ours() -> None:
    for page in ALL:
        for name in re.findall(r"`manifold ([a-z]+)", prose(page)):
            assert name in _program().commands, f"{page.name}: manifold {name}"


def test_every_variable_is_one_that_somebody_reads() -> None:
    config = get_provider_info()["config"]["manifold"]["options"]
    source = "".join(path.read_text() for path in (ROOT / "include").rglob("*.py"))
    for page in ALL:
        text = page.read_text()
        for name in re.findall(r"\bAIRFLOW__MANIFOLD__([A-Z_]+)\b", text):
            assert name.lower() in config, f"{page.name}: {name}"
        for name in re.findall(r"\b(?:MANIFOLD|AIRFLOW_API)_[A-Z]+\b", text):
            assert f'"{name}"' in source, f"{page.name}: {name}"


@pytest.mark.parametrize("heading", re.findall(r"^### (.*)$", TROUBLE.read_text(), re.MULTILINE))
def test_every_error_of_the_troubleshooting_page_is_one_that_is_raised(heading: str) -> None:
    if heading in NO_ERRORS:
        return
    for text in heading.split(" / "):
        kind, _, message = text.partition(": ")
        shown = message if hasattr(manifold.errors, kind) else text
        fragments = [part for part in re.split(r"\s*…\s*", shown) if len(part) > 1]
        assert fragments
        for fragment in fragments:
            assert any(fragment in known for known in _texts()), f"nothing says {fragment!r}"


def test_the_picture_is_an_image_that_says_what_it_shows() -> None:
    picture = ET.parse(ROOT / "docs" / "images" / "flow.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert picture.findtext(f"{name}title")
    said = " ".join(text.text or "" for text in picture.iter(f"{name}text"))
    for part in ("items", "plan", "dispatch", "engine", "worker", "receipts", "store", "ledger", "Results"):
        assert part in said


def test_the_benchmarks_page_has_the_marks_that_are_filled() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert text.count("<!-- measured -->") == text.count("<!-- end of measured -->") == 1


def _commands(block: Block) -> Iterator[list[str]]:
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] != "export":
            yield words


def _make(block: Block, words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        known = re.search(rf"^{re.escape(word)}:|\$\({re.escape(word.partition('=')[0])}\)", makefile, re.MULTILINE)
        assert known or f"if $({word.partition('=')[0]})" in makefile, f"{block}: make {word}"


def _pip(block: Block, words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wheel = re.compile(rf"dist/airflow_manifold-{re.escape(project['version'])}-py3-none-any\.whl(?:\[([a-z,]+)\])?")
    action, *targets = words
    assert action == "install", f"{block}: pip {words}"
    if "--constraint" in targets:
        at = targets.index("--constraint")
        assert (ROOT / targets[at + 1]).exists(), f"{block}: {targets[at + 1]}"
        del targets[at : at + 2]
    found = [match for target in targets if (match := wheel.fullmatch(target))]
    assert len(found) == 1, f"{block}: pip {words}"
    for extra in (found[0][1] or "").split(","):
        assert not extra or extra in project["optional-dependencies"], f"{block}: no extra {extra}"
    others = [target for target in targets if not wheel.fullmatch(target)]
    assert others in ([], [f"apache-airflow=={version('apache-airflow')}"]), f"{block}: pip {words}"


def _manifold(block: Block, words: list[str]) -> None:
    # Parses the arguments as the program does, and runs nothing.
    name, *arguments = [word for word in words if word != "--demo"]
    _program().commands[name].make_context(name, list(arguments))


def _docker(block: Block, words: list[str]) -> None:
    # The files and services that it names; the rest is Docker's own.
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for word in words:
        if word.endswith(".yml"):
            assert (ROOT / word).exists(), f"{block}: {word}"
        if found := re.fullmatch(r"([a-z-]+)=\d+", word):
            assert found[1] in services, f"{block}: {word}"
    for verb in ("build", "exec", "run"):
        if words[0] == "compose" and verb in words:
            named = next(word for word in words[words.index(verb) + 1 :] if not word.startswith("-"))
            assert named in services, f"{block}: {named}"


def _certificates(block: Block, words: list[str]) -> None:
    assert words, f"{block}: the certificate's name is missing"


def _git(block: Block, words: list[str]) -> None:
    assert words == ["pull"], f"{block}: git {words}"


def _ran_elsewhere(block: Block, words: list[str]) -> None:
    assert block.page.parent.name == "engines", f"{block}: tests/remote/test_broker_specific.py does not run it"


def _dask(block: Block, words: list[str]) -> None:
    # Parses the arguments as Dask does, and runs nothing. The files that they name are the reader's.
    name, *arguments = [word for word in words if not word.endswith((".pem", ".key")) and not word.startswith("--tls-")]
    command = import_module(f"distributed.cli.dask_{name}").main
    command.make_context(name, arguments)
    known = {option for parameter in command.params for option in parameter.opts}
    assert known >= {word for word in words if word.startswith("--tls-")}, f"{block}: dask {words}"


_CHECKS: dict[str, Callable[[Block, list[str]], None]] = {
    "make": _make,
    "pip": _pip,
    "manifold": _manifold,
    ".venv/bin/manifold": _manifold,
    "dask": _dask,
    "docker": _docker,
    "deploy/tls/make": _certificates,
    "git": _git,
    "rabbitmqctl": _ran_elsewhere,
    "redis-cli": _ran_elsewhere,
}


@cache
def _program() -> Any:
    return typer.main.get_command(app)


def _parsed_by_airflow(commands: list[list[str]], env: dict[str, str]) -> None:
    code = (
        "import json, sys\nfrom airflow.cli.cli_parser import get_parser\n"
        "for words in json.load(sys.stdin): get_parser().parse_args(words)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=env | {"AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"},
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert told.returncode == 0, told.stderr


@cache
def _texts() -> tuple[str, ...]:
    """Every text in our source, and in what of Airflow an author meets; `…` where a value is put in."""
    found: list[str] = []
    ours = (ROOT / "include").rglob("*.py")
    theirs = Path(str(distribution("apache-airflow-task-sdk").locate_file("airflow/sdk"))).rglob("*.py")
    for path in (*ours, *theirs):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [one.value if isinstance(one, ast.Constant) else "…" for one in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)
