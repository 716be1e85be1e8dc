"""Whether a try came to an end that it may come to, by what was done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifold.errors import (
    Cancelled,
    CodeChanged,
    EngineError,
    Fenced,
    Incomplete,
    InputGone,
    ItemsChanged,
    LedgerError,
    ScatterBusy,
    StoreError,
    StoreNotShared,
    TooManyFailures,
)
from manifold.protocol.records import ScatterRow

if TYPE_CHECKING:
    from tests.simulation.story import Story, Try


class Judge:
    """Knows the reason for every error; one without a reason is a fault of what is under test."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def may(self, one: Try, error: Exception, row: ScatterRow | None) -> bool:
        """`row` is the scatter that it owned, if it came so far, as it stands now."""
        counts, asked = self._story.world.faults.counts, self._story.mischief.asked
        match error:
            case Fenced():
                taken = row is None or row.epoch > one.engine.epoch or row.state != "running"
                return taken or self._story.checks.failovers > 0
            case ScatterBusy():
                return len(self._story.tries) > 1
            case TooManyFailures():
                return one.spec.breaker > 0 or "set" in asked or self._too_many(one)
            case Incomplete():
                return one.spec.mode == "redrive"
            case Cancelled():
                where = one.engine.uid, one.engine.epoch
                heard = any((*where, verb) in one.tables.endings for verb in ("cancel", "drain"))
                lost = self._story.checks.failovers > 0 and {"cancel", "drain"} & set(asked)
                return one.stop.is_set() or heard or bool(lost)
            case ItemsChanged() | InputGone() | CodeChanged() | StoreNotShared():
                return self._differs(one, error)
            case LedgerError():
                told = ("worker processes have met epoch", "the ledger has no scatter")
                return self._story.checks.failovers > 0 and any(one in str(error) for one in told)
            case StoreError():
                failed = counts["put fails"] or counts["put fails, and took effect"] or counts["get fails"]
                return bool(failed or self._story.mischief.store_was_away)
        return self._broken(error)

    def _broken(self, error: Exception) -> bool:
        counts = self._story.world.faults.counts
        return (isinstance(error, EngineError) and counts["submit fails"] > 0) or (
            isinstance(error, OSError) and counts["source fails"] > 0
        )

    def _differs(self, one: Try, error: Exception) -> bool:
        """Some try had another input, other code or another store; or what was made is lost, and cannot be again."""
        tries, lost = self._story.tries, bool(self._story.shelf.lost)
        match error:
            case InputGone():
                return lost or any(other.spec.version != one.spec.version for other in tries)
            case ItemsChanged():
                return any(other.spec.version != one.spec.version for other in tries)
            case CodeChanged():
                work = {other.spec.given() for other in tries}
                code = work if one.spec.on_code_changed == "fail" else ()
                self._story.world.crossed["a change that was refused"] += len(code) > 1
                return len(code) > 1 or len({other.spec.fold for other in tries}) > 1
        return lost or any(other.spec.wrong_store for other in tries)

    def _too_many(self, one: Try) -> bool:
        """More items failed in this try than it tolerates, or all are done and more are failed."""
        uid, epoch = one.engine.uid, one.engine.epoch
        # By the time the coordinator has learnt of its own end, gc may have been at the scatter.
        tables = self._story.checks.failed.get((uid, epoch), one.tables)
        row, failed = tables.scatters[uid], tables.failed_in[uid]
        before = self._story.checks.begun.get((uid, epoch), {})
        here = sum(1 for pos, when in failed.items() if when == epoch or pos not in before)
        done, tolerance = row["n_ok"] + row["n_failed"] + row["n_skipped"], one.plan.policy.tolerate
        at_the_end = done == row["total"] and row["n_failed"] > tolerance.budget(done, row["total"], ended=True)
        return bool(at_the_end or here > tolerance.budget(done, row["total"]))
