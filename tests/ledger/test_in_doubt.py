"""A COMMIT whose answer is lost either counted or did not; run again, it has counted exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import OperationalError

from manifold.demo.postgres import PostgresServer
from manifold.ledger import Claim, Ledger, open_ledger
from manifold.ledger.connection import Database, connect
from manifold.policy import Tolerance
from manifold.protocol.records import WorkerInfo
from tests.ledger.made import claim_rows, claimed, done, dump, new, owner, planned, receipt, sent, sound


@contextmanager
def answer_lost(ledger: Ledger, *, applied: bool) -> Iterator[list[bool]]:
    """The next COMMIT's answer does not arrive. `applied`: the database had done it."""
    cut: list[bool] = []

    def lose(conn: Connection) -> None:
        if not cut:
            cut.append(applied)
            driver = conn.connection.dbapi_connection
            assert driver is not None
            if applied:
                driver.commit()
            raise OperationalError("COMMIT", None, ConnectionError("cut"), connection_invalidated=True)

    event.listen(ledger.database.engine, "commit", lose)
    try:
        yield cut
    finally:
        event.remove(ledger.database.engine, "commit", lose)


Act = Callable[[], object]


def to_create(ledger: Ledger) -> Act:
    wanted = new(uid="b" * 32)
    return lambda: ledger.create(wanted)


def to_acquire(ledger: Ledger) -> Act:
    claim = running(ledger)
    claim.release()
    return lambda: ledger.acquire(claim.uid, owner(2)).epoch


def to_renew(ledger: Ledger) -> Act:
    return running(ledger).renew


def to_describe(ledger: Ledger) -> Act:
    claim = running(ledger)
    return lambda: claim.describe(fn_key="k")


def to_commit(ledger: Ledger) -> Act:
    claim = running(ledger)
    first, second = (sent(claim, 10, 13, id_=f"a{number}") for number in range(2))
    receipts = [receipt(first, "ofs"), receipt(second, "ooo")]
    seen = [WorkerInfo("worker 1", "host 1", 1)]
    return lambda: claim.commit(receipts, [planned(claim, 20, 30, id_="a9")], seen).won


def to_commit_a_rerun(ledger: Ledger) -> Act:
    claim = next_epoch(running(ledger))
    attempt = sent(claim, 1, 4, layer=2, id_="a5")
    return lambda: claim.commit([receipt(attempt, "of.")]).won


def to_note_a_death(ledger: Ledger) -> Act:
    claim = running(ledger)
    attempt = sent(claim, 5, 6, id_="a7")
    return lambda: claim.died(attempt.id, "worker 2")


def to_set_the_total(ledger: Ledger) -> Act:
    claim = running(ledger)
    return lambda: claim.set_total(4)


def to_withdraw(ledger: Ledger) -> Act:
    claim = running(ledger)
    row = claim_rows(claim)[0]
    return lambda: claim.withdraw(row)


def to_withdraw_a_rerun(ledger: Ledger) -> Act:
    claim = next_epoch(running(ledger))
    attempt = sent(claim, 1, 3, layer=2, id_="a5")
    claim.commit([receipt(attempt, "of")])
    row = claim_rows(claim)[-1]
    return lambda: claim.withdraw(row)


def to_withdraw_the_epoch(ledger: Ledger) -> Act:
    return running(ledger).withdraw_epoch


def to_succeed(ledger: Ledger) -> Act:
    claim = running(ledger)
    claim.set_total(4)
    return lambda: claim.finish(Tolerance(count=9)).state


def to_fail(ledger: Ledger) -> Act:
    claim = running(ledger)
    claim.set_total(4)
    return lambda: claim.finish(Tolerance()).state


def to_cancel(ledger: Ledger) -> Act:
    claim = running(ledger)
    return lambda: claim.end("cancelled", "enough").state


def to_release(ledger: Ledger) -> Act:
    return running(ledger).release


def to_start_from_scratch(ledger: Ledger) -> Act:
    claim = running(ledger)
    wanted = new(uid="c" * 32)
    return lambda: claim.fresh(wanted).row.gen


def to_suspect(ledger: Ledger) -> Act:
    row = claim_rows(running(ledger))[0]
    return lambda: ledger.suspect(row)


def to_control(ledger: Ledger) -> Act:
    claim = running(ledger)
    return lambda: ledger.control(claim.uid, "set", {"max_concurrency": 2}, "ada")


def to_apply_a_control(ledger: Ledger) -> Act:
    claim = running(ledger)
    number = ledger.control(claim.uid, "pause")
    return lambda: claim.applied(number)


def running(ledger: Ledger) -> Claim:
    """A claim on a scatter with one committed chunk."""
    claim = claimed(ledger, uid="a" * 32)
    attempt = sent(claim, 0, 4, id_="a0")
    claim.commit([receipt(attempt, "offf")])
    return claim


def next_epoch(claim: Claim) -> Claim:
    claim.release()
    return claim.ledger.acquire(claim.uid, owner(2))


TRANSITIONS = [made for name, made in sorted(globals().items()) if name.startswith("to_")]


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("transition", TRANSITIONS, ids=lambda made: made.__name__)
def test_a_transition_in_doubt_takes_effect_exactly_once(
    ledger: Ledger, transition: Callable[[Ledger], Act], applied: bool
) -> None:
    impatient = Ledger(ledger.database.engine, database=Database(ledger.database.engine, sleep=lambda seconds: None))
    act = transition(impatient)
    with answer_lost(impatient, applied=applied) as cut:
        answer = act()
    assert cut == [applied]

    clear = open_ledger("sqlite://")
    expected = transition(clear)()
    assert plain(answer) == plain(expected)
    assert dump(ledger) == dump(clear)
    sound(ledger)
    clear.close()


def plain(answer: object) -> object:
    """An answer without its times."""
    return answer if isinstance(answer, (int, str, list, bool, type(None))) else type(answer)


def test_a_connection_that_is_really_cut_during_a_commit_is_made_again(
    postgres: PostgresServer, postgres_url: str
) -> None:
    ledger = open_ledger(postgres_url, migrate=True)
    told: list[str] = []
    ledger.database.on_wait = told.append
    claim = claimed(ledger)
    attempt = sent(claim, 0, 3)
    admin = create_engine(postgres.url(), isolation_level="AUTOCOMMIT")
    cuts: list[int] = []

    def cut(conn: Connection) -> None:
        if not cuts:
            cuts.append(conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
            with admin.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": cuts[0]})

    event.listen(ledger.database.engine, "commit", cut)
    assert claim.commit([receipt(attempt, "oof")]).won == [True]
    assert len(told) >= 1
    assert told[0].startswith("waiting for the ledger postgresql+psycopg2://postgres:***@")
    sound(ledger)
    ledger.close()
    admin.dispose()


def test_a_dead_session_that_holds_the_scatter_is_waited_for(postgres_url: str) -> None:
    first, second = open_ledger(postgres_url, migrate=True), connect(postgres_url)
    claim = claimed(first)
    row = done(claim, 0, "oo")
    told: list[str] = []

    with second.connect() as stuck:
        stuck.execute(text("SET idle_in_transaction_session_timeout = '300ms'"))
        stuck.commit()
        stuck.execute(text("UPDATE scatter SET seq = seq"))
        first.database.on_wait = told.append
        claim.withdraw(row)  # returns once the server has ended the stuck session
        stuck.invalidate()
    assert claim_rows(claim) == []
    sound(first)
    first.close()
    second.dispose()
