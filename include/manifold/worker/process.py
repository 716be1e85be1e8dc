"""The process that a worker's code runs in: its name and clock, and what it remembers between chunks."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache

from manifold import config
from manifold.abc import Store
from manifold.errors import StoreError
from manifold.patience import WORKER_PATIENCE
from manifold.protocol.job import Job
from manifold.redaction import Hidden, hide
from manifold.stores import open_store
from manifold.stores.patient import PatientStore
from manifold.text import storable
from manifold.worker import beat, forks
from manifold.worker.alarm import Alarm
from manifold.worker.modules import JobModules

log = logging.getLogger(__name__)

_JOBS_KEPT = 8
_SCATTERS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Loaded:
    """A job in this process; `environment` has its connections and variables.

    `call` has its per-worker constants, made; None where each event loop has its own.
    """

    job: Job
    call: Callable[[Any], Any] | None
    modules: JobModules
    environment: Mapping[str, str] = field(default_factory=dict)


class _LatestHidden(LRUCache[str, Hidden]):
    """What is masked for the latest jobs; for one that leaves, nothing is any more."""

    def popitem(self) -> tuple[str, Hidden]:
        digest, hidden = super().popitem()
        hidden.close()
        return digest, hidden


class Process:
    """One worker process. A simulation has many of them in one.

    Args:
        host, pid: whose process it is; None: this one's, whichever that is after a fork.
        nonce: names an execution; never the same twice.
        open_store: the store behind a URL, asked once for each.
        monotonic, sleep: its clock.
        alarm: makes what enforces `item_timeout` by that clock.
        patience: seconds that it keeps results which the store does not take.
    """

    def __init__(
        self,
        *,
        host: str | None = None,
        pid: int | None = None,
        nonce: Callable[[], str] = lambda: secrets.token_hex(8),
        open_store: Callable[[str], Store] = open_store,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        alarm: Callable[[float], Alarm] = Alarm,
        patience: float = WORKER_PATIENCE,
    ) -> None:
        self.nonce = nonce
        self.monotonic = monotonic
        self.sleep = sleep
        self.alarm = alarm
        self._host = host
        self._pid = pid
        self._open_store = open_store
        self._patience = patience
        self._forget()

    def _forget(self) -> None:
        """Know nothing, as a process that begins."""
        self._lock = threading.RLock()
        self._jobs = LRUCache[str, Loaded](_JOBS_KEPT)
        self._hidden = _LatestHidden(_JOBS_KEPT)
        self._stores = dict[str, Store]()
        self._epochs = LRUCache[str, int](_SCATTERS_KEPT)

    @property
    def host(self) -> str:
        return self._host or storable(socket.gethostname())

    @property
    def pid(self) -> int:
        return self._pid or os.getpid()

    @property
    def name(self) -> str:
        """As receipts and the ledger show it: host:pid."""
        return f"{self.host}:{self.pid}"

    def newest_epoch(self, uid: str, epoch: int) -> int:
        """The newest epoch of the scatter that this process has met, this one included."""
        with self._lock:
            self._epochs[uid] = newest = max(self._epochs.get(uid, 0), epoch)
            return newest

    def loaded(self, digest: str, load: Callable[[], Loaded | None]) -> Loaded | None:
        """The job of that digest, from memory or by `load`; None where neither has it."""
        forks.in_child(_in_child)
        with self._lock:  # one thread makes the per-worker constants, the others wait for it
            found = self._jobs.get(digest) or load()
            if found is not None:
                self._jobs[digest] = found
            return found

    def hide(self, digest: str, texts: Iterable[str]) -> None:
        """Mask these as long as the job of that digest is remembered; its set-up may already tell them."""
        with self._lock:
            before = self._hidden.pop(digest, None)
            self._hidden[digest] = hide(texts)
            if before is not None:
                before.close()

    def store(self, url: str | None) -> Store | None:
        """The store behind `url`: "" is this deployment's, None is none."""
        if url is None:
            return None
        where = url or config.store_url()
        with self._lock:
            if where not in self._stores:
                self._stores[where] = PatientStore(
                    self._open_store(where), patience=self._patience, sleep=self.sleep, on_wait=_wait_for_store
                )
            return self._stores[where]


def _wait_for_store(text: str) -> None:
    log.warning("%s", text)
    if beat.draining():
        raise StoreError(f"the worker is to end, and could not put its results: {text}")


HERE = Process()
"""This process."""

_inherited: list[Any] = []  # by a forked child, and never collected there: it would close its parent's connections


def _in_child() -> None:
    _inherited.append(dict(vars(HERE)))
    HERE._forget()
