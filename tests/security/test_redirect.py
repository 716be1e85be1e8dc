"""The token for Airflow's API goes to the host that was named, and to no other."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from manifold.cli.airflow_api import Api
from manifold.cli.exits import Unreachable


def test_the_token_does_not_follow_a_redirect_to_another_host() -> None:
    heard: list[str | None] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Moved(Elsewhere):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{elsewhere.server_port}/")
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as elsewhere, HTTPServer(("127.0.0.1", 0), Moved) as moved:
        servers = [threading.Thread(target=server.serve_forever) for server in (elsewhere, moved)]
        for server in servers:
            server.start()
        try:
            with pytest.raises(Unreachable, match="status 302"):
                Api(f"http://127.0.0.1:{moved.server_port}", "a token").clear(("d", "r", "t", -1))
        finally:
            moved.shutdown()
            elsewhere.shutdown()
            for server in servers:
                server.join()
    assert heard == []
