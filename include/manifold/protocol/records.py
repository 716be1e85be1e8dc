"""What crosses a process or a module boundary: plain, frozen, typed values.

They are msgspec Structs: those that go over the wire are encoded as MessagePack and
validated when decoded, so that a receipt is never a pickle. Positions are 0-based
and count the whole input; a range is [start, stop). Times are seconds; points in time
are seconds since the epoch, UTC, by the clock that the field names.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from manifold.names import shown_name

PROTOCOL = 2
"""Version of the wire format; worker and coordinator must agree on it."""

MAX_CHUNK = 65_536
"""Items in a chunk at the most: bounds a receipt's outcome and the work that a loss costs."""

Why = Literal["first", "lost", "half", "speculative", "redrive"]
ScatterState = Literal["running", "succeeded", "failed", "cancelled", "replaced"]
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "replaced"})


class Attempt(msgspec.Struct, frozen=True):
    """One sending of a chunk. Written to the ledger before the chunk is sent.

    `layer` is 0 for the base, or the epoch of the re-run for an overlay.
    """

    id: str
    uid: str
    layer: int
    start: int
    stop: int
    epoch: int
    why: Why = "first"


class Failure(msgspec.Struct, frozen=True):
    """One failed item, as it stands in the ledger."""

    pos: int
    fingerprint: str
    type: str
    message: str
    attempts: int = 1
    key: str | None = None
    item_repr: str | None = None
    item_digest: str | None = None


class LogLine(msgspec.Struct, frozen=True):
    """A line that an item's function printed or logged. `pos` is the item's position."""

    pos: int
    level: str
    text: str


class Receipt(msgspec.Struct, frozen=True):
    """What a worker returns for one execution of a chunk. It may cover a prefix of its attempt.

    * `outcome` is the run-length code of `o` ok, `f` failed, `s` skipped, `.` not touched
      (overlays only), such as `o120f1o3`; None means all ok.
    * `blob_key` is None iff `n_ok` is 0; `fail_key` is None iff `n_failed` is 0.
    * `failures` may be cut to bound a receipt's size (`failures_cut`); the sidecar at `fail_key` has all of them.
    * `result_bytes` is about what the results weigh when they are pickled, before they are folded or compressed.
    * `kinds` has one traceback per fingerprint.
    """

    uid: str
    epoch: int
    layer: int
    attempt: str
    nonce: str
    start: int
    stop: int
    n_ok: int
    n_failed: int
    n_skipped: int
    worker: str
    host: str
    pid: int
    seconds: float
    outcome: str | None = None
    blob_key: str | None = None
    blob_digest: str | None = None
    blob_bytes: int = 0
    fail_key: str | None = None
    fail_digest: str | None = None
    items_digest: str | None = None
    code_digest: str | None = None
    executions: int = 0
    result_bytes: int = 0
    failures: list[Failure] = []
    failures_cut: bool = False
    kinds: dict[str, str] = {}
    lines: list[LogLine] = []
    fatal: str | None = None
    """Set where no item is to blame and the scatter must end (an exception inside `reduce`): the text to show."""


class ChunkRow(msgspec.Struct, frozen=True):
    """One committed chunk, as it stands in the ledger."""

    uid: str
    layer: int
    start: int
    stop: int
    seq: int
    epoch: int
    attempt: str
    n_ok: int
    n_failed: int
    n_skipped: int
    outcome: str | None
    blob_key: str | None
    blob_digest: str | None
    blob_bytes: int
    fail_key: str | None
    fail_digest: str | None
    items_digest: str | None
    code_digest: str | None
    worker: str
    seconds: float
    suspect_at: float | None
    committed_at: float


class ScatterRow(msgspec.Struct, frozen=True):
    """One scatter, as it stands in the ledger. Counters are nets over all layers."""

    uid: str
    name: str
    gen: int
    state: ScatterState
    epoch: int
    owner: str | None
    claim_no: int
    lease_until: float | None
    total: int | None
    expected: int | None
    n_ok: int
    n_failed: int
    n_skipped: int
    seq: int
    engine: str
    source_kind: str
    source_fp: str | None
    codec: str
    reduce_digest: str | None
    consts_digest: str | None
    policy: dict[str, Any]
    store_url: str
    store_uuid: str
    key_id: str
    fn_name: str
    fn_key: str | None
    fn_digest: str | None
    created_at: float
    ended_at: float | None
    message: str | None
    """Why it ended as it did, for people; None while it runs or when it succeeded."""

    @property
    def title(self) -> str:
        """The name as people write it."""
        return shown_name(self.name)

    @property
    def of(self) -> int | None:
        """How many items there are, or are expected by how much of the input is read; for display only."""
        return self.expected if self.total is None else self.total

    @property
    def done(self) -> int:
        """Items with a recorded outcome."""
        return self.n_ok + self.n_failed + self.n_skipped


class ControlRow(msgspec.Struct, frozen=True):
    """What a person asks of a running scatter, applied by its coordinator."""

    no: int
    epoch: int
    verb: Literal["pause", "resume", "drain", "cancel", "set", "redrive"]
    value: dict[str, Any]
    by_whom: str
    at: float
    applied_epoch: int | None


class WorkerInfo(msgspec.Struct, frozen=True):
    """A worker as its engine sees it. `silence` is seconds since it last reported, by this process's clock.

    `node` names what keeps the process and is lost with it (a Celery worker with its children); "" for its host.
    `done` counts the items of the chunks it holds that are done, as far as its engine says. `trouble` says why it gets
    no chunks for now; "" where it does.
    """

    name: str
    host: str
    pid: int
    silence: float = 0.0
    holding: tuple[str, ...] = ()
    alive: bool = True
    node: str = ""
    done: int = 0
    trouble: str = ""
