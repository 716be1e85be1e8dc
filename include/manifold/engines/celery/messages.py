"""What a coordinator and the Celery workers say to each other, and how it is signed.

A call travels as the argument of an ordinary Celery task; everything else is one of the small messages below. Those
that come back to a coordinator go to a queue of its own. None of them holds a point in time: each side trusts only
its own clock. They are MessagePack, checked when decoded; `signing` signs them. The two that hold a pickle hold
it sealed.
"""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from manifold import config
from manifold.engines import _sealed
from manifold.engines.payload import dump_error, dump_value
from manifold.errors import WireError
from manifold.protocol import envelope, scope
from manifold.protocol.task import Versions

TASK = "manifold.call"
"""The name of the Celery task that runs a call."""
BEAT = 1.0
"""Seconds between two signs of life."""


class Started(msgspec.Struct, frozen=True, tag=True):
    """A worker process begins the call."""

    call: str
    worker: str


class Running(msgspec.Struct, frozen=True, tag=True):
    """A worker process lives and runs these calls; with each, how many of its items are done."""

    worker: str
    calls: dict[str, int]
    draining: bool = False


class Redelivered(msgspec.Struct, frozen=True, tag=True):
    """The broker gave out the call a second time. It was not run: whoever had it first seems to be gone."""

    call: str


class Overdue(msgspec.Struct, frozen=True, tag=True):
    """The item at `position` ran past its timeout and does not yield, so its process is ended.

    None: it keeps the interpreter to itself, so the main process ended it and knows no position.
    """

    call: str
    worker: str
    position: int | None


class Died(msgspec.Struct, frozen=True, tag=True):
    """The process that ran the call has died in the midst of it, with so many of its items done."""

    call: str
    worker: str
    position: int


class Answered(msgspec.Struct, frozen=True, tag=True):
    """What the call returned or raised, sealed."""

    call: str
    sealed: bytes


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The call was not unpickled. Signed only over `versions`: otherwise the worker may lack the secret."""

    call: str
    why: str
    reason: Literal["signature", "versions", "settings"]


class Echo(msgspec.Struct, frozen=True, tag=True):
    """A coordinator to itself, through the broker: one beat's time has passed in which it could hear others.

    Without `beat` it only shows that the broker works, and wakes whoever listens. `by` is the one process that it is
    for: another one may have taken its queue over. `queue`: all that waited there before has been heard.
    """

    by: str
    beat: bool = True
    queue: str = ""


class Serving(msgspec.Struct, frozen=True, tag=True):
    """A Celery worker's main process, to every coordinator: it lives, serves these queues and holds these calls.

    * `pids`: the processes of its pool; `slots`: how many tasks they run at once; `others`: tasks that run now and are
      no calls of ours.
    * `held`: calls fetched from the broker and not yet done with, begun or not.
    * `refused`: calls that nobody of this deployment had signed, since the worker began.
    * `life` tells it from an earlier worker of its name, which a pod or container that starts again has, perhaps with
      the same ids of processes, too.
    """

    node: str
    host: str
    pid: int
    queues: list[str]
    pids: list[int]
    slots: int
    others: int
    held: list[str]
    leaving: bool = False
    refused: int = 0
    life: str = ""


Message = Started | Running | Redelivered | Overdue | Died | Answered | Refused | Echo | Serving


def reply_name(scatter: str, epoch: int) -> str:
    """Return what the calls of one coordinator of a scatter are sealed and answered under.

    Its successors know it from the ledger. Two coordinators never share one, so that neither takes what is the other's,
    even where one of them stands still and wakes up again.
    """
    return f"{scatter}.{epoch}"


def reply_queue(engine: str) -> str:
    """The name of a coordinator's own queue."""
    return f"manifold.reply.{engine}"


def is_reply_queue(name: object) -> bool:
    """It could be one: a worker sends nowhere else, whatever an unsigned message says."""
    return isinstance(name, str) and re.fullmatch(r"manifold\.reply\.[0-9a-f]{32}(\.[0-9]{1,10})?", name) is not None


def worker_name(host: str, pid: int) -> str:
    """A worker process, as receipts name it too."""
    return f"{host}:{pid}"


def seal_call(engine: str, call: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The task's argument: signed, and base64 because Airflow's workers accept nothing but JSON.

    Raises what pickling raises.
    """
    header = envelope.Header(kind="call", uid=engine, key_id=config.keyring().current, attempt=call)
    return base64.b64encode(_sealed.seal_call(header, envelope.dumps_by_value((fn, args, kwargs)))).decode("ascii")


class Opened:
    """A call whose signature was checked; nothing of it is unpickled yet. Raises WireError unless it is this call.

    `reply_to` is the queue of the coordinator that signed it.
    """

    def __init__(self, text: object, call: object) -> None:
        self._header, payload = envelope.unseal(config.keyring(), _unpacked(text), "call", attempt=call)
        self.reply_to = reply_queue(self._header.uid)
        self._call: _sealed.Call = _sealed.decoded(payload, _sealed.Call)

    def mismatch(self) -> str | None:
        """Why the pickle cannot be read here, in words; None where it can."""
        return self._call.versions.differs(Versions.here())

    def load(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Function and arguments; raises what unpickling raises."""
        with scope.within(scope.Scope()):  # what was sent, not what this host has of that name
            return envelope.loads(self._call.pickled)  # type: ignore[no-any-return]

    def returned(self, value: Any) -> Answered:
        """The answer of a call that returned; raises Unpicklable."""
        return self._answered(True, dump_value(value))

    def raised(self, exc: BaseException) -> Answered:
        """The answer of a call that raised."""
        return self._answered(False, dump_error(exc))

    def _answered(self, ok: bool, pickled: bytes) -> Answered:
        header = msgspec.structs.replace(self._header, kind="reply")
        return Answered(header.attempt, _sealed.seal_answer(header, ok, pickled))


def open_answer(engine: str, answered: Answered) -> tuple[bool, Any]:
    """Return whether the call returned, and what it returned or raised; raises WireError."""
    _, payload = envelope.unseal(config.keyring(), answered.sealed, "reply", uid=engine, attempt=answered.call)
    return _sealed.open_answer(payload)


def this_host() -> str:
    """This host's name."""
    return socket.gethostname()


def _unpacked(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except ValueError:
        pass
    raise WireError("the call is not in base64, so it is none of ours")
