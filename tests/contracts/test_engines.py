"""Every engine against the contract: one row each, as a fixture named after the scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from tests.celery.brokers import AIRFLOW_APP, Deployment, deployment, serves
from tests.remote.dask_cluster import DaskCluster, dask_cluster
from tests.remote.fleet import Fleet
from tests.remote.middles import MIDDLES, fleet

from manifold.config import new_secret
from manifold.engines._remote.engine import known_options
from manifold.engines.open import open_engine
from manifold.registry import ENGINES
from manifold.testing.engines import EngineContract, EngineRow

SCHEMES = tuple(ENGINES.entries)


@pytest.fixture(scope="module")
def secret() -> Iterator[None]:
    """One secret for this process, the hubs and the workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANIFOLD_SECRET", new_secret())
        yield


@pytest.fixture(scope="module")
def celery_deployment(secret: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Redis, and two workers of one slot each."""
    with ExitStack() as stack:
        running = stack.enter_context(deployment("redis", tmp_path_factory.mktemp("celery")))
        for name in ("one", "two"):
            stack.enter_context(running.worker(name, "contract", slots=1, app=AIRFLOW_APP))
        with running.engine("contract") as engine:
            serves(engine, 2)
        yield running


@pytest.fixture
def celery_row(celery_deployment: Deployment) -> EngineRow:
    # A dead process is known by its silence where the broker does not tell: after `silence`, and what a beat may take.
    return EngineRow("celery", lambda: celery_deployment.engine("contract", silence=5.0), lost_within=30.0, beat=2.5)


@pytest.fixture(scope="module")
def dask_processes(secret: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler, and two workers of one thread each."""
    with dask_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def dask_row(dask_processes: DaskCluster) -> EngineRow:
    return EngineRow("dask", lambda: dask_processes.engine(2), beat=2.0)


@pytest.fixture
def processes_row() -> EngineRow:
    return EngineRow("processes", lambda: open_engine("processes://2"))


@pytest.fixture
def threads_row() -> EngineRow:
    return EngineRow("threads", lambda: open_engine("threads://2"), kill=None)


@pytest.fixture(scope="module")
def fleets(secret: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Fleet]]:
    """The middle and two workers of each transport, started when they are first asked for."""
    with ExitStack() as stack:
        yield cache(lambda scheme: stack.enter_context(fleet(scheme, tmp_path_factory.mktemp(scheme))))


def remote_row(scheme: str, running: Fleet) -> EngineRow:
    """The row of an engine whose workers are started by `manifold worker`."""
    return EngineRow(scheme, lambda: running.engine(2, silence=5.0), beat=2.5, lost_within=20.0)


@pytest.fixture(params=SCHEMES)
def engine_row(request: pytest.FixtureRequest) -> EngineRow:
    if request.param in MIDDLES:
        return remote_row(request.param, request.getfixturevalue("fleets")(request.param))
    row = request.getfixturevalue(f"{request.param}_row")
    assert isinstance(row, EngineRow)
    return row


class TestEngines(EngineContract):
    pass


def test_no_engine_is_without_a_row() -> None:
    assert {f"{scheme}_row" for scheme in SCHEMES if scheme not in MIDDLES} <= globals().keys()
    assert MIDDLES.keys() == {row.scheme for row in ENGINES.entries.values() if row.reads.endswith("check_url")}


@pytest.mark.parametrize("scheme", MIDDLES)
def test_a_registry_row_knows_the_options_of_its_transport(scheme: str) -> None:
    row = ENGINES.entries[scheme]
    assert row.accepts == known_options(row.load().transport)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_registry_row_says_is_what_the_adapter_says(scheme: str) -> None:
    row = ENGINES.entries[scheme]
    engine = row.load()
    assert engine.kills_items == row.kills_items
    assert engine.in_process == (row.reach == "process")
    assert engine.same_host == (row.reach != "hosts")
    assert ENGINES.check(row.example) is row
