"""Programs in a folder of their own, run one after the other in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


class Folder:
    """A folder of an author's: programs and modules, with ledger and store beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root / "project"
        self.root.mkdir()
        self._home = root / "home"

    def write(self, name: str, text: str) -> None:
        """Write a file, whose text may be indented."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments, and return what it said; its exit code is not looked at."""
        environment = {**os.environ, "MANIFOLD_HOME": str(self._home), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd or self.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def says(self, *arguments: str, cwd: Path | None = None) -> str:
        """Run Python with these arguments, and return what it printed; a failure is one of the test."""
        done = self.run(*arguments, cwd=cwd)
        assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-1000:]
        return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
