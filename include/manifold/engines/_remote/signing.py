"""Small messages between coordinators and workers: signed, for one receiver, each taken once.

Calls and answers hold a seal of their own. A worker that refuses a call may lack the secret, so a refusal over the
signature goes without one.
"""

from __future__ import annotations

import msgspec

from manifold import config
from manifold.engines._remote.messages import Message, Refused, Sealed
from manifold.engines._sealed import Sender, Taken, decoded
from manifold.errors import WireError
from manifold.protocol import envelope

_LATE = 1000  # messages of its sender that one may come behind a later one, where a transport keeps no order


class Signer:
    """Signs what one process sends. For one thread."""

    def __init__(self) -> None:
        self._sender = Sender()

    def signed(self, message: Message, to: str) -> bytes:
        """Return the message as it travels to a mailbox or group; raises ConfigError without a usable secret."""
        body = envelope.encode(message)
        unsigned = isinstance(message, Refused) and message.reason == "signature"
        return body if unsigned else self._sender.seal(body, to)


class Verifier:
    """Opens what comes to the receivers of these names (a mailbox and its group)."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._taken = Taken(late=_LATE)

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
        self._taken.take(header)
        message: Message = decoded(payload, Message)
        return message
