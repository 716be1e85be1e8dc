"""The desk of calls by itself, with an adapter that does nothing but note what it was asked for."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Self

import pytest

from manifold.engines._balance import BALANCES
from manifold.engines._desk import FORGOTTEN, HANDED, Desk, Node, Sent
from manifold.errors import ConfigError, Unpicklable, WorkerLost
from manifold.testing.engines import SLOW


class Noted(Desk):
    """Its workers are what a test says; its clock stands still until a test moves it."""

    def __init__(self, *, balance_by: str = "least-busy") -> None:
        super().__init__(silent=5.0, balance_by=balance_by)
        self.now = 0.0
        self.handed: list[Sent] = []
        self.nodes: list[str] = []
        self.stopped: list[str] = []
        self.finished = 0

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        raise NotImplementedError

    def clock(self) -> float:
        return self.now

    def pack(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        return pickle.dumps((fn, args, kwargs))

    def hand(self, call: Sent) -> None:
        self.handed.append(call)
        self.nodes.append(call.node)

    def stop(self, call: Sent) -> None:
        self.stopped.append(call.id)

    def finish(self) -> None:
        self.finished += 1

    def worker(self, name: str, slots: int = 1, *, trouble: str = "", host: str = "") -> None:
        """A sign of life."""
        self.seen(name, Node(host or name, (1,), slots, trouble))

    def end(self, call: Sent, value: Any = None) -> None:
        self.settle(call.id, True, lambda: value)


@pytest.fixture
def desk() -> Noted:
    return Noted()


def lost(future: Future[Any]) -> WorkerLost:
    """The error of a future that has failed already."""
    error = future.exception(0)
    assert isinstance(error, WorkerLost)
    return error


# Who gets a call


def test_a_call_waits_until_a_worker_has_room(desk: Noted) -> None:
    futures = [desk.submit(pow, 2, n) for n in range(3)]
    assert not desk.handed
    desk.worker("a", slots=2)
    assert [call.future for call in desk.handed] == futures[:2]
    desk.end(desk.handed[0], 1)
    assert [call.future for call in desk.handed] == futures
    assert futures[0].result(0) == 1


def test_a_silent_worker_gets_no_calls_and_is_forgotten_after_a_while(desk: Noted) -> None:
    desk.worker("a")
    desk.now = 6.0
    future = desk.submit(pow, 2, 2)
    assert (desk.slots(), desk.handed) == (0, [])
    (info,) = desk.workers()
    assert (info.alive, info.silence) == (False, 6.0)
    desk.worker("b")
    assert desk.nodes == ["b"]
    assert not future.done()
    desk.now = FORGOTTEN + 1.0
    desk.worker("b")
    assert [info.node for info in desk.workers()] == ["b"]


def test_the_calls_of_a_silent_worker_are_not_lost(desk: Noted) -> None:
    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    desk.now = 60.0
    desk.pump()
    assert not future.done()
    desk.end(desk.handed[0], 4)
    assert future.result(0) == 4


def test_a_worker_that_is_leaving_gets_no_calls_and_ends_those_that_it_has(desk: Noted) -> None:
    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    desk.worker("a", trouble="it is about to end")
    desk.submit(pow, 2, 3)
    assert (desk.slots(), desk.nodes) == (0, ["a"])
    desk.end(desk.handed[0], 4)
    assert (future.result(0), desk.nodes) == (4, ["a"])
    assert [info.trouble for info in desk.workers()] == ["it is about to end"]


def test_the_rules_of_balance_differ() -> None:
    """A large worker and two small ones, and calls that end at once."""
    given: dict[str, list[str]] = {}
    for rule in BALANCES:
        desk = Noted(balance_by=rule)
        for name, slots in (("large", 8), ("one", 2), ("two", 2)):
            desk.worker(name, slots)
        for n in range(300):
            desk.submit(pow, 2, n)
            desk.end(desk.handed[-1])
        given[rule] = desk.nodes
    assert {*given["least-busy"]} == {"large"}
    assert given["round-robin"] == ["large", "one", "two"] * 100
    shares = Counter(given["random"])
    assert all(shares[name] > 50 for name in ("large", "one", "two"))
    assert given["random"] != given["round-robin"]


def test_least_busy_fills_the_one_with_the_most_room_first() -> None:
    desk = Noted(balance_by="least-busy")
    desk.worker("large", 3)
    desk.worker("small", 1)
    for n in range(4):
        desk.submit(pow, 2, n)
    assert desk.nodes[:2] == ["large", "large"]
    assert sorted(desk.nodes) == ["large", "large", "large", "small"]


def test_round_robin_passes_over_who_has_no_room() -> None:
    desk = Noted(balance_by="round-robin")
    for name in ("a", "b", "c"):
        desk.worker(name)
    for n in range(3):
        desk.submit(pow, 2, n)
    desk.end(desk.handed[2])
    desk.submit(pow, 2, 3)
    assert desk.nodes == ["a", "b", "c", "c"]


def test_random_gives_none_to_who_has_no_room() -> None:
    desk = Noted(balance_by="random")
    desk.worker("a", 1)
    desk.worker("b", 20)
    for n in range(21):
        desk.submit(pow, 2, n)
    assert Counter(desk.nodes) == {"a": 1, "b": 20}


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="least-busy, round-robin, random"):
        Noted(balance_by="best")


# What becomes of it when its worker is gone


def test_a_call_that_had_not_begun_goes_to_another_worker_three_times_at_most(desk: Noted) -> None:
    future = desk.submit(pow, 2, 2)
    for n in range(HANDED):
        assert not future.done()
        desk.worker(f"w{n}")
        assert desk.nodes == [f"w{one}" for one in range(n + 1)]
        desk.gone(f"w{n}", f"w{n} died")
    error = lost(future)
    assert (error.started, error.died, error.worker) == (False, False, None)
    assert "w2 died" in str(error)


def test_a_call_that_had_begun_fails_with_what_is_known_of_it(desk: Noted) -> None:
    desk.worker("a", 2)
    desk.worker("b")
    futures = [desk.submit(pow, 2, n) for n in range(3)]
    begun = desk.handed[0]
    assert begun.node == "a"
    desk.begun(begun.id, "a:1", 7)
    desk.gone("a", "a died", witnessed=True)
    error = lost(begun.future)
    assert (error.started, error.died, error.overdue, error.witnessed) == (True, True, False, True)
    assert (error.worker, error.position) == ("a:1", 7)
    others = [future for future in futures if future is not begun.future]
    assert not any(future.done() for future in others), "those that had not begun wait for another worker"


def test_what_was_heard_of_a_worker_that_is_gone_does_not_stick_to_the_call(desk: Noted) -> None:
    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    desk.handed[0].excused = True
    desk.gone("a", "the connection is away")
    desk.worker("b")
    assert desk.nodes == ["a", "b"]
    desk.begun(desk.handed[1].id, "b:1", 3)
    desk.gone("b", "b died")
    assert lost(future).died, "it was excused for another worker's end"


def test_an_excused_loss_blames_no_item(desk: Noted) -> None:
    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    desk.begun(desk.handed[0].id, "a:1", 1)
    desk.handed[0].excused = True
    desk.gone("a", "a was told to end")
    assert (lost(future).started, lost(future).died) == (True, False)


def test_a_call_that_is_given_back_does_not_count_as_handed_out(desk: Noted) -> None:
    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    for _ in range(3 * HANDED):
        desk.again(desk.handed[-1].id)
    assert not future.done()
    assert len(desk.handed) == 3 * HANDED + 1


def test_a_loss_that_a_worker_tells_is_witnessed(desk: Noted) -> None:
    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    desk.lost(desk.handed[0].id, "its process ended", worker="a:2", started=True, died=True, position=4)
    error = lost(future)
    assert (error.worker, error.position, error.witnessed) == ("a:2", 4, True)


def test_news_of_a_call_that_is_over_do_nothing(desk: Noted) -> None:
    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    call = desk.handed[0]
    desk.end(call, 4)
    desk.end(call, 5)
    desk.begun(call.id, "a:1", 1)
    desk.lost(call.id, "late")
    desk.again(call.id)
    desk.drop(call.id, "late")
    desk.gone("a", "a died")
    assert future.result(0) == 4


def test_a_result_that_cannot_be_loaded_fails_its_call(desk: Noted) -> None:
    def load() -> Any:
        raise AttributeError("no such class here")

    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    desk.settle(desk.handed[0].id, True, load)
    assert isinstance(future.exception(0), AttributeError)


# What the caller does not want


def test_a_call_that_waits_can_be_cancelled(desk: Noted) -> None:
    future = desk.submit(pow, 2, 2)
    assert future.cancel()
    desk.worker("a")
    assert not desk.handed
    with pytest.raises(CancelledError):
        future.result(0)


def test_kill_cancels_what_waits_and_stops_what_runs(desk: Noted) -> None:
    desk.worker("a")
    running, waiting = desk.submit(pow, 2, 2), desk.submit(pow, 2, 3)
    desk.kill(waiting)
    assert waiting.cancelled()
    desk.kill(running)
    assert desk.stopped == [desk.handed[0].id]
    desk.begun(desk.handed[0].id, "a:1", 2)
    desk.gone("a", "a died")
    assert (lost(running).started, lost(running).died) == (True, False)


@pytest.mark.parametrize("comes_back", ["gone", "again"])
def test_a_call_that_was_killed_goes_to_no_other_worker(desk: Noted, comes_back: str) -> None:
    desk.worker("a")
    desk.worker("b")
    future = desk.submit(pow, 2, 2)
    desk.kill(future)
    if comes_back == "gone":
        desk.gone(desk.handed[0].node, "died")
    else:
        desk.again(desk.handed[0].id)
    assert len(desk.handed) == 1
    assert not lost(future).started


def test_kill_gives_up_a_call_that_waits_again(desk: Noted) -> None:
    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    desk.gone("a", "a died")
    assert not future.cancel(), "a worker had it already"
    desk.kill(future)
    assert not lost(future).started
    desk.worker("b")
    assert desk.nodes == ["a"]


def test_an_argument_that_cannot_be_pickled_fails_its_future(desk: Noted) -> None:
    assert isinstance(desk.submit(pow, lambda: None).exception(0), Unpicklable)


# The end


def test_shutdown_waits_for_what_was_submitted(desk: Noted) -> None:
    desk.worker("a")
    futures = [desk.submit(pow, 2, n) for n in range(2)]
    desk.shutdown(wait=False)
    assert desk.finished == 0
    with pytest.raises(RuntimeError, match="shut down"):
        desk.submit(pow, 2, 2)
    for n, future in enumerate(futures):
        desk.end(desk.handed[n], n)
        assert future.result(0) == n
    desk.shutdown()
    desk.shutdown()
    assert desk.finished == 1


def test_shutdown_cancels_what_waits_where_it_is_told_to(desk: Noted) -> None:
    desk.worker("a")
    running, waiting = desk.submit(pow, 2, 2), desk.submit(pow, 2, 3)
    desk.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    assert desk.finished == 0
    desk.end(desk.handed[0], 4)
    desk.shutdown()
    assert (running.result(0), desk.finished) == (4, 1)


def test_shutdown_with_cancel_ends_although_no_worker_comes_back(desk: Noted) -> None:
    desk.worker("a")
    future = desk.submit(pow, 2, 2)
    desk.gone("a", "the connection is away")
    desk.shutdown(wait=True, cancel_futures=True)
    assert isinstance(future.exception(SLOW), WorkerLost)
    assert desk.finished == 1
