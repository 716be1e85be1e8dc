"""The contract of a store, as tests: define a fixture `store_row` and subclass `StoreContract`.

::

    @pytest.fixture
    def store_row(tmp_path: Path) -> StoreRow:
        return StoreRow("shelf", partial(open_store, f"shelf://{tmp_path}"))

    class TestShelf(StoreContract):
        pass

A store that other processes see is held to `SharedStoreContract` as well.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection

import pytest

from manifold.abc import Store
from manifold.errors import BlobNotFound, ConfigError, StoreError, StoreNotShared
from manifold.stores.marker import check_marker, mark

SLOW = 60.0
"""Seconds after which something on a loaded machine counts as stuck."""

RUN = "0123abcd/7f00"
BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/.b",
    ".a",
    "a b",
    "a\n",
    "a\0b",
    "ä",
    "a\\b",
    "k" * 201,
]


@dataclass(frozen=True)
class StoreRow:
    """One store, as the contract tests need to know it.

    Args:
        scheme: that of its URLs.
        open: opens it at a place that was empty before the test, the same one each time. It can be pickled.
        raw: reads a key's bytes without the adapter, as they rest; None where there is no other way to them.
    """

    scheme: str
    open: Callable[[], Store]
    raw: Callable[[str], bytes] | None = None


class StoreContract:
    """What every store must do. Each test has an empty place of its own."""

    @pytest.fixture
    def store(self, store_row: StoreRow) -> Iterator[Store]:
        store = store_row.open()
        yield store
        store.close()

    @pytest.mark.parametrize("size", [0, 1, 4096, 3_000_000])
    def test_what_is_put_is_what_is_got(self, store: Store, size: int) -> None:
        value = random.Random(size).randbytes(size)
        store.put(f"{RUN}/k", value)
        got = store.get(f"{RUN}/k")
        assert type(got) is bytes
        assert got == value

    def test_bytes_rest_as_they_were_put(self, store: Store, store_row: StoreRow) -> None:
        value = bytes(range(256))
        store.put(f"{RUN}/k.r", value)
        assert (store_row.raw or store_row.open().get)(f"{RUN}/k.r") == value

    def test_the_same_place_opened_anew_has_the_same_blobs(self, store: Store, store_row: StoreRow) -> None:
        store.put(f"{RUN}/k", b"kept")
        again = store_row.open()
        assert again.get(f"{RUN}/k") == b"kept"
        again.close()

    def test_a_key_that_was_never_put_is_not_found(self, store: Store) -> None:
        store.put(f"{RUN}/k", b"")
        for key in ("nothing", f"{RUN}/nothing", f"{RUN}/k2", RUN):
            with pytest.raises(BlobNotFound):
                store.get(key)

    def test_what_is_deleted_is_gone_and_the_rest_is_not(self, store: Store) -> None:
        store.put(f"{RUN}/a", b"a")
        store.put(f"{RUN}/b", b"b")
        store.delete(f"{RUN}/a")
        with pytest.raises(BlobNotFound):
            store.get(f"{RUN}/a")
        assert store.get(f"{RUN}/b") == b"b"
        assert list(store.keys()) == [f"{RUN}/b"]

    def test_deleting_what_is_not_there_is_no_error(self, store: Store) -> None:
        store.delete("nothing")
        store.put(f"{RUN}/a", b"a")
        store.delete(f"{RUN}/a")
        store.delete(f"{RUN}/a")
        store.delete(f"{RUN}/b")
        assert list(store.keys()) == []

    def test_a_place_can_be_filled_again_after_it_was_emptied(self, store: Store) -> None:
        for _ in range(3):
            store.put(f"{RUN}/a", b"a")
            store.delete(f"{RUN}/a")
        store.put(f"{RUN}/a", b"again")
        assert store.get(f"{RUN}/a") == b"again"

    def test_the_same_put_twice_is_one_blob(self, store: Store) -> None:
        # A put whose answer was lost comes again.
        store.put(f"{RUN}/a", b"a")
        store.put(f"{RUN}/a", b"a")
        assert store.get(f"{RUN}/a") == b"a"
        assert list(store.keys()) == [f"{RUN}/a"]

    def test_keys_are_those_with_the_prefix_and_no_others(self, store: Store) -> None:
        # Wildcards of SQL, names that differ in case, folders of which one begins like the other.
        keys = ["a/b/1", "a/b/2.r", "a/bc/1", "A/b/1", "a_b/1", "axb/1", "a-b/1", "ab", "b/a/b/1", "a.b/c/d/e/f"]
        for key in keys:
            store.put(key, key.encode())
        for prefix in ("", "a", "a/", "a/b", "a/b/", "a/b/1", "a_", "a.b/c/d", "A", "z", "z/z/", "a/b/1/"):
            assert sorted(store.keys(prefix)) == sorted(key for key in keys if key.startswith(prefix)), prefix

    def test_keys_can_be_deleted_while_they_are_listed(self, store: Store) -> None:
        for number in range(20):
            store.put(f"{RUN}/{number:04x}", b"")
        for key in store.keys(f"{RUN}/"):
            store.delete(key)
        assert list(store.keys()) == []

    def test_an_empty_store_has_no_keys(self, store: Store) -> None:
        assert list(store.keys()) == []
        assert list(store.keys("a/b")) == []

    def test_there_may_be_more_than_a_thousand_keys(self, store: Store) -> None:
        keys = [f"{RUN}/{number:016x}-x" for number in range(1100)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda key: store.put(key, b""), keys))
        assert sorted(store.keys(RUN)) == keys

    def test_a_key_may_have_two_hundred_characters(self, store: Store) -> None:
        key = "f" * 32 + "/" + "k" * 167
        store.put(key, b"long")
        assert store.get(key) == b"long"
        assert list(store.keys(key[:100])) == [key]

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_a_key_out_of_bounds_is_refused_everywhere(self, store: Store, key: str) -> None:
        for use in (lambda: store.put(key, b""), lambda: store.get(key), lambda: store.delete(key)):
            with pytest.raises(ConfigError):
                use()

    @pytest.mark.parametrize("prefix", ["/", "..", "../", "a/../", "a//", "%", "a b", "*"])
    def test_a_prefix_out_of_bounds_is_refused(self, store: Store, prefix: str) -> None:
        with pytest.raises(ConfigError):
            list(store.keys(prefix))

    def test_many_threads_can_use_it_at_once(self, store: Store) -> None:
        def work(number: int) -> bool:
            value = random.Random(number).randbytes(10_000 + number)
            key = f"{RUN}/{number % 3}/{number}"
            store.put(key, value)
            return store.get(key) == value

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(64), timeout=SLOW))
        assert len(list(store.keys(RUN))) == 64

    def test_a_value_beyond_the_limit_is_refused_with_what_to_do(self, store: Store) -> None:
        if store.max_bytes is None:
            assert type(store).max_bytes is None
            return
        with pytest.raises(StoreError, match="chunk"):
            store.put(f"{RUN}/k", bytes(store.max_bytes + 1))
        assert list(store.keys()) == []

    def test_its_marker_stays_the_same(self, store: Store, store_row: StoreRow) -> None:
        first = mark(store, "l" * 32)
        assert mark(store, "m" * 32) == first
        again = store_row.open()
        check_marker(again, first)
        again.close()

    def test_a_store_without_the_marker_is_another_one(self, store: Store) -> None:
        mark(store, "l" * 32)
        with pytest.raises(StoreNotShared, match="MANIFOLD_STORE"):
            check_marker(store, "0" * 32)

    def test_it_says_who_sees_it(self, store: Store) -> None:
        assert store.reach in {"process", "host", "hosts"}
        assert store.durable or store.reach == "process"


class SharedStoreContract:
    """What a store must do that other processes see."""

    def test_another_process_sees_what_was_put(self, store_row: StoreRow) -> None:
        store = store_row.open()
        store.put(f"{RUN}/here", b"from here")
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("spawn").Process(target=_answer, args=(store_row.open, theirs))
        child.start()
        assert ours.poll(SLOW)
        assert ours.recv() == b"from here"
        child.join(SLOW)
        assert store.get(f"{RUN}/there") == b"from there"
        store.close()

    def test_a_put_that_is_killed_leaves_nothing_or_the_whole(self, store_row: StoreRow) -> None:
        """Kill -9 again and again, at another moment each time, a process that puts blobs of 50 MB."""
        delays = random.Random(9)
        announced: set[str] = set()
        for round_number in range(3):
            ours, theirs = multiprocessing.Pipe()
            args = (store_row.open, theirs, round_number)
            child = multiprocessing.get_context("spawn").Process(target=_put_without_end, args=args)
            child.start()
            theirs.close()
            assert ours.poll(SLOW), "the child put nothing"
            announced.add(ours.recv())
            while ours.poll(delays.uniform(0.0, 0.3)):
                announced.add(ours.recv())
                if delays.random() < 0.5:
                    break
            child.kill()
            child.join(SLOW)
            announced.update(_rest(ours))
        store = store_row.open()
        found = set(store.keys(RUN))
        assert announced <= found, "a put returned, and its value is gone"
        for key in found:
            assert hashlib.sha256(store.get(key)).hexdigest() == key.rpartition(".")[2], f"{key} is there in part"
            store.delete(key)
        store.close()


def _answer(open_it: Callable[[], Store], pipe: Connection) -> None:
    store = open_it()
    store.put(f"{RUN}/there", b"from there")
    pipe.send(store.get(f"{RUN}/here"))
    store.close()


def _put_without_end(open_it: Callable[[], Store], pipe: Connection, round_number: int) -> None:
    store = open_it()
    value = os.urandom(50_000_000)
    digest = hashlib.sha256(value).hexdigest()
    for number in range(1000):
        key = f"{RUN}/{round_number}-{number}.{digest}"
        store.put(key, value)
        pipe.send(key)


def _rest(pipe: Connection) -> Iterator[str]:
    """What was said before the other end was cut off."""
    try:
        while pipe.poll(0):
            yield pipe.recv()
    except (EOFError, OSError):
        return
