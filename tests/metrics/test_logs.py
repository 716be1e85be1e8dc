"""Log lines as JSON: from every process, with the fields that Elasticsearch knows, and without secrets."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manifold import events, logs
from manifold.airflow.monitor import TaskLogMonitor
from tests.metrics.servers import DEPLOY

SCRIPT = """
import sys
import manifold
from manifold.abc import Monitor
from manifold.monitors.log import LogMonitor

class Broken(Monitor):
    def emit(self, event):
        raise RuntimeError("the monitor of postgresql://me:hunter22@db/x is broken")

def work(x):
    if x == 3:
        raise ValueError("no " + "postgresql://me:hunter22@db/x")
    return x

told = [LogMonitor(), Broken()]
manifold.scatter(
    work, range(100), engine="processes://2", chunk_size=25, tolerate=1, scatter_id="pages", monitors=told
)
"""


def run(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(SCRIPT)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MANIFOLD_", "AIRFLOW"))}
    env |= {"MANIFOLD_HOME": str(folder / "home"), "THE_PASSWORD": "correct-horse", **more}
    command = [sys.executable, str(folder / "script.py")]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=100)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What coordinator and workers wrote, one object a line and nothing else."""
    return [json.loads(line) for line in run(tmp_path_factory.mktemp("logs"), MANIFOLD_LOG="json").stderr.splitlines()]


def test_each_field_of_a_line_is_in_the_index_template_and_the_other_way_round(lines: list[dict[str, Any]]) -> None:
    template = json.loads((DEPLOY / "elasticsearch" / "index-template.json").read_text())["template"]["mappings"]
    types = {name: field["type"] for name, field in template["properties"].items()}
    assert types.pop("@timestamp") == "date"  # Logstash's own two
    assert types.pop("container") == "keyword"
    assert types == logs.FIELDS
    assert {name for line in lines for name in line} == set(logs.FIELDS)
    assert {name for line in lines for name in line.get("chunk", {})} == {
        *template["properties"]["chunk"]["properties"]
    }


def test_the_lines_of_a_chunk_are_found_by_its_attempt_in_coordinator_and_worker(lines: list[dict[str, Any]]) -> None:
    committed = [line for line in lines if line["event"].endswith("are committed")]
    done = {line["attempt"]: line for line in lines if line["event"] == "the chunk is done"}
    assert sorted((one["chunk"]["start"], one["chunk"]["stop"]) for one in committed) == [
        (0, 25),
        (25, 50),
        (50, 75),
        (75, 100),
    ]
    for line in committed:
        other = done[line["attempt"]]
        for field in ("scatter", "chunk", "worker", "failed"):
            assert other[field] == line[field]
        assert (line["scatter_name"], line["engine"]) == ("pages", "processes://2")
    ended = lines[-1] if "state" in lines[-1] else next(line for line in lines if "state" in line)
    assert (ended["state"], ended["succeeded"], ended["failed"], ended["level"]) == ("succeeded", 99, 1, "info")


def test_no_line_has_a_password(lines: list[dict[str, Any]]) -> None:
    text = json.dumps(lines)
    assert "me:***@db" in text
    assert "hunter22" not in text
    line = logs.without_secrets(None, "", {"event": "amqp://guest:guest@broker// and s3://x?secret=abc"})
    assert line["event"] == "amqp://guest:***@broker// and s3://x?secret=***"


def test_what_the_environment_calls_a_secret_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "5e" * 32
    monkeypatch.setenv("MANIFOLD_SECRET", f"k1:{key}")
    assert key not in str(logs.without_secrets(None, "", {"event": f"the key is {key}"}))


def test_without_being_asked_nothing_is_written(tmp_path: Path) -> None:
    told = run(tmp_path)
    assert '"event"' not in told.stderr
    assert "the chunk is done" not in told.stderr


def test_in_a_task_the_fields_go_along_with_airflows_own_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    from structlog.contextvars import get_contextvars

    seen: list[dict[str, Any]] = []

    class TaskLog:
        def log(self, level: int, text: Any, /, *args: Any) -> None:
            seen.append(dict(get_contextvars()))

    def tell() -> None:
        monitor = TaskLogMonitor(TaskLog())
        monitor.emit(events.ScatterStarted("u" * 32, 1, "d/r/t", "celery://me:secret@manifold", "begins", 10))
        monitor.emit(events.ChunkLost("u" * 32, 1, 4, 8, "w:1", "its worker died", "a" * 32))

    tell()
    assert not any(seen), "fields were not asked for"
    monkeypatch.setenv("MANIFOLD_LOG", "json")
    tell()
    assert seen[-1] == {
        "scatter": "u" * 32,
        "engine": "celery://manifold",
        "chunk": {"start": 4, "stop": 8},
        "attempt": "a" * 32,
        "worker": "w:1",
    }
    assert logging.getLogger("manifold").propagate


def test_kibana_gets_a_search_and_a_dashboard_over_the_index_of_logstash() -> None:
    text = (DEPLOY / "kibana" / "manifold.ndjson").read_text()
    saved = {(one["type"], one["id"]): one for one in map(json.loads, text.splitlines())}
    assert {kind for kind, _ in saved} == {"index-pattern", "search", "visualization", "dashboard"}
    for one in saved.values():
        for reference in one["references"]:
            assert (reference["type"], reference["id"]) in saved
    [pattern] = [one["attributes"]["title"] for (kind, _), one in saved.items() if kind == "index-pattern"]
    template = json.loads((DEPLOY / "elasticsearch" / "index-template.json").read_text())
    assert template["index_patterns"] == [pattern]
    assert f'index => "{pattern.removesuffix("*")}' in (DEPLOY / "logstash" / "pipeline" / "manifold.conf").read_text()
    columns = saved["search", "manifold-lines"]["attributes"]["columns"]
    assert {column.partition(".")[0] for column in columns} <= set(logs.FIELDS)
