"""A database that fails over to an older copy, or takes no writes for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg2 import errors
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from manifold.demo.postgres import PostgresServer
from manifold.errors import Fenced, LedgerUnavailable
from manifold.ledger import Claim, Ledger, open_ledger
from manifold.ledger.connection import Database, may_pass
from manifold.policy import Tolerance
from manifold.protocol.records import Attempt
from tests.ledger.made import claim_rows, claimed, copied, done, fail_over, new, owner, planned, receipt, sent, sound

WRITES: dict[str, Callable[[Claim], object]] = {
    "renew": lambda claim: claim.renew(),
    "describe": lambda claim: claim.describe(fn_key="another"),
    "commit": lambda claim: claim.commit([receipt(sent_before(claim))]),
    "dispatch": lambda claim: sent(claim, 8, 9),
    "died": lambda claim: claim.died("a0"),
    "set_total": lambda claim: claim.set_total(9),
    "withdraw": lambda claim: claim.withdraw(claim_rows(claim)[0]),
    "trust": lambda claim: claim.trust(claim_rows(claim)[0]),
    "withdraw_epoch": lambda claim: claim.withdraw_epoch(),
    "applied": lambda claim: claim.applied(1),
    "finish": lambda claim: claim.finish(Tolerance(count=9)),
    "end": lambda claim: claim.end("cancelled", "enough"),
    "release": lambda claim: claim.release(),
    "fresh": lambda claim: claim.fresh(new()),
}


def sent_before(claim: Claim) -> Attempt:
    return planned(claim, 4, 6, id_="a0")


@pytest.mark.parametrize("write", WRITES)
def test_of_two_coordinators_with_one_epoch_only_the_owner_writes(ledger: Ledger, write: str) -> None:
    first = claimed(ledger)
    done(first, 0, "oof")
    first.release()
    before = copied(ledger)
    lost = ledger.acquire(first.uid, owner(2))
    fail_over(ledger, before)
    heir = ledger.acquire(first.uid, owner(3))
    assert heir.epoch == lost.epoch
    sent(heir, 4, 6, id_="a0")
    ledger.control(heir.uid, "pause")
    now = copied(ledger)
    with pytest.raises(Fenced, match=r"taken over by coordinator 3, after the ledger's database had lost"):
        WRITES[write](lost)
    assert copied(ledger) == now
    heir.renew()
    sound(ledger)


@pytest.mark.parametrize("write", WRITES)
def test_a_coordinator_whose_claim_is_lost_writes_nothing_and_says_why(ledger: Ledger, write: str) -> None:
    first = claimed(ledger)
    done(first, 0, "oof")
    sent(first, 4, 6, id_="a0")
    first.release()
    before = copied(ledger)
    lost = ledger.acquire(first.uid, owner(2))
    fail_over(ledger, before)
    with pytest.raises(Fenced, match=r"has lost this coordinator's claim.*restored or failed over"):
        WRITES[write](lost)
    assert copied(ledger) == before


def test_a_claim_given_up_past_an_epoch_that_workers_have_met_is_followed_by_a_later_one(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "f")
    rerun = sent(claim, 0, 1, layer=claim.epoch)
    claim.release(past=7)
    claim.release(past=7)  # its COMMIT may have been in doubt
    with pytest.raises(Fenced):
        claim.renew()
    heir = ledger.acquire(claim.uid, owner(2))
    assert heir.epoch == 8
    assert heir.commit([receipt(rerun)]).won == [False]
    sound(ledger)


def test_a_claim_that_was_given_up_writes_nothing_more(ledger: Ledger) -> None:
    claim = claimed(ledger)
    claim.release()
    claim.release()  # its COMMIT may have been in doubt
    with pytest.raises(Fenced, match="given up"):
        claim.renew()


def test_what_a_failover_loses_is_missing_and_what_the_coordinator_had_said_is_said_again(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "oof")
    before = copied(ledger)
    done(claim, 3, "oo")
    claim.describe(fn_key="function.1", fn_digest="code", policy={"tolerate": "1%"})
    claim.set_total(5)
    assert claim.losses == 0
    under_way = sent(claim, 5, 6)
    fail_over(ledger, before)

    assert claim.finish(Tolerance(count=9)).state == "running", "two items are missing"
    assert claim.losses == 1
    row = ledger.scatter(claim.uid)
    assert (row.total, row.done) == (5, 3)
    assert (row.fn_key, row.fn_digest, row.policy) == ("function.1", "code", {"tolerate": "1%"})
    assert claim.commit([receipt(under_way)]).won == [False], "it is not written down any more"
    done(claim, 3, "oo")
    assert claim.finish(Tolerance(count=9)).state == "succeeded"
    sound(ledger)


def test_a_server_that_takes_no_writes_is_waited_for_on_new_connections(
    postgres: PostgresServer, postgres_url: str
) -> None:
    ledger = open_ledger(postgres_url, migrate=True)
    claim = claimed(ledger)
    name = make_url(postgres_url).database
    told: list[str] = []

    def promoted(text_: str) -> None:
        told.append(text_)
        if len(told) == 3:
            run(postgres, f"ALTER DATABASE {name} RESET default_transaction_read_only")

    ledger.database.on_wait = promoted
    run(postgres, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    run(postgres, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    done(claim, 0, "oof")
    assert len(told) >= 3
    assert any("read-only transaction" in text_ for text_ in told)
    sound(ledger)
    ledger.close()


def run(postgres: PostgresServer, statement: str) -> None:
    """Run a statement as an administrator, from another database."""
    engine = create_engine(postgres.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.execute(text(statement))
    engine.dispose()


PASSING = [
    errors.ReadOnlySqlTransaction,
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.ConnectionFailure,
    errors.ProtocolViolation,
    errors.TooManyConnections,
    errors.DiskFull,
    errors.SerializationFailure,
    errors.StatementCompletionUnknown,
    errors.SystemError,
    errors.IoError,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.IdleInTransactionSessionTimeout,
    errors.TransactionTimeout,
]


@pytest.mark.parametrize("kind", PASSING, ids=lambda kind: kind.__name__)
def test_what_may_pass_is_waited_for(kind: type[Exception]) -> None:
    assert may_pass(OperationalError("UPDATE", {}, Raised.of(kind)))


@pytest.mark.parametrize("kind", [errors.UndefinedTable, errors.UniqueViolation, errors.InsufficientPrivilege])
def test_what_will_not_pass_is_not_waited_for(kind: type[Exception]) -> None:
    assert not may_pass(OperationalError("UPDATE", {}, Raised.of(kind)))


class Raised(Exception):
    """An error as the driver raises it, with the state that the server gave."""

    pgcode = ""

    @classmethod
    def of(cls, kind: type[Exception]) -> Raised:
        made = cls(kind.__name__)
        made.pgcode = next(code for code, known in errors_by_code() if known is kind)
        return made


def errors_by_code() -> Iterator[tuple[str, type[Exception]]]:
    from psycopg2 import errorcodes

    for code in vars(errorcodes).values():
        if isinstance(code, str) and len(code) == 5:
            try:
                yield code, errors.lookup(code)
            except KeyError:
                continue


@contextmanager
def away(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The database cannot be reached; how long each transaction was ready to wait."""
    waits: list[float] = []

    def gone(self: Database, work: Callable[[Connection], Any], write: bool) -> Any:
        waits.append(self.patience)
        raise OperationalError("COMMIT", {}, Raised.of(errors.CannotConnectNow))

    with monkeypatch.context() as patch:
        patch.setattr(Database, "_once", gone)
        yield waits


def test_a_database_that_stays_away_is_an_error_of_its_own_and_can_be_asked_without_waiting(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = Ledger(ledger.database.engine, database=Database(ledger.database.engine, patience=0.2))
    claim = claimed(impatient)
    with away(impatient, monkeypatch) as waits:
        with pytest.raises(LedgerUnavailable):
            claim.renew()
        assert set(waits) == {0.2}
        waits.clear()
        with impatient.database.briefly(), pytest.raises(LedgerUnavailable):
            claim.renew()
        assert waits == [0.0]
    claim.renew()
