"""What the owner of a scatter may write: each method one transaction, fenced by the owner's epoch."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
from sqlalchemy import Connection, insert, select, update

from manifold.errors import Fenced
from manifold.ledger.commit import batches, commit
from manifold.ledger.creation import created, owned, write_pin
from manifold.ledger.describing import check_described, counted, described
from manifold.ledger.ending import NOBODY, account, end, void_earlier, void_reruns
from manifold.ledger.fence import Fence
from manifold.ledger.queries import scatter_row
from manifold.ledger.rows import Committed, NewScatter, Owner
from manifold.ledger.tables import attempt, chunk, control, scatter
from manifold.ledger.tallies import write_tallies
from manifold.ledger.tries import begin_try, end_try, explain_try, hold_up_try
from manifold.ledger.withdraw import withdraw, withdraw_epoch
from manifold.policy import Tolerance
from manifold.protocol.records import Attempt, ChunkRow, Failure, Receipt, ScatterRow, ScatterState, WorkerInfo

if TYPE_CHECKING:
    from manifold.ledger.ledger import Ledger

T = TypeVar("T")


class Claim:
    """A scatter, owned. Made by `Ledger.acquire`; used by one coordinator, from one thread.

    * Every method raises Fenced where another coordinator has taken over or the scatter has ended; then nothing of it
      took effect, and nothing more may be sent or deleted.
    * Every method may wait, up to the ledger's patience, while the database is away.
    * `row` is the scatter as this claim last saw it.
    * `tallies`, where a method takes them, are what this claim has counted so far for the metrics, by name. They are
      sums since the claim was made, not what came on top, so that a transaction may be run again.
    """

    def __init__(self, ledger: Ledger, row: ScatterRow, owner: Owner, token: str) -> None:
        self.row = row
        self.uid = row.uid
        self.epoch = row.epoch
        self.ledger = ledger
        self.token = token
        self._owner = owner
        self._fence = Fence(ledger, row, token)

    @property
    def losses(self) -> int:
        """How often the database has lost commits of this claim's: it failed over to an older copy, or was restored."""
        return self._fence.losses

    def renew(self) -> ScatterRow:
        """Keep the scatter for another `LEASE` seconds."""
        return self._write(lambda conn, row, now: row)

    def describe(self, *, other_work: bool = False, **changes: Any) -> ScatterRow:
        """Set what the scatter runs (`fn_digest=`, `engine=`, `policy=`, …); TypeError for any other column.

        Where it is `other_work` than before, what earlier owners have sent counts no more.
        """
        check_described(changes)

        def work(conn: Connection, row: ScatterRow, now: float) -> ScatterRow:
            if other_work:
                void_earlier(conn, row)
            return described(conn, row, **changes)

        self._write(work)
        self._fence.other_work |= other_work
        self._fence.said |= {name: value for name, value in changes.items() if name != "expected"}
        return self.row

    def commit(
        self,
        receipts: Sequence[Receipt] = (),
        attempts: Sequence[Attempt] = (),
        workers: Sequence[WorkerInfo] = (),
        *,
        tallies: Mapping[str, float] | None = None,
    ) -> Committed:
        """Let receipts count and write down attempts that are about to be sent, all in one transaction.

        Args:
            receipts: each counts, unless its items (one of them) already have an outcome or its attempt is void.
            attempts: may be sent once this returns.
            workers: as the engine sees them, for display.

        A receipt that did not win (`Committed.won`) left nothing in the ledger: its blobs may be deleted now.
        Raises LedgerError for a receipt that contradicts itself; then nothing took effect.
        """

        def work(conn: Connection, row: ScatterRow, now: float) -> Committed:
            write_tallies(conn, row, tallies)
            return commit(conn, row, now, receipts, attempts, workers)

        done = self._fenced(work)
        self.row = done.row
        return done

    def died(self, attempt_id: str, worker: str | None = None) -> None:
        """Remember that a worker process died over an attempt: a strike against its items."""

        def work(conn: Connection, row: ScatterRow, now: float) -> ScatterRow:
            struck: dict[str, Any] = {"started": True, "died": True} | ({"worker": worker} if worker else {})
            conn.execute(update(attempt).where(attempt.c.id == attempt_id, attempt.c.uid == self.uid).values(struck))
            return row

        self._write(work)

    def adopt(self, attempts: Sequence[str], why: str) -> None:
        """Say that this coordinator waits for attempts that another one has sent, and in a clause for people why."""

        def work(conn: Connection, row: ScatterRow, now: float) -> ScatterRow:
            for some in batches(attempts):
                these = attempt.c.id.in_(some), attempt.c.uid == self.uid
                conn.execute(update(attempt).where(*these).values(adopted=self.epoch))
            explain_try(conn, self.uid, self.epoch, why)
            return row

        self._write(work)

    def hold_up(self, why: str | None) -> None:
        """Tell people what keeps this try from going on; None: nothing does any more."""
        self._fenced(lambda conn, row, now: hold_up_try(conn, row, why))

    def set_total(self, total: int) -> ScatterRow:
        """Say how many items there are. Raises ItemsChanged where the ledger knows it otherwise."""
        return self._write(lambda conn, row, now: counted(conn, row, total))

    def withdraw(self, which: ChunkRow, failures: Iterable[Failure] = ()) -> ScatterRow:
        """Take a committed chunk back: its items have no outcome again, or (a re-run's) the one they had before.

        `failures` tell what the items of a re-run had failed by before, from the sidecar below; without them the
        ledger says no more than that they had. Nothing happens where another chunk took its place meanwhile.
        """
        given = tuple(failures)
        return self._write(lambda conn, row, now: withdraw(conn, row, which, given))

    def trust(self, which: ChunkRow) -> ScatterRow:
        """Take back the suspicion against a chunk: its bytes are there after all."""

        def work(conn: Connection, row: ScatterRow, now: float) -> ScatterRow:
            same = chunk.c.uid == self.uid, chunk.c.layer == which.layer, chunk.c.attempt == which.attempt
            conn.execute(update(chunk).where(*same).values(suspect_at=None))
            return row

        return self._write(work)

    def withdraw_epoch(self) -> ScatterRow:
        """Take back all that was committed of this try's input, because that input turned out to be another one."""
        return self._write(lambda conn, row, now: withdraw_epoch(conn, row))

    def applied(self, *numbers: int) -> None:
        """Mark controls as seen to in this epoch."""

        def work(conn: Connection, row: ScatterRow, now: float) -> ScatterRow:
            seen = update(control).where(control.c.uid == self.uid, control.c.no.in_(numbers))
            conn.execute(seen.values(applied_epoch=self.epoch))
            return row

        self._write(work)

    def finish(self, tolerance: Tolerance, tallies: Mapping[str, float] | None = None) -> ScatterRow:
        """End the scatter if it can prove that every item is accounted for.

        The row's state tells: `succeeded`; `failed`, with more failures than `tolerance` allows; or still `running`,
        where items are missing, a chunk is suspect, the number of items is not known or commits turn out to be lost:
        plan again.
        Raises LedgerError where the counters are not the sums of the chunks.
        """
        known = self.losses

        def work(conn: Connection, row: ScatterRow, now: float) -> ScatterRow:
            covered, suspect = account(conn, row)
            write_tallies(conn, row, tallies)
            if row.total is None or covered != row.total or suspect or self.losses > known:
                return row
            budget = tolerance.budget(row.done, row.total, ended=True)
            if row.n_failed <= budget:
                return end(conn, row, now, "succeeded", None)
            text = f"{row.n_failed:,} of {row.total:,} items failed; {budget:,} may (tolerate=)"
            return end(conn, row, now, "failed", text)

        return self._finally(("succeeded", "failed"), work)

    def end(
        self, state: Literal["failed", "cancelled"], message: str, tallies: Mapping[str, float] | None = None
    ) -> ScatterRow:
        """End the scatter as it is. What is committed stays; what is under way counts no more."""

        def work(conn: Connection, row: ScatterRow, now: float) -> ScatterRow:
            write_tallies(conn, row, tallies)
            return end(conn, row, now, state, message)

        return self._finally((state,), work)

    def release(
        self,
        tallies: Mapping[str, float] | None = None,
        *,
        ending: Literal["drained", "stopped", "error"] = "stopped",
        message: str | None = None,
        past: int = 0,
    ) -> None:
        """Give the scatter up as it is, still running, so that another coordinator need not wait for the lease.

        `ending` and `message` say to people how this try ended. The next claim has an epoch later than `past`.
        """
        left = max(self.epoch, past)

        def work(conn: Connection, row: ScatterRow, now: float) -> ScatterRow:
            write_tallies(conn, row, tallies)
            end_try(conn, row.uid, now, ending, message)
            if left > self.epoch:
                void_reruns(conn, self.uid)
            conn.execute(update(scatter).where(scatter.c.uid == self.uid).values(NOBODY | {"epoch": left}))
            return msgspec.structs.replace(row, owner=None, lease_until=None, epoch=left)

        def once(conn: Connection) -> ScatterRow:
            try:
                return work(conn, *self._lock(conn))
            except Fenced:
                row = scatter_row(conn, self.uid)
                if (row.epoch, row.state, row.owner) == (left, "running", None):
                    return row  # the COMMIT was in doubt, and had counted
                raise

        self.row = self.ledger.database.write(once)

    def fresh(self, new: NewScatter) -> Claim:
        """The claim on a new scatter that takes this one's name and place; nothing of this one counts for it."""
        token = uuid.uuid4().hex

        def work(conn: Connection) -> ScatterRow:
            there = conn.execute(select(scatter.c.owner_token).where(scatter.c.uid == new.uid)).one_or_none()
            if there is not None:  # the COMMIT was in doubt, and had counted
                row = scatter_row(conn, new.uid)
                if there[0] != token:
                    raise Fenced(f"scatter {row.title} was taken over by {row.owner or 'another'} as it was made")
                return row
            old, now = self._lock(conn)
            end(conn, old, now, "replaced", "replaced by a fresh start")
            values = created(new, now) | owned(self._owner, token, now)
            conn.execute(insert(scatter), values | {"name": old.name, "gen": old.gen + 1, "epoch": 1})
            write_pin(conn, new)
            row = scatter_row(conn, new.uid)
            begin_try(conn, row, self._owner, now)
            return row

        return Claim(self.ledger, self.ledger.database.write(work), self._owner, token)

    def _write(self, work: Callable[[Connection, ScatterRow, float], ScatterRow]) -> ScatterRow:
        self.row = self._fenced(work)
        return self.row

    def _finally(
        self, states: Sequence[ScatterState], work: Callable[[Connection, ScatterRow, float], ScatterRow]
    ) -> ScatterRow:
        """As `_write`, for what may end the scatter in one of `states`: a COMMIT in doubt may have done so already."""

        def once(conn: Connection) -> ScatterRow:
            try:
                return work(conn, *self._lock(conn))
            except Fenced:
                row = scatter_row(conn, self.uid)
                if row.epoch == self.epoch and row.state in states:
                    return row
                raise

        self.row = self.ledger.database.write(once)
        return self.row

    def _fenced(self, work: Callable[[Connection, ScatterRow, float], T]) -> T:
        """What `work` returns, run below the scatter's lock."""
        return self.ledger.database.write(lambda conn: work(conn, *self._lock(conn)))

    def _lock(self, conn: Connection) -> tuple[ScatterRow, float]:
        """The scatter, locked until the transaction ends, and the time."""
        return self._fence.lock(conn, self.row)
