"""The shapes of `--json`: stable, one JSON object per command; fields are added, never renamed. See docs/cli.md.

Points in time are seconds since the epoch, durations are seconds; what is not known is null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from manifold import views
from manifold.control_requests import coordinator
from manifold.protocol.records import ScatterRow
from manifold.views import Exported as Exported
from manifold.views import FailedItem as FailedItem

if TYPE_CHECKING:
    from manifold.ledger import KindRow
    from manifold.ledger.states import Standing


class Scatter(msgspec.Struct, kw_only=True):
    """One scatter, by its counters in the ledger."""

    scatter: str
    name: str
    state: str
    coordinator: str | None
    function: str
    engine: str
    tries: int
    total: int | None
    succeeded: int
    failed: int
    skipped: int
    without_outcome: int | None
    percent: float | None
    created_at: float
    ended_at: float | None
    message: str | None
    run_deleted: bool = False
    """Airflow, which was asked, has deleted its DAG run."""
    expected: int | None = None
    """About how many items there are, where the input is not read to its end and `total` is not known."""


class Listing(msgspec.Struct, kw_only=True):
    """Scatters, the newest first."""

    scatters: list[Scatter]


class ItemSeconds(msgspec.Struct, kw_only=True):
    """How long an item takes: half of them less than `p50`, and so on. Each counts with the mean of its chunk."""

    p50: float
    p90: float
    p99: float


class ErrorKind(msgspec.Struct, kw_only=True):
    """Items that are failed now by one type of error at one place."""

    type: str
    message: str
    count: int
    fingerprint: str
    traceback: str


class Worker(msgspec.Struct, kw_only=True):
    """A worker, as its coordinator last saw it."""

    worker: str
    host: str
    pid: int
    seconds_silent: float
    chunks_held: int
    items: int
    chunks: int


class EngineWorker(msgspec.Struct, kw_only=True):
    """A process of a worker, as its engine sees it now. `node` is the worker that keeps it.

    `chunks` and `items` were committed of it, over the scatters of the ledger; null where the ledger does not answer.
    """

    worker: str
    node: str
    host: str
    pid: int
    seconds_silent: float
    chunks_held: int
    items_done: int
    alive: bool
    trouble: str | None
    chunks: int | None = None
    items: int | None = None


class EngineWorkers(msgspec.Struct, kw_only=True):
    """The workers of an engine."""

    url: str
    trouble: str | None
    workers: list[EngineWorker]


class ControlRequest(msgspec.Struct, kw_only=True):
    """What somebody asked of a scatter and no coordinator has applied yet."""

    verb: str
    value: dict[str, Any]
    by_whom: str
    at: float


class Try(msgspec.Struct, kw_only=True):
    """One try at a scatter. `number` of `numbers` is its place among the tries of its Airflow task; null for others."""

    owner: str
    number: int | None
    numbers: int | None
    mode: str
    why: str
    began_at: float
    ended_at: float | None
    ending: str | None
    message: str | None
    items: int
    chunks: int


class Shown(Scatter, kw_only=True):
    """One scatter, with all that `show` tells of it."""

    task: list[str | int] | None
    rate: float | None
    seconds_left: float | None
    item_seconds: ItemSeconds | None
    errors: list[ErrorKind]
    workers: list[Worker]
    paused_by: str | None
    control_requests: list[ControlRequest]
    chunks_suspect: int
    policy: dict[str, Any]
    history: list[Try]
    wishes: list[ControlRequest] = []
    """The former name of `control_requests`; it goes with the next minor version."""

    def __post_init__(self) -> None:
        self.wishes = self.control_requests


class Ran(Scatter, kw_only=True):
    """A scatter that this command has run."""

    errors: list[ErrorKind]
    seconds: float
    value: Any
    out: str | None
    written: int | None


class Breach(msgspec.Struct, kw_only=True):
    """Something that must not be."""

    invariant: str
    scatter: str
    text: str


class Verified(msgspec.Struct, kw_only=True):
    """What the ledger (and, deep, the store) says against the scatters that were looked at."""

    ok: bool
    deep: bool
    scatters: int
    violations: list[Breach]


class FailedItems(msgspec.Struct, kw_only=True):
    """Failed items, the first ones; `failed` counts all that the choice fits, `exported` those written to the file."""

    scatter: str
    failed: int
    items: list[FailedItem]
    exported: int | None


class Redriven(msgspec.Struct, kw_only=True):
    """What is run again, and what became of it. `where` is "here" or "airflow", `what` "failed" (items, and nothing
    else), "missing" (those, and `missing` items without an outcome) or "everything" (from scratch)."""

    scatter: str
    name: str
    where: str
    what: str
    dry_run: bool
    items: int
    missing: int | None
    chunks_lost: int
    cleared: list[str]
    result: Ran | None


class Asked(msgspec.Struct, kw_only=True):
    """A control request: who will apply it (null: the next coordinator), and whether it has taken effect already."""

    scatter: str
    name: str
    verb: str
    value: dict[str, Any]
    coordinator: str | None
    done: bool


class EngineView(msgspec.Struct, kw_only=True):
    """One engine, as this host reaches it."""

    name: str
    url: str
    reachable: bool
    slots: int
    workers: list[Worker]
    trouble: str | None


class Engines(msgspec.Struct, kw_only=True):
    """The engines that were asked."""

    engines: list[EngineView]


class Gone(msgspec.Struct, kw_only=True):
    """What was collected of one scatter; `whole` where its rows went too."""

    scatter: str
    name: str
    blobs: int
    whole: bool
    run_deleted: bool = False


class Skipped(msgspec.Struct, kw_only=True):
    """A scatter that gc left as it is."""

    scatter: str
    name: str
    why: str


class Swept(msgspec.Struct, kw_only=True):
    """What gc took away, or would."""

    dry_run: bool
    collected: list[Gone]
    skipped: list[Skipped]


class Schema(msgspec.Struct, kw_only=True):
    """The ledger's tables: `version` is what this Manifold needs, `was` what was found (0: none)."""

    ok: bool
    ledger: str
    version: int
    was: int


class Check(msgspec.Struct, kw_only=True):
    """One thing that doctor looked at. `state` is "ok", "warning" or "broken"; `fix` is what to do."""

    name: str
    state: str
    found: str
    fix: str | None = None
    mend: str | None = None
    """The former name of `fix`; it goes with the next minor version."""

    def __post_init__(self) -> None:
        self.mend = self.fix


class Examined(msgspec.Struct, kw_only=True):
    """All that doctor looked at; `ok` is true where nothing is broken."""

    ok: bool
    checks: list[Check]


class NewSecret(msgspec.Struct, kw_only=True):
    """A fresh value for MANIFOLD_SECRET."""

    secret: str


def scatter_fields(row: ScatterRow, now: float, standing: Standing, *, run_deleted: bool = False) -> dict[str, Any]:
    """The fields of `Scatter`; `now` is the ledger's time, by which leases end, `standing` what people are shown."""
    return views.scatter(row, standing, run_deleted=run_deleted) | {
        "scatter": row.uid,
        "coordinator": coordinator(row, now),
        "tries": row.epoch,
        "total": row.total,
        "succeeded": row.n_ok,
        "failed": row.n_failed,
        "skipped": row.n_skipped,
        "without_outcome": None if row.total is None else row.total - row.done,
        "percent": _percent(row),
        "expected": row.expected if row.total is None else None,
    }


def error_kinds(kinds: list[KindRow]) -> list[ErrorKind]:
    """The kinds of errors, as the ledger has them."""
    return [ErrorKind(**views.error_kind(kind), traceback=kind.traceback) for kind in kinds]


def _percent(row: ScatterRow) -> float | None:
    return None if row.total is None else share(row.done, row.total)


def share(done: int, total: int) -> float:
    """Percent, rounded down to hundredths: 99.99 is not 100, only what is done is done."""
    return int(10_000 * done / total) / 100 if total else 100.0
