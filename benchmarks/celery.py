"""Two Celery workers with two processes each, on Redis: against Celery's own group(), and chunks sent by hand."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import manifold
from benchmarks.measure import Row, best, home
from benchmarks.work import noop
from manifold.config import new_secret
from manifold.demo.redis import RedisServer

MANY = 100_000
SINGLE = 3_000  # single tasks cost milliseconds each; per item is what is compared
CHUNK = 5_000  # of both, so that only what surrounds a chunk differs


@contextmanager
def workers() -> Iterator[None]:
    """Redis and two workers of Airflow's Celery app, which run Manifold's task and the peer's."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="manifold-bench-")))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        imports = {"imports": ["manifold.engines.celery.worker", "benchmarks.celery_peer"]}
        os.environ |= {
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CELERY__BROKER_URL": redis.url(0),
            "AIRFLOW__CELERY__RESULT_BACKEND": redis.url(1),
            "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": json.dumps(imports),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "MANIFOLD_SECRET": new_secret(),
            "PYTHONPATH": os.getcwd(),
        }
        stack.enter_context(home())
        app = "airflow.providers.celery.executors.celery_executor_utils:app"
        for number in (1, 2):
            command = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", "bench", "-c", "2", "-O", "fair"]
            log = stack.enter_context((folder / f"worker{number}.log").open("wb"))
            process = subprocess.Popen([*command, "-n", f"bench{number}@%h"], stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield


def against_celery() -> Iterator[Row]:
    from celery import group
    from celery.result import allow_join_result

    with workers():
        from benchmarks.celery_peer import many, one
        from manifold.engines.open import open_engine

        with open_engine("celery://bench") as engine, allow_join_result():
            while engine.slots() < 4:
                time.sleep(0.1)
            many.apply_async((0, 10), queue="bench").get(timeout=60)
            manifold.scatter(noop, range(1000), engine=engine)

            ours = best(lambda: manifold.scatter(noop, range(MANY), engine=engine, chunk_size=CHUNK), 10)
            adaptive = best(lambda: manifold.scatter(noop, range(MANY), engine=engine), 10)
            singles = best(lambda: group(one.s(x).set(queue="bench") for x in range(SINGLE))().get(), 2)
            starts = range(0, MANY, CHUNK)
            chunks = best(lambda: group(many.s(x, x + CHUNK).set(queue="bench") for x in starts)().get(), 10)
            gc.collect()  # the peer's results say goodbye to Redis while it is there
    ratio = (singles / SINGLE) / (min(ours, adaptive) / MANY)
    yield Row(
        f"{MANY:,} no-op on Celery, per item, against a group() of single tasks",
        ratio,
        50,
        detail=f"{min(ours, adaptive) / MANY * 1e6:.2f} µs against {singles / SINGLE * 1e6:,.0f} µs",
    )
    yield Row(
        f"the same against chunks of {CHUNK:,} sent by hand",
        chunks / ours,
        0.9,
        detail=f"{ours:.3f} s (adaptive chunks: {adaptive:.3f} s) against {chunks:.3f} s",
    )


BENCHMARKS = {"celery": against_celery}
