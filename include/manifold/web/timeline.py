"""The timeline: which sending of a chunk counted, which runs, which was lost, and what took its place. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from manifold.ledger.dashboard import Glance, Sent
from manifold.protocol.records import Why
from manifold.web.models import Bar


class Lanes:
    """Sendings by the items they are over."""

    def __init__(self, sent: Sequence[Sent]) -> None:
        self._by_start = sorted(sent, key=lambda one: (one.layer, one.start))
        self._keys = [(one.layer, one.start) for one in self._by_start]
        self._longest = max((one.stop - one.start for one in sent), default=0)

    def over(self, one: Sent) -> Iterator[Sent]:
        """The others that share an item with it."""
        low = bisect_left(self._keys, (one.layer, one.start - self._longest))
        high = bisect_left(self._keys, (one.layer, one.stop))
        for other in self._by_start[low:high]:
            if other is not one and other.stop > one.start:
                yield other


def bars(sent: Sequence[Sent], glance: Glance, limit: int) -> list[Bar]:
    """The latest `limit` of the sendings, the oldest of them first."""
    lanes = Lanes(sent)
    found = [_committed(one, lanes) if one.committed_at is not None else _other(one, lanes, glance) for one in sent]
    return sorted(found, key=lambda bar: (bar.began_at, bar.start))[-limit:]


def _committed(one: Sent, lanes: Lanes) -> Bar:
    ended = one.committed_at or 0.0
    began = ended - (one.seconds or 0.0)
    return Bar(
        worker=one.worker,
        start=one.start,
        stop=one.stop,
        began_at=began if one.sent_at is None else min(ended, max(began, one.sent_at)),
        ended_at=ended,
        state="committed",
        why=_why(one, lanes),
        failed=one.failed,
    )


def _other(one: Sent, lanes: Lanes, glance: Glance) -> Bar:
    winner = next((other for other in lanes.over(one) if other.committed_at is not None), None)
    copy = winner is not None and "speculative" in (one.why, winner.why)
    heirs = [
        other.sent_at
        for other in lanes.over(one)
        if other.sent_at is not None and _order(other) > _order(one) and other.why != "speculative"
    ]
    live = one.state == "open" and one.epoch == glance.row.epoch and glance.condition in ("running", "paused")
    bar = Bar(
        worker=one.worker,
        start=one.start,
        stop=one.stop,
        began_at=one.sent_at or 0.0,
        ended_at=None,
        state="lost",
        why=_why(one, lanes),
        failed=0,
    )
    if winner is not None and copy:
        bar.state, bar.ended_at = "superseded", winner.committed_at
    elif live and winner is None and not heirs and not one.died:
        bar.state = "running"
    else:
        bar.ended_at = min(heirs) if heirs else _end_of(one, glance)
    return bar


def _end_of(one: Sent, glance: Glance) -> float | None:
    """When a sending that nothing took the place of was given up."""
    if one.epoch < glance.row.epoch:
        return glance.claimed_at
    return glance.row.ended_at


def _why(one: Sent, lanes: Lanes) -> Why:
    """The ledger keeps why a chunk was made; that it was sent again after a loss shows in the sending before it."""
    why = one.why or ("redrive" if one.layer else "first")
    if why in ("first", "redrive") and any(_lost_before(other, one) for other in lanes.over(one)):
        return "lost"
    return why  # type: ignore[return-value]


def _lost_before(other: Sent, one: Sent) -> bool:
    return other.committed_at is None and _order(other) < _order(one) and other.why != "speculative"


def _order(sent: Sent) -> tuple[float, bool, str]:
    """Sort sendings by time; of two at one tick of the database's clock, the committed one replaced the other."""
    return (sent.sent_at or 0.0, sent.committed_at is not None, sent.id)
