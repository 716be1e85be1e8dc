"""The health check of a service: what it takes for well, and what it says is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from manifold.deploy.health import well

HEALTH = {"metadatabase": {"status": "healthy"}, "triggerer": {"status": None}, "scheduler": {"status": "unhealthy"}}


class Page(BaseHTTPRequestHandler):
    """Airflow's health page at /health, and 503 everywhere else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()
        self.wfile.write(json.dumps(HEALTH).encode())

    def log_message(self, *_: object) -> None:
        """Nobody wants to read it."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_address_that_answers_well_is_well(url: str) -> None:
    assert well(f"{url}/health") is None
    assert well(f"{url}/health", "metadatabase") is None


@pytest.mark.parametrize("part", ["triggerer", "scheduler", "dag_processor"])
def test_a_part_that_is_not_said_to_be_healthy_is_named(url: str, part: str) -> None:
    assert part in str(well(f"{url}/health", part))


def test_an_error_and_a_closed_port_are_told(url: str) -> None:
    assert "503" in str(well(f"{url}/other"))
    assert "127.0.0.1:1/" in str(well("http://127.0.0.1:1/"))
