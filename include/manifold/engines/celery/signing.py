"""The small messages between a coordinator and the Celery workers: signed, for one receiver, each taken once.

* A sender numbers what it says, and a receiver takes only a higher number than the last one of that sender. So whoever
  may write to the broker can neither invent a message nor say an old one again.
* Two kinds go without a signature. An answer holds a seal of its own. And a worker that refuses a call may lack the
  secret; how little such a refusal does is said in `calls`.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from itertools import count

import msgspec

from manifold import config
from manifold.engines.celery import messages as ms
from manifold.errors import WireError
from manifold.protocol import envelope
from manifold.text import shortened

EVERYBODY = "manifold.serving"
"""The receiver of a `Serving`; any other message is for the coordinator with that reply queue."""
_SENDERS = 10_000  # that are remembered; each process is one, for as long as it lives

_bare: msgspec.msgpack.Decoder[ms.Answered | ms.Refused] = msgspec.msgpack.Decoder(ms.Answered | ms.Refused)
_signed: msgspec.msgpack.Decoder[ms.Message] = msgspec.msgpack.Decoder(ms.Message)


class Signer:
    """Signs what one process sends. Call it in the order of sending."""

    def __init__(self) -> None:
        self._sender = secrets.token_hex(8)
        self._numbers = count(1)

    def signed(self, message: ms.Message, to: str) -> bytes:
        """The message as it travels to the receiver of that name; raises ConfigError without a usable secret."""
        body = envelope.encode(message)
        if isinstance(message, ms.Answered) or (isinstance(message, ms.Refused) and message.reason != "versions"):
            return body
        keyring = config.keyring()
        number = next(self._numbers)
        header = envelope.Header(kind="signal", uid=to, key_id=keyring.current, nonce=self._sender, start=number)
        return envelope.seal(keyring, header, body)


class Verifier:
    """Opens what comes to the receivers of these names."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()

    def opened(self, body: bytes | memoryview) -> ms.Message:
        """The message; raises WireError for one that is not signed, for somebody else, or was taken before."""
        data = bytes(body)
        if not data.startswith(envelope.MAGIC):
            return _unsigned(data)
        header, payload = envelope.unseal(config.keyring(), data, "signal")
        message = ms.decoded(_signed, payload)
        wanted = (EVERYBODY,) if isinstance(message, ms.Serving) else self._names
        if header.uid not in wanted:
            raise WireError(f"signed, but for another receiver: {header.uid!r}, not {' or '.join(wanted)!r}")
        self._take_once(header)
        return message

    def _take_once(self, header: envelope.Header) -> None:
        sender = (header.nonce, header.uid)
        if header.start <= self._last.get(sender, 0):
            raise WireError("signed, but said before: somebody sends old messages again")
        self._last[sender] = header.start
        self._last.move_to_end(sender)
        if len(self._last) > _SENDERS:
            self._last.popitem(last=False)


def _unsigned(data: bytes) -> ms.Answered | ms.Refused:
    message = ms.decoded(_bare, data)
    if isinstance(message, ms.Refused):
        # Whatever it says, without a signature it is no more than a doubt.
        return msgspec.structs.replace(message, why=shortened(message.why, 500), reason="signature")
    return message
