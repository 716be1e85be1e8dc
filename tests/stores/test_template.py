"""What the template does for every store, and that a store which does it all itself still works."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self, cast

import pytest

import manifold
from manifold.abc import Store
from manifold.adapter import Adapter, Form
from manifold.errors import BlobNotFound, ConfigError, StoreError
from manifold.ledger import Ledger
from manifold.registry import STORES
from manifold.stores import open_store
from tests.ledger.made import Shelf


class ClientError(Exception):
    """What the library of `ShelfStore` raises."""


class ShelfStore(Store):
    """A store of somebody's: four methods, and the library's error."""

    max_bytes = 1000
    durable, reach = False, "process"
    errors: ClassVar[tuple[type[Exception], ...]] = (ClientError,)
    spaces: ClassVar[dict[str, dict[str, bytes]]] = {}

    def __init__(self, url: str) -> None:
        self.held = self.spaces.setdefault(url, {})
        self.seen: list[str] = []
        self.trouble: Exception | None = None

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        return cls(url)

    def _look(self, key: str) -> None:
        self.seen.append(key)
        if self.trouble is not None:
            raise self.trouble

    def _put(self, key: str, value: bytes) -> None:
        self._look(key)
        self.held[key] = value

    def _get(self, key: str) -> bytes | None:
        self._look(key)
        return self.held.get(key)

    def _delete(self, key: str) -> None:
        self._look(key)
        self.held.pop(key, None)

    def _keys(self, prefix: str) -> Iterable[str]:
        self._look(prefix)
        return [*self.held, "a/.half-written", ".hidden"]


class WholeStore(Shelf):
    """A store as they were written before there was a template: it has `put`, `get`, `delete` and `keys` of its own."""

    durable, reach = False, "process"


URL = "shelf://me:a-secret@host/place?token=another-secret"


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> ShelfStore:
    ShelfStore.spaces.clear()
    row = Adapter("shelf", f"{__name__}:ShelfStore", (Form("shelf://host/place", "a shelf"),))
    monkeypatch.setitem(cast(dict[str, Adapter], STORES.entries), "shelf", row)
    store = open_store(URL)
    assert isinstance(store, ShelfStore)
    return store


def uses(store: Store, key: str) -> dict[str, Any]:
    return {
        f"could not write {key} (3 bytes) to": lambda: store.put(key, b"abc"),
        f"could not read {key} from": lambda: store.get(key),
        f"could not delete {key} from": lambda: store.delete(key),
        f"could not list {key}… of": lambda: list(store.keys(key)),
    }


def test_an_error_of_the_library_becomes_one_that_names_key_url_cause_and_what_to_do(shelf: ShelfStore) -> None:
    shelf.trouble = ClientError(f"no answer from {URL}")
    for said, use in uses(shelf, "a/k").items():
        with pytest.raises(StoreError) as caught:
            use()
        text = str(caught.value)
        assert text.startswith(
            f"{said} shelf://me:***@host/place?token=***: ClientError: no answer from shelf://me:***"
        )
        assert "manifold doctor" in text
        assert "secret" not in text
        assert caught.value.__cause__ is shelf.trouble


def test_an_error_that_is_not_the_librarys_arrives_as_it_is(shelf: ShelfStore) -> None:
    for trouble in (ZeroDivisionError("a fault of the adapter"), ConfigError("not here"), BlobNotFound("gone")):
        shelf.trouble = trouble
        for use in uses(shelf, "a/k").values():
            with pytest.raises(type(trouble)) as caught:
                use()
            assert caught.value is trouble


def test_our_own_errors_stay_what_they_are_where_every_exception_is_the_librarys(shelf: ShelfStore) -> None:
    class Wide(ShelfStore):
        errors = (Exception,)

    wide = Wide(URL)
    wide.trouble = BlobNotFound("gone")
    with pytest.raises(BlobNotFound, match="gone"):
        wide.get("a/k")


def test_a_key_that_is_not_there_is_reported_with_its_url(shelf: ShelfStore) -> None:
    with pytest.raises(BlobNotFound, match=r"^shelf://me:\*\*\*@host/place\?token=\*\*\* has no a/k$"):
        shelf.get("a/k")


def test_what_an_adapter_returns_in_another_form_is_bytes(shelf: ShelfStore) -> None:
    shelf.held["a/k"] = memoryview(b"abc")  # type: ignore[assignment]
    assert shelf.get("a/k") == b"abc"
    assert type(shelf.get("a/k")) is bytes


def test_an_adapter_sees_no_key_out_of_bounds_and_no_value_that_is_too_large(shelf: ShelfStore) -> None:
    for use in uses(shelf, "a/../k").values():
        with pytest.raises(ConfigError):
            use()
    with pytest.raises(StoreError, match=r"1,001 bytes .*@host/place.* \(1,000\), for a/k: .*chunk_size"):
        shelf.put("a/k", bytes(1001))
    assert shelf.seen == []
    shelf.put("a/k", bytes(1000))


def test_what_an_adapter_lists_beyond_the_prefix_is_left_out(shelf: ShelfStore) -> None:
    for key in ("a/1", "ab/1", "b/1"):
        shelf.put(key, b"")
    assert list(shelf.keys("a/")) == ["a/1"]
    assert list(shelf.keys()) == ["a/1", "ab/1", "b/1"]


def test_the_error_of_a_consumer_is_not_taken_for_the_stores(shelf: ShelfStore) -> None:
    shelf.put("a/1", b"")

    def consume() -> None:
        for key in shelf.keys("a"):
            raise ClientError(key)

    with pytest.raises(ClientError, match=r"^a/1$"):
        consume()


def test_a_store_without_an_operation_cannot_be_made() -> None:
    class Half(Store):
        @classmethod
        def from_url(cls, url: str, **options: Any) -> Self:
            return cls()

        def put(self, key: str, value: bytes) -> None: ...

        def _get(self, key: str) -> bytes | None: ...

    with pytest.raises(TypeError, match="Half has no _delete and no _keys"):
        Half()


def test_a_store_without_a_url_is_called_by_its_class() -> None:
    with pytest.raises(BlobNotFound, match="ShelfStore has no a/k"):
        ShelfStore("x").get("a/k")


def test_a_store_that_overrides_every_operation_still_works(ledger: Ledger) -> None:
    store = WholeStore()
    results = manifold.scatter(lambda x: x * x, range(100), engine="threads://2", store=store, ledger=ledger)
    assert list(results) == [x * x for x in range(100)]
    assert store.held


def test_a_store_may_override_one_operation_of_an_adapter(shelf: ShelfStore) -> None:
    class Loud(ShelfStore):
        def put(self, key: str, value: bytes) -> None:
            super().put(key, value.upper())

    loud = Loud("x")
    loud.put("a/k", b"abc")
    assert loud.get("a/k") == b"ABC"
    with pytest.raises(StoreError, match="1,001 bytes"):
        loud.put("a/k", bytes(1001))
