"""What people may ask of a scatter: written into the ledger for its coordinator, or done here where none lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from manifold.coordinator.controls import SETTINGS
from manifold.errors import ConfigError, Fenced, ScatterBusy
from manifold.policy import Policy
from manifold.protocol.records import ScatterRow

if TYPE_CHECKING:
    from manifold.ledger import Ledger
    from manifold.ledger.states import Condition


class Asked(msgspec.Struct, frozen=True):
    """A request: who carries it out (None: the next coordinator), whether there is nothing left to do about it, and the
    state that the scatter was in."""

    name: str
    verb: str
    coordinator: str | None
    done: bool
    state: Condition

    def sentence(self) -> str:
        """What the person is told."""
        if self.coordinator:
            return f"{self.name}: {self.coordinator} will {self.verb} it within two seconds"
        return f"{self.name} {_IDLE.get((self.verb, self.state)) or _IDLE[self.verb, 'stopped']}"


# What becomes of a request where there is no coordinator.
_IDLE = {
    ("cancel", "stopped"): "is cancelled; it had no coordinator",
    ("drain", "stopped"): (
        "has no coordinator, so there is nothing to drain and nothing changes: its next try runs all that is missing. "
        "`manifold pause` keeps that try from sending anything"
    ),
    ("drain", "drained"): "is drained already; `manifold resume` lets it continue",
    ("pause", "stopped"): "has no coordinator; its next try begins paused, and sends nothing until `manifold resume`",
    ("resume", "stopped"): "has no coordinator; its next try does not begin paused. This starts no try",
    ("resume", "drained"): (
        "is drained; its Airflow task continues it within a minute, any other program when it is run again"
    ),
    ("set", "stopped"): "has no coordinator; its next try begins with these settings",
}


def coordinator(row: ScatterRow, now: float) -> str | None:
    """Who coordinates the scatter at the moment `now` of the ledger's clock; None: nobody who lives."""
    return row.owner if row.owner is not None and (row.lease_until or 0) > now else None


def check_settings(changes: Mapping[str, Any]) -> None:
    """Raises ConfigError for settings that cannot be changed while a scatter runs, or to values without sense."""
    if unknown := sorted(changes.keys() - set(SETTINGS)):
        raise ConfigError(f"{', '.join(unknown)} cannot be changed while a scatter runs; {', '.join(SETTINGS)} can")
    Policy(**changes)


def ask(ledger: Ledger, row: ScatterRow, verb: str, value: dict[str, Any], by_whom: str) -> Asked:
    """Write the request down; a cancel that no coordinator is there for takes effect at once, and a drain is over.

    Raises LedgerError where the scatter has ended meanwhile.
    """
    alive = coordinator(row, ledger.time())
    state = ledger.state(row.uid).state
    done = alive is None and (verb == "drain" or (verb == "cancel" and _ended_here(ledger, row, by_whom)))
    if not done:
        ledger.control(row.uid, verb, value, by_whom)
    return Asked(row.title, verb, alive, done, state)


Again = Literal["failed", "missing", "everything"]
"""What is run again: failed items alone; what has no outcome, and what failed; all items, from scratch."""

MISSING: dict[str, Any] = {"missing": True}
EVERYTHING: dict[str, Any] = {"everything": True}
"""Two requests as the ledger keeps them; any other is for failed items (`coordinator.redrive.chooser` reads it)."""


def asked_again(ledger: Ledger, uid: str) -> Again | None:
    """What the next try of the scatter is to run again; of several requests, that which runs most."""
    values = [one.value for one in ledger.pending_controls(uid) if one.verb == "redrive"]
    if EVERYTHING in values:
        return "everything"
    if MISSING in values:
        return "missing"
    return "failed" if values else None


def ask_redrive(ledger: Ledger, row: ScatterRow, chosen: dict[str, Any], by_whom: str) -> None:
    """Write down what the next try is to run again, unless that request waits already."""
    if not any(one.verb == "redrive" and one.value == chosen for one in ledger.pending_controls(row.uid)):
        ledger.control(row.uid, "redrive", chosen, by_whom)


def _ended_here(ledger: Ledger, row: ScatterRow, by_whom: str) -> bool:
    """True once the scatter is cancelled by this process; False where a coordinator was faster."""
    from manifold.ledger import Owner

    # It stays the scatter of its Airflow task; the number of an equal claim takes over from nobody who lives.
    here = Owner.here(f"cancel, {by_whom}", claim_key=ledger.claim_key(row.uid), claim_no=row.claim_no)
    try:
        claim = ledger.acquire(row.uid, here)
        claim.end("cancelled", f"cancelled by {by_whom}; what is committed stays in the ledger")
    except (ScatterBusy, Fenced):
        return False
    return True
