"""The examples in docs/adapters.md are the code that they claim to be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from manifold.engines.open import open_engine
from manifold.registry import ENGINES

GUIDE = Path(__file__).parents[2] / "docs" / "adapters.md"


@pytest.mark.parametrize(("name", "at", "longest"), [("lanes", 0, 100), ("rows", -2, 45)])
def test_an_example_passes_the_contract_tests_as_the_guide_shows_them(
    name: str, at: int, longest: int, tmp_path: Path
) -> None:
    """`longest`: lines of code, as the guide says of it."""
    code = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    adapter, contract = code[at], code[at + 1]
    assert sum(bool(line.strip()) for line in adapter.splitlines()) < longest
    (tmp_path / f"{name}.py").write_text(adapter)
    (tmp_path / f"test_{name}.py").write_text(contract)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # so that pytest looks no further up for settings
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=250", f"test_{name}.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"\d\d passed", run.stdout)


def test_the_row_of_the_guide_is_one_that_opens_the_engine_of_the_guide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _, row, *_ = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    ((group, point),) = re.findall(r"```toml\n\[project.entry-points.\"(.*?)\"\]\n(.*?)\n```", GUIDE.read_text())
    (tmp_path / "lanes.py").write_text(engine)
    (tmp_path / "lanes_row.py").write_text(row)
    about = tmp_path / "airflow_lanes-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: airflow-lanes\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{point}\n".replace('"', ""))
    monkeypatch.syspath_prepend(tmp_path)
    found = ENGINES.row("lanes://2")
    with open_engine("lanes://2") as lanes:
        assert lanes.slots() == 2
        assert found.path == f"{type(lanes).__module__}:{type(lanes).__qualname__}"
