"""What a hub keeps in memory: mailboxes in groups, and not without bounds."""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from manifold.abc import MailboxFull, Place, Transport, TransportError
from manifold.abc.transport import KEPT
from manifold.engines._remote.access import AccessDenied, Ask, password, prove, wants_tls

_log = logging.getLogger(__name__)

MOST = 64 * 1024 * 1024
"""Bytes that wait in one mailbox, at most; a message more is refused until its owner has read."""
MOST_OF_ALL = 1024**3
"""The same of all mailboxes of a hub."""
_REQUESTS: dict[str, tuple[type | tuple[type, ...], ...]] = {
    "open": (str, str),
    "send": (str, bytes, bool),
    "receive": (str, (int, float)),
    "close": (str,),
}


@dataclass(slots=True, eq=False)
class _Mailbox:
    group: str
    used: float
    filled: threading.Condition
    messages: deque[bytes] = field(default_factory=deque)
    size: int = 0


class Mailboxes:
    """Mailboxes of one hub. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._boxes: dict[str, _Mailbox] = {}
        self._size = 0

    def ask(self, what: str, *given: Any) -> Any:
        """Answer a request by its name: "open", "send", "receive" or "close".

        Raises:
            LookupError: there is no such request, or no such mailbox.
            TypeError: something else is given than what the request takes.
        """
        if not isinstance(what, str) or what not in _REQUESTS:
            raise LookupError(f"no request {what!r}")
        kinds = _REQUESTS[what]
        if len(given) != len(kinds) or not all(map(isinstance, given, kinds)):
            raise TypeError(f"{what!r} takes something else")
        return getattr(self, what)(*given)

    def open(self, name: str, group: str) -> None:
        """Make a mailbox, or keep the one of that name; delete those that nobody has used for long."""
        now = time.monotonic()
        with self._lock:
            self._boxes.setdefault(name, _Mailbox(group, now, threading.Condition(self._lock))).used = now
            for old in [old for old, box in self._boxes.items() if now - box.used > KEPT]:
                self._delete(old)

    def send(self, to: str, data: bytes, everyone: bool) -> bool:
        """Put a message into a mailbox, or into each of a group; False where it has no room for it.

        Of a group, those that are full are left out: what goes to all is said again soon.
        """
        with self._lock:
            if everyone:
                boxes = [box for box in self._boxes.values() if box.group == to]
            else:
                boxes = [self._boxes[to]] if to in self._boxes else []
            fitting = [box for box in boxes if self._fits(box, len(data))]
            for box in fitting:
                box.messages.append(data)
                box.size += len(data)
                self._size += len(data)
                box.filled.notify()
            return everyone or len(fitting) == len(boxes)

    def receive(self, name: str, timeout: float) -> bytes | None:
        """Return the next message; None after `timeout` seconds, at most 60, without one."""
        until = time.monotonic() + min(timeout, 60.0)
        with self._lock:
            box = self._boxes.get(name)
            if box is None:
                raise LookupError(f"no mailbox {name!r}: it is to be opened first")
            while not box.messages:
                box.used = now = time.monotonic()
                if now >= until or not box.filled.wait(until - now):
                    return None
            data = box.messages.popleft()
            box.size -= len(data)
            self._size -= len(data)
            return data

    def close(self, name: str) -> None:
        """Delete a mailbox."""
        with self._lock:
            self._delete(name)

    def _fits(self, box: _Mailbox, size: int) -> bool:
        return not box.messages or (box.size + size <= MOST and self._size + size <= MOST_OF_ALL)

    def _delete(self, name: str) -> None:
        if (box := self._boxes.pop(name, None)) is not None:
            self._size -= box.size


class HubTransport(Transport):
    """A transport to a hub that has `Mailboxes`, over any way to send it a request and get an answer.

    An adapter writes `dial`, `hang_up` and `serve`.
    """

    errors: ClassVar[tuple[type[Exception], ...]] = ()
    """What the library raises over a connection that is lost, beside OSError and EOFError."""
    proves: ClassVar[bool] = True
    """The hub asks for the password by `Gate`; False where `dial` has proved it already."""

    def __init__(self, place: Place) -> None:
        self._mailbox = ""
        self._place = place

    @abstractmethod
    def dial(self, place: Place) -> Ask:
        """Connect, within 5 s; return what sends a request and returns the hub's answer."""

    @abstractmethod
    def hang_up(self) -> None:
        """End the connection."""

    @classmethod
    def connect(cls, place: Place) -> Self:
        made = cls(place)
        with made._translated():
            try:
                made._ask = made.dial(place)
                if cls.proves:
                    prove(made._ask, password(place))
            except BaseException as exc:
                with suppress(Exception):  # perhaps nothing was connected yet
                    made.hang_up()
                if isinstance(exc, made._lost):
                    raise TransportError(f"{type(exc).__name__}: {exc}. {cls._question(place)}") from exc
                raise
        return made

    def open(self, mailbox: str, group: str) -> None:
        with self._translated():
            self._ask("open", mailbox, group)
        self._mailbox = mailbox

    def send(self, to: str, data: bytes, *, everyone: bool = False) -> None:
        with self._translated():
            if not self._ask("send", to, data, everyone):
                raise MailboxFull(to)

    def receive(self, timeout: float) -> bytes | None:
        with self._translated():
            data: bytes | None = self._ask("receive", self._mailbox, timeout)
            return data

    def close(self) -> None:
        with suppress(Exception):
            if self._mailbox:
                self._ask("close", self._mailbox)
        with suppress(Exception):
            self.hang_up()

    @classmethod
    def _question(cls, place: Place) -> str:
        """Ask what may be the reason why nothing, or something that is not understood, answers."""
        if cls.tls and wants_tls(place):
            return "Is a hub started there, with a certificate that tls_ca has signed, and does it trust this side's?"
        return f"Is a hub started there (manifold hub '{place}'){', and without TLS, as this URL has it' * cls.tls}?"

    @property
    def _lost(self) -> tuple[type[Exception], ...]:
        return (*self.errors, OSError, EOFError, LookupError)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except AccessDenied as exc:
            raise TransportError(str(exc)) from exc
        except self._lost as exc:
            self._mailbox = ""  # `close` need not wait for a hub that does not answer
            raise TransportError(f"{type(exc).__name__}: {exc}") from exc

    _ask: Ask
