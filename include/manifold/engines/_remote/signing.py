"""Small messages, signed, for one receiver, each taken once.

A sender numbers what it says. A receiver remembers which of a sender's last numbers it has taken, so a message that
the transport doubles or somebody sends again is refused, and one that the transport brings late is not (the window of
IPsec, RFC 4303 section 3.4.3). Calls and answers hold a seal of their own.
"""

from __future__ import annotations

import secrets
from itertools import count

import msgspec
from cachetools import LRUCache

from manifold import config
from manifold.engines._remote.messages import Message, Refused, Sealed, decoded
from manifold.errors import WireError
from manifold.protocol import envelope

_SENDERS = 10_000  # that are remembered; each process is one, for as long as it lives
_WIDTH = 1024  # numbers behind a sender's highest that can still come


class Signer:
    """Signs what one process sends. For one thread."""

    def __init__(self) -> None:
        self._sender = secrets.token_hex(8)
        self._numbers = count(1)

    def signed(self, message: Message, to: str) -> bytes:
        """Return the message as it travels to a mailbox or group; raises ConfigError without a usable secret."""
        body = envelope.encode(message)
        if isinstance(message, Refused) and message.reason == "signature":
            return body
        keyring = config.keyring()
        header = envelope.Header("signal", to, keyring.current, nonce=self._sender, start=next(self._numbers))
        return envelope.seal(keyring, header, body)


class Window:
    """Which numbers of one sender were taken."""

    def __init__(self) -> None:
        self._highest = 0
        self._taken = 0  # bit n: the highest less n

    def take(self, number: int) -> bool:
        """True once for each number, unless it is far behind the highest."""
        if number > self._highest:
            self._taken = (self._taken << min(_WIDTH, number - self._highest) | 1) & ((1 << _WIDTH) - 1)
            self._highest = number
            return True
        bit = 1 << (self._highest - number) if self._highest - number < _WIDTH else 0
        new = bool(bit) and not self._taken & bit
        self._taken |= bit
        return new


class Verifier:
    """Opens what comes to the receivers of these names (a mailbox and its group)."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._windows: LRUCache[tuple[str, str], Window] = LRUCache(_SENDERS)

    def opened(self, data: bytes) -> Message | Sealed:
        """Return the message; raises WireError for one that is not signed, is for another, or was taken before."""
        if not data.startswith(envelope.MAGIC):
            refused: Refused = decoded(data, Refused)
            # Whatever it says: without a signature it is no more than a doubt.
            return msgspec.structs.replace(refused, why=refused.why[:500], reason="signature")
        kind = envelope.peek(data).kind
        header, payload = envelope.unseal(config.keyring(), data, kind)
        if kind in ("call", "reply"):
            return Sealed(header, payload)
        if kind != "signal" or header.uid not in self._names:
            raise WireError(f"signed, but for another receiver: {kind} {header.uid!r}")
        sender = (header.nonce, header.uid)
        window = self._windows.get(sender) or Window()
        if not window.take(header.start):
            raise WireError("signed, but taken before: the transport has doubled it, or somebody sends old messages")
        self._windows[sender] = window
        message: Message = decoded(payload, Message)
        return message
