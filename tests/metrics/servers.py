"""The real exporter and a real Prometheus, as child processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from manifold.demo.process import Child, free_port, wait_until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; without it the test is skipped, or fails where it is required."""
    if path := shutil.which(name):
        return path
    text = f"{name} is not installed (Debian: apt-get install prometheus)"
    if {"prometheus", "all"} & {*os.environ.get("MANIFOLD_REQUIRE", "").split()}:
        pytest.fail(text)
    pytest.skip(text)


def promtool(*words: str, text: str | None = None) -> str:
    """What promtool said; it must have been content."""
    told = subprocess.run([program("promtool"), *words], input=text, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout + told.stderr


@contextmanager
def exporter(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """`manifold exporter`, listening: its URL."""
    port = free_port()
    command = [sys.executable, "-m", "manifold.cli", "exporter", "--port", str(port), *words]
    environment = {**os.environ, **(env or {})}
    child = Child.start("exporter", command, log=folder / "exporter.log", records=folder / "records", env=environment)
    url = f"http://127.0.0.1:{port}/metrics"
    try:
        wait_until(lambda: answers(url), child, 60)
        yield url
    finally:
        child.stop()


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=10) as response:
            return bool(response.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False


def page(url: str) -> str:
    """The metrics as text."""
    with urlopen(url, timeout=30) as response:
        text: str = response.read().decode()
    return text


class Prometheus:
    """A Prometheus that scrapes one target every second."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that the expression gives now; raises AssertionError for one that Prometheus cannot read."""
        try:
            with urlopen(f"{self._url}/api/v1/query?{urlencode({'query': expression})}", timeout=30) as response:
                told = json.load(response)
        except URLError as exc:
            raise AssertionError(f"{expression}: {exc}") from exc
        assert told["status"] == "success", told
        found: list[dict[str, Any]] = told["data"]["result"]
        return found


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """The deployment's own configuration and rules, but for the addresses."""
    import yaml

    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / "alerts.yml")]
    [job] = [one for one in config["scrape_configs"] if one["job_name"] == "manifold"]
    job["static_configs"] = [{"targets": [target.removeprefix("http://").partition("/")[0]]}]
    config["scrape_configs"] = [job]
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(config))
    command = [
        program("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    child = Child.start("prometheus", command, log=folder / "prometheus.log", records=folder / "records")
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"), child, 60)
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        child.stop()
