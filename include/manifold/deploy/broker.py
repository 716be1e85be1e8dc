"""RabbitMQ's accounts: who may do what with which queues."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from manifold.errors import ConfigError

_OURS = r"manifold(\..*)?"
# What every Celery worker has of its own: where it is spoken to, and where workers hear of each other.
_OWN = r"celery@.*\.celery\.pidbox|celeryev(\..*)?|.*reply\.celery\.pidbox"

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
CHUNKS = {
    "configure": f"^({_OURS}|{_OWN}|celery\\.pidbox)$",
    # `amq.default` leads to a coordinator's own queue. Not to write to celery.pidbox means: no orders to other workers.
    "write": f"^({_OURS}|{_OWN}|amq\\.default)$",
    "read": f"^({_OURS}|{_OWN}|celery\\.pidbox)$",
}
"""A chunk worker takes chunks, answers, and hears what is said to Celery workers. It reads no queue of Airflow's."""

_PATIENCE = 60.0  # seconds for the management page to come up after the broker


class Broker:
    """RabbitMQ's management interface at `url`, as its administrator."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._open = build_opener(ProxyHandler({})).open  # it is not behind anybody's proxy

    def account(self, name: str, password: str, rights: Mapping[str, str]) -> None:
        """Make the account or change it: this password, these rights on the queues, and no right to administer."""
        self._put(f"/api/users/{quote(name)}", {"password": password, "tags": ""})
        self._put(f"/api/permissions/{quote('/', safe='')}/{quote(name)}", rights)

    def _put(self, path: str, body: object) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            request = Request(self._url + path, json.dumps(body).encode(), method="PUT")
            request.add_header("Authorization", f"Basic {self._login}")
            request.add_header("Content-Type", "application/json")
            try:
                with self._open(request, timeout=10):
                    return
            except HTTPError as exc:
                raise ConfigError(
                    f"RabbitMQ at {self._url} answered PUT {path} with {exc.code}. With 401 it was set up with another "
                    "RABBITMQ_ADMIN_PASSWORD: put the old one back into .env, or change it with rabbitmqctl"
                ) from exc
            except (URLError, OSError) as exc:
                if time.monotonic() > until:
                    raise ConfigError(f"RabbitMQ's management page at {self._url} does not answer: {exc}") from exc
                time.sleep(1)
