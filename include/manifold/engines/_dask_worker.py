"""What Manifold runs in the workers of a Dask cluster: signs of life, and calls.

A worker says who it is and what it runs with each of Dask's heartbeats (as the metric `manifold`), and at once as an
event where an item might end the process. Both are signed; calls and answers are sealed as between all coordinators and
workers. So Dask itself, which unpickles what reaches its ports, carries for Manifold nothing but bytes and text.
"""

from __future__ import annotations

import base64
import logging
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from itertools import count
from typing import Any

import msgspec
from distributed import WorkerPlugin, get_worker
from distributed.utils import sync

from manifold import config
from manifold.engines import _sealed
from manifold.engines._remote import execute
from manifold.engines._remote import messages as ms
from manifold.engines.payload import dump_error
from manifold.errors import ConfigError, VersionMismatch, WireError
from manifold.protocol import envelope
from manifold.protocol.task import Versions
from manifold.worker import beat

NAME = "manifold"
"""Of the plugin, of the metric, and of the topic on which a worker says that it is about to end."""
_SIGNED_FOR = "manifold.dask"
_LATE = 1000  # calls of a coordinator's that one may come behind a later one
_PATIENCE = 5.0  # seconds in which a report has reached the scheduler, or is given up

log = logging.getLogger(__name__)


class Running(msgspec.Struct, frozen=True, array_like=True):
    """A call that a worker runs: the items done, and the seconds that the item at hand may still take."""

    call: str
    position: int
    left: float | None


class Pulse(msgspec.Struct, frozen=True):
    """A worker's sign of life.

    * `life`: another one for each process. `refused`: calls that nobody of this deployment had signed, since it began.
    """

    life: str
    host: str
    pid: int
    refused: int
    leaving: bool
    calls: list[Running]


def topic(engine: str) -> str:
    """Return the topic of Dask's on which the workers report to that engine."""
    return f"{NAME}-{engine}"


def opened(text: str) -> tuple[int, Pulse]:
    """Return a sign of life and its number; raises WireError for what nobody of this deployment has signed."""
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as exc:
        raise WireError(f"no sign of life of a worker: {exc}") from exc
    header, payload = envelope.unseal(config.keyring(), data, "signal", uid=_SIGNED_FOR)
    return header.start, _sealed.decoded(payload, Pulse)


def payload(answer: Any, engine: str, call: str) -> bytes:
    """Return what the sealed answer to a call holds; raises WireError for anything else, with what the worker says."""
    if not isinstance(answer, bytes):
        raise WireError(f"{answer:.500}" if isinstance(answer, str) else "what came back is no sealed answer")
    return envelope.unseal(config.keyring(), answer, "reply", uid=engine, attempt=call)[1]


class ManifoldPlugin(WorkerPlugin):  # type: ignore[misc] # Dask has no types
    """One of each worker process; it is made there by `setup`."""

    name = NAME
    idempotent = True

    def setup(self, worker: Any) -> None:
        self._worker = worker
        self._life = uuid.uuid4().hex
        self._numbers = count(1)
        self._refused = 0
        self._lock = threading.Lock()
        self._taken = _sealed.Taken(late=_LATE)
        worker.metrics[NAME] = lambda _worker: self._pulse()

    def teardown(self, worker: Any) -> None:
        """The worker was told to end: what it runs is lost, and no item is to blame."""
        worker.metrics.pop(NAME, None)
        worker.log_event(NAME, self._pulse(leaving=True))

    def run(self, message: Any) -> bytes | str:
        """Run a call; return the sealed answer, or why there is none."""
        try:
            header, call = self._checked(message)
        except (ConfigError, WireError) as exc:
            self._refused += 1
            log.warning("refused message %s: %s", f"{self._refused:,}", exc)
            return f"{socket.gethostname()} did not unpickle the call: {exc}"
        if difference := call.versions.differs(Versions.here()):
            why = f"{difference} {self._worker.address}; install the same on both"
            outcome = False, dump_error(VersionMismatch(why))
        else:
            with beat.calling(header.attempt) as running:
                running.report = lambda: self._report(header.uid)
                running.report()
                outcome = execute.run(call.pickled, None)
        return ms.seal_answer(header.uid, header.attempt, header.nonce, *outcome)

    def _checked(self, message: Any) -> tuple[envelope.Header, _sealed.Call]:
        """Return a call that was sealed for this process, once."""
        if not isinstance(message, bytes):
            raise WireError(f"a call is sealed bytes, not {type(message).__name__}")
        header, payload = envelope.unseal(config.keyring(), message, "call", nonce=self._life)
        with self._lock:
            self._taken.take(header)
        return header, _sealed.decoded(payload, _sealed.Call)

    def _report(self, engine: str) -> None:
        """Make known at once what runs here. Without a scheduler this process is about to end anyway."""
        worker = self._worker
        with suppress(Exception):
            said = {"topic": topic(engine), "msg": self._pulse()}
            sync(worker.loop, worker.scheduler.log_event, callback_timeout=_PATIENCE, **said)

    def _pulse(self, *, leaving: bool = False) -> str:
        calls = [Running(call.token, call.position(), _left(call)) for call in beat.running()]
        pulse = Pulse(self._life, socket.gethostname(), os.getpid(), self._refused, leaving, calls)
        keyring = config.keyring()
        number = next(self._numbers)
        header = envelope.Header("signal", _SIGNED_FOR, keyring.current, nonce=self._life, start=number)
        return base64.b64encode(envelope.seal(keyring, header, envelope.encode(pulse))).decode()


def _left(call: beat.RunningCall) -> float | None:
    deadline = call.deadline()
    return None if deadline is None else deadline - time.monotonic()


def run(message: Any) -> bytes | str:
    """Run a call in the worker where Dask runs this."""
    plugin = get_worker().plugins.get(NAME)
    return plugin.run(message) if plugin is not None else "the worker has no plugin of Manifold's"
