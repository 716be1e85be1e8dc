"""Is this try about the same thing as the first? Input, function, fold and store, compared before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manifold.abc import Store
from manifold.errors import CodeChanged, ItemsChanged
from manifold.policy import Policy
from manifold.protocol import codec
from manifold.protocol.identity import code_digest
from manifold.protocol.itemdigest import item_digest
from manifold.protocol.records import ScatterRow
from manifold.stores.marker import check_marker

if TYPE_CHECKING:
    from manifold.coordinator.tries import Plan


@dataclass(frozen=True, slots=True)
class Sameness:
    """What differs from the first try, and may.

    Attributes:
        warnings: for people.
        changed: the input is seen to be another one.
        compare: committed items are to be compared with their digests, because the input may be another one.
    """

    warnings: list[str] = field(default_factory=list)
    changed: bool = False
    compare: bool = False


def check(plan: Plan, row: ScatterRow, store: Store) -> Sameness:
    """What a try at `row` by `plan` must know.

    Raises:
        ItemsChanged, CodeChanged, StoreNotShared: going on would mix two things.
    """
    warnings = []
    check_marker(store, row.store_uuid)
    if row.codec != codec_of(plan.policy) or row.reduce_digest != reduce_digest(plan.policy):
        raise CodeChanged("reduce= is not what it was at the first try; partial folds cannot be mixed: start afresh")
    if code_changed(plan, row):
        told = f"the code of {row.fn_name} has changed since the try before"
        if plan.policy.on_code_changed == "fail":
            raise CodeChanged(f"{told}, and on_code_changed='fail'; start afresh to run all items by the new one")
        warnings.append(f"{told}: what is committed stays, the rest runs by the new code")
    if row.consts_digest != item_digest(dict(plan.consts)):
        warnings.append("the constants differ from those of the first try: what is committed stays")
    changed = _input_changed(plan, row)
    return Sameness(warnings, changed, changed or row.source_fp is None)


def code_changed(plan: Plan, row: ScatterRow) -> bool:
    """The function is not the one that the try before ran."""
    return row.fn_digest is not None and row.fn_digest != code_digest(plan.fn)


def codec_of(policy: Policy) -> str:
    """The codec of the blobs."""
    return codec.VALUES if policy.reduce is None else codec.SEGMENTS


def reduce_digest(policy: Policy) -> str | None:
    """A digest of the fold's code; None without one."""
    return None if policy.reduce is None else code_digest(policy.reduce)


def _input_changed(plan: Plan, row: ScatterRow) -> bool:
    source = plan.source
    fingerprint = source.fingerprint()
    if row.source_kind != source.kind:
        raise ItemsChanged(f"the input was a {row.source_kind} at the first try, and is a {source.kind} now")
    changed = fingerprint != row.source_fp
    if changed and plan.policy.on_items_changed != "accept":
        raise ItemsChanged(
            f"the input has changed since the first try ({source.changes() or 'another fingerprint'}). Nothing was "
            "mixed: restore it, start afresh, or say on_items_changed='accept' to keep what succeeded and take the "
            "rest as it is now"
        )
    return changed
