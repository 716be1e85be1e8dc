"""Rate, heat map and timeline."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import Connection, update

from manifold.ledger import Claim, Ledger
from manifold.ledger.tables import attempt, scatter
from manifold.protocol.records import WorkerInfo
from manifold.web import heatmap
from tests.ledger import made
from tests.web.conftest import TestClient, airflow_scatter, get

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]

NAMES = {"o": "succeeded", "f": "failed", "s": "skipped", "_": "pending", "r": "running"}


def cells(client: TestClient, claim: Claim, number: int) -> list[dict[str, int]]:
    found: list[dict[str, int]] = get(client, f"/scatters/{claim.uid}/map", cells=number)["cells"]
    return found


def expected(letters: str, number: int) -> list[dict[str, int]]:
    """The cells that one letter per item makes."""
    width = -(-len(letters) // number)
    pieces = [letters[at : at + width] for at in range(0, len(letters), width)]
    return [
        {"start": at * width, "stop": at * width + len(piece)}
        | {name: piece.count(letter) for letter, name in NAMES.items()}
        for at, piece in enumerate(pieces)
    ]


def test_the_map_is_what_became_of_each_item(admin: TestClient, book: Ledger) -> None:
    pick = random.Random(7)
    claim = airflow_scatter(book, total=200)
    position = 0
    while position < 170:
        size = min(pick.randint(1, 40), 170 - position)
        if pick.random() < 0.8:
            made.done(claim, position, "".join(pick.choices("ofs", (5, 3, 1), k=size)))
        position += size
    claim.end("failed", "for now")
    again = book.acquire(claim.uid, made.owner(2, claim_key=claim.row.name, claim_no=2))
    for merged in list(book.merged(claim.uid)):  # what failed runs again, and not all of it fails
        base = merged.base
        touched = "".join(
            pick.choice("ofs") if letter == "f" and pick.random() < 0.6 else "."
            for run in merged.runs()
            for letter in run.letter * (run.stop - run.start)
        )
        if touched.strip("."):
            made.done(again, base.start, touched, layer=again.epoch)
    attempt = made.sent(again, 180, 190)
    made.sent(again, 180, 185, why="half")
    letters = made.letters(book, claim.uid)
    letters = letters.ljust(200, "_")
    letters = letters[: attempt.start] + "r" * 10 + letters[attempt.stop :]
    for number in (1, 3, 7, 40, 200, 400):
        assert cells(admin, again, number) == expected(letters, number), number


def test_an_input_of_unknown_length_is_mapped_as_far_as_it_is_met(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book)
    assert get(admin, f"/scatters/{claim.uid}/map") == {"cells": [], "total": 0}
    made.done(claim, 0, "oo")
    made.sent(claim, 2, 6)
    assert get(admin, f"/scatters/{claim.uid}/map")["total"] == 6


def test_the_rate_accounts_for_every_item_without_a_gap(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=100)
    for start in range(0, 50, 5):
        made.done(claim, start, "oooof")
    for points in (2, 120):
        told = get(admin, f"/scatters/{claim.uid}/rate", points=points)["points"]
        assert len(told) <= points
        assert (sum(one["items"] for one in told), sum(one["failed"] for one in told)) == (50, 10)
        ends = [one["at"] + one["seconds"] for one in told]
        assert ends[:-1] == pytest.approx([one["at"] for one in told[1:]])


def bars(client: TestClient, claim: Claim, **asked: Any) -> dict[tuple[int, int], dict[str, Any]]:
    told = get(client, f"/scatters/{claim.uid}/timeline", **asked)["bars"]
    return {(one["start"], one["stop"]): one for one in told}


def test_the_timeline_shows_what_ran_what_was_lost_and_what_took_its_place(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=100)
    made.done(claim, 0, "oof", worker="w1", seconds=0.0)
    lost = made.sent(claim, 10, 20)
    claim.died(lost.id, "w2")
    made.sent(claim, 10, 15, why="half")
    made.sent(claim, 15, 20, why="half")
    found = bars(admin, claim)
    first = found[0, 3]
    assert (first["state"], first["why"], first["worker"], first["failed"]) == ("committed", "first", "w1", 1)
    assert first["ended_at"] >= first["began_at"]
    gone = found[10, 20]
    assert (gone["state"], gone["worker"]) == ("lost", "w2")
    assert gone["ended_at"] == pytest.approx(min(found[10, 15]["began_at"], found[15, 20]["began_at"]))
    assert (found[10, 15]["state"], found[10, 15]["why"], found[10, 15]["ended_at"]) == ("running", "half", None)


def test_a_copy_that_came_second_is_superseded(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=100)
    slow, copy = made.sent(claim, 0, 10), made.sent(claim, 0, 10, why="speculative")
    claim.commit([made.receipt(copy)])
    told = get(admin, f"/scatters/{claim.uid}/timeline")["bars"]
    assert sorted((one["why"], one["state"]) for one in told) == [
        ("first", "superseded"),
        ("speculative", "committed"),
    ]
    claim.commit([made.receipt(slow, nonce="n2")])
    assert len(get(admin, f"/scatters/{claim.uid}/timeline")["bars"]) == 2


def test_a_chunk_that_is_sent_again_says_that_it_was_lost(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=100)
    made.sent(claim, 0, 10)
    again = made.sent(claim, 0, 10)
    claim.commit([made.receipt(again)])
    told = get(admin, f"/scatters/{claim.uid}/timeline")["bars"]
    assert sorted((one["why"], one["state"]) for one in told) == [("first", "lost"), ("lost", "committed")]


def test_sendings_within_one_tick_of_the_clock_have_an_order(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=100)
    made.sent(claim, 0, 10)
    again = made.sent(claim, 0, 10)
    claim.commit([made.receipt(again)])
    book.database.write(lambda conn: conn.execute(update(attempt).values(sent_at=1000.0)))
    lost, counted = get(admin, f"/scatters/{claim.uid}/timeline")["bars"]
    assert (lost["why"], lost["state"], lost["ended_at"]) == ("first", "lost", 1000.0)
    assert (counted["why"], counted["state"]) == ("lost", "committed")


def test_the_timeline_is_the_latest_of_many(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=100)
    for start in range(0, 30, 3):
        made.done(claim, start, "ooo")
    told = get(admin, f"/scatters/{claim.uid}/timeline", limit=4)
    assert [one["start"] for one in told["bars"]] == [18, 21, 24, 27]
    assert told["more"] is True


def test_a_range_that_holds_another_is_left_out() -> None:
    assert heatmap.innermost([(0, 10), (0, 5), (5, 10), (20, 30), (0, 5)]) == [(0, 5), (5, 10), (20, 30)]
    assert heatmap.union([(5, 7), (0, 3), (3, 4), (6, 9)]) == [(0, 4), (5, 9)]


def test_a_chunk_counts_over_the_time_that_it_ran(admin: TestClient, book: Ledger) -> None:
    """Eight workers whose commits come together every few seconds have neither spikes nor gaps."""
    claim = airflow_scatter(book, total=10_000)
    for start in range(0, 800, 100):
        made.done(claim, start, "o" * 100, seconds=8.0)
    _began_earlier(book, claim.uid, 8.0)
    told = get(admin, f"/scatters/{claim.uid}/rate", points=16)["points"]
    assert sum(one["items"] for one in told) == 800
    inner = [one["items"] for one in told[2:-2]]
    assert min(inner) > 0.5 * max(inner)


def test_what_is_done_of_running_chunks_is_drawn_and_counts_for_the_time_left(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=2000)
    made.sent(claim, 0, 1000)
    _began_earlier(book, claim.uid, 10.0)
    claim.commit(workers=[WorkerInfo("worker 1", "host 1", 1, holding=("1",), done=500)])
    shown = get(admin, f"/scatters/{claim.uid}")
    assert shown["rate"] == pytest.approx(50, rel=0.3)
    assert shown["seconds_left"] == pytest.approx(1500 / shown["rate"], rel=0.01)
    told = get(admin, f"/scatters/{claim.uid}/rate", points=10)["points"]
    assert sum(one["items"] for one in told) == 500
    assert all(one["items"] for one in told[1:-1])


def test_what_was_done_of_a_chunk_counts_once_when_it_is_committed(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book, total=2000)
    sent = made.sent(claim, 0, 1000)
    _began_earlier(book, claim.uid, 10.0)
    claim.commit(workers=[WorkerInfo("worker 1", "host 1", 1, holding=("1",), done=900)])
    claim.commit([made.receipt(sent, seconds=10.0)])
    told = get(admin, f"/scatters/{claim.uid}/rate", points=10)["points"]
    assert sum(one["items"] for one in told) == 1000
    assert get(admin, f"/scatters/{claim.uid}")["rate"] == pytest.approx(100, rel=0.3)


@pytest.mark.parametrize("verb", ["pause", "drain"])
def test_no_time_is_left_where_nothing_is_sent(admin: TestClient, book: Ledger, verb: str) -> None:
    claim = airflow_scatter(book, total=2000)
    for start in range(0, 200, 100):
        made.done(claim, start, "o" * 100, seconds=5.0)
    assert get(admin, f"/scatters/{claim.uid}")["seconds_left"] is not None
    book.control(claim.uid, verb, by_whom="somebody")
    for shown in (get(admin, f"/scatters/{claim.uid}"), get(admin, "/scatters")["scatters"][0]):
        assert (shown["seconds_left"], shown["state"]) == (None, {"pause": "paused", "drain": "draining"}[verb])


def _began_earlier(ledger: Ledger, uid: str, seconds: float) -> None:
    """Move the beginning of a scatter, of its attempts and its try into the past."""

    def write(conn: Connection) -> None:
        of = scatter.c
        conn.execute(update(scatter).where(of.uid == uid).values(created_at=of.created_at - seconds))
        conn.execute(update(attempt).where(attempt.c.uid == uid).values(sent_at=attempt.c.sent_at - seconds))

    ledger.database.write(write)
