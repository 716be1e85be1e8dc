"""Dask beyond the contract: what is lost when what dies, what is refused, TLS, and a cluster of our own."""

from __future__ import annotations

import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from tests.remote.certificates import Authority
from tests.remote.dask_cluster import DaskCluster, dask_cluster

import manifold
from manifold import config, events
from manifold.abc import Engine, Monitor
from manifold.engines import _dask_worker as at_worker
from manifold.engines._remote import messages as ms
from manifold.engines._remote.place import dask_url
from manifold.engines._sealed import Call
from manifold.engines.open import check_engine, open_engine
from manifold.errors import ConfigError, EngineError, WorkerLost
from manifold.protocol import envelope
from manifold.protocol.task import Versions
from manifold.testing import calls
from manifold.testing.engines import SLOW, EngineContract, EngineRow, began, let_go, until


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One secret for this process and the workers; ledgers and results in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANIFOLD_SECRET", config.new_secret())
        patch.setenv("MANIFOLD_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def cluster(home: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler, and two workers of one thread each, which their nannies start again."""
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as running:
        running.engine(2).shutdown()
        yield running


def start_again(cluster: DaskCluster) -> None:
    """Start the scheduler, and workers as what supervises them would: they end with it."""
    cluster.start_scheduler()
    for _ in range(2):
        cluster.worker()


class OnCommit(Monitor):
    """Does something once, when so many chunks are committed."""

    def __init__(self, after: int, action: Callable[[events.ChunkCommitted], None]) -> None:
        self._after, self._action, self.done = after, action, False

    def emit(self, event: events.Event) -> None:
        if isinstance(event, events.ChunkCommitted):
            self._after -= 1
            if self._after <= 0 and not self.done:
                self.done = True
                self._action(event)


def scatter(cluster: DaskCluster, fn: Callable[[Any], Any], items: Any, **options: Any) -> Any:
    """Scatter over the cluster, whose workers reach this host's files."""
    store = f"{(config.home() / 'store').as_uri()}?shared=true"
    separator = "&" if "?" in cluster.url else "?"
    return manifold.scatter(fn, items, engine=f"{cluster.url}{separator}silence=3", store=store, **options)


def slow() -> Callable[[int], int]:
    """A function that travels by value, for no worker has this module."""

    def slowly(x: int) -> int:
        time.sleep(0.01)
        return x

    return slowly


# What is lost when what dies


def test_a_poison_item_among_20_000_fails_alone(cluster: DaskCluster) -> None:
    def poison(x: int) -> int:
        if x == 12_345:
            os._exit(7)
        return x

    results = scatter(cluster, poison, range(20_000), tolerate=1)
    assert list(results) == [x for x in range(20_000) if x != 12_345]
    (failure,) = results.failures()
    assert (failure.position, failure.type) == (12_345, "manifold.errors.PoisonItem")


def test_a_worker_process_that_is_killed_costs_no_item(cluster: DaskCluster) -> None:
    def kill(event: events.ChunkCommitted) -> None:
        os.kill(int(event.worker.rpartition(":")[2]), signal.SIGKILL)

    killer = OnCommit(3, kill)
    assert list(scatter(cluster, slow(), range(600), chunk_size=20, monitors=[killer])) == list(range(600))
    assert killer.done


def test_a_scheduler_that_is_killed_and_started_again_costs_no_item(tmp_path: Path) -> None:
    midst = threading.Event()
    monitor = OnCommit(3, lambda _event: midst.set())
    with dask_cluster(tmp_path) as cluster, ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: list(scatter(cluster, slow(), range(1_000), chunk_size=50, monitors=[monitor])))
        assert midst.wait(SLOW)
        cluster.kill_scheduler()
        assert not running.done()
        start_again(cluster)
        assert running.result(SLOW) == list(range(1_000))


def test_calls_wait_for_a_scheduler_that_is_away(tmp_path: Path) -> None:
    with dask_cluster(tmp_path) as cluster, cluster.engine(2) as engine:
        cluster.kill_scheduler()
        until(lambda: not engine.connected, "it is noticed")
        future = engine.submit(calls.echo, 7)
        assert engine.slots() == 0
        start_again(cluster)
        assert future.result(SLOW) == 7
        assert engine.connected


def test_a_worker_that_is_told_to_end_blames_no_item(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, workers=0) as cluster:
        worker = cluster.worker()
        with cluster.engine(1) as engine:
            future = engine.submit(calls.hold, str(tmp_path), "held")
            until(lambda: began(tmp_path, "held"), "it begins")
            os.kill(worker.pid, signal.SIGTERM)
            error = future.exception(SLOW)
            assert isinstance(error, WorkerLost)
            assert (error.started, error.died) == (True, False)
            let_go(tmp_path)


def test_a_worker_that_starts_again_on_its_port_does_not_run_what_the_last_one_had(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, workers=0) as cluster:
        cluster.worker("--worker-port", str(DaskCluster(tmp_path).port))
        with cluster.engine(1) as engine:
            future = engine.submit(os._exit, 3)
            error = future.exception(SLOW)
            assert isinstance(error, WorkerLost)
            assert (error.started, error.died, error.witnessed) == (True, True, True)
            assert engine.submit(calls.echo, 1).result(SLOW) == 1


def test_item_timeout_ends_what_sleeps_and_what_never_returns_to_the_interpreter(cluster: DaskCluster) -> None:
    def stuck(x: int) -> int:
        if x == 5:
            time.sleep(600)
        if x == 15:
            sum(range(10**12))  # a loop of C's that holds the interpreter's lock
        return x

    results = scatter(cluster, stuck, range(40), chunk_size=10, item_timeout=0.5, tolerate=2)
    assert list(results) == [x for x in range(40) if x not in (5, 15)]
    assert {failure.position: failure.type for failure in results.failures()} == dict.fromkeys(
        (5, 15), "manifold.errors.ItemTimeout"
    )


def test_two_coordinators_share_a_cluster(cluster: DaskCluster) -> None:
    with cluster.engine(2) as one, cluster.engine(2) as two:
        futures = [engine.submit(calls.echo, n) for n in range(20) for engine in (one, two)]
        assert [future.result(SLOW) for future in futures] == [n for n in range(20) for _ in range(2)]


def test_a_process_with_several_threads_runs_one_call_unless_it_is_given_more(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, workers=0) as cluster:
        cluster.worker(threads=3)
        with cluster.engine(1) as engine:
            assert engine.slots() == 1
        with cluster.engine(1, per_worker=2) as engine:
            assert engine.slots() == 2


# What is refused


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def life(client: Client) -> str:
    """The process of the only worker, by its sign of life."""
    (worker,) = client.scheduler_info()["workers"].values()
    return at_worker.opened(worker["metrics"]["manifold"])[1].life


def test_nothing_that_is_not_signed_is_unpickled(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    trap = pickle.dumps((Trap(str(sprung)), (), {}))
    with dask_cluster(tmp_path, workers=1) as cluster, cluster.engine(1) as engine:  # noqa: SIM117
        with Client(cluster.address, set_as_default=False) as client:
            process = life(client)
            other = envelope.Keyring({"k1": os.urandom(32)})
            header = envelope.Header("call", "f" * 32, "k1", attempt="0", nonce=process, start=1)
            body = envelope.encode(Call(Versions.here(), trap))
            genuine = ms.seal_call("e" * 32, "1", process, 1, trap)
            forged = [trap, b"", "text", None, genuine[:-1], envelope.seal(other, header, body)]
            forged.append(ms.seal_call("e" * 32, "2", "another process", 2, trap))
            draw = random.Random(1)
            for _ in range(10_000 - len(forged)):
                altered = bytearray(genuine)
                altered[draw.randrange(len(altered))] ^= draw.randrange(1, 256)
                forged.append(bytes(altered))
            answers = client.submit(lambda them: [at_worker.run(one) for one in them], forged).result(SLOW)
            assert {type(answer) for answer in answers} == {str}
            assert not sprung.exists()
            until(lambda: engine.refused_by_workers == 10_000, "the coordinator knows of it")
            assert isinstance(client.submit(at_worker.run, genuine, pure=False).result(SLOW), bytes)
            assert sprung.exists()
            again = client.submit(at_worker.run, genuine, pure=False).result(SLOW)
            assert isinstance(again, str)
            assert "taken before" in again


def test_forged_signs_of_life_and_answers_change_nothing(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, workers=1) as cluster, cluster.engine(1) as engine:
        with Client(cluster.address, set_as_default=False) as client:
            for forged in ("text", {"leaving": True}, None, 7, [1]):
                client.log_event("manifold", forged)
            until(lambda: engine.refused == 5, "they are refused")
        assert engine.submit(calls.echo, 1).result(SLOW) == 1


def test_a_worker_with_another_secret_gets_no_calls_and_check_says_why(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, workers=0) as cluster:
        cluster.worker(env={**os.environ, "MANIFOLD_SECRET": config.new_secret()})
        with open_engine(cluster.url) as engine:
            until(lambda: "MANIFOLD_SECRET" in (engine.check() or ""), "check names the secret")
            future = engine.submit(calls.echo, 1)
            assert engine.slots() == 0
            cluster.worker()
            assert future.result(SLOW) == 1


def test_a_worker_without_a_nanny_gets_no_calls_and_check_says_why(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, workers=0) as cluster:
        cluster.worker("--no-nanny")
        with open_engine(cluster.url) as engine:
            until(lambda: "--no-nanny" in (engine.check() or ""), "check names the option")
            assert engine.slots() == 0


def test_a_cluster_without_workers_says_how_to_start_one(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, workers=0) as cluster, open_engine(cluster.url) as engine:
        assert f"dask worker {cluster.address}" in (engine.check() or "")


def test_where_nothing_answers_it_says_how_to_start_a_scheduler(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="dask scheduler --port"):
        open_engine(DaskCluster(tmp_path).url)


# TLS


def test_it_speaks_tls_with_the_certificates_of_the_url(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ours")
    with dask_cluster(tmp_path, tls={"tls_ca": authority.file, **authority.certificate("here")}) as cluster:
        with cluster.engine(2) as engine:
            assert engine.submit(calls.echo, 1).result(SLOW) == 1
        with pytest.raises(EngineError, match="no Dask scheduler answers"):
            open_engine(f"dask://127.0.0.1:{cluster.port}")


# The URL


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("dask://", "lacks a host"),
        ("dask://host:99999", "Port out of range"),
        ("dask://host?workers=2", "unknown option 'workers'"),
        ("dask://local?per_worker=2", "unknown option 'per_worker'"),
        ("dask://local?workers=0", "must be a number above 0"),
        ("dask://local?workers=two", "must be a number above 0"),
        ("dask://host?per_worker=x", "must be a number above 0"),
        ("dask://host?balance=best", "must be one of"),
        ("dask://host?silence=1", "at least 3"),
        ("dask://host?queue=mine", "has no queues"),
        ("dask://host?tls_ca=/ca.pem", "needs both tls_ca and tls_cert"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_before_anything_is_opened(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        check_engine(url)


def test_a_url_without_a_port_means_dasks_own() -> None:
    assert dask_url("dask://host").address == "host:8786"


# A cluster of our own


@pytest.fixture
def engine_row() -> EngineRow:
    return EngineRow("dask", lambda: open_engine("dask://local?workers=2"), beat=2.0)


class TestOwnCluster(EngineContract):
    """Some of the contract; the rest is held by the same code over another cluster."""

    def test_its_workers_reach_the_files_of_this_host(self, engine: Engine) -> None:
        assert engine.same_host


_CHOSEN = ("thousand_tiny", "dead_worker_fails", "leaves_nothing", "kill_ends", "can_cancel_what_waits")
for _name in [name for name in dir(EngineContract) if name.startswith("test_")]:
    if not any(words in _name for words in _CHOSEN):
        setattr(TestOwnCluster, _name, None)
