"""What a transport must do: five methods that carry bytes between mailboxes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Self

from manifold.redaction import masked

KEPT = 600.0
"""Seconds for which a mailbox outlives its last use."""
PART = 4 * 1024 * 1024
"""Bytes of a message that go at once: signs of life go between two parts, also over a slow network."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a transport leads to. `str()` of it shows no secret.

    Attributes:
        url: without the options of Manifold's own, for a library that reads URLs itself.
        host, port: "" and 0 where the URL has none, and the example of the adapter's row has none either.
        password: "" where the URL has none, as `user` and `path` are; `path` has no leading slash.
        queue: workers and coordinators of one queue find each other.
        silence: seconds without a sign of life after which a worker counts as dead.
        balance: how calls are spread over workers.
        options: those of the transport's own.
    """

    scheme: str
    url: str = field(repr=False)
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    path: str = ""
    queue: str = "default"
    silence: float = 10.0
    balance: str = "least-busy"
    options: dict[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return masked(self.url)

    @property
    def address(self) -> str:
        """`host:port`, for messages and libraries; an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TransportError(Exception):
    """Nothing answers, or the connection is lost. The instance is not used again: another one is made."""


class MailboxFull(Exception):
    """The mailbox takes no more until its owner has read; the message was not sent, and is tried again."""


class Transport(ABC):
    """Carries bytes between mailboxes. A mailbox has a name, one owner who reads it, and is in one group.

    * An instance is used by one thread. Each process makes two: one that only sends, one that owns its mailbox.
    * `send` to a mailbox that is not there, or was deleted, loses the bytes without an error. `send` may lose bytes in
      any other way too, deliver them twice, or out of order: nothing but speed hangs on it. It must not alter them, and
      it must not lose them for want of room: that is MailboxFull.
    * What was sent to an open mailbox is there for a later `receive`, also while its owner is not connected, for
      `KEPT` seconds or longer if the transport can keep it at all.
    * Any error that tells of the connection is raised as TransportError. There is no reconnecting: Manifold makes a
      new instance, with pauses in between.
    * Names are `[0-9A-Za-z._-]`, at most 80 characters; that of a mailbox is its group's, a dot and something unique.
    """

    max_bytes: ClassVar[int] = PART
    """The largest message."""
    options: ClassVar[tuple[str, ...]] = ()
    """The names of options in its URL, beside those that every transport has."""
    tls: ClassVar[bool] = False
    """It reads `tls`, `tls_ca`, `tls_cert` and `tls_key`."""

    @classmethod
    @abstractmethod
    def connect(cls, place: Place) -> Self:
        """Connect. Raises ConfigError for a place it cannot use, TransportError where nothing answers within 5 s."""

    @abstractmethod
    def open(self, mailbox: str, group: str) -> None:
        """Own this mailbox from here on; it may exist already, from an earlier instance."""

    @abstractmethod
    def send(self, to: str, data: bytes, *, everyone: bool = False) -> None:
        """Send to a mailbox; with `everyone` to each mailbox of the group `to`. At once: at most 5 s."""

    @abstractmethod
    def receive(self, timeout: float) -> bytes | None:
        """Return the next message of the own mailbox, or None after about `timeout` seconds without one."""

    @abstractmethod
    def close(self) -> None:
        """End the connection, and delete the own mailbox. Never raises."""

    @classmethod
    def serve(cls, place: Place) -> None:
        """Be the hub at that place until the process is told to end; there is none where a broker does its work."""
        raise TransportError(f"{place.scheme}:// has a broker of its own; there is no hub to start")
