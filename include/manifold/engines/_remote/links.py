"""The two threads of a process that use a transport: one sends, one owns the mailbox. Both reconnect by themselves."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from manifold.abc import MailboxFull, Transport, TransportError
from manifold.engines._remote.messages import BEAT, Echo, Message, Sealed
from manifold.engines._remote.parts import Joiner, new_name, split
from manifold.engines._remote.signing import Signer, Verifier
from manifold.errors import WireError

log = logging.getLogger(__name__)

MUTE = 8.0
"""Seconds without a message, not even an echo, after which a connection is given up: not all of them know that they are
cut off."""
_CLOSING = 5.0  # seconds for what is still to be sent when a process ends
_LONGEST = 2.0  # seconds between two tries to connect
_FULL = 0.2  # seconds between two tries to send to a mailbox that is full

Connect = Callable[[], Transport]


@dataclass(slots=True, eq=False)
class _Letter:
    """A message on its way: made when its turn comes, given up at `until` or when it is not `wanted` any more.

    `sent` is told when it was sent whole.
    """

    to: str
    make: Callable[[], bytes]
    everyone: bool
    until: float = math.inf
    wanted: Callable[[], bool] = lambda: True
    sent: Callable[[], None] = lambda: None
    name: bytes = field(default_factory=new_name)
    parts: Iterator[bytes] | None = None
    part: bytes | None = None
    not_before: float = 0.0


class Publisher:
    """A thread that sends. `post` and `say` never wait.

    What is said goes before what is posted, and between the parts of that: a sign of life never waits behind a call of
    200 MB.
    """

    def __init__(self, connect: Connect, name: str) -> None:
        self._connect = connect
        self._signer = Signer()
        self._said: deque[_Letter] = deque()
        self._posted: deque[_Letter] = deque()
        self._stirred = threading.Condition()
        self._closing: float | None = None
        self._transport: Transport | None = None
        self._pause = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def post(self, to: str, make: Callable[[], bytes], *, wanted: Callable[[], bool], sent: Callable[[], None]) -> None:
        """Send what `make` returns, called when its turn comes, unless it is not `wanted` any more by then.

        What cannot be made is logged. Whoever posts bounds what waits here: calls by slots, answers by their bytes.
        """
        self._put(self._posted, _Letter(to, make, False, wanted=wanted, sent=sent))

    def say(self, to: str, message: Message, *, everyone: bool = False, patience: float = 2 * BEAT) -> None:
        """Send a small message, signed, unless that takes longer than `patience` seconds."""
        until = time.monotonic() + patience
        self._put(self._said, _Letter(to, lambda: self._signer.signed(message, to), everyone, until))

    def close(self) -> None:
        """End once everything is sent, or cannot be for some seconds."""
        with self._stirred:
            self._closing = time.monotonic() + _CLOSING
            self._stirred.notify()

    def join(self) -> None:
        self._thread.join()

    def _put(self, queue: deque[_Letter], letter: _Letter) -> None:
        with self._stirred:
            queue.append(letter)
            self._stirred.notify()

    def _run(self) -> None:
        while (letter := self._next()) is not None:
            try:
                self._send(letter)
            except MailboxFull:
                letter.not_before = time.monotonic() + _FULL  # the others do not wait for it
            except TransportError as exc:
                self._reconnect(letter, exc)
            except Exception:
                log.exception("could not make a message to %s", letter.to)
                self._forget(letter)
        if self._transport is not None:
            self._transport.close()

    def _next(self) -> _Letter | None:
        """Return what to send now; None at the end."""
        with self._stirred:
            while True:
                now = time.monotonic()
                self._give_up(now)
                if self._closing is not None and (now > self._closing or not (self._said or self._posted)):
                    return None
                letters = chain(self._said, self._posted)
                if (letter := next((one for one in letters if now >= one.not_before), None)) is not None:
                    return letter
                self._stirred.wait(min((one.not_before - now for one in chain(self._said, self._posted)), default=None))

    def _give_up(self, now: float) -> None:
        while self._said and now > self._said[0].until:
            self._said.popleft()
        for letter in [letter for letter in self._posted if not letter.wanted()]:
            self._posted.remove(letter)

    def _send(self, letter: _Letter) -> None:
        """Send the next part of it."""
        if self._transport is None:
            self._transport = self._connect()
        if letter.parts is None:
            letter.parts = split(letter.make(), self._transport.max_bytes, letter.name)
            letter.part = next(letter.parts)
        assert letter.part is not None
        self._transport.send(letter.to, letter.part, everyone=letter.everyone)
        self._pause = 0.0
        letter.part = next(letter.parts, None)
        if letter.part is None:
            self._forget(letter)
            letter.sent()

    def _reconnect(self, letter: _Letter, exc: TransportError) -> None:
        """Begin with another connection after a pause, and with the first part: earlier ones may be lost with a hub."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        letter.parts = None
        pause = self._longer()
        if pause == _LONGEST:
            log.debug("cannot send to %s: %s", letter.to, exc)
        with self._stirred:
            if self._closing is None:
                self._stirred.wait_for(lambda: self._closing is not None, pause)
            else:
                self._stirred.wait(0.1)

    def _forget(self, letter: _Letter) -> None:
        with self._stirred:
            for queue in (self._said, self._posted):
                if letter in queue:
                    queue.remove(letter)

    def _longer(self) -> float:
        self._pause = min(_LONGEST, max(0.1, 2 * self._pause))
        return self._pause


class Listener:
    """What owns a mailbox, in the thread that calls `listen`. It says something to itself each beat, by `publisher`.

    Args:
        mailbox: its own.
        group: the group of the mailbox.
        broken: is called when the connection broke, once for each time.
        opened: is called when it is there, the first time too.

    Attributes:
        connected: messages come in, as far as is known.
        refused: messages that nobody of this deployment had signed; `ignored` says why the latest was not.
    """

    def __init__(
        self,
        connect: Connect,
        publisher: Publisher,
        mailbox: str,
        group: str,
        *,
        broken: Callable[[], None],
        opened: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._publisher = publisher
        self._mailbox = mailbox
        self._group = group
        self._broken = broken
        self._opened = opened
        self._joiner = Joiner()
        self._verifier = Verifier(mailbox, group)
        self._transport: Transport | None = None
        self._heard_at = 0.0
        self.connected = True
        self.refused = 0
        self.ignored = ""

    def listen(
        self,
        heard: Callable[[Message | Sealed], None],
        unsigned: Callable[[bytes, WireError], None],
        until: Callable[[], bool],
    ) -> None:
        """Give each message to `heard` until `until` says so, which is called at least four times a second."""
        due = time.monotonic()
        while not until():
            if time.monotonic() >= due:
                due = time.monotonic() + BEAT
                self._publisher.say(self._mailbox, Echo())
            data = self._receive()
            if data is None:
                continue
            try:
                message = self._verifier.opened(data)
            except WireError as exc:
                self.refused += 1
                self.ignored = str(exc)
                unsigned(data, exc)
                continue
            try:
                heard(message)
            except Exception:  # were this thread to end, every future would wait for ever
                log.exception("could not act on a message")
        if self._transport is not None:
            self._transport.close()

    def _receive(self) -> bytes | None:
        try:
            if self._transport is None:
                self._transport = self._connect()
                self._transport.open(self._mailbox, self._group)
                self._heard_at = time.monotonic()
                self._opened()
            data = self._transport.receive(0.25)
            if data is not None:
                self._heard_at, self.connected = time.monotonic(), True
                return self._joiner.whole(data)
            if time.monotonic() - self._heard_at > MUTE:
                raise TransportError(f"nothing was heard for {MUTE:g} s")
        except TransportError as exc:
            if self.connected:
                log.warning("lost the connection (%s); trying again", exc)
                self.connected = False
                self._broken()
            if self._transport is not None:
                self._transport.close()
                self._transport = None
            time.sleep(0.5)
        return None
