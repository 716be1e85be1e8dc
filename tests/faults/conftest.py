"""Clusters for the tests of faults, one at a time; and which tests this machine can run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.celery.brokers import kinds
from tests.faults.catalogue import FAULTS, Fault
from tests.faults.cluster import Cluster, Kind
from tests.faults.hosts import Network, possible
from tests.remote.middles import MIDDLES

_SILENCE = 4.0
_numbers = count(1)


def chosen() -> list[tuple[Kind, Fault]]:
    """What CI tries and this machine can."""
    remote = [f"{scheme}://" for scheme in MIDDLES]
    order: tuple[Kind, ...] = ("rabbitmq", "redis", "processes", *remote)
    there = {*kinds(), "processes", *remote}
    return [
        (kind, fault)
        for kind in order
        for fault in FAULTS.values()
        if kind in fault.ci and kind in there and fault.lacks() is None
    ]


def pytest_report_collectionfinish() -> list[str]:
    """Which faults are not among the tests, and why."""
    lacking = {fault.name: why for fault in FAULTS.values() if fault.ci and (why := fault.lacks())}
    reasons = sorted(set(lacking.values()))
    return [
        f"faults: not tried, because {why}: {', '.join(n for n, w in lacking.items() if w == why)}" for why in reasons
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if {"cluster", "fault"} <= {*metafunc.fixturenames}:
        pairs = chosen()
        ids = [f"{kind}: {fault.name}" for kind, fault in pairs]
        metafunc.parametrize(("cluster", "fault"), pairs, ids=ids, indirect=["cluster"], scope="module")


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that is broken and fixed again and again."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    with Network(apart=possible() is None) as network:
        with Cluster(request.param, folder, network, _SILENCE) as cluster:
            yield cluster
        left = [process for host in cluster.hosts for process in host.processes()]
        assert not left, "nothing runs on"


@pytest.fixture
def name() -> str:
    """Of a scatter that no other test has."""
    return f"faults-{next(_numbers)}"
