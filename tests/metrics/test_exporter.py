"""`manifold exporter` against a real ledger, read by Prometheus' own tools."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import manifold
from manifold.ledger import open_ledger
from manifold.monitors.prometheus import Page
from tests.metrics.servers import ROOT, exporter, page, promtool


def picky(x: int) -> int:
    if x % 1000 == 7:
        raise ValueError(x)
    if x % 1000 == 8:
        raise manifold.SkipItem
    return x


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """name → values of its labels, by label name → value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, {})[tuple(one.labels[name] for name in sorted(one.labels))] = one.value
    return found


@pytest.fixture
def scattered(home: Path) -> str:
    """The engine on which 10,000 items ran: ten failed, ten were skipped."""
    manifold.scatter(picky, range(10_000), engine="threads://2", tolerate=10, monitors=[], scatter_id="picky")
    return "threads://2"


def test_the_exporter_tells_what_the_ledger_knows_and_promtool_is_content(scattered: str, tmp_path: Path) -> None:
    with exporter(tmp_path) as url:
        text = page(url)
    promtool("check", "metrics", text=text)
    told = samples(text)
    assert told["manifold_ledger_up"] == {(): 1}
    assert told["manifold_scatters"] == {
        ("cancelled",): 0,
        ("drained",): 0,
        ("draining",): 0,
        ("failed",): 0,
        ("paused",): 0,
        ("running",): 0,
        ("stopped",): 0,
        ("succeeded",): 1,
    }
    assert told["manifold_items_total"] == {
        (scattered, "succeeded"): 9980,
        (scattered, "failed"): 10,
        (scattered, "skipped"): 10,
    }
    assert told["manifold_items_quarantined"] == {(scattered,): 10}
    [(_, chunks)] = told["manifold_chunk_seconds_count"].items()
    assert chunks == len(open_ledger().chunks(open_ledger().scatters()[0].uid))
    assert told["manifold_ledger_commit_seconds_count"][()] > 0
    assert told["manifold_bytes_total"][("out", scattered)] > 9980


def test_a_web_server_can_serve_the_same_page(scattered: str) -> None:
    with closing(open_ledger()) as ledger:
        page = Page(lambda: ledger)
        assert "text/plain" in page.content_type
        assert samples(page.render().decode())["manifold_items_total"][scattered, "succeeded"] == 9980


def test_no_label_is_an_id_or_has_a_password(home: Path, tmp_path: Path) -> None:
    results = manifold.scatter(picky, range(5), engine="threads://2", monitors=[], scatter_id="flights/of/today")
    with sqlite3.connect(home / "ledger.db") as conn:
        conn.execute("UPDATE scatter SET engine = 'celery://me:secret@queue?token=abc'")
    with exporter(tmp_path) as url:
        text = page(url)
    names = {name for family in text_string_to_metric_families(text) for one in family.samples for name in one.labels}
    assert names <= {"engine", "state", "outcome", "queue", "host", "direction", "result", "le"}
    for word in (results.uid, "flights/of/today", "secret", "abc"):
        assert word not in text
    assert 'engine="celery://queue"' in text


def test_a_ledger_that_is_gone_is_told_of_and_comes_back(scattered: str, home: Path, tmp_path: Path) -> None:
    ledger = home / "ledger.db"
    hidden = ledger.with_name("hidden.db")
    for path in home.glob("ledger.db*"):
        path.rename(hidden.with_name(path.name.replace("ledger", "hidden")))
    ledger.mkdir()  # SQLite would make a new file
    with exporter(tmp_path) as url:
        assert samples(page(url))["manifold_ledger_up"] == {(): 0}
        ledger.rmdir()
        for path in home.glob("hidden.db*"):
            path.rename(ledger.with_name(path.name.replace("hidden", "ledger")))
        assert samples(page(url))["manifold_ledger_up"] == {(): 1}


def test_the_page_lists_what_the_exporter_exports_and_nothing_else(scattered: str, tmp_path: Path) -> None:
    with exporter(tmp_path) as url:
        families = {
            f"{family.name}_total" if family.type == "counter" else family.name: family.type
            for family in text_string_to_metric_families(page(url))
        }
    text = (ROOT / "docs" / "monitoring.md").read_text()
    documented = dict(re.findall(r"^\| `(manifold_[a-z_]+)` \| ([a-z]+) \|", text, re.MULTILINE))
    assert documented == families
