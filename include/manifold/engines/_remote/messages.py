"""What coordinators and workers say to each other over a transport, and how calls and answers are sealed.

None of these holds a point in time: each side trusts only its own clock. A worker's `tick` is the number of its beat; a
call that is sent to it says the latest that its coordinator has heard, so that an old call sent again by somebody is
known by its age, without a memory of all that ever ran.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from manifold import config
from manifold.engines import _sealed
from manifold.protocol import envelope

BEAT = 1.0
"""Seconds between two signs of life."""
WINDOW = 120
"""Beats of a worker's after which a call that was sealed for it is too old, and is asked for anew."""


Reason = Literal["signature", "versions", "stale", "full", "leaving"]


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A call at a worker: the process that has begun it, the items done there; or its answer waits to be taken."""

    worker: str | None = None
    position: int | None = None
    answered: bool = False


class Serving(msgspec.Struct, frozen=True, tag=True):
    """A worker to every coordinator, each beat: it lives, and holds these calls.

    * `pids`: its processes; `slots`: how many calls they run at once; 0 once it is over.
    * `resting`: why it takes no calls for now; "" where it does.
    * `refused`: calls that nobody of this deployment had signed, since it began.
    """

    node: str
    host: str
    slots: int
    pids: list[int]
    held: dict[str, Held]
    tick: int
    leaving: bool = False
    refused: int = 0
    resting: str = ""


class Lost(msgspec.Struct, frozen=True, tag=True):
    """A worker to a coordinator: the process that ran the call is gone. Kept until it is `Taken`."""

    call: str
    why: str
    node: str
    worker: str | None = None
    started: bool = False
    died: bool = False
    overdue: bool = False
    position: int | None = None


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A worker to a coordinator: it does not run the call. Not signed over "signature", for it may lack the secret."""

    call: str
    why: str
    node: str
    reason: Reason


class Taken(msgspec.Struct, frozen=True, tag=True):
    """A coordinator to a worker: the answers to these calls are here, and need not be kept."""

    calls: list[str]


class Drop(msgspec.Struct, frozen=True, tag=True):
    """A coordinator to a worker: give up the call; end the process that runs it."""

    call: str


class Rest(msgspec.Struct, frozen=True, tag=True):
    """A person, by way of a coordinator, to a worker: take no calls for so many seconds; 0: take them again."""

    seconds: float


class Hello(msgspec.Struct, frozen=True, tag=True):
    """A coordinator to every worker: it lives. The first one asks them to speak up at once."""

    engine: str
    first: bool = False


class Echo(msgspec.Struct, frozen=True, tag=True):
    """To oneself: one beat's time has passed in which others could be heard. Without `beat` it only wakes."""

    beat: bool = True


Message = Serving | Lost | Refused | Taken | Drop | Rest | Hello | Echo


class Sealed(msgspec.Struct, frozen=True):
    """A call or an answer whose signature was checked; nothing of it is unpickled yet."""

    header: envelope.Header
    payload: bytes


def coordinators(queue: str) -> str:
    """Return the group of the coordinators of a queue."""
    return f"manifold.{queue}.c"


def workers(queue: str) -> str:
    """Return the group of its workers."""
    return f"manifold.{queue}.w"


def mailbox(group: str, unique: str) -> str:
    """Return the mailbox of one of a group."""
    return f"{group}.{unique}"


def is_unique(text: str) -> bool:
    """True for what can end the name of a mailbox: nothing that is not signed leads anywhere else."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def seal_call(engine: str, call: str, node: str, tick: int, pickled: bytes) -> bytes:
    """Return a call of that engine for that worker alone, sealed; raises ConfigError without a usable secret."""
    header = envelope.Header("call", engine, config.keyring().current, attempt=call, nonce=node, start=tick)
    return _sealed.seal_call(header, pickled)


def seal_answer(engine: str, call: str, node: str, ok: bool, pickled: bytes) -> bytes:
    """Return what a call returned or raised at a worker, sealed for the engine that sent it."""
    header = envelope.Header("reply", engine, config.keyring().current, attempt=call, nonce=node)
    return _sealed.seal_answer(header, ok, pickled)
