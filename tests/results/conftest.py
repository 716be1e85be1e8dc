"""Scatters on threads, in a home of their own, whose blobs a test can reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import manifold
from manifold.abc import Store
from manifold.ledger import Ledger, open_ledger
from manifold.protocol.records import ChunkRow
from manifold.results.results import Results
from manifold.stores.file import FileStore


class CountingStore(FileStore):
    """A file store that remembers which blobs of results were read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: list[str] = []

    def get(self, key: str) -> bytes:
        if key.endswith(".r"):
            self.read.append(key)
        return super().get(key)


class Place(NamedTuple):
    """Ledger and store of one test; `store` is for readers, scatters open theirs by themselves."""

    ledger: Ledger
    store: CountingStore

    def scatter(self, fn: Callable[..., Any], items: Any, **options: Any) -> Results:
        """A scatter in chunks of ten, that any number of items may fail in."""
        chosen = {"engine": "threads://2", "chunk_size": 10, "tolerate": "100%", "monitors": (), **options}
        return manifold.scatter(fn, items, ledger=self.ledger, **chosen)  # type: ignore[no-any-return]

    def chunks(self, results: Results) -> list[ChunkRow]:
        """The base's rows."""
        return self.ledger.chunks(results.uid)

    def blob(self, results: Results, number: int) -> Path:
        """Where the results of the chunk of that number rest."""
        key = self.chunks(results)[number].blob_key
        assert key is not None
        return self.store.root / key

    def suspects(self, results: Results) -> list[tuple[int, int]]:
        """What the ledger thinks is lost."""
        return [(row.start, row.stop) for row in self.ledger.suspects(results.uid)]

    def anew(self, results: Results, store: Store | None = None) -> Results:
        """The same handle in the hands of another reader, who has nothing in memory."""
        return Results.of(results._scatter, self.ledger, store or self.store)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in ("MANIFOLD_LEDGER", "MANIFOLD_STORE", "MANIFOLD_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    ledger = open_ledger()
    yield Place(ledger, CountingStore(tmp_path / "home" / "store"))
    ledger.close()
