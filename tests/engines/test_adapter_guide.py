"""The examples in docs/adapters.md are the code that they claim to be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.docs.markdown import ROOT, blocks

from manifold.abc import Place
from manifold.engines._remote.place import check_url
from manifold.engines.open import open_engine
from manifold.errors import ConfigError
from manifold.registry import ENGINES

GUIDE = ROOT / "docs" / "adapters.md"
FILES = {block.how.removeprefix("file "): block.text for block in blocks(GUIDE) if block.how.startswith("file ")}
((GROUP, POINTS),) = re.findall(
    r"```toml\n\[project.entry-points.\"(.*?)\"\]\n(.*?)\n```", GUIDE.read_text(), re.DOTALL
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The guide's files, where Python finds them as an installed package."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    about = tmp_path / "airflow_examples-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: airflow-examples\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n{POINTS}\n".replace('"', ""))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # so that pytest looks no further up for settings
    return tmp_path


def run(package: Path, *command: str) -> str:
    """What a command prints that must end well, and finds the package."""
    env = os.environ | {"PYTHONPATH": str(package), "MANIFOLD_HOME": str(package / "home")}
    words: Sequence[str] = [sys.executable, *command]
    told = subprocess.run(words, cwd=package, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@pytest.mark.parametrize(("name", "longest", "tests"), [("lanes", 100, 36), ("folder", 60, 36), ("rows", 45, 20)])
def test_an_example_passes_the_contract_tests_as_the_guide_shows_them(
    name: str, longest: int, tests: int, package: Path
) -> None:
    """`longest`: lines of code, as the guide says of it."""
    assert sum(bool(line.strip()) for line in FILES[f"{name}.py"].splitlines()) < longest
    told = run(package, "-m", "pytest", "-q", "--timeout=250", f"test_{name}.py")
    passed = re.search(r"(\d+) passed in", told)
    assert passed is not None
    assert int(passed[1]) >= tests


def test_the_executor_of_the_guide_is_taken_as_it_is(package: Path) -> None:
    run(package, "own.py")


def test_the_class_of_the_transport_has_forty_lines() -> None:
    body = FILES["folder.py"].partition("class FolderTransport")[2].partition("@contextmanager")[0]
    assert 35 <= sum(bool(line.strip()) for line in body.splitlines()) <= 42


def test_the_row_of_the_guide_is_one_that_opens_the_engine_of_the_guide(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(package)
    found = ENGINES.row("lanes://2")
    with open_engine("lanes://2") as lanes:
        assert lanes.slots() == 2
        assert found.path == f"{type(lanes).__module__}:{type(lanes).__qualname__}"


def test_the_url_of_another_packages_transport_is_read_by_its_row(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(package)
    place = check_url("folder:///mnt/calls?queue=big")
    assert place == Place("folder", "folder:///mnt/calls", "", 0, path="mnt/calls", queue="big")
    with pytest.raises(ConfigError, match="unknown option 'colour'"):
        ENGINES.check("folder:///mnt/calls?colour=red")
