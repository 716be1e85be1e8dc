"""`manifold verify` and `manifold failed`: the proof, and the quarantine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import update

from manifold.cli import shapes
from manifold.ledger import Ledger
from manifold.ledger.tables import chunk, scatter
from tests.cli.conftest import Cli, said


def blobs(home: Path) -> list[Path]:
    """The result blobs of the store."""
    return sorted((home / "store").rglob("*.r"))


def test_a_sound_scatter_is_proved(cli: Cli, pages: str) -> None:
    verified = said(cli("verify", pages, "--deep", "--json"), shapes.Verified)
    assert (verified.ok, verified.deep, verified.scatters, verified.violations) == (True, True, 1, [])
    text = cli("verify", pages).stdout
    assert "80 succeeded, 20 failed, 0 skipped, 0 without outcome, as the ledger proves" in text
    assert "every item of 1 scatter is accounted for, as ledger and store prove" in cli("verify", "--deep").stdout


def test_counters_that_are_not_the_sums_are_found(cli: Cli, book: Ledger, pages: str) -> None:
    book.database.write(lambda conn: conn.execute(update(scatter).values(n_ok=scatter.c.n_ok + 1)))
    verified = said(cli("verify", "--json"), shapes.Verified, code=1)
    assert {one.invariant for one in verified.violations} == {"I3"}
    result = cli("verify", pages)
    assert result.exit_code == 1
    assert "I3" in result.stdout


def test_a_blob_that_is_gone_is_found_only_by_a_deep_look(cli: Cli, home: Path, pages: str) -> None:
    blobs(home)[0].unlink()
    assert cli("verify", pages).exit_code == 0
    verified = said(cli("verify", pages, "--deep", "--json"), shapes.Verified, code=1)
    assert [one.invariant for one in verified.violations] == ["I7"]
    assert "the store has no such key" in verified.violations[0].text


def test_a_blob_in_another_ones_place_is_found(cli: Cli, home: Path, book: Ledger, pages: str) -> None:
    first, second = blobs(home)[:2]
    second.write_bytes(first.read_bytes())
    key = str(second.relative_to(home / "store"))
    digest = book.chunks(book.scatters()[0].uid)[0].blob_digest
    book.database.write(
        lambda conn: conn.execute(update(chunk).where(chunk.c.blob_key == key).values(blob_digest=digest))
    )
    verified = said(cli("verify", pages, "--deep", "--json"), shapes.Verified, code=1)
    assert "signed, but for another place" in verified.violations[0].text


def test_a_store_that_is_another_one_is_no_violation(
    cli: Cli, pages: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MANIFOLD_STORE", (tmp_path / "elsewhere").as_uri())
    result = cli("verify", pages, "--deep")
    assert result.exit_code == 4
    assert "this is not the store that the scatter wrote to" in result.stderr


def test_failed_items_are_listed_by_position(cli: Cli, pages: str) -> None:
    failed = said(cli("failed", pages, "--limit", "3", "--json"), shapes.FailedItems)
    assert (failed.failed, failed.exported) == (20, None)
    assert [(one.position, one.type, one.item) for one in failed.items] == [
        (3, "ValueError", "3"),
        (7, "KeyError", "7"),
        (13, "ValueError", "13"),
    ]
    result = cli("failed", pages, "--limit", "3")
    assert "no 13" in result.stdout
    assert "3 of 20 failed items" in result.stdout


def test_failed_items_of_one_kind(cli: Cli, pages: str) -> None:
    shown = said(cli("show", pages, "--json"), shapes.Shown)
    mark = next(kind.fingerprint for kind in shown.errors if kind.type == "KeyError")
    for wanted in ("KeyError", mark):
        failed = said(cli("failed", pages, "--only-error", wanted, "--json"), shapes.FailedItems)
        assert failed.failed == 10
        assert [one.position for one in failed.items] == list(range(7, 100, 10))
    other = cli("failed", pages, "--only-error", "OSError")
    assert other.exit_code == 2
    assert "no item is failed by OSError" in other.stderr


def test_failed_items_are_exported_with_item_and_traceback(cli: Cli, pages: str, tmp_path: Path) -> None:
    failed = said(cli("failed", pages, "--export", "out.jsonl", "--limit", "0", "--json"), shapes.FailedItems)
    assert (failed.exported, failed.items) == (20, [])
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["value"] for line in lines] == [x for x in range(100) if x % 10 in (3, 7)]
    assert all(list(line) == list(shapes.Exported.__struct_fields__) for line in lines)
    assert "raise ValueError" in lines[0]["traceback"]


def test_a_scatter_without_failures_says_so(cli: Cli, work: str) -> None:
    assert cli("run", f"{work}:half", "--items", "range:3", "--engine", "threads://1", "--id", "fine").exit_code == 0
    assert "fine has no failed items" in cli("failed", "fine").stdout
