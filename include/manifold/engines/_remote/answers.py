"""Answers that a worker keeps until their coordinator says that they have come."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from manifold.abc.transport import KEPT
from manifold.engines._remote import messages as ms
from manifold.engines._remote.links import Publisher
from manifold.protocol import envelope

_log = logging.getLogger(__name__)

_AGAIN = 3  # beats in which a coordinator takes an answer, if that is small
_BYTES_PER_BEAT = 1_000_000  # of a slow network


@dataclass(slots=True, eq=False)
class _Kept:
    send: Callable[[Callable[[], None]], None]
    size: int
    born: int
    sent: int | None = None


class Answers:
    """For any thread; `bytes` is what they hold."""

    def __init__(self, publisher: Publisher, node: str) -> None:
        self._publisher = publisher
        self._node = node
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._tick = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def calls(self) -> list[str]:
        with self._lock:
            return list(self._kept)

    def add(self, to: str, header: envelope.Header, ok: bool, pickled: bytes) -> None:
        """Send what a call returned or raised."""

        def send(sent: Callable[[], None]) -> None:
            self._publisher.post(
                to,
                lambda: ms.seal_answer(header.uid, header.attempt, self._node, ok, pickled),
                wanted=lambda: header.attempt in self._kept,
                sent=sent,
            )

        self._keep(header.attempt, send, len(pickled))

    def lost(self, to: str, lost: ms.Lost) -> None:
        """Send that the process which ran a call is gone."""

        def send(sent: Callable[[], None]) -> None:
            self._publisher.say(to, lost, patience=5.0)
            sent()

        self._keep(lost.call, send, len(lost.why))

    def taken(self, call: str) -> None:
        """The coordinator has it."""
        with self._lock:
            if (kept := self._kept.pop(call, None)) is not None:
                self.bytes -= kept.size

    def send_again(self, tick: int) -> None:
        """Once a beat: what was sent some time ago and not taken goes again; after long, nobody wants it."""
        self._tick = tick
        with self._lock:
            kept = list(self._kept.items())
        for call, one in kept:
            if tick - one.born > KEPT:
                _log.warning("the answer to call %s is given up: its coordinator has not taken it for %g s", call, KEPT)
                self.taken(call)
            elif one.sent is not None and tick - one.sent > _AGAIN + one.size / _BYTES_PER_BEAT:
                self._send(one)

    def _keep(self, call: str, send: Callable[[Callable[[], None]], None], size: int) -> None:
        kept = _Kept(send, size, self._tick)
        with self._lock:
            self._kept[call] = kept
            self.bytes += size
        self._send(kept)

    def _send(self, kept: _Kept) -> None:
        kept.sent = None

        def sent() -> None:
            kept.sent = self._tick

        kept.send(sent)
