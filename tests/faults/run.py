"""One scatter while something breaks: its coordinator is started again until all is done, as Airflow would.

And after it: that the answer is right, every item is accounted for once, and nothing is left over.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import msgspec
import psutil
from sqlalchemy import select

from manifold.demo.process import Child, tail
from manifold.errors import LedgerError
from manifold.ledger import Ledger, open_ledger
from manifold.ledger.gc import sweep
from manifold.ledger.tables import attempt, chunk
from manifold.ledger.verify import verify, verify_blobs
from manifold.protocol.records import ScatterRow
from manifold.results.results import Results
from manifold.stores import open_store
from manifold.testing.engines import until
from tests.faults.cluster import Cluster
from tests.faults.coordinate import Order
from tests.faults.hosts import Host
from tests.faults.work import ITEMS, answer

_TRIES = 20
_LOOK = 0.05


class Measured(msgspec.Struct, frozen=True):
    """What one fault cost, in seconds.

    Attributes:
        lasted: from its beginning to its end; 0 for a kill, and where it lasts as long as the run.
        commit: from its beginning to the next commit; 0 where it lasts as long as the run.
        whole: from its beginning until all that was in flight then is committed.
        run: the whole scatter, in the ledger's time.
        tries: coordinators that it took.
    """

    lasted: float
    commit: float
    whole: float
    run: float
    tries: int


@dataclass(frozen=True)
class _Fault:
    began: float
    lasted: float


class Run:
    """A scatter under a name of its own.

    Args:
        seconds: what an item takes.
    """

    def __init__(
        self, cluster: Cluster, name: str, *, seconds: float, store: str = "", poison: int | None = None
    ) -> None:
        self.cluster = cluster
        self.host = cluster.coordinator
        self.environment: dict[str, str] = {}
        self.tries = 0
        self.over = False
        self._order = Order(name, cluster.engine, cluster.silence, store, seconds, poison)
        self._fault: _Fault | None = None
        self._child: Child | None = None
        self._hosts: set[Host] = set()
        self._watched = open_ledger(cluster.ledger_url)
        self._watched.database.patience = 0.0  # it is only asked how far things are

    # -- while it runs -----------------------------------------------------------------------------------------------

    def start(self, host: Host | None = None) -> None:
        """Start a coordinator; on another host, if given. Another one that runs is let be."""
        self.host = host or self.host
        self._hosts.add(self.host)
        self.tries += 1
        assert self.tries <= _TRIES, f"{_TRIES} coordinators came to no end; the last one says:\n{self.said()}"
        command = [sys.executable, "-m", "tests.faults.coordinate", msgspec.json.encode(self._order).decode()]
        log = self.cluster.folder / self._order.name / f"try{self.tries}.log"
        self._child = self.host.start("coordinator", command, log=log, env=self.cluster.environment(self.environment))

    def kill(self) -> None:
        """SIGKILL the coordinator, and what it has started."""
        assert self._child is not None
        self._child.kill()

    def reach(self, share: float, seconds: float = 120.0) -> None:
        """Return when so much of the items has an outcome."""
        self.wait(lambda: self.done >= share * ITEMS, seconds, f"{share:.0%} of the items are done")

    def last(self, seconds: float) -> None:
        """Return after so many seconds."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= end, seconds + 1, "time passes")

    def finish(self, seconds: float = 300.0) -> None:
        """Return when the scatter has succeeded."""
        self.wait(lambda: self.over, seconds, "the scatter has succeeded")

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Return when it holds; a coordinator that ends without success meanwhile is followed by another."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds:g} s: {what}. The coordinator says:\n{self.said()}"
            self._look()
            time.sleep(_LOOK)

    @contextmanager
    def fault(self, *, lasts: bool = True) -> Iterator[None]:
        """Around what goes wrong. Recovery is measured from its beginning; from its end, unless it lasts."""
        began = self.cluster.ledger.time()
        clock = time.monotonic()
        yield
        lasted = time.monotonic() - clock
        self._fault = _Fault(began, lasted) if lasts else _Fault(self.cluster.ledger.time(), 0.0)

    def chunk_processes(self) -> list[psutil.Process]:
        """The processes that have run chunks so far, and still live."""
        row = self._watched.find(self._order.name)
        assert row is not None
        names = {chunk.worker for chunk in self._watched.chunks(row.uid)}
        pids = sorted(int(name.rpartition(":")[2]) for name in names)
        return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]

    @property
    def done(self) -> int:
        """Items with an outcome, as far as the ledger can be asked."""
        try:
            row = self._watched.find(self._order.name)
        except LedgerError:
            return 0
        return row.done if row is not None else 0

    def close(self) -> None:
        """Nothing of it runs any more."""
        for host in self._hosts:
            host.kill()
        self._watched.close()

    def said(self) -> str:
        """The end of the log of the latest coordinator."""
        return tail(self._child.log, 30) if self._child else ""

    def _look(self) -> None:
        if self._child is None or self.over or self._child.alive():
            return
        self.over = self._child.succeeded
        if not self.over:
            self.start()

    # -- after it ----------------------------------------------------------------------------------------------------

    def examine(self, failed: set[int] | None = None) -> Measured:
        """What it cost. Raises AssertionError where an item is wrong, lost or counted twice, or anything is left."""
        ledger = self.cluster.ledger
        row = ledger.find(self._order.name)
        assert row is not None
        account = row.state, row.total, row.done
        assert account == ("succeeded", ITEMS, ITEMS), f"{account}. The coordinator says:\n{self.said()}"
        violations = verify(ledger, row.uid)
        assert not violations, violations
        with closing(open_store(self._order.store or self.cluster.store_url)) as store:
            found = dict(Results.of(row, ledger, store).pairs())
            wrong = [item for item in range(ITEMS) if item not in (failed or ()) and found.get(item) != answer(item)]
            assert not wrong, f"{len(wrong):,} items have a wrong answer, the first is {wrong[0]}"
            failures = {one.pos for one in ledger.failures(row.uid)}
            assert failures == (failed or set()), f"failed are {failures}"
            assert len(found) == ITEMS - len(failures), f"{len(found):,} results"

            def clean() -> bool:  # what a late worker puts is found by the next gc
                sweep(ledger, lambda _row: store)
                return verify_blobs(ledger, row.uid, store, collected=True) == []

            until(clean, "gc leaves what the chunks name, and nothing else")
        until(lambda: not any(host.processes() for host in self._hosts), "nothing of a coordinator runs on")
        return _measured(ledger, row, self._fault, self.tries)


def _measured(ledger: Ledger, row: ScatterRow, fault: _Fault | None, tries: int) -> Measured:
    assert row.ended_at is not None
    run = row.ended_at - row.created_at
    if fault is None:
        return Measured(0.0, 0.0, 0.0, run, tries)
    of = chunk.c
    sent = select(attempt.c.start, attempt.c.stop).where(attempt.c.uid == row.uid, attempt.c.sent_at <= fault.began)
    after = select(of.start, of.stop, of.committed_at).where(of.uid == row.uid, of.committed_at > fault.began)
    ranges = [(start, stop) for start, stop in ledger.database.read(lambda conn: conn.execute(sent).all())]
    commits = [tuple(one) for one in ledger.database.read(lambda conn: conn.execute(after).all())]
    assert commits, "the fault came too late: all was done"
    due = [at for start, stop, at in commits if any(low < stop and start < high for low, high in ranges)]
    first = min(at for *_, at in commits)
    whole = max(due, default=first)
    return Measured(fault.lasted, first - fault.began, whole - fault.began, run, tries)
