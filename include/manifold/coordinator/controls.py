"""What people ask of a running scatter: pause, resume, drain, cancel, other settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from manifold.coordinator.reporter import Reporter
from manifold.errors import Cancelled, ConfigError
from manifold.protocol.records import ControlRow

if TYPE_CHECKING:
    from manifold.ledger import Claim, Ledger

SETTINGS = ("max_concurrency", "rate_limit", "tolerate")
"""Options that may be changed while a scatter runs."""


class Changeable(Protocol):
    def change(self, name: str, value: Any) -> None: ...


class Controls:
    """The control requests of one scatter. A pause and settings outlive the coordinator, a cancel or drain does not."""

    def __init__(self, ledger: Ledger, claim: Claim, report: Reporter) -> None:
        self._ledger = ledger
        self._claim = claim
        self._report = report
        self.paused = False
        self.draining = False
        self.drained_by = ""
        self.cancelled = False

    def poll(self, target: Changeable) -> None:
        """Apply what is new; in a coordinator's first round also the pause and settings from before.

        Raises:
            Cancelled: somebody wants it to end now.
        """
        for row in self._ledger.pending_controls(self._claim.uid):
            if row.verb != "redrive":  # that is for the next try
                self._claim.applied(row.no)
                self._apply(row, target)

    def _apply(self, row: ControlRow, target: Changeable) -> None:
        told = f"{row.verb} by {row.by_whom}"
        if row.verb in ("pause", "resume"):
            self.paused = row.verb == "pause"
        elif row.verb == "drain":
            self.draining, self.drained_by = True, row.by_whom
        elif row.verb == "cancel":
            self.cancelled = True
        elif row.verb == "set":
            told = self._set(row, target)
        self._report.notice("info", told)
        if self.cancelled:
            raise Cancelled(f"cancelled by {row.by_whom}; what is committed stays in the ledger")

    def _set(self, row: ControlRow, target: Changeable) -> str:
        changed = []
        for name, value in row.value.items():
            try:
                if name not in SETTINGS:
                    raise ConfigError(f"{name} cannot be changed while it runs; {', '.join(SETTINGS)} can")
                target.change(name, value)
                changed.append(f"{name}={value}")
            except ConfigError as exc:
                changed.append(f"not changed: {exc}")
        return f"{', '.join(changed)}, by {row.by_whom}"
