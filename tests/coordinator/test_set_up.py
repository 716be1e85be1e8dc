"""A worker that cannot set the function up costs a pause; the try ends only where several processes fail alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import manifold
from manifold import events
from manifold.abc import Monitor
from manifold.coordinator.chunks import Chunk
from manifold.coordinator.set_up import SEVERAL, UNNAMED, SetUpFailures
from manifold.errors import EngineError, VersionMismatch
from manifold.ledger import Ledger
from manifold.protocol.task import Versions
from tests.shared import Notices


def once(folder: str) -> int:
    """Raises in whichever process asks first, like a database that has no connection left."""
    try:
        Path(folder, "asked").touch(exist_ok=False)
    except FileExistsError:
        return os.getpid()
    raise ConnectionError("too many connections")


def first_process_only(folder: str) -> int:
    """Raises for ever in the process that asks first, like one whose GPU is broken."""
    mine = Path(folder, str(os.getpid()))
    mine.touch()
    with suppress(FileExistsError):
        os.link(mine, Path(folder, "broken"))
    if mine.samefile(Path(folder, "broken")):
        raise OSError("CUDA error: device unavailable")
    return os.getpid()


def slowly(x: int, made: int) -> int:
    time.sleep(0.01)
    return x


@pytest.mark.parametrize("engine", ["processes://4", "processes://1", "threads://2"])
def test_a_factory_that_raises_once_costs_a_pause(tmp_path: Path, engine: str) -> None:
    notices = Notices()
    results = manifold.scatter(
        slowly,
        range(100),
        consts={"made": manifold.per_worker(once, str(tmp_path))},
        engine=engine,
        monitors=[notices],
    )
    assert list(results) == [*range(100)]
    assert any("could not be set up on" in text and "too many connections" in text for text in notices.texts)


def test_a_process_that_can_never_be_set_up_does_not_end_the_others(tmp_path: Path) -> None:
    results = manifold.scatter(
        slowly,
        range(120),
        consts={"made": manifold.per_worker(first_process_only, str(tmp_path))},
        engine="processes://4",
        chunk_size=10,
    )
    assert list(results) == [*range(120)]


@pytest.mark.parametrize(("engine", "processes"), [("processes://4", 3), ("processes://1", 1)])
def test_where_several_processes_fail_alike_the_try_ends_and_names_them(engine: str, processes: int) -> None:
    def always() -> int:
        raise ConnectionError("no such host: db.internal")

    with pytest.raises(EngineError, match=r"db\.internal") as caught:
        manifold.scatter(slowly, range(100), consts={"made": manifold.per_worker(always)}, engine=engine, chunk_size=5)
    told = str(caught.value)
    assert "no item is to blame" in told
    head = told.partition("ConnectionError")[0]
    assert len([word for word in head.replace(",", " ").replace("(", " ").split() if ":" in word]) >= processes


class Reasons(Monitor):
    """What the ledger says of a running scatter when somebody is told something of it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.seen: list[tuple[str, str, str | None]] = []

    def emit(self, event: events.Event) -> None:
        if isinstance(event, (events.Notice, events.ChunkCommitted)):
            self.seen.append((type(event).__name__, *self.ledger.state(event.uid)))


def test_a_refusal_is_the_reason_as_long_as_it_holds_the_scatter_up(tmp_path: Path, ledger: Ledger) -> None:
    reasons = Reasons(ledger)
    results = manifold.scatter(
        slowly,
        range(20),
        consts={"made": manifold.per_worker(once, str(tmp_path))},
        engine="processes://1",
        chunk_size=10,
        ledger=ledger,
        monitors=[reasons],
    )
    assert list(results) == [*range(20)]
    first, *others = reasons.seen
    assert first[:2] == ("Notice", "running")
    assert "the function could not be set up on" in str(first[2])
    assert "too many connections" in str(first[2])
    assert {reason for _, _, reason in others} == {None}
    assert ledger.state(results.uid) == ("succeeded", None)
    assert ledger.tries(results.uid)[0].message is None


def refused(failures: SetUpFailures, chunk: Chunk, workers: Iterator[str], kind: str, text: str, most: int) -> int:
    for _ in range(most):
        failures.failed(chunk, next(workers), kind, text, processes=4, now=0.0)
    return most


def names() -> Iterator[str]:
    yield from (f"h:{pid}" for pid in range(1000))


def test_one_process_alone_never_ends_a_try_where_others_are() -> None:
    chunk = Chunk(0, 1, range(1))
    assert refused(SetUpFailures(), chunk, iter(["h:1"] * 100), "set-up", "OSError: x", 100) == 100


def test_a_chunk_that_is_run_says_that_the_job_can_be_set_up() -> None:
    failures, workers = SetUpFailures(), names()
    for _ in range(10):
        refused(failures, Chunk(0, 1, range(1)), workers, "set-up", "OSError: x", 2)
        failures.ran()


@pytest.mark.parametrize(
    ("kind", "error"), [("versions", VersionMismatch), ("package", EngineError), ("set-up", EngineError)]
)
def test_one_host_of_yesterday_does_not_end_a_try_and_several_do(kind: str, error: type[Exception]) -> None:
    failures, chunk, workers = SetUpFailures(), Chunk(0, 1, range(1)), names()
    refused(failures, chunk, workers, kind, "KeyError: a", 2)
    with pytest.raises(error, match=r"h:0.*h:1.*h:2"):
        refused(failures, chunk, workers, kind, "KeyError: b", 1)


def test_different_troubles_are_not_alike() -> None:
    failures, workers = SetUpFailures(), names()
    for text in ("KeyError: a", "OSError: b", "ValueError: c"):
        refused(failures, Chunk(0, 1, range(1)), workers, "set-up", text, 2)


def test_pauses_grow_and_are_bounded() -> None:
    failures, chunk = SetUpFailures(), Chunk(0, 1, range(1))
    pauses = [failures.failed(chunk, "h:1", "set-up", "OSError: x", processes=4, now=0.0) for _ in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 1
    assert pauses[-1] == 30.0
    failures.ran()
    assert failures.failed(chunk, "h:1", "set-up", "OSError: x", processes=4, now=0.0) == 1.0


def test_a_worker_of_another_version_ends_the_try_only_where_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[], Versions] = Versions.here
    asked = iter(range(10**6))

    def differs(self: Versions, other: Versions) -> str | None:
        return "cloudpickle is 1.0 here and 2.0 there" if next(asked) == 0 else None

    monkeypatch.setattr(Versions, "differs", differs)
    assert list(manifold.scatter(abs, range(10), engine="threads://2")) == [*range(10)]
    monkeypatch.setattr(Versions, "differs", lambda self, other: "cloudpickle is 1.0 here and 2.0 there")
    with pytest.raises(VersionMismatch, match="Install the same on both"):
        manifold.scatter(abs, range(10), engine="threads://2")
    assert real() == Versions.here()


def test_a_chunk_whose_calls_always_fail_outside_of_any_item_ends_the_try_and_does_not_run_for_ever() -> None:
    failures, chunk = SetUpFailures(), Chunk(0, 10, range(10))

    def refused(now: float) -> float:
        failures.ran()  # other chunks run
        return failures.failed(chunk, UNNAMED, "set-up", "TypeError: of the engine", processes=8, now=now)

    for now in range(2 * SEVERAL - 1):
        assert refused(now) > 0
    with pytest.raises(EngineError, match="does not name"):
        refused(100)
