"""Mailboxes for a hub of one thread: whoever waits for a message is answered later."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from manifold.engines._remote.mailboxes import Mailboxes

TURN = 0.05
"""Seconds between two looks at who has waited for long enough."""


class PolledMailboxes:
    """Answers requests of clients, each of which has one request at a time.

    Args:
        reply: sends an answer to a client: whether the request was done, and its value, or why not.
    """

    def __init__(self, reply: Callable[[bytes, bool, Any], object]) -> None:
        self._reply = reply
        self._mailboxes = Mailboxes()
        self._due = 0.0
        self._waiting: dict[str, tuple[bytes, float]] = {}  # mailbox: its owner, who waits, and until when

    def ask(self, client: bytes, request: Any) -> None:
        """Answer a request, now or later."""
        try:
            what, *given = request
            if what != "receive":
                value = self._mailboxes.ask(what, *given)
            else:
                name, timeout = given
                self._waiting[name] = client, time.monotonic() + timeout
        except (LookupError, TypeError, ValueError, AttributeError) as exc:
            self._reply(client, False, f"{type(exc).__name__}: {exc}")
            return
        if what != "receive":
            self._reply(client, True, value)
        if what in ("receive", "send"):
            for name in list(self._waiting) if what == "send" and given[2] else given[:1]:
                self._deliver(name)

    def turn(self) -> None:
        """Answer those who have waited for long enough. To be called each `TURN` seconds or more often."""
        if (now := time.monotonic()) < self._due:
            return
        self._due = now + TURN
        for name in list(self._waiting):
            self._deliver(name)

    def _deliver(self, name: str) -> None:
        """Answer the one who waits for this mailbox, if one does, and something is there or its time is over."""
        if name not in self._waiting:
            return
        client, until = self._waiting.pop(name)
        try:
            data = self._mailboxes.receive(name, 0.0)
        except LookupError as exc:
            self._reply(client, False, str(exc))
            return
        if data is None and time.monotonic() < until:
            self._waiting[name] = client, until
        else:
            self._reply(client, True, data)
