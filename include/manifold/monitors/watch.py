"""Engines with workers elsewhere, looked at again and again: reachable or not, and which hosts give signs of life."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manifold import config
from manifold.errors import ManifoldError
from manifold.ledger.gauges import HEARD, REMEMBERED, WorkersOfHost
from manifold.redaction import without_login
from manifold.registry import ENGINES

if TYPE_CHECKING:
    from manifold.abc import Engine

log = logging.getLogger(__name__)

_EVERY = 5.0  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Seen:
    """One engine at the latest look. `worker_groups`: hosts of the last hour; `refused`: unsigned messages."""

    reachable: bool = False
    slots: int = 0
    refused: int = 0
    worker_groups: list[WorkersOfHost] = field(default_factory=list)


class EngineWatch:
    """Keeps the engines open, in a thread, so that a scrape never waits for a broker.

    Args:
        names: URLs or connection ids. Those that run on one host are left out: their workers come and go with a
            scatter, and its coordinator tells of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._urls = [url for name in names if (url := _remote(name)) is not None]
        self._open: dict[str, Engine] = {}
        self._hosts: dict[str, dict[str, float]] = {url: {} for url in self._urls}  # when each last reported
        self._seen = {without_login(url): Seen() for url in self._urls}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="manifold-engine-watch", daemon=True)
        self._thread.start()

    def seen(self) -> dict[str, Seen]:
        """What is known of each engine, by its name without login."""
        return dict(self._seen)

    def close(self) -> None:
        """Give up the engines."""
        self._closing.set()
        self._thread.join()
        for engine in self._open.values():
            engine.shutdown(wait=True, cancel_futures=True)

    def _watch(self) -> None:
        while not self._closing.is_set():
            for url in self._urls:
                try:
                    found = self._look(url)
                except Exception as exc:  # noqa: BLE001 - a client may raise anything, and the watch goes on
                    log.warning("%s cannot be watched: %s", without_login(url), exc)
                    self._give_up(url)
                    found = Seen(worker_groups=self._workers_of_hosts(url, {}))
                self._seen[without_login(url)] = found
            self._closing.wait(_EVERY if self._urls else None)

    def _look(self, url: str) -> Seen:
        from manifold.engines.open import open_engine

        engine = self._open.get(url)
        if engine is None:
            engine = self._open[url] = open_engine(url)
        up: dict[str, int] = {}
        for one in engine.workers():
            if one.alive and one.silence <= HEARD:
                up[one.host] = up.get(one.host, 0) + 1
                self._hosts[url][one.host] = time.monotonic() - one.silence
        return Seen(
            reachable=engine.connected and engine.broken() is None,
            slots=engine.slots(),
            refused=engine.refused + engine.refused_by_workers,
            worker_groups=self._workers_of_hosts(url, up),
        )

    def _workers_of_hosts(self, url: str, up: dict[str, int]) -> list[WorkersOfHost]:
        now, name = time.monotonic(), without_login(url)
        silence = {host: now - at for host, at in self._hosts[url].items() if now - at < REMEMBERED}
        self._hosts[url] = {host: now - ago for host, ago in silence.items()}
        return [WorkersOfHost(name, host, up.get(host, 0), 0, ago) for host, ago in silence.items()]

    def _give_up(self, url: str) -> None:
        engine = self._open.pop(url, None)
        if engine is not None:
            engine.shutdown(wait=False, cancel_futures=True)


def _remote(name: str) -> str | None:
    """The URL behind `name`, if its workers are processes elsewhere."""
    try:
        url = config.resolve(name)
        return None if ENGINES.row(url).load().same_host else url
    except ManifoldError as exc:
        log.warning("%s is not watched: %s", without_login(name), exc)
        return None
