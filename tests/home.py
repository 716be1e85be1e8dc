"""The fixture of tests that have a home, a ledger and a store of their own, for the folders that want it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, in which whatever is not named otherwise comes to rest."""
    for name in ("MANIFOLD_LEDGER", "MANIFOLD_STORE", "MANIFOLD_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
