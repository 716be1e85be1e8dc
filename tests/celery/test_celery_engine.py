"""What the Celery engine says and does beyond the contract of every engine."""

from __future__ import annotations

import base64
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from manifold.config import new_secret
from manifold.engines.celery import messages as ms
from manifold.engines.celery.broker import Publisher
from manifold.engines.celery.engine import CeleryEngine
from manifold.errors import ConfigError, EngineError, VersionMismatch, WorkerLost
from manifold.protocol.task import Versions
from manifold.testing import calls
from manifold.testing.engines import SLOW, began, let_go, until
from manifold.worker import beat
from tests.celery import probes
from tests.celery.brokers import Deployment, serves


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def standing(broker: Deployment) -> Iterator[Deployment]:
    """A deployment with a worker that stays, on the queue `standing`."""
    with broker.worker("standing", "standing"):
        yield broker


@pytest.fixture
def engine(standing: Deployment) -> Iterator[CeleryEngine]:
    with standing.engine("standing") as engine:
        yield serves(engine, 2)


# Signatures and versions


def test_a_call_signed_with_another_secret_is_not_unpickled(
    engine: CeleryEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    with pytest.raises(WorkerLost, match=r"did not unpickle.*MANIFOLD_SECRET"):
        engine.submit(calls.echo, probes.Touch(str(tmp_path / "unpickled"))).result(SLOW)
    assert not (tmp_path / "unpickled").exists()


def test_an_altered_call_is_not_unpickled(
    engine: CeleryEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    genuine = ms.seal_call

    def altered(*args: Any) -> str:
        sealed = bytearray(base64.b64decode(genuine(*args)))
        sealed[-1] ^= 1
        return base64.b64encode(sealed).decode()

    monkeypatch.setattr(ms, "seal_call", altered)
    with pytest.raises(WorkerLost, match="not the one that was signed"):
        engine.submit(calls.echo, probes.Touch(str(tmp_path / "unpickled"))).result(SLOW)
    assert not (tmp_path / "unpickled").exists()


def test_a_call_cannot_stand_in_for_another(engine: CeleryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = ms.seal_call
    monkeypatch.setattr(ms, "seal_call", lambda owner, call, *rest: genuine(owner, "another", *rest))
    with pytest.raises(WorkerLost, match="signed, but for another place"):
        engine.submit(calls.echo, 1).result(SLOW)


def test_a_forged_answer_is_neither_unpickled_nor_taken(
    standing: Deployment, engine: CeleryEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[str, str]] = []
    genuine = Publisher.call

    def spied(publisher: Publisher, queue: str, call: str, sealed: str, reply_to: str) -> bool:
        seen.append((call, reply_to))
        return genuine(publisher, queue, call, sealed, reply_to)

    monkeypatch.setattr(Publisher, "call", spied)
    future = engine.submit(calls.hold, str(tmp_path), "held")
    until(lambda: began(tmp_path, "held"), "the call runs")
    ((call, reply_to),) = seen
    with monkeypatch.context() as patch:
        patch.setenv("MANIFOLD_SECRET", new_secret())
        opened = ms.Opened(ms.seal_call("anybody", call, calls.echo, (), {}), call)
        forged = opened.returned(probes.Touch(str(tmp_path / "unpickled")))
    publisher = Publisher(standing.app)
    assert publisher.reply(reply_to, forged)
    publisher.close()
    let_go(tmp_path)
    assert future.result(SLOW) == int(began(tmp_path, "held"))
    assert not (tmp_path / "unpickled").exists()


def test_a_worker_of_another_python_refuses_by_name(engine: CeleryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Versions.here()
    monkeypatch.setattr(Versions, "here", lambda: Versions("3.9", there.cloudpickle, there.protocol))
    with pytest.raises(VersionMismatch, match=rf"3\.9 at the coordinator and {there.python} at the worker .+:\d+;"):
        engine.submit(calls.echo, 1).result(SLOW)


def test_a_call_that_cannot_be_unpickled_names_the_worker(engine: CeleryEngine, tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("def answer(): return 42\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import only_here  # type: ignore[import-not-found]

        with pytest.raises(EngineError, match=r"worker .+:\d+ cannot unpickle the call.*only_here"):
            engine.submit(only_here.answer).result(SLOW)
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("only_here", None)


# What it touches


def test_nothing_is_written_to_the_result_backend(standing: Deployment, engine: CeleryEngine) -> None:
    assert engine.submit(calls.echo, 1).result(SLOW) == 1
    assert engine.submit(calls.refuse, 1, "no").exception(SLOW) is not None
    with sqlite3.connect(standing.folder / "results.db") as results:
        # Celery itself makes the tables when a worker starts.
        assert results.execute("SELECT * FROM celery_taskmeta").fetchall() == []
    results.close()


def test_nothing_of_an_engine_stays_with_the_broker(standing: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str] = []
    genuine = Publisher.reply

    def spied(publisher: Publisher, name: str, message: ms.Message) -> bool:
        named.append(name)
        return genuine(publisher, name, message)

    monkeypatch.setattr(Publisher, "reply", spied)
    with standing.engine("standing") as engine:
        assert engine.submit(calls.echo, 1).result(SLOW) == 1
    assert not standing.exists(named[0])


def test_what_waits_for_coordinators_before_it_goes_with_the_engine_too(standing: Deployment) -> None:
    scatter = "7" * 32
    left = ms.reply_queue(ms.reply_name(scatter, 2))
    publisher = Publisher(standing.app)
    publisher.reply(left, ms.Echo("8" * 32))
    publisher.close()
    assert standing.exists(left)
    with standing.engine("standing") as engine:
        assert engine.attach(scatter, 3, {}) == {}
        assert engine.submit(calls.echo, 1).result(SLOW) == 1
    assert not standing.exists(left)


def test_a_call_reports_to_whoever_watches_over_it(engine: CeleryEngine) -> None:
    assert engine.submit(lambda: bool(beat.current().token)).result(SLOW) is True


def test_a_scatter_that_begins_on_an_engine_in_use_waits_for_nothing_of_the_others(
    engine: CeleryEngine, tmp_path: Path
) -> None:
    held = engine.submit(calls.hold, str(tmp_path), "held")
    until(lambda: began(tmp_path, "held") != "", "it runs")
    threading.Timer(2.0, let_go, [tmp_path]).start()
    assert engine.attach("5" * 32, 1, {}) == {}
    assert not held.done()
    assert engine.submit_as("6" * 32, calls.echo, 1).result(SLOW) == 1
    let_go(tmp_path)
    assert held.result(SLOW)


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_pools_without_processes_run_calls_too(broker: Deployment, stack: ExitStack, tmp_path: Path, pool: str) -> None:
    engine = stack.enter_context(broker.engine(pool))
    stack.enter_context(broker.worker(pool, pool, slots=1 if pool == "solo" else 3, pool=pool))
    serves(engine, 1 if pool == "solo" else 3)
    held = [engine.submit(calls.hold, str(tmp_path), f"held{n}", 4) for n in range(engine.slots())]
    until(lambda: sum(len(worker.holding) for worker in engine.workers()) == len(held), "all of them run")
    assert engine.check() is None
    let_go(tmp_path)
    assert len({future.result(SLOW) for future in held}) == 1, "in one process"


# What it says before it runs anything


def test_a_queue_that_nobody_serves_is_named_with_who_serves_others(standing: Deployment) -> None:
    with standing.engine("deserted") as engine:
        fault = engine.check()
    assert fault is not None
    assert "no Celery worker serves the queue 'deserted'" in fault
    assert "standing" in fault
    assert "airflow celery worker -q deserted" in fault
    assert engine.slots() == 0


def test_workers_without_our_task_are_named_with_the_setting_that_is_missing(
    broker: Deployment, stack: ExitStack
) -> None:
    bare = {"AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": "{}"}
    engine = stack.enter_context(broker.engine("bare"))
    stack.enter_context(broker.worker("bare", "bare", more=bare))
    until(lambda: "no Celery worker serves" not in (engine.check() or ""), "the worker is up")
    fault = engine.check()
    assert fault is not None
    assert "bare@" in fault
    assert 'AIRFLOW__CELERY__EXTRA_CELERY_CONFIG=\'{"imports": ["manifold.engines.celery.worker"]}\'' in fault


def test_slots_that_other_tasks_take_do_not_count(broker: Deployment, stack: ExitStack, tmp_path: Path) -> None:
    more = {
        "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": '{"imports": ["manifold.engines.celery.worker", "tests.celery.tasks"]}'
    }
    engine = stack.enter_context(broker.engine("shared"))
    stack.enter_context(broker.worker("shared", "shared", more=more))
    serves(engine, 2)
    assert engine.check() is None
    for name in ("coordinator0", "coordinator1"):
        broker.app.send_task("tests.hold", (str(tmp_path), name), queue="shared", ignore_result=True)
    until(lambda: engine.slots() == 0, "both slots are taken")
    fault = engine.check()
    assert fault is not None
    assert "every slot that serves the queue 'shared' (2 of shared@" in fault
    assert "airflow celery worker -q shared" in fault
    let_go(tmp_path)
    serves(engine, 2)


def test_a_broker_that_does_not_answer_is_named_without_its_password() -> None:
    app = Celery("nowhere", broker="redis://:hunter2@127.0.0.1:1/0", set_as_current=False)
    with pytest.raises(EngineError, match="AIRFLOW__CELERY__BROKER_URL") as caught:
        CeleryEngine(app, "q")
    assert "127.0.0.1:1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["celery://q?silence=soon", "celery://q?silence=0", "celery://q?silence=inf", "celery://q?slots=4", "celery://q/x"],
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="celery://q"):
        CeleryEngine.from_url(url)


# Under Airflow


def test_airflows_own_worker_command_runs_calls(broker: Deployment, stack: ExitStack, tmp_path: Path) -> None:
    """A coordinator that knows nothing but the URL, as in a task, and `airflow celery worker`."""
    coordinator = tmp_path / "coordinator.py"
    coordinator.write_text(
        "import time\n"
        "from manifold.engines.open import open_engine\n"
        "with open_engine('celery://', queue='Under Airflow') as engine:\n"
        "    while engine.slots() < 2:\n"
        "        time.sleep(0.1)\n"
        "    print(engine.check(), list(engine.map(pow, range(5), [2] * 5)))\n"
    )
    options = f"-c 2 -H airflow1 --skip-serve-logs --pid {tmp_path / 'worker.pid'}".split()
    command = [sys.executable, "-m", "airflow", "celery", "worker", "-q", "Under Airflow", *options]
    stack.enter_context(broker.run("airflow1", command))
    asked = stack.enter_context(broker.run("coordinator", [sys.executable, coordinator]))
    asked.finish(120)
    assert asked.log.read_text().splitlines()[-1] == "None [0, 1, 4, 9, 16]"


# Health


def test_a_worker_touches_its_file_for_as_long_as_the_broker_takes_its_signs_of_life(
    broker: Deployment, tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    with broker.worker("alive", "alive", more={"MANIFOLD_ALIVE": str(alive)}):
        until(alive.exists, "the file is there")
        first = alive.stat().st_mtime_ns
        until(lambda: alive.stat().st_mtime_ns > first, "the file was touched again")
