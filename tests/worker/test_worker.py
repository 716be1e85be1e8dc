"""What a worker refuses, by name, before it unpickles anything; and what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

import manifold
from manifold import config
from manifold.engines.threads import ThreadsEngine
from manifold.errors import EngineError, VersionMismatch
from manifold.protocol import envelope
from manifold.protocol.records import LogLine
from manifold.protocol.task import ChunkTask, Versions


class Meddling(ThreadsEngine):
    """Changes tasks on their way, as a deployment of mixed versions would, and seals them again."""

    change: Callable[[ChunkTask], ChunkTask]
    seen: list[ChunkTask]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        (message,) = args
        header, payload = envelope.unseal(config.keyring(), message, "task")
        task = self.change(msgspec.msgpack.decode(payload, type=ChunkTask))
        self.seen.append(task)
        return super().submit(fn, envelope.seal(config.keyring(), header, msgspec.msgpack.encode(task)))


def meddling(change: Callable[[ChunkTask], ChunkTask]) -> Meddling:
    engine = Meddling.from_url("threads://1")
    engine.change, engine.seen = change, []
    return engine


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("python", "3.9", "Python is 3.9"),
        ("cloudpickle", "1.0", "cloudpickle is 1.0"),
        ("protocol", 99, "protocol is 99"),
    ],
)
def test_a_version_that_differs_is_refused_by_name(field: str, value: Any, named: str) -> None:
    def change(task: ChunkTask) -> ChunkTask:
        versions = msgspec.structs.replace(Versions.here(), **{field: value})
        return msgspec.structs.replace(task, versions=versions)

    with meddling(change) as engine, pytest.raises(VersionMismatch, match=named):
        manifold.scatter(lambda x: x, range(10), engine=engine)


def test_a_missing_package_is_named_with_the_worker() -> None:
    class Absent:
        def __reduce__(self) -> tuple[Any, ...]:
            return __import__, ("a_package_that_nobody_has",)

    with pytest.raises(EngineError, match=r"'a_package_that_nobody_has', which worker .*:\d+ lacks"):
        manifold.scatter(lambda x, helper: x, range(3), engine="threads://1", consts={"helper": Absent()})


def test_the_function_goes_along_at_first_and_by_its_digest_later() -> None:
    with meddling(lambda task: task) as engine:
        manifold.scatter(lambda x: x, range(40), engine=engine, chunk_size=2)
        assert engine.seen[0].job is not None
        assert engine.seen[-1].job is None
        assert len({task.job_digest for task in engine.seen}) == 1


def test_a_worker_that_lacks_the_function_is_given_it() -> None:
    with meddling(lambda task: msgspec.structs.replace(task, job=None, store=None)) as engine:
        engine.change = _without_job_once(engine)
        assert list(manifold.scatter(lambda x: x + 1, range(6), engine=engine, chunk_size=2)) == [1, 2, 3, 4, 5, 6]
        assert engine.seen[0].job is None


def _without_job_once(engine: Meddling) -> Callable[[ChunkTask], ChunkTask]:
    def change(task: ChunkTask) -> ChunkTask:
        first = all(one.attempt != task.attempt for one in engine.seen)
        return msgspec.structs.replace(task, job=None if first else task.job, job_key="nowhere")

    return change


def test_an_items_whole_output_can_be_kept_in_the_store() -> None:
    def chatty(x: int) -> int:
        print(f"{x} begins")
        print(f"{x} ends")
        return x

    results = manifold.scatter(chatty, range(3), engine="threads://1", chunk_size=2, keep_logs=True, log_lines=1)
    wanted = [LogLine(x, "stdout", f"{x} {what}") for x in range(3) for what in ("begins", "ends")]
    assert list(results.logs()) == wanted
    assert list(manifold.scatter(chatty, range(3), engine="threads://1").logs()) == []
