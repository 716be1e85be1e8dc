"""The first statement of every write of a claim: it fences, serialises, renews the lease, and restores what was lost.

A failover to a replica that lags, or a restored backup, may take back the latest commits of a coordinator that lives.
Its claim shows it: a later epoch or another owner's token stands in the row, and nothing more is written. Where the
claim itself is still there, what this coordinator had said of the scatter is said again, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, Select, Update, select, update

from manifold.errors import Fenced
from manifold.ledger import guards
from manifold.ledger.ending import void_earlier
from manifold.ledger.tables import database_time, scatter
from manifold.ledger.tries import LEASE
from manifold.protocol.records import ScatterRow

if TYPE_CHECKING:
    from manifold.ledger.ledger import Ledger

# The options may be long, and only this claim changes them: not read again with every write.
_CHANGING = [name for name in ScatterRow.__struct_fields__ if name != "policy"]


class Fence:
    """The right of one claim to write.

    Args:
        row: the scatter as the claim got it.
        token: what tells this claim from any other of the same epoch.
    """

    def __init__(self, ledger: Ledger, row: ScatterRow, token: str) -> None:
        self._ledger = ledger
        self._uid = row.uid
        self._epoch = row.epoch
        self._token = token
        self.said: dict[str, Any] = {}
        """What this claim has described: said again where the database has lost it."""
        self.other_work = False
        """What earlier claims have sent counts no more, which is said again, too."""
        self.losses = 0
        """How often the database was seen to have gone back behind what this claim had committed."""
        self._prepared: tuple[Update, Select[Any]] | None = None

    def lock(self, conn: Connection, known: ScatterRow) -> tuple[ScatterRow, float]:
        """Return the scatter, locked until the transaction ends, and the database's time.

        The update waits for a dead session of ours whose COMMIT is in doubt. `known` is the scatter as this claim last
        saw it. Raises Fenced.
        """
        renew, read = self._statements()
        held = conn.execute(renew).rowcount == 1
        found = conn.execute(read).one_or_none()
        if found is None:
            raise Fenced(f"scatter {self._uid} is not in the ledger {self._ledger.url} any more")
        row = msgspec.structs.replace(known, **dict(zip(_CHANGING, found[:-2], strict=True)))
        if not held:
            raise Fenced(self._why(row, found[-2]))
        return self._restored(conn, row, known), found[-1]

    def _statements(self) -> tuple[Update, Select[Any]]:
        """What renews the lease, and what reads the scatter. Built once: to build them costs more than to run them."""
        if self._prepared is not None:
            return self._prepared
        now = self._ledger.now()
        mine = guards.mine(self._uid, self._epoch, self._token)
        renew = update(scatter).where(mine).values(lease_until=now + LEASE)
        columns = (scatter.c[name] for name in (*_CHANGING, "owner_token"))
        prepared = renew, select(*columns, now).where(scatter.c.uid == self._uid)
        if isinstance(now, database_time):  # else it is a moment of a simulation
            self._prepared = prepared
        return prepared

    def _why(self, row: ScatterRow, token: str | None) -> str:
        epochs = f"(epoch {row.epoch}; this coordinator has {self._epoch})"
        if row.epoch < self._epoch:
            return (
                f"the ledger has lost this coordinator's claim on scatter {row.title} {epochs}: its database was "
                "restored or failed over to an older copy. The next try continues with what is committed there"
            )
        if row.epoch == self._epoch and row.state != "running":
            return f"scatter {row.title} has ended: {row.state} {epochs}"
        if row.epoch == self._epoch and token is None:
            return f"scatter {row.title} was given up by its coordinator {epochs}"
        lost = ", after the ledger's database had lost this one's claim" if row.epoch == self._epoch else ""
        return f"scatter {row.title} was taken over by {row.owner or 'another'}{lost} {epochs}"

    def _restored(self, conn: Connection, row: ScatterRow, known: ScatterRow) -> ScatterRow:
        """The scatter with what this claim had said of it, where the database has lost that."""
        self.losses += row.seq < known.seq
        lost: Mapping[str, Any] = {}
        if any(getattr(row, name) != value for name, value in self.said.items() if name in _CHANGING):
            lost = self.said
        if row.total is None and known.total is not None:  # nothing can be committed past it meanwhile
            lost = {**lost, "total": known.total}
        if not lost:
            return row
        conn.execute(update(scatter).where(scatter.c.uid == row.uid).values(**lost))
        if self.other_work:
            void_earlier(conn, row)
        return msgspec.structs.replace(row, **lost)
