"""Each query of each panel, put to a real Prometheus that scrapes the real exporter while scatters run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.config import new_secret
from manifold.demo.process import Child
from tests.celery.brokers import deployment
from tests.metrics.servers import DEPLOY, Prometheus, exporter, program, prometheus
from tests.metrics.test_alerts import documented, metrics_in

BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
_SECONDS = 120.0

WORK = """
import time

def slow(x):
    time.sleep(0.02)
    if x % 100 == 7:
        raise ValueError(x)
    return x
"""


def panels(board: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(board.read_text())["panels"]
    return found


def queries() -> list[str]:
    """Every query, with Grafana's variables as it fills them."""
    asked = (target["expr"] for board in BOARDS for panel in panels(board) for target in panel["targets"])
    return [one.replace("$__rate_interval", "1m").replace("$engine", ".*") for one in asked]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Child]]:
    """A Prometheus over a deployment with Celery workers, in which a scatter runs (and that scatter)."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("watched")
    (folder / "work.py").write_text(WORK)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
            patch.delenv(name)
        patch.setenv("MANIFOLD_HOME", str(folder / "home"))
        patch.setenv("MANIFOLD_SECRET", new_secret())
        broker = stack.enter_context(deployment("redis", folder))
        stack.enter_context(broker.worker("chunks", "manifold", slots=2))
        manifold.scatter(abs, range(2000), engine="processes://2", monitors=[], scatter_id="before", chunk_size=100)
        words = ["--items", "range:100000", "--engine", "celery://manifold", "--id", "slow"]
        options = [word for one in ("tolerate=10%", "chunk_size=20") for word in ("--option", one)]
        running = Child.start(
            "run",
            [sys.executable, "-m", "manifold.cli", "run", "work:slow", *words, *options],
            log=folder / "run.log",
            records=folder / "records",
            env=broker.environment(),
            cwd=folder,
        )
        stack.callback(running.stop)
        url = stack.enter_context(exporter(folder, "--engine", "celery://manifold", env=broker.environment()))
        yield stack.enter_context(prometheus(folder, url)), running


def test_every_panel_has_data_while_scatters_run(watched: tuple[Prometheus, Child]) -> None:
    server, running = watched
    left, until = dict.fromkeys(queries()), time.monotonic() + _SECONDS
    assert len(left) > 30
    while left and time.monotonic() < until:
        running.check()
        left = {query: None for query in left if not server.query(query)}
        time.sleep(1.0)
    assert not left, "no data came of: " + "\n".join(left)


def test_a_worker_that_is_watched_is_up_and_its_engine_reachable(watched: tuple[Prometheus, Child]) -> None:
    server, _ = watched
    [up] = server.query('manifold_worker_up{engine="celery://manifold"}')
    assert up["value"][1] == "2"
    [reachable] = server.query("manifold_engine_reachable")
    assert (reachable["metric"]["engine"], reachable["value"][1]) == ("celery://manifold", "1")
    [pending] = server.query('manifold_chunks_pending{queue="manifold"}')
    assert 1000 < float(pending["value"][1]) <= 5000
    assert server.query('ALERTS{alertname=~".*Down|.*Lost|.*Queue|.*Unreachable"}') == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_a_board_asks_for_metrics_that_there_are_and_has_a_place_for_each_panel(board: Path) -> None:
    places: set[tuple[int, int]] = set()
    for panel in panels(board):
        assert panel["datasource"]["uid"] == "prometheus"
        for target in panel["targets"]:
            assert metrics_in(target["expr"])
            assert metrics_in(target["expr"]) <= documented()
        at = panel["gridPos"]
        covered = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not covered & places, f"{panel['title']} lies over another"
        places |= covered


def test_grafana_finds_its_data_source_and_the_boards() -> None:
    import yaml

    folder = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["uid"] == "prometheus"
    [provider] = yaml.safe_load((folder / "dashboards" / "manifold.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert len({json.loads(board.read_text())["uid"] for board in BOARDS}) == len(BOARDS) == 2
