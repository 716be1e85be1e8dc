"""Is this try about the same thing as the first? Input, function, fold, constants and store, compared before anything
is sent, and before anything that is there is returned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manifold.abc import Store
from manifold.coordinator.given import Given, recorded
from manifold.errors import CodeChanged, ItemsChanged
from manifold.policy import Policy
from manifold.protocol import codec
from manifold.protocol.records import ScatterRow
from manifold.stores.marker import check_marker

if TYPE_CHECKING:
    from manifold.coordinator.spec import ScatterSpec

_SAMPLED = re.compile(r"(first:\d+:)*(list:\d+:([0-9a-f]{32}|None)|zipped:[0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Compatibility:
    """What differs from the tries before, and may.

    Attributes:
        warnings: for people.
        changed: the input is seen to be another one.
        compare: committed items are to be compared with their digests, because the input may be another one.
        other_code: the function or a constant is not what it was.
        constants: what the ledger is to keep of the constants from this try on; None: what it has.
    """

    warnings: list[str] = field(default_factory=list)
    changed: bool = False
    compare: bool = False
    constants: str | None = None
    other_code: bool = False

    @property
    def other_work(self) -> bool:
        """What earlier tries have sent may be other work than this one's, so it counts only where it is committed."""
        return self.compare or self.other_code


def check(spec: ScatterSpec, row: ScatterRow, store: Store, given: Given) -> Compatibility:
    """What a try at `row` by `spec` must know.

    Raises:
        ItemsChanged, CodeChanged, StoreNotShared: going on would mix two things.
    """
    check_marker(store, row.store_uuid)
    if row.codec != codec_of(spec.policy) or given.reduce_changed(row):
        raise CodeChanged(
            "reduce= is not what it was at the first try; partial folds cannot be mixed: start from scratch"
        )
    refuse_changes(spec, row, given)
    told, changed = warnings(row, given), input_changed(spec, row)
    if changed:
        what = spec.source.changes() or "another fingerprint"
        told.append(
            f"the input has changed since the first try ({what}): what succeeded stays, the rest is as it is now"
        )
    other_code = given.code_changed(row) or bool(given.constants_changed(row))
    return Compatibility(told, changed, changed or fingerprint(row) is None, given.to_record(row), other_code)


def refuse_changes(spec: ScatterSpec, row: ScatterRow, given: Given) -> None:
    """Raise CodeChanged where function or constants differ and `on_code_changed="fail"` forbids it."""
    if spec.policy.on_code_changed != "fail":
        return
    if given.code_changed(row):
        raise CodeChanged(
            f"{_code(row)}, and on_code_changed='fail'; start from scratch to run all items by the new code"
        )
    if names := given.constants_changed(row):
        raise CodeChanged(
            f"{_constants(names)}, and on_code_changed='fail'; start from scratch to run all items by the new ones"
        )


def warnings(row: ScatterRow, given: Given) -> list[str]:
    """Return the warnings about function and constants: changed, mixed, or not to be compared."""
    told = []
    if given.code_changed(row):
        told.append(f"{_code(row)}: what is committed stays, the rest runs by the new code")
    if names := given.constants_changed(row):
        told.append(f"{_constants(names)}: what is committed stays, the rest runs by the new ones")
    before = recorded(row)
    if row.done and before is not None and (mixed := [one for one in before.mixed if one not in names]):
        told.append(
            f"the results of {row.title} come from tries that differed in {_listed(mixed)}; fresh=True (or a clear, in "
            "Airflow) runs all items alike"
        )
    if row.done and (unstable := {name: what for name, what in given.unstable(row).items() if name not in names}):
        told.append(f"not compared with the try before: {unstable_text(unstable)}")
    return told


def unstable_text(unstable: Mapping[str, str]) -> str:
    """Which constants have no stable form, for people."""
    many = len(unstable) > 1
    named = ", ".join(f"{name} (it holds {what})" for name, what in unstable.items())
    return f"the constant{'s' if many else ''} {named}, which {'have' if many else 'has'} no stable form as a whole"


def fresh_start(row: ScatterRow, given: Given) -> str:
    """What people are told where a change makes a scatter begin again."""
    changed = ["the code"] if given.code_changed(row) else []
    changed += given.constants_changed(row)
    return f"changed since the try before: {_listed(changed)}; so all items run from scratch"


def compared(row: ScatterRow) -> tuple[object, ...]:
    """What of a row decides how a try goes on; while it waits for the claim, another may change it."""
    return row.fn_digest, row.consts_digest, row.done, row.n_failed


def fingerprint(row: ScatterRow) -> str | None:
    """The input's, as the first try recorded it; None also where an earlier version recorded one of a few items."""
    return None if row.source_fp is None or _SAMPLED.fullmatch(row.source_fp) else row.source_fp


def codec_of(policy: Policy) -> str:
    """The codec of the blobs."""
    return codec.VALUES if policy.reduce is None else codec.SEGMENTS


def input_changed(spec: ScatterSpec, row: ScatterRow) -> bool:
    """The input is seen to be another one, which `on_items_changed="accept"` allows. Raises ItemsChanged otherwise."""
    source, before = spec.source, fingerprint(row)
    now = source.fingerprint()
    if row.source_kind != source.kind:
        raise ItemsChanged(f"the input was a {row.source_kind} at the first try, and is a {source.kind} now")
    changed = now != before and (before is not None or row.source_fp is None)
    if changed and spec.policy.on_items_changed != "accept":
        raise ItemsChanged(
            f"the input has changed since the first try ({source.changes() or 'another fingerprint'}). Nothing was "
            "mixed: restore it, start from scratch, or say on_items_changed='accept' to keep what succeeded and take "
            "the rest as it is now"
        )
    return changed


def _code(row: ScatterRow) -> str:
    return f"the code of {row.fn_name}, or what it refers to, has changed since the try before"


def _constants(names: list[str]) -> str:
    return f"the constants differ from those of the try before ({_listed(names)})"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
