"""What a coordinator does with attempts that one before it had sent, on an engine whose calls outlive it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, ClassVar, Self

import pytest
from sqlalchemy import update

import manifold
from manifold.abc import Engine, Monitor
from manifold.cli import redrive_here
from manifold.coordinator.spec import ScatterSpec
from manifold.coordinator.start import run
from manifold.errors import ConfigError, EngineError, Fenced, Incomplete, ScatterError, Stopped, WorkerLost
from manifold.events import ChunkLost, Event, Notice
from manifold.ledger import Claim, Ledger, Owner, open_ledger, verify
from manifold.ledger.tables import attempt, scatter
from manifold.policy import Policy
from manifold.protocol.records import WorkerInfo
from manifold.sources import as_source
from manifold.stores import open_store
from tests.shared import ByReference

ITEMS = 12


class Broker:
    """What outlives coordinators: calls that nobody has answered yet, by name."""

    def __init__(self) -> None:
        self.calls: dict[str, Callable[[], Any]] = {}
        self.killed: list[str] = []
        self.begun: set[str] = set()

    def run(self, name: str) -> Any:
        return self.calls.pop(name)()

    def answer(self, futures: Mapping[str, Future[Any]]) -> None:
        for name, future in futures.items():
            future.set_result(self.run(name))


class Lasting(Engine):
    """Four slots. A call runs when the test says so, or at once where it is `prompt`."""

    reattaches: ClassVar[bool] = True

    def __init__(self, broker: Broker, *, prompt: bool, takes: int = 1000) -> None:
        self._broker = broker
        self._prompt = prompt
        self._takes = takes
        self.futures: dict[str, Future[Any]] = {}
        self.asked: dict[str, int] | None = None
        self.at_attach: Callable[[dict[str, Future[Any]]], object] = lambda _futures: None
        self.at_end: Callable[[dict[str, Future[Any]]], object] = lambda _futures: None
        self.sent = 0

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        raise ConfigError("it has no URL")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise AssertionError("a chunk goes under its attempt's name")

    def submit_as(self, call: str, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        self.sent += 1
        if self.sent > self._takes:
            raise EngineError("the broker takes no more")
        future = self.futures[call] = Future()
        self._broker.calls[call] = lambda: fn(*args)
        if self._prompt:
            future.set_result(self._broker.run(call))
        return future

    def attach(self, scatter: str, epoch: int, calls: Mapping[str, int]) -> dict[str, Future[Any]]:
        assert self.asked is None, "once"
        self.asked = dict(calls)
        self.futures = {name: Future() for name in calls if name in self._broker.calls}
        given = dict(self.futures)
        self.at_attach(given)
        return given

    def stop_listening(self) -> None:
        self.at_end(self.futures)

    def leave(self, future: Future[Any]) -> None:
        future.set_exception(CancelledError("left"))

    def kill(self, future: Future[Any]) -> None:
        self._broker.killed += [name for name, one in self.futures.items() if one is future]
        future.cancel()

    def slots(self) -> int:
        return 4

    def workers(self) -> list[WorkerInfo]:
        return []


class Said(Monitor):
    def __init__(self, happens: Callable[[Event], object] = lambda _event: None) -> None:
        self.events: list[Event] = []
        self._happens = happens

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self._happens(event)

    def notices(self) -> list[str]:
        return [one.text for one in self.events if isinstance(one, Notice)]


class Once:
    """Counts how often each item ran."""

    def __init__(self) -> None:
        self.times: Counter[int] = Counter()
        self.proxy: Any = None

    def __call__(self, item: int) -> int:
        self.times[item] += 1
        return item


@pytest.fixture
def runs() -> Iterator[Once]:
    """The function, as workers have it for longer than one try."""
    runs = Once()
    with ByReference(runs) as (_, runs.proxy):
        yield runs


@pytest.fixture
def broker() -> Broker:
    return Broker()


def try_once(runs: Once, engine: Engine, items: Any = None, **options: Any) -> manifold.Results:
    results: manifold.Results = manifold.scatter(
        runs.proxy,
        range(ITEMS) if items is None else items,
        engine=engine,
        scatter_id="job",
        **({"chunk_size": 2, "monitors": ()} | options),
    )
    return results


def cut_off(runs: Once, broker: Broker, items: Any = None) -> None:
    """A try that ends with three chunks at work."""
    engine = Lasting(broker, prompt=False, takes=3)
    with pytest.raises(EngineError, match="takes no more"):
        try_once(runs, engine, items)
    assert len(broker.calls) == 3
    assert broker.killed == [], "they run on"


def sound(results: manifold.Results) -> None:
    assert sorted(results) == list(range(ITEMS))
    assert verify(open_ledger(), results.uid) == []


def test_answers_that_wait_are_committed_before_anything_is_sent(runs: Once, broker: Broker) -> None:
    cut_off(runs, broker)
    engine, said = Lasting(broker, prompt=True), Said()
    engine.at_attach = broker.answer
    sound(try_once(runs, engine, monitors=[said]))
    assert set(runs.times.values()) == {1}
    assert engine.sent == 3
    assert said.notices() == ["took the answers of 3 chunks that had waited"]


def test_what_still_runs_is_waited_for_and_not_sent_again(runs: Once, broker: Broker) -> None:
    cut_off(runs, broker)
    engine = Lasting(broker, prompt=True)
    adopted: dict[str, Future[Any]] = {}
    engine.at_attach = adopted.update

    def finish(event: Event) -> None:
        if engine.sent == 3:  # all the rest has been sent
            for name in [*broker.calls]:
                adopted[name].set_result(broker.run(name))

    said = Said(finish)
    results = try_once(runs, engine, monitors=[said])
    sound(results)
    assert set(runs.times.values()) == {1}
    assert engine.asked is not None
    assert set(engine.asked.values()) == {1}
    assert said.notices() == ["re-attached to 3 chunks that still run"]
    assert "re-attached to 3 chunks" in open_ledger().tries(results.uid)[0].why


@pytest.mark.parametrize("given", ["a range", "a list"])
def test_what_was_adopted_and_is_lost_runs_again(runs: Once, broker: Broker, given: str) -> None:
    items: Any = range(ITEMS) if given == "a range" else list(range(ITEMS))
    cut_off(runs, broker, items)
    engine = Lasting(broker, prompt=True)
    adopted: dict[str, Future[Any]] = {}
    engine.at_attach = adopted.update

    def lose(event: Event) -> None:
        if engine.sent == 3:
            for name in [*broker.calls]:
                del broker.calls[name]
                lost = WorkerLost("its host is gone")
                lost.started = True
                adopted[name].set_exception(lost)

    said = Said(lose)
    sound(try_once(runs, engine, items, monitors=[said]))
    assert set(runs.times.values()) == {1}
    assert sum(isinstance(event, ChunkLost) for event in said.events) == 3


def test_what_nobody_holds_any_more_is_sent_again(runs: Once, broker: Broker) -> None:
    cut_off(runs, broker)
    broker.calls.clear()
    sound(try_once(runs, Lasting(broker, prompt=True)))
    assert set(runs.times.values()) == {1}


def test_an_answer_that_waits_and_is_void_counts_for_nothing(runs: Once, broker: Broker) -> None:
    cut_off(runs, broker)
    engine = Lasting(broker, prompt=True)

    def answer(futures: dict[str, Future[Any]]) -> None:
        broker.answer(futures)
        void = update(attempt).values(state="void")
        open_ledger().database.write(lambda conn: conn.execute(void).rowcount)

    engine.at_attach = answer
    sound(try_once(runs, engine))
    assert sorted(runs.times.values()) == [1] * 6 + [2] * 6


@pytest.mark.parametrize("follows", [True, False])
def test_a_coordinator_that_is_told_to_end_leaves_its_chunks_where_another_try_follows(
    runs: Once, broker: Broker, follows: bool
) -> None:
    stop = threading.Event()
    plan = ScatterSpec(
        fn=runs.proxy,
        source=as_source(range(ITEMS)),
        name="job",
        engine_url="lasting",
        policy=Policy(chunk_size=2),
        store_url=None,
    )
    engine, ledger = Lasting(broker, prompt=False), open_ledger()
    told = Said(lambda _event: stop.set() if broker.calls else None)
    with pytest.raises(Stopped):
        run(
            plan,
            ledger=ledger,
            store=open_store(None),
            engine=engine,
            owner=Owner.here(),
            monitors=[told],
            stop=stop,
            goes_on=lambda: follows,
        )
    ledger.close()
    assert (not broker.killed) is follows
    engine = Lasting(broker, prompt=True)
    engine.at_attach = broker.answer
    sound(try_once(runs, engine))
    assert engine.sent == (0 if follows else engine.sent)


def test_an_answer_that_comes_as_a_coordinator_ends_is_committed_and_not_lost_between_two(
    runs: Once, broker: Broker
) -> None:
    engine = Lasting(broker, prompt=False, takes=3)
    engine.at_end = broker.answer
    with pytest.raises(EngineError, match="takes no more"):
        try_once(runs, engine)
    row = open_ledger().find("job")
    assert row is not None
    assert row.done == 6
    sound(try_once(runs, Lasting(broker, prompt=True)))
    assert set(runs.times.values()) == {1}


def test_a_fresh_start_asks_for_nothing_of_the_old_one(runs: Once, broker: Broker) -> None:
    cut_off(runs, broker)
    engine = Lasting(broker, prompt=True)
    sound(try_once(runs, engine, fresh=True))
    assert engine.asked == {}


def test_an_input_that_may_be_another_one_takes_up_nothing(runs: Once, broker: Broker) -> None:
    class Walk:
        def __iter__(self) -> Iterator[int]:
            return iter(range(ITEMS))

    cut_off(runs, broker, Walk())
    engine = Lasting(broker, prompt=True)
    sound(try_once(runs, engine, Walk()))
    assert engine.asked == {}
    assert broker.killed == []


@pytest.mark.parametrize("between", [0, 1])
def test_other_constants_take_up_nothing_of_the_tries_before(broker: Broker, between: int) -> None:
    def rated(item: int, rate: int) -> tuple[int, int]:
        return item, rate

    def cut(rate: int, takes: int) -> None:
        with pytest.raises(EngineError, match="takes no more"):
            manifold.scatter(
                rated,
                range(ITEMS),
                engine=Lasting(broker, prompt=False, takes=takes),
                scatter_id="job",
                consts={"rate": rate},
                chunk_size=2,
                monitors=(),
            )

    cut(2, 3)
    for _ in range(between):
        cut(3, 0)  # it has other constants, too, and sends nothing
    engine = Lasting(broker, prompt=True)
    engine.at_attach = broker.answer
    results = manifold.scatter(
        rated, range(ITEMS), engine=engine, scatter_id="job", consts={"rate": 3}, chunk_size=2, monitors=()
    )
    assert list(results) == [(item, 3) for item in range(ITEMS)]
    assert engine.asked is not None
    assert 1 not in engine.asked.values()
    assert verify(open_ledger(), results.uid) == []


def test_what_another_coordinator_did_while_the_claim_was_waited_for_is_compared_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing, acquire = 0, Ledger.acquire

    def run(rate: int) -> list[tuple[int, int]]:
        results = manifold.scatter(
            rated, range(ITEMS), engine="threads://1", scatter_id="job", consts={"rate": rate}, monitors=()
        )
        return list(results)

    def rated(item: int, rate: int) -> tuple[int, int]:
        if item >= failing:
            raise ValueError("not yet")
        return item, rate

    def acquired(self: Ledger, uid: str, owner: Owner) -> Claim:
        nonlocal failing
        monkeypatch.setattr(Ledger, "acquire", acquire)
        failing = ITEMS
        assert run(2) == [(item, 2) for item in range(ITEMS)]  # another is faster, and ends it
        return acquire(self, uid, owner)

    with pytest.raises(ScatterError):
        run(2)
    monkeypatch.setattr(Ledger, "acquire", acquired)
    assert run(3) == [(item, 3) for item in range(ITEMS)]


def test_failed_items_run_again_without_the_input_beside_what_still_runs(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, broken = Lasting(broker, prompt=False, takes=3), True

    def fragile(item: int) -> int:
        if broken and not item:
            raise ValueError("not yet")
        return item

    def answer_one(event: Event) -> None:
        if engine.sent == 3 and len(broker.calls) == 3:
            name = next(iter(broker.calls))
            engine.futures[name].set_result(broker.run(name))

    with ByReference(fragile) as (_, function):
        options = {"chunk_size": 2, "max_concurrency": 3, "tolerate": 1, "monitors": [Said(answer_one)]}
        with pytest.raises(EngineError, match="takes no more"):
            manifold.scatter(function, list(range(ITEMS)), engine=engine, scatter_id="job", **options)
        assert len(broker.calls) == 2
        broken = False
        monkeypatch.setattr("manifold.engines.open.open_engine", lambda _: Lasting(broker, prompt=True))
        ledger = open_ledger()
        row = ledger.find("job")
        assert row is not None
        with pytest.raises(Incomplete):
            redrive_here.redrive(ledger, row, "failed", {}, None, None, "threads://")
        row = ledger.find("job")
        assert row is not None
        assert (row.n_ok, row.n_failed) == (2, 0)
        assert verify(ledger, row.uid) == []
        ledger.close()


def test_a_coordinator_that_was_taken_over_does_not_stop_what_the_next_one_waits_for(
    runs: Once, broker: Broker
) -> None:
    def take_over(event: Event) -> None:
        if engine.sent == 4 and len(broker.calls) == 4:
            taken = update(scatter).values(epoch=scatter.c.epoch + 1, owner_token="another")
            open_ledger().database.write(lambda conn: conn.execute(taken).rowcount)
            name = next(iter(broker.calls))
            engine.futures[name].set_result(broker.run(name))

    engine = Lasting(broker, prompt=False)
    with pytest.raises(Fenced):
        try_once(runs, engine, range(8), monitors=[Said(take_over)])
    assert broker.killed == []
    assert len(broker.calls) == 3


def test_an_engine_whose_calls_end_with_it_is_asked_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "attach", lambda *_: pytest.fail("nothing can be there"))
    assert list(manifold.scatter(abs, range(3), engine="threads://1", scatter_id="job")) == [0, 1, 2]
