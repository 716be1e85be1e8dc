"""Before what is there is returned without running anything: is it of the input that is asked for?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifold.coordinator import compatibility, wiring
from manifold.coordinator.planner import Planner
from manifold.errors import ItemsChanged
from manifold.protocol.records import ScatterRow

if TYPE_CHECKING:
    from manifold.coordinator.spec import ScatterSpec
    from manifold.ledger import Ledger


def compared(spec: ScatterSpec, row: ScatterRow, ledger: Ledger) -> list[str]:
    """Warnings about the input of a scatter whose account is closed; nothing where it is seen to be the same.

    Raises ItemsChanged where it is another one. An input that cannot be looked at any more (files that were moved once
    they were done) is no reason to refuse results that are all there, but is told.
    """
    source = spec.source
    try:
        source.pin(ledger.pin(row.uid))
        fingerprint = source.fingerprint()
    except Exception as exc:  # noqa: BLE001 - whatever reading an input raises
        return [f"whether the input is what it was could not be checked: {type(exc).__name__}: {exc}"]
    known = compatibility.fingerprint(row) is not None or (fingerprint is not None and row.source_fp is None)
    if known or source.kind != row.source_kind:
        changed = compatibility.input_changed(spec, row)
        how = source.changes() or "another fingerprint"
        return [f"the input has changed since ({how}): these results are of what it was"] if changed else []
    told: list[str] = []
    planner = Planner(source, wiring.base_rows(ledger, row.uid), check=True, total=row.total)
    planner.tell = told.append
    if planner.next(1) is not None:
        raise ItemsChanged(f"the input goes on after item {planner.frontier - 2:,}, which was its last")
    return told
