"""What goes into the ledger and what comes out, beside `manifold.protocol.records`: frozen, typed values."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec
import psutil
from sqlalchemy import Table
from sqlalchemy.sql.elements import ColumnElement

from manifold.protocol.records import ScatterRow, Why
from manifold.text import storable

S = TypeVar("S", bound=msgspec.Struct)

_SAME_START = 2.0  # seconds; the boot time, which a process's start is told from, moves a little when a clock is set


class NewScatter(msgspec.Struct, frozen=True, kw_only=True):
    """A scatter that is to be made. `uid` never names another one, whatever becomes of this."""

    name: str
    engine: str
    source_kind: str
    store_url: str
    store_uuid: str
    key_id: str
    fn_name: str
    codec: str = "pickle"
    uid: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    total: int | None = None
    source_fp: str | None = None
    source_pin: dict[str, Any] = {}
    reduce_digest: str | None = None
    consts_digest: str | None = None
    policy: dict[str, Any] = {}
    fn_key: str | None = None
    fn_digest: str | None = None
    system: bool = False


class Owner(msgspec.Struct, frozen=True):
    """A coordinator, as it claims a scatter.

    Attributes:
        text: what people are told, such as "airflow dag/run/task on host 7, pid 123".
        host, pid, pid_started: its process; another one on the same host takes over at once where that is gone.
        claim_key: who claims again and again under growing numbers (one Airflow task instance); None for others.
        claim_no: the number of this claim (the try number); a higher one takes over from a lower one at once.
        claims: how many there are at the most (the tries that Airflow grants so far); 0 where nobody limits them.
        mode, why: what this try does, in a word and in a sentence, for people.
    """

    text: str
    host: str
    pid: int
    pid_started: float
    claim_key: str | None = None
    claim_no: int = 0
    claims: int = 0
    mode: str = ""
    why: str = ""

    @classmethod
    def here(
        cls, text: str = "", *, claim_key: str | None = None, claim_no: int = 0, claims: int = 0, mode: str = ""
    ) -> Owner:
        """This process. Without `text` it is named by host and pid."""
        pid = os.getpid()
        named = text or f"{platform.node()}, pid {pid}"
        return cls(named, _this_host(), pid, psutil.Process(pid).create_time(), claim_key, claim_no, claims, mode)


Ending = Literal["succeeded", "failed", "cancelled", "replaced", "drained", "stopped", "error", "fenced", "lost"]
"""How a try ended. The first four ended the scatter with it; after the others it can be continued: `drained` by a
person, `stopped` by a signal to its process, `error` it could not go on, `fenced` a later try of the same task took
over while it was alive, `lost` its process did not report any more."""


class TryRow(msgspec.Struct, frozen=True):
    """One try at a scatter, as it stands in the ledger. `ended_at` and `ending` are None while it runs; `claim_no` of
    `claims` is its number among the tries of its Airflow task, both 0 for another program."""

    epoch: int
    owner: str
    owner_key: str | None
    claim_no: int
    claims: int
    host: str
    pid: int
    mode: str
    why: str
    began_at: float
    ended_at: float | None
    ending: Ending | None
    message: str | None
    items: int
    chunks: int


class AttemptRow(msgspec.Struct, frozen=True):
    """One sending of a chunk, as it stands in the ledger."""

    id: str
    uid: str
    layer: int
    start: int
    stop: int
    epoch: int
    state: Literal["open", "won", "void"]
    started: bool
    died: bool
    worker: str | None
    why: Why
    sent_at: float


class FailureRow(msgspec.Struct, frozen=True):
    """One item that is failed now. `layer` and `epoch` are those of the chunk row that says so."""

    pos: int
    layer: int
    epoch: int
    fingerprint: str
    type: str
    message: str
    attempts: int
    worker: str
    key: str | None
    item_repr: str | None
    item_digest: str | None


class KindRow(msgspec.Struct, frozen=True):
    """The items that are failed now by one type of error at one place, with the traceback of the first of them."""

    fingerprint: str
    type: str
    message: str
    traceback: str
    count: int


class WorkerRow(msgspec.Struct, frozen=True):
    """A worker as its coordinator last saw it. `items` and `chunks` are those that counted."""

    worker: str
    host: str
    pid: int
    last_seen: float
    holding: list[str]
    items: int
    chunks: int


class Committed(msgspec.Struct, frozen=True):
    """What a commit did: which receipts count, in the order given, and the scatter as it stands after it."""

    won: list[bool]
    row: ScatterRow


def columns(table: Table, struct: type[msgspec.Struct]) -> list[ColumnElement[Any]]:
    """The columns that make up `struct`, in its order."""
    return [table.c[name] for name in struct.__struct_fields__]


def built(struct: type[S], row: Sequence[Any]) -> S:
    """`struct` of a row that begins with its columns."""
    return struct(*row[: len(struct.__struct_fields__)])


def stored(text: str, limit: int) -> str:
    """`text` as every database takes it (PostgreSQL refuses NUL and lone surrogates), at most `limit` characters."""
    return storable(text[:limit])[:limit]


def process_is_gone(host: str | None, pid: int | None, started: float | None) -> bool:
    """True where the process ran on this host and has ended; False also where this host cannot tell."""
    if host != _this_host() or pid is None or started is None:
        return False
    try:
        return abs(psutil.Process(pid).create_time() - started) > _SAME_START
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _this_host() -> str:
    """This host and, on Linux, the namespace in which pids mean something: two containers may share a host's name."""
    try:
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()
