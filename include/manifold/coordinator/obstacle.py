"""What keeps a try from going on, as people read it in the ledger while it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifold.redaction import mask

if TYPE_CHECKING:
    from manifold.ledger import Claim

WAITING = "waiting for "
"""How it begins where nobody takes chunks: it is over once somebody does."""


class Obstacle:
    """The latest one, written only when it changes, so that it costs nothing where there is none."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._told: str | None = None

    def met(self, why: str) -> None:
        """Write down what it is. Raises Fenced."""
        told = mask(why)
        if told != self._told:
            self._claim.hold_up(told)
            self._told = told

    def over(self, beginning: str = "") -> None:
        """Write down that it is over, if it begins so. Raises Fenced."""
        if self._told is not None and self._told.startswith(beginning):
            self._claim.hold_up(None)
            self._told = None
