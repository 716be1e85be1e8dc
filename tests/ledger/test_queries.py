"""What the ledger tells."""

from __future__ import annotations

import pytest

from manifold.ledger import LEASE, Ledger, scatter_name
from manifold.policy import Tolerance
from tests.ledger.made import Clock, claimed, done, new, owner, receipt, sent


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_of_chunks_miss_nothing_and_repeat_nothing(ledger: Ledger, limit: int) -> None:
    claim = claimed(ledger)
    for start in (6, 0, 9, 3):
        done(claim, start, "oof")
    seen, after = [], -1
    while page := ledger.chunks(claim.uid, after=after, limit=limit):
        assert len(page) <= limit
        seen += [row.start for row in page]
        after = page[-1].start
    assert seen == [0, 3, 6, 9]


def test_pages_of_failures_can_be_of_one_kind(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "fof", kind="boom")
    done(claim, 3, "ff", kind="crash")
    done(claim, 5, "f", kind="boom")
    assert [row.pos for row in ledger.failures(claim.uid)] == [0, 2, 3, 4, 5]
    assert [row.pos for row in ledger.failures(claim.uid, after=2, limit=2)] == [3, 4]
    assert [row.pos for row in ledger.failures(claim.uid, fingerprint="boom")] == [0, 2, 5]
    assert [row.pos for row in ledger.failures(claim.uid, fingerprint="boom", after=0, limit=1)] == [2]
    assert ledger.failures(claim.uid, fingerprint="none") == []


def test_committed_ranges_are_those_that_reach_into_what_is_asked(ledger: Ledger) -> None:
    claim = claimed(ledger)
    for start in (0, 10, 20, 30):
        done(claim, start, "o" * 5)
    assert ledger.covered(claim.uid, 0, 12, 21) == [(10, 15), (20, 25)]
    assert ledger.covered(claim.uid, 0, 5, 10) == []
    assert ledger.covered(claim.uid, 0, 14, 15) == [(10, 15)]
    assert ledger.covered(claim.uid, 1, 0, 40) == []


@pytest.mark.parametrize("still", [True, False])
def test_scatters_are_listed_newest_first_in_pages(ledger: Ledger, still: bool) -> None:
    clock = Clock()
    timed = Ledger(ledger.database.engine, now=clock)
    for number in range(5):
        timed.create(new(f"dag/{number}"))
        clock.now += 0 if still else 1
    every = ledger.scatters()
    assert [row.created_at for row in every] == sorted((row.created_at for row in every), reverse=True)
    pages, before = [], None
    while page := ledger.scatters(limit=2, before=before):
        pages += page
        before = page[-1]
    assert pages == every
    assert len({row.name for row in pages}) == 5


def test_scatters_are_found_by_state_and_by_a_part_of_their_name(ledger: Ledger) -> None:
    claimed(ledger, "dag/one_hour").end("failed", "no")
    claimed(ledger, "dag/one%hour")
    claimed(ledger, "dag/oneXhour")
    assert [row.name for row in ledger.scatters(state="failed")] == ["dag/one_hour"]
    assert [row.name for row in ledger.scatters(name_like="one%")] == ["dag/one%hour"]
    assert [row.name for row in ledger.scatters(name_like="one_")] == ["dag/one_hour"]
    assert len(ledger.scatters(name_like="hour")) == 3
    assert ledger.scatters(state="succeeded", name_like="hour") == []


def test_only_scatters_with_a_living_coordinator_run_on_an_engine(ledger: Ledger) -> None:
    clock = Clock()
    timed = Ledger(ledger.database.engine, now=clock)
    ended = claimed(timed, "ended", total=0)
    claimed(timed, "stale")
    clock.now += LEASE
    ended.finish(Tolerance())
    claimed(timed, "elsewhere", engine="threads://1")
    claimed(timed, "here")
    claimed(timed, "there")
    timed.create(new("waiting"))
    clock.now += 1
    assert timed.running("processes://2") == 2
    assert timed.running("threads://1") == 1
    assert timed.running("celery://") == 0


def test_item_times_are_means_of_the_newest_chunks(ledger: Ledger) -> None:
    claim = claimed(ledger)
    for start, seconds in ((0, 4.0), (4, 2.0)):
        claim.commit([receipt(sent(claim, start, start + 4), seconds=seconds)])
    assert ledger.item_seconds(claim.uid) == [(0.5, 4), (1.0, 4)]
    assert ledger.item_seconds(claim.uid, limit=1) == [(0.5, 4)]


def test_the_time_is_the_databases_own(ledger: Ledger) -> None:
    first, second = ledger.time(), ledger.time()
    assert 1_700_000_000 < first <= second < first + 60
    assert ledger.create(new()).created_at == pytest.approx(first, abs=60)


def test_names_of_several_parts_are_unambiguous() -> None:
    assert scatter_name("dag/a", "run", "task", 1) == "dag%2Fa/run/task/1"
    assert scatter_name("a", "b/c") != scatter_name("a/b", "c")


def test_the_ledgers_address_shows_no_password(ledger: Ledger) -> None:
    password = ledger.database.engine.url.password
    assert password is None or str(password) not in ledger.url


def test_several_threads_may_read_beside_an_owner_that_writes(ledger: Ledger) -> None:
    from concurrent.futures import ThreadPoolExecutor

    claim = claimed(ledger)

    def read(_: int) -> int:
        return sum(row.base.n_ok for row in ledger.merged(claim.uid, page=3))

    with ThreadPoolExecutor(4) as pool:
        counts = pool.map(read, range(20))
        for start in range(0, 40, 2):
            done(claim, start, "oo")
        assert all(0 <= count <= 40 for count in counts)
    assert read(0) == 40
    assert ledger.acquire(ledger.create(new("trains")).uid, owner(2)).epoch == 1
