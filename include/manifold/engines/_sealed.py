"""What engines with workers elsewhere have in common: sealed calls and answers, and signed messages, each taken once.

A sender numbers what it says. A receiver remembers which of a sender's last numbers it has taken, so a message that
comes twice, or that somebody sends again, is refused, and one that comes late is not (the window of IPsec, RFC 4303
section 3.4.3).
"""

from __future__ import annotations

import secrets
from itertools import count
from typing import Any

import msgspec
from cachetools import LRUCache

from manifold import config
from manifold.engines.payload import load_error
from manifold.errors import Unpicklable, WireError
from manifold.protocol import envelope
from manifold.protocol.task import Versions

_SENDERS = 10_000  # that are remembered; each process is one, for as long as it lives


class Call(msgspec.Struct, frozen=True):
    """What a sealed call holds."""

    versions: Versions
    pickled: bytes


class Answer(msgspec.Struct, frozen=True):
    """What a sealed answer holds."""

    ok: bool
    pickled: bytes


def seal_call(header: envelope.Header, pickled: bytes) -> bytes:
    """Return a call, sealed; raises ConfigError without a usable secret."""
    return envelope.seal(config.keyring(), header, msgspec.msgpack.encode(Call(Versions.here(), pickled)))


def seal_answer(header: envelope.Header, ok: bool, pickled: bytes) -> bytes:
    """Return what a call returned or raised, sealed."""
    return envelope.seal(config.keyring(), header, msgspec.msgpack.encode(Answer(ok, pickled)))


def open_answer(payload: bytes) -> tuple[bool, Any]:
    """Return whether the call returned, and what it returned or raised. Runs a user's code.

    Raises:
        WireError: it is no answer. What cannot be unpickled counts as an Unpicklable that the call raised.
    """
    answer = decoded(payload, Answer)
    try:
        return answer.ok, envelope.loads(answer.pickled) if answer.ok else load_error(answer.pickled)
    except Exception as exc:  # noqa: BLE001 - unpickling runs a user's code
        return False, Unpicklable(f"what came back cannot be unpickled: {type(exc).__name__}: {exc}")


def decoded(data: bytes, kind: Any) -> Any:
    """Return a message of that kind; raises WireError for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:  # a UnicodeDecodeError is a ValueError
        raise WireError(
            f"not a message between coordinator and worker; is another version installed at the other end? {exc}"
        ) from exc


class Sender:
    """Signs what one process says. Call it in the order of sending."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(8)
        self._numbers = count(1)

    def seal(self, body: bytes, to: str) -> bytes:
        """Return a message as it travels to the receiver of that name; raises ConfigError without a usable secret."""
        keyring = config.keyring()
        header = envelope.Header("signal", to, keyring.current, nonce=self._name, start=next(self._numbers))
        return envelope.seal(keyring, header, body)


class Window:
    """Which numbers of one sender were taken; one that is `width` behind the highest is refused."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._highest = 0
        self._taken = 0  # bit n: the highest less n

    def take(self, number: int) -> bool:
        """True once for each number, unless it is far behind the highest."""
        if number > self._highest:
            self._taken = (self._taken << min(self._width, number - self._highest) | 1) & ((1 << self._width) - 1)
            self._highest = number
            return True
        bit = 1 << (self._highest - number) if self._highest - number < self._width else 0
        new = bool(bit) and not self._taken & bit
        self._taken |= bit
        return new


class Taken:
    """Which messages of which senders were taken, by their headers.

    Args:
        late: how many messages of its sender one may come behind a later one; 0 where the order is kept on the way.
    """

    def __init__(self, *, late: int) -> None:
        self._late = late
        self._windows: LRUCache[tuple[str, str], Window] = LRUCache(_SENDERS)

    def take(self, header: envelope.Header) -> None:
        """Note a message whose signature was checked; raises WireError where it was taken before."""
        sender = (header.nonce, header.uid)
        window = self._windows.get(sender) or Window(self._late + 1)
        if not window.take(header.start):
            raise WireError("signed, but taken before: it was doubled on its way, or somebody sends old messages")
        self._windows[sender] = window
