"""Blobs that are gone, altered, of another place, or in a store that cannot be reached: never a shorter list."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from manifold import config
from manifold.errors import ResultsLost, StoreError, StoreNotShared, WireError
from manifold.ledger.verify import verify_blobs
from manifold.protocol import codec, envelope
from manifold.results.blobs import Blobs
from manifold.sources import take
from manifold.stores.file import FileStore
from tests.results.conftest import CountingStore, Place

DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda blob: blob.unlink(),
    "empty": lambda blob: blob.write_bytes(b""),
    "cut short": lambda blob: blob.write_bytes(blob.read_bytes()[:-1]),
    "altered at its end": lambda blob: blob.write_bytes(blob.read_bytes()[:-1] + b"?"),
    "altered in its header": lambda blob: blob.write_bytes(blob.read_bytes().replace(b"result", b"resulT", 1)),
    "altered in its signature": lambda blob: blob.write_bytes(_other_signature(blob.read_bytes())),
    "something else": lambda blob: blob.write_bytes(b"\x80\x04K\x01."),
}


def _other_signature(data: bytes) -> bytes:
    at = 8 + int.from_bytes(data[4:8], "big")
    return data[:at] + bytes(32) + data[at + 32 :]


def square(n: int) -> int:
    return n * n


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_blob_is_results_lost_with_what_to_do_and_the_ledger_knows(place: Place, damage: str) -> None:
    results = place.anew(place.scatter(square, range(50)))
    DAMAGES[damage](place.blob(results, 2))
    values = iter(results)
    assert take(values, 20) == [n * n for n in range(20)], "what lies before it is handed out"
    with pytest.raises(ResultsLost) as caught:
        next(values)
    assert "items 20 to 29" in str(caught.value)
    assert f"manifold redrive --lost {results.uid}" in str(caught.value)
    assert place.suspects(results) == [(20, 30)]
    assert results[35] == 35 * 35, "other chunks can still be read"
    with pytest.raises(ResultsLost):
        results[25]
    with pytest.raises(ResultsLost):
        list(results.pairs())


def test_the_blob_of_another_chunk_does_not_stand_in(place: Place) -> None:
    results = place.anew(place.scatter(square, range(50)))
    shutil.copy(place.blob(results, 1), place.blob(results, 2))
    with pytest.raises(ResultsLost, match="for another place"):
        list(results)
    assert place.suspects(results) == [(20, 30)]


def test_a_signed_blob_with_too_few_results_is_found_out(place: Place) -> None:
    results = place.anew(place.scatter(square, range(50)))
    row = place.chunks(results)[1]
    header = envelope.Header("result", row.uid, config.keyring().current, start=10, stop=20, attempt=row.attempt)
    forged = envelope.seal(config.keyring(), header, codec.encode_values([1, 2, 3]))
    place.blob(results, 1).write_bytes(forged)
    with place.ledger.database.engine.begin() as connection:
        digest = {"digest": envelope.sealed_digest(forged), "attempt": row.attempt}
        connection.execute(text("UPDATE chunk SET blob_digest = :digest WHERE attempt = :attempt"), digest)
    with pytest.raises(ResultsLost, match="holds 3 results, and the ledger counts 10"):
        list(results)


def test_a_store_of_another_place_condemns_nothing(place: Place, tmp_path: Path) -> None:
    results = place.scatter(square, range(50))
    with pytest.raises(StoreNotShared, match="MANIFOLD_STORE"):
        list(place.anew(results, FileStore(tmp_path / "elsewhere")))
    assert place.suspects(results) == []
    moved = place.store.root.with_name("moved")
    place.store.root.rename(moved)
    with pytest.raises(StoreNotShared):
        list(place.anew(results))
    assert place.suspects(results) == []
    moved.rename(place.store.root)
    assert list(place.anew(results)) == [n * n for n in range(50)]


def test_a_store_that_does_not_answer_condemns_nothing(place: Place) -> None:
    results = place.anew(place.scatter(square, range(50)))
    blob = place.blob(results, 2)
    kept = blob.read_bytes()
    blob.unlink()
    blob.symlink_to(blob)
    with pytest.raises(StoreError) as caught:
        list(results)
    assert type(caught.value) is StoreError
    assert place.suspects(results) == []
    blob.unlink()
    blob.write_bytes(kept)
    assert list(results) == [n * n for n in range(50)]


def test_one_bad_read_is_not_believed(place: Place) -> None:
    class Stutters(CountingStore):
        def get(self, key: str) -> bytes:
            value = super().get(key)
            return value[:-5] if self.read.count(key) == 1 else value

    results = place.anew(place.scatter(square, range(50)), Stutters(place.store.root))
    assert list(results) == [n * n for n in range(50)]
    assert place.suspects(results) == []


def test_a_reader_with_another_secret_condemns_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    results = place.scatter(square, range(50))
    key_id = config.keyring().current
    for secret, said in ((f"{key_id}:{'ab' * 32}", "MANIFOLD_SECRET must be the same"), (f"x:{'ab' * 32}", key_id)):
        monkeypatch.setenv("MANIFOLD_SECRET", secret)
        with pytest.raises(WireError, match=said):
            list(place.anew(results))
    assert place.suspects(results) == []


def test_nothing_unsigned_is_unpickled(place: Place) -> None:
    results = place.anew(place.scatter(square, range(10)))
    unpickled = place.store.root / "unpickled"
    bomb = envelope.dumps(_Bomb(str(unpickled)))
    keyring = envelope.Keyring({config.keyring().current: b"another secret of theirs"})
    row = place.chunks(results)[0]
    header = envelope.Header("result", row.uid, keyring.current, start=0, stop=10, attempt=row.attempt)
    for data in (bomb, envelope.seal(keyring, header, bomb)):
        place.blob(results, 0).write_bytes(data)
        with pytest.raises(ResultsLost):
            list(place.anew(results))
    assert not unpickled.exists()


class _Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (self.path, "w")


def test_a_chunk_that_is_withdrawn_leaves_no_shorter_list(place: Place) -> None:
    results = place.scatter(square, range(50))
    with place.ledger.database.engine.begin() as connection:
        connection.execute(text("DELETE FROM chunk WHERE start = 20"))
    for use in (list, lambda it: list(it.pairs()), lambda it: it[0]):
        with pytest.raises(ResultsLost, match=r"items 20 to 29 .*latest\(\)"):
            use(place.anew(results))
    with place.ledger.database.engine.begin() as connection:
        connection.execute(text("DELETE FROM chunk WHERE start >= 20"))
    with pytest.raises(ResultsLost, match="items 20 to 49"):
        list(place.anew(results))


def test_a_lost_quarantine_says_so_only_where_it_is_asked_for(place: Place) -> None:
    def refuse(n: int) -> None:
        raise ValueError(n)

    results = place.scatter(refuse, range(10))
    row = place.chunks(results)[0]
    assert row.fail_key is not None
    (place.store.root / row.fail_key).unlink()
    failures = list(place.anew(results).failures())
    assert [one.position for one in failures] == list(range(10))
    with pytest.raises(ResultsLost, match="items 0 to 9"):
        _ = failures[3].item


def larger(left: int, right: int) -> int:
    return max(left, right)


def _functions(place: Place, uid: str) -> list[Path]:
    """Where the functions of a scatter's tries rest, by epoch."""
    return sorted(place.store.root.glob(f"*/{uid}/function.*"))


def test_the_function_of_another_try_does_not_stand_in_for_the_one_that_the_ledger_names(place: Place) -> None:
    first = place.scatter(square, range(5), scatter_id="folded", reduce=larger, initial=0)
    second = place.scatter(lambda n: n * n + 1, range(5), scatter_id="folded", reduce=larger, initial=0)
    assert first.uid == second.uid
    earlier, later = _functions(place, first.uid)
    shutil.copy(earlier, later)
    with pytest.raises(ResultsLost, match=r"the function of another try.*\.value\(reduce="):
        place.anew(second).value()
    assert place.anew(second).value(larger, initial=0) == 16, "the results themselves are as they were"
    violations = verify_blobs(place.ledger, first.uid, place.store)
    assert [(one.invariant, "digest" in one.text) for one in violations] == [("I7", True)]


@pytest.mark.parametrize("damage", ["cut short", "altered at its end"])
def test_a_function_that_was_altered_is_results_lost_with_what_to_do(place: Place, damage: str) -> None:
    results = place.scatter(square, range(5), reduce=larger)
    (function,) = _functions(place, results.uid)
    DAMAGES[damage](function)
    with pytest.raises(ResultsLost, match="is not the function that scatter"):
        place.anew(results).value()


def test_the_log_of_another_execution_of_a_chunk_does_not_stand_in(place: Place) -> None:
    results = place.scatter(lambda n: print(n), range(5), keep_logs=True)
    row = place.chunks(results)[0]
    assert row.blob_key is not None
    log = place.store.root / f"{row.blob_key.rpartition('.')[0]}.l"
    keyring = config.keyring()
    header, payload = envelope.unseal(keyring, log.read_bytes(), "log")
    log.write_bytes(envelope.seal(keyring, msgspec.structs.replace(header, nonce="another"), payload))
    with pytest.raises(WireError, match="nonce"):
        Blobs(place.ledger, place.store, keyring, place.ledger.scatter(results.uid)).log(row)
