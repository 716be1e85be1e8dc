"""What command line and page both show, once: fields of the same name are made here, and the lines of an export.

`manifold.cli.shapes` and `manifold.web.models` say what else each has, and in which order. Points in time are seconds
since the epoch, durations are seconds; what is not known is None. No value carries a password.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from manifold import rates
from manifold.redaction import masked

if TYPE_CHECKING:
    from manifold.ledger.rows import FailureRow, KindRow, TryRow
    from manifold.ledger.states import Standing
    from manifold.protocol.records import ControlRow, ScatterRow
    from manifold.results.failures import ItemFailure

_FORMER_MODES = {"hand back": "reuse"}
"""Names of modes that an earlier version has written into ledgers."""


class FailedItem(msgspec.Struct, kw_only=True):
    """One item that is failed now."""

    position: int
    key: str | None
    type: str
    message: str
    fingerprint: str
    attempts: int
    worker: str
    item: str | None


class Exported(FailedItem, kw_only=True):
    """One line of `failed --export`: the item itself, where JSON has a value for it, and the traceback."""

    value: Any
    traceback: str


def scatter(row: ScatterRow, standing: Standing, *, run_deleted: bool) -> dict[str, Any]:
    """Return what is shown of a scatter everywhere; `standing` is its state and why, but for a deleted DAG run."""
    if run_deleted:
        from manifold.ledger.states import of_deleted_run  # SQLAlchemy costs what `--help` need not pay

        standing = of_deleted_run(standing)
    return {
        "name": row.name,
        "state": standing.state,
        "function": row.fn_name,
        "engine": masked(row.engine),
        "created_at": row.created_at,
        "ended_at": row.ended_at,
        "message": standing.reason,
        "run_deleted": run_deleted,
    }


def item_seconds(means: Iterable[tuple[float, int]]) -> dict[str, float] | None:
    """Return the percentiles of (mean seconds of an item, items) as `p50`, `p90` and `p99`; None without any."""
    found = rates.percentiles(means, 0.5, 0.9, 0.99)
    return None if found is None else dict(zip(("p50", "p90", "p99"), found, strict=True))


def options(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a scatter without passwords."""
    return {name: masked(value) if isinstance(value, str) else value for name, value in policy.items()}


def control_request(row: ControlRow) -> dict[str, Any]:
    """Return what somebody asked of a scatter."""
    return {"verb": row.verb, "value": row.value, "by_whom": row.by_whom, "at": row.at}


def try_(row: TryRow) -> dict[str, Any]:
    """Return a try. Where it is not a try of an Airflow task, its number is None."""
    return {
        "owner": row.owner,
        "number": row.claim_no or None,
        "numbers": row.claims or None,
        "mode": _FORMER_MODES.get(row.mode, row.mode),
        "why": row.why,
        "began_at": row.began_at,
        "ended_at": row.ended_at,
        "ending": row.ending,
        "message": row.message,
        "items": row.items,
        "chunks": row.chunks,
    }


def error_kind(row: KindRow) -> dict[str, Any]:
    """Return a kind of error, without its traceback."""
    return {"type": row.type, "message": row.message, "count": row.count, "fingerprint": row.fingerprint}


def failed_item(row: ItemFailure | FailureRow) -> FailedItem:
    """Return a failed item, as the ledger has it."""
    return FailedItem(
        position=row.pos,
        key=row.key,
        type=row.type,
        message=row.message,
        fingerprint=row.fingerprint,
        attempts=row.attempts,
        worker=row.worker,
        item=row.item_repr,
    )


def exported(row: ItemFailure | FailureRow, value: Any, traceback: str) -> Exported:
    """Return one line of an export of failed items."""
    return Exported(**msgspec.structs.asdict(failed_item(row)), value=value, traceback=traceback)


def plain(value: Any) -> Any:
    """Return the value as JSON has it, NaN as null; TypeError or ValueError where JSON has none for it."""
    return json.loads(json.dumps(value, default=msgspec.to_builtins), parse_constant=lambda _nan: None)
