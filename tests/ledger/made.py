"""Scatters, attempts and receipts, as the tests of the ledger make them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Self

import msgspec
from sqlalchemy import Connection, delete, insert, select

from manifold.abc import Store
from manifold.errors import BlobNotFound
from manifold.ledger import Claim, Ledger, NewScatter, Owner, verify
from manifold.ledger.tables import metadata
from manifold.protocol import outcome
from manifold.protocol.records import Attempt, ChunkRow, Failure, Receipt, Why

_UNTOLD = {"claimed_at", "lease_until", "created_at", "ended_at", "committed_at", "sent_at", "last_seen", "at"}
_UNTOLD |= {"owner_token", "token", "suspect_at", "began_at"}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Shelf(Store):
    """A store that is a dict."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        return cls()

    def put(self, key: str, value: bytes) -> None:
        self.held[key] = value

    def get(self, key: str) -> bytes:
        try:
            return self.held[key]
        except KeyError:
            raise BlobNotFound(key) from None

    def delete(self, key: str) -> None:
        self.held.pop(key, None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return (key for key in list(self.held) if key.startswith(prefix))


def new(name: str = "flights", **changes: Any) -> NewScatter:
    """A scatter to be made."""
    made = NewScatter(
        name=name,
        engine="processes://2",
        source_kind="range",
        store_url="memory://",
        store_uuid="store",
        key_id="k1",
        fn_name="fetch",
    )
    return msgspec.structs.replace(made, **({"uid": uuid.uuid4().hex} | changes))


def owner(number: int = 1, **changes: Any) -> Owner:
    """A coordinator on a host of its own, about which nobody here can tell whether it lives."""
    return msgspec.structs.replace(Owner(f"coordinator {number}", f"host {number}", number, 1.0), **changes)


def claimed(ledger: Ledger, name: str = "flights", **changes: Any) -> Claim:
    """A scatter that runs, owned by coordinator 1."""
    return ledger.acquire(ledger.create(new(name, **changes)).uid, owner())


def planned(claim: Claim, start: int, stop: int, *, layer: int = 0, id_: str = "", why: Why = "first") -> Attempt:
    """An attempt that is not written down yet."""
    return Attempt(id_ or uuid.uuid4().hex, claim.uid, layer, start, stop, claim.epoch, why)


def sent(claim: Claim, start: int, stop: int, *, layer: int = 0, id_: str = "", why: Why = "first") -> Attempt:
    """An attempt that is written down."""
    attempt = planned(claim, start, stop, layer=layer, id_=id_, why=why)
    claim.commit(attempts=[attempt])
    return attempt


def receipt(attempt: Attempt, letters: str = "", *, nonce: str = "n1", kind: str = "boom", **changes: Any) -> Receipt:
    """What a worker says of the first items of an attempt: one letter each; without letters, all ok."""
    stop = attempt.start + len(letters) if letters else attempt.stop
    code = outcome.encode(letters or "o" * (stop - attempt.start))
    counts = outcome.count(code, stop - attempt.start)
    key = f"ledger/{attempt.uid}/{attempt.start:016x}-{stop:016x}.{attempt.id}.{nonce}"
    failed = list(outcome.positions(code, attempt.start, stop, "f"))
    made = Receipt(
        uid=attempt.uid,
        epoch=attempt.epoch,
        layer=attempt.layer,
        attempt=attempt.id,
        nonce=nonce,
        start=attempt.start,
        stop=stop,
        n_ok=counts.ok,
        n_failed=counts.failed,
        n_skipped=counts.skipped,
        worker="worker 1",
        host="host 1",
        pid=1,
        seconds=0.5,
        outcome=code,
        blob_key=f"{key}.r" if counts.ok else None,
        blob_digest="d" if counts.ok else None,
        fail_key=f"{key}.f" if counts.failed else None,
        fail_digest="d" if counts.failed else None,
        failures=[Failure(pos, kind, "ValueError", f"{kind} at {pos}") for pos in failed],
        kinds={kind: f"Traceback of {kind}"} if failed else {},
    )
    return msgspec.structs.replace(made, **changes)


def done(claim: Claim, start: int, letters: str, *, layer: int = 0, **changes: Any) -> ChunkRow:
    """A committed chunk: sent, come back, counted."""
    attempt = sent(claim, start, start + len(letters), layer=layer)
    committed = claim.commit([receipt(attempt, letters, **changes)])
    assert committed.won == [True]
    rows = claim_rows(claim)
    return next(row for row in rows if row.attempt == attempt.id)


def claim_rows(claim: Claim) -> list[ChunkRow]:
    """Every committed chunk of the scatter."""
    return [row for one in claim.ledger.merged(claim.uid) for row in (one.base, *one.overlays)]


def letters(ledger: Ledger, uid: str, *, as_of: int | None = None) -> str:
    """One letter per item: what became of it, by all layers; `_` where nothing is committed."""
    text = ""
    for merged in ledger.merged(uid, as_of=as_of):
        text += "_" * (merged.base.start - len(text))
        text += "".join(run.letter * (run.stop - run.start) for run in merged.runs())
    return text


def sound(ledger: Ledger) -> None:
    """Every invariant holds."""
    assert verify(ledger) == []


def dump(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the ledger holds, but for times and random marks."""
    held = {}
    with ledger.database.engine.connect() as conn:
        for table in metadata.sorted_tables:
            told = [column for column in table.c if column.name not in _UNTOLD]
            if table.name != "meta":
                held[table.name] = sorted(map(tuple, conn.execute(select(*told))), key=repr)
    return held


def copied(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """All rows as they are now, as a replica that lags has them."""

    def read(conn: Connection) -> dict[str, list[dict[str, Any]]]:
        return {
            table.name: [dict(one) for one in conn.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }

    return ledger.database.read(read)


def fail_over(ledger: Ledger, copy: dict[str, list[dict[str, Any]]]) -> None:
    """What was committed since the copy is lost."""

    def write(conn: Connection) -> None:
        for table in metadata.sorted_tables:
            conn.execute(delete(table))
            if copy[table.name]:
                conn.execute(insert(table), copy[table.name])

    ledger.database.write(write)
