"""How fast a scatter was, and how much each worker has done: what is compared between engines."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import msgspec
from sqlalchemy import Connection, and_, func, select

from manifold.ledger.queries import PAGE, Reader, scatter_row
from manifold.ledger.tables import attempt, chunk, scatter_try, worker
from manifold.ledger.tries import worked
from manifold.protocol.records import ScatterRow

_CHUNKS = 10_000  # of which the median is taken, the newest ones


class Speed(msgspec.Struct, frozen=True):
    """The figures of one scatter, over all its tries.

    Attributes:
        row: its counters.
        seconds: that its tries took together.
        first_result: seconds from the beginning of its first try to its first commit; None where there is none.
        chunk_seconds: the median of the workers' own time for a chunk; None without chunks.
        lost: how often a chunk was sent and nothing came of it.
    """

    row: ScatterRow
    seconds: float
    first_result: float | None
    chunk_seconds: float | None
    lost: int

    @property
    def rate(self) -> float | None:
        """Items per second, from beginning to end."""
        return self.row.done / self.seconds if self.row.done and self.seconds else None


def read_speed(ledger: Reader, uid: str) -> Speed:
    """Return the figures as of one moment; raises LedgerError where there is no such scatter."""
    now = ledger.now()
    began = select(func.min(scatter_try.c.began_at)).where(scatter_try.c.uid == uid)
    first = select(func.min(chunk.c.committed_at)).where(chunk.c.uid == uid)
    took = select(chunk.c.seconds).where(chunk.c.uid == uid).order_by(chunk.c.seq.desc()).limit(_CHUNKS)
    lost = select(func.count()).where(and_(attempt.c.uid == uid, attempt.c.state == "void"))

    def work(conn: Connection) -> Speed:
        row = scatter_row(conn, uid)
        seconds = worked(conn, [uid], conn.execute(select(now)).scalar_one()).get(uid, 0.0)
        beginning, committed = conn.execute(began).scalar(), conn.execute(first).scalar()
        waited = None if beginning is None or committed is None else max(0.0, committed - beginning)
        chunks = list(conn.execute(took).scalars())
        return Speed(row, seconds, waited, median(chunks) if chunks else None, conn.execute(lost).scalar_one())

    return ledger.database.read(work)


def committed_by(ledger: Reader, workers: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return the chunks and items that were committed of each worker process, over the scatters of the ledger.

    A process without any is left out. A process id that was used before on its host counts what that one did, too.
    """
    of = worker.c
    asked = select(of.worker, func.sum(of.chunks), func.sum(of["items"])).group_by(of.worker).where(of.chunks > 0)
    wanted = sorted(set(workers))
    pages = [wanted[first : first + PAGE] for first in range(0, len(wanted), PAGE)]
    return ledger.database.read(
        lambda conn: {
            name: (int(chunks), int(items))
            for page in pages
            for name, chunks, items in conn.execute(asked.where(of.worker.in_(page)))
        }
    )
