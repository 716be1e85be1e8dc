"""The small messages between a coordinator and the Celery workers: signed, for one receiver, each taken once.

Two kinds go without a signature. An answer holds a seal of its own. And a worker that refuses a call may lack the
secret; how little such a refusal does is said in `calls`.
"""

from __future__ import annotations

import msgspec

from manifold import config
from manifold.engines._sealed import Sender, Taken, decoded
from manifold.engines.celery import messages as ms
from manifold.errors import WireError
from manifold.protocol import envelope
from manifold.text import shortened

EVERYBODY = "manifold.serving"
"""The receiver of a `Serving`; any other message is for the coordinator with that reply queue."""


class Signer:
    """Signs what one process sends. Call it in the order of sending."""

    def __init__(self) -> None:
        self._sender = Sender()

    def signed(self, message: ms.Message, to: str) -> bytes:
        """Return the message as it travels to the receiver of that name; raises ConfigError without a usable secret."""
        body = envelope.encode(message)
        bare = isinstance(message, ms.Answered) or (isinstance(message, ms.Refused) and message.reason != "versions")
        return body if bare else self._sender.seal(body, to)


class Verifier:
    """Opens what comes to the receivers of these names."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._taken = Taken(late=0)  # a broker keeps the order of one sender

    def opened(self, body: bytes | memoryview) -> ms.Message:
        """Return the message; raises WireError for one that is not signed, for somebody else, or was taken before."""
        data = bytes(body)
        if not data.startswith(envelope.MAGIC):
            return _unsigned(data)
        header, payload = envelope.unseal(config.keyring(), data, "signal")
        message: ms.Message = decoded(payload, ms.Message)
        wanted = (EVERYBODY,) if isinstance(message, ms.Serving) else self._names
        if header.uid not in wanted:
            raise WireError(f"signed, but for another receiver: {header.uid!r}, not {' or '.join(wanted)!r}")
        self._taken.take(header)
        return message


def _unsigned(data: bytes) -> ms.Answered | ms.Refused:
    message: ms.Answered | ms.Refused = decoded(data, ms.Answered | ms.Refused)
    if isinstance(message, ms.Refused):
        # Whatever it says, without a signature it is no more than a doubt.
        return msgspec.structs.replace(message, why=shortened(message.why, 500), reason="signature")
    return message
