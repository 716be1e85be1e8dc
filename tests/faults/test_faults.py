"""Whatever breaks in the midst of a run: the answer is right, every item counts once, and nothing is left over."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import Fault, play
from tests.faults.cluster import Cluster

_SECONDS = 0.002


@pytest.mark.timeout(240)
def test_a_fault_costs_time_and_nothing_else(cluster: Cluster, fault: Fault, name: str) -> None:
    cluster.repair()
    measured = play(cluster, fault, name, _SECONDS)
    assert measured.run > 0
