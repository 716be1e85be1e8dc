"""A home of its own for every test, and the ledger in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manifold import config


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("MANIFOLD_", "AIRFLOW"))]:
        if name != "MANIFOLD_REQUIRE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "fillers", [])
    monkeypatch.setattr(config, "resolvers", [])
    return tmp_path / "home"
