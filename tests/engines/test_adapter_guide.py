"""The example in docs/adapters.md is the code that it claims to be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "adapters.md"
LONGEST = 100  # lines of code, as the guide says of it


def test_the_example_engine_passes_the_contract_tests_as_the_guide_shows_them(tmp_path: Path) -> None:
    engine, contract, *_ = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert sum(bool(line.strip()) for line in engine.splitlines()) < LONGEST
    (tmp_path / "lanes.py").write_text(engine)
    (tmp_path / "test_lanes.py").write_text(contract)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # so that pytest looks no further up for settings
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=250", "test_lanes.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"\d\d passed", run.stdout)
