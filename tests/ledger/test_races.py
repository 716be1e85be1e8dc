"""Many at once: never an overlap, never two owners, never two scatters of one name."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import TypeVar

from manifold.errors import Fenced, ScatterBusy
from manifold.ledger import Claim, Ledger, open_ledger
from manifold.protocol.records import ScatterRow
from tests.ledger.made import claim_rows, claimed, letters, new, owner, planned, receipt, sound

T = TypeVar("T")

ITEMS = 120
SPAWN = multiprocessing.get_context("spawn")


def commit_at_random(url: str, row: ScatterRow, token: str, seed: int, start: Barrier) -> None:
    """Commit overlapping chunks of all sizes with a claim that another process has too."""
    chance = random.Random(seed)
    ledger = open_ledger(url)
    claim = Claim(ledger, row, owner(), token)
    start.wait(60)
    for _ in range(60):
        attempts = []
        for _ in range(3):
            first = chance.randrange(ITEMS)
            attempts.append(planned(claim, first, min(ITEMS, first + chance.randint(1, 12))))
        claim.commit(attempts=attempts)
        claim.commit([receipt(one, "".join(chance.choices("oofs", k=one.stop - one.start))) for one in attempts])
    ledger.close()


def commit_until_fenced(url: str, row: ScatterRow, token: str, start: Barrier) -> None:
    """Commit one item after the other until another coordinator takes over; fail if none does."""
    ledger = open_ledger(url)
    claim = Claim(ledger, row, owner(), token)
    start.wait(60)
    try:
        for position in range(100_000):
            attempt = planned(claim, position, position + 1)
            claim.commit(attempts=[attempt])
            claim.commit([receipt(attempt)])
    except Fenced:
        return
    raise AssertionError("never fenced")


def test_processes_that_race_to_commit_leave_no_overlap(ledger_url: str, ledger: Ledger) -> None:
    claim = claimed(ledger)
    start = SPAWN.Barrier(2)
    racers = [
        SPAWN.Process(target=commit_at_random, args=(ledger_url, claim.row, claim.token, seed, start))
        for seed in (1, 2)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0, 0]
    sound(ledger)
    rows = claim_rows(claim)
    assert len(rows) > 10
    assert sum(row.stop - row.start for row in rows) == ledger.scatter(claim.uid).done > ITEMS / 2


def test_a_coordinator_that_is_fenced_in_the_midst_commits_nothing_afterwards(ledger_url: str, ledger: Ledger) -> None:
    uid = ledger.create(new()).uid
    claim = ledger.acquire(uid, owner(claim_key="task", claim_no=1))
    start = SPAWN.Barrier(2)
    racer = SPAWN.Process(target=commit_until_fenced, args=(ledger_url, claim.row, claim.token, start))
    racer.start()
    start.wait(60)
    while len(ledger.chunks(uid)) < 20:
        assert racer.is_alive()
    second = ledger.acquire(uid, owner(2, claim_key="task", claim_no=2))
    here = second.renew().done
    racer.join(60)
    assert racer.exitcode == 0
    assert second.renew().done == here == len(letters(ledger, uid))
    sound(ledger)


def in_threads(url: str, number: int, work: Callable[[Ledger, int], T]) -> list[T]:
    """What `work` returns in threads that begin together, each with a ledger of its own."""
    ledgers = [open_ledger(url) for _ in range(number)]
    with ThreadPoolExecutor(number) as pool:
        results = list(pool.map(work, ledgers, range(number)))
    for ledger in ledgers:
        ledger.close()
    return results


def test_of_many_that_want_a_scatter_one_gets_it(ledger_url: str, ledger: Ledger) -> None:
    uid = ledger.create(new()).uid

    def acquire(mine: Ledger, number: int) -> bool:
        try:
            mine.acquire(uid, owner(number))
        except ScatterBusy:
            return False
        return True

    assert sorted(in_threads(ledger_url, 6, acquire)) == [False] * 5 + [True]
    assert ledger.scatter(uid).epoch == 1


def test_of_many_that_create_a_name_all_get_the_same_scatter(ledger_url: str, ledger: Ledger) -> None:
    made = in_threads(ledger_url, 6, lambda mine, number: mine.create(new()))
    assert len({row.uid for row in made}) == 1
    assert len(ledger.scatters()) == 1


def test_of_two_that_start_from_scratch_one_does(ledger_url: str, ledger: Ledger) -> None:
    claim = claimed(ledger)
    row = claim.row

    def fresh(mine: Ledger, number: int) -> bool:
        try:
            Claim(mine, row, owner(), claim.token).fresh(new())
        except Fenced:
            return False
        return True

    assert sorted(in_threads(ledger_url, 4, fresh)) == [False, False, False, True]
    assert [(one.gen, one.state) for one in sorted(ledger.scatters(), key=lambda one: one.gen)] == [
        (1, "replaced"),
        (2, "running"),
    ]


def test_controls_made_at_once_have_numbers_of_their_own(ledger_url: str, ledger: Ledger) -> None:
    uid = claimed(ledger).uid
    numbers = in_threads(ledger_url, 6, lambda mine, number: mine.control(uid, "set", {"max_concurrency": number + 1}))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
