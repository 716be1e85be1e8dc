"""A ledger in SQLite gives the disk space of collected scatters back."""

from __future__ import annotations

from pathlib import Path

from manifold.ledger import gc, open_ledger
from manifold.ledger.compaction import compact
from tests.ledger.made import Shelf, claimed, done, sound


def test_the_file_shrinks_once_what_filled_it_is_collected(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{path}")
    files = {"files": [f"s3://bucket/part-{number:06d}.parquet" for number in range(20_000)]}
    living = claimed(ledger, "living")
    done(living, 0, "oof")
    for name in ("a", "b"):
        claimed(ledger, name, source_pin=files).end("failed", "x")
    engine = ledger.database.engine
    assert not compact(engine, worth=1), "nothing is free yet"
    assert len(gc.sweep(ledger, lambda row: Shelf(), older_than=-1)) == 2
    assert not compact(engine), "it is not worth it"
    assert compact(engine, worth=1)
    assert path.stat().st_size < 300_000
    assert not compact(engine, worth=1)
    done(living, 3, "oo")
    sound(ledger)
    ledger.close()
