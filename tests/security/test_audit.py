"""What `make audit` says of what pip-audit says."""

from __future__ import annotations

import json

import pytest

from tests.security.audit import report


def answer(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages})


def test_a_known_vulnerability_fails_it_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    bug = {"id": "PYSEC-1", "fix_versions": ["2.0"]}
    assert report("lock", answer({"name": "a", "version": "1.0", "vulns": [bug]}), "") == 1
    assert "a 1.0: PYSEC-1, fixed in 2.0" in capsys.readouterr().out


def test_packages_without_one_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert report("lock", answer({"name": "a", "version": "1.0", "vulns": []}), "") == 0
    assert "1 packages audited, 0 known" in capsys.readouterr().out


def test_a_database_that_cannot_be_asked_is_no_finding_and_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert report("lock", "", "…\nConnectionError: no route to host") == 0
    assert "not audited" in capsys.readouterr().out
    assert report("lock", answer({"name": "a", "skip_reason": "not found"}), "") == 0
    assert "1 packages not audited: not found" in capsys.readouterr().out
