"""An engine of workers that we started ourselves: a `Desk`, and a transport."""

from __future__ import annotations

import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar, Self

from cachetools import LRUCache

from manifold.abc import Place, Transport, TransportError
from manifold.engines._desk import Desk, Node, Sent
from manifold.engines._remote import messages as ms
from manifold.engines._remote.links import Connect, Listener, Publisher
from manifold.engines._remote.place import TLS, read
from manifold.engines._sealed import open_answer
from manifold.errors import EngineError, VersionMismatch, WireError
from manifold.protocol import envelope
from manifold.registry import ENGINES

_UNHEARD = 3.0  # seconds in which a worker says that it has a call, if that is small
_BYTES_PER_SECOND = 1_000_000  # of a slow network; a larger call is waited for accordingly
_RESENT = 3  # how often a call is sent to one worker, until it goes to another
_HELLO = 5  # beats between two signs of life to the workers
_ABANDONED = 10_000  # calls that workers are told to drop, should they still hold them


class RemoteEngine(Desk):
    """Time here is time spent listening: it moves by one beat when an echo of our own comes back.

    So a transport that is away, or a coordinator that was stopped, makes no worker look silent. A call is sent again
    until its worker says that it has it, and a worker sends an answer until we say that it is here: neither is lost
    with a message, and a copy does nothing.
    """

    transport: ClassVar[type[Transport]]
    same_host: ClassVar[bool] = False
    kills_items: ClassVar[bool] = True

    def __init__(self, connect: Connect, place: Place) -> None:
        super().__init__(balance_by=place.balance)
        self._place = place
        self._id = uuid.uuid4().hex
        self._mailbox = ms.mailbox(ms.coordinators(place.queue), self._id)
        self._workers = ms.workers(place.queue)
        self._now = 0.0
        self._sent_at: dict[str, tuple[float, int]] = {}  # calls that no worker has said to have; how often sent
        self._unknown: dict[str, float] = {}  # calls that a worker had, and does not name any more
        self._ticks: dict[str, int] = {}
        self._taken: defaultdict[str, list[str]] = defaultdict(list)
        self._abandoned: LRUCache[str, None] = LRUCache(_ABANDONED)
        self._refused_there: dict[str, int] = {}
        self._refused_before = 0  # of workers that are gone
        connect().close()  # raises where nothing answers
        self._publisher = Publisher(connect, "manifold-send")
        self._listener = Listener(
            connect,
            self._publisher,
            self._mailbox,
            ms.coordinators(place.queue),
            broken=self._disturbed,
            opened=lambda: self._hello(first=True),
        )
        self._thread = threading.Thread(
            target=self._listener.listen, args=(self._heard, _ignored, self._turn), name="manifold-listen", daemon=True
        )
        self._thread.start()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        place = place_of(cls.transport, url, **options)
        try:
            return cls(lambda: cls.transport.connect(place), place)
        except TransportError as exc:
            raise EngineError(f"cannot use {place}: {exc}") from exc

    def check(self) -> str | None:
        until = time.monotonic() + 3 * ms.BEAT
        while not self.slots():
            if time.monotonic() > until:
                if troubles := sorted({worker.trouble for worker in self.workers() if worker.alive}):
                    return f"no worker at {self._place} takes chunks now: {'; '.join(troubles)}"
                ignored = self._listener.ignored
                hint = f"; what speaks there is not signed as it is here ({ignored})" if ignored else ""
                return (
                    f"no worker serves the queue {self._place.queue!r} at {self._place}{hint}. Start one, with "
                    f"the same MANIFOLD_SECRET: manifold worker '{self._place}' --queue {self._place.queue}"
                )
            time.sleep(0.05)
        return None

    @property
    def connected(self) -> bool:  # type: ignore[override]
        return self._listener.connected

    @property
    def refused(self) -> int:  # type: ignore[override]
        return self._listener.refused

    @property
    def refused_by_workers(self) -> int:  # type: ignore[override]
        return self._refused_before + sum(self._refused_there.copy().values())

    def rest(self, name: str, seconds: float) -> list[str]:
        """Have workers take no calls for a while, whoever coordinates; 0: take them again. Return their names.

        Args:
            name: a host, or the name of a worker, or the beginning of what is unique in it.
        """
        with self._lock:
            nodes = [node for node, one in self._nodes.items() if name in (node, one.host) or _unique(node, name)]
        for node in nodes:
            self._publisher.say(node, ms.Rest(seconds), patience=5.0)
        return nodes

    # What a desk asks of its adapter

    def clock(self) -> float:
        return self._now

    def pack(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        return envelope.dumps_by_value((fn, args, kwargs))

    def hand(self, call: Sent) -> None:
        self._send(call, 1)

    def stop(self, call: Sent) -> None:
        self._publisher.say(call.node, ms.Drop(call.id), patience=5.0)

    def finish(self) -> None:
        self._publisher.say(self._mailbox, ms.Echo(beat=False))  # wakes the listener
        self._thread.join()
        self._publisher.close()
        self._publisher.join()

    # Within

    def _send(self, call: Sent, times: int) -> None:
        """Send the call to its worker, and note when that was done: only then its silence means something."""
        node = call.node

        def sent() -> None:
            if call.id in self._sent_at:
                self._sent_at[call.id] = self._now, times

        self._unknown.pop(call.id, None)
        self._sent_at[call.id] = float("inf"), times
        self._publisher.post(
            node,
            lambda: ms.seal_call(self._id, call.id, node, self._ticks.get(node, 0), call.message),
            wanted=lambda: call.id in self._sent_at and call.node == node,
            sent=sent,
        )

    def _turn(self) -> bool:
        for node, calls in list(self._taken.items()):
            self._publisher.say(node, ms.Taken(calls), patience=5.0)
            del self._taken[node]
        return self._over.is_set()

    def _hello(self, *, first: bool = False) -> None:
        self._publisher.say(self._workers, ms.Hello(self._id, first=first), everyone=True, patience=5.0)

    def _disturbed(self) -> None:
        """The connection broke: what was under way may be lost without anybody's death."""
        for call in self.held():
            call.excused = True

    def _heard(self, message: ms.Message | ms.Sealed) -> None:
        match message:
            case ms.Echo(beat):
                if beat:
                    self._beat()
            case ms.Serving():
                self._serving(message)
            case ms.Sealed(header, payload) if header.kind == "reply" and header.uid == self._id:
                self._ended(header.attempt, header.nonce)
                ok, value = open_answer(payload)
                self.settle(header.attempt, ok, lambda: value)
            case ms.Lost(call, why):
                self._ended(call, message.node)
                known = ("worker", "started", "died", "overdue", "position")
                self.lost(call, why, **{name: getattr(message, name) for name in known})
            case ms.Refused():
                self._refused(message)

    def _beat(self) -> None:
        self._now += ms.BEAT
        if self._now % _HELLO == 0:
            self._hello()
            self._forget_workers()
        busy = {call.node for call in self.held()}
        for name, node in list(self._nodes.items()):
            if self._now - node.at > self._place.silence and name in busy:
                self._leave_behind(name)
                self.gone(name, f"{name} of {node.host} was silent for {self._place.silence:g} s")
        for call in self.held():
            self._look_after(call)

    def _forget_workers(self) -> None:
        """Keep nothing of workers that are not listed any more."""
        for name in self._ticks.keys() - self._nodes.keys():
            del self._ticks[name]
            self._refused_before += self._refused_there.pop(name, 0)

    def _look_after(self, call: Sent) -> None:
        """Send a call again that its worker has not said to have."""
        at, times = self._sent_at.get(call.id, (float("inf"), 0))
        if self._now - at <= _UNHEARD + len(call.message) / _BYTES_PER_SECOND:
            return
        if times < _RESENT:
            self._send(call, times + 1)
        else:
            self._abandoned[call.id] = None
            self._sent_at.pop(call.id, None)
            self.drop(call.id, f"{call.node} never had the call: it was lost on the way {_RESENT} times")

    def _serving(self, serving: ms.Serving) -> None:
        name = serving.node
        if serving.tick < self._ticks.get(name, 0):
            return  # it comes late
        self._ticks[name] = serving.tick
        self._refused_there[name] = max(serving.refused, self._refused_there.get(name, 0))
        mine = {call.id: call for call in self.held() if call.node == name}
        for call_id in serving.held.keys() - mine.keys():
            if call_id in self._abandoned:
                self._publisher.say(name, ms.Drop(call_id))
        for call in mine.values():
            if (at := serving.held.get(call.id)) is not None:
                self._sent_at.pop(call.id, None)
                self._unknown.pop(call.id, None)
                if at.worker:
                    self.begun(call.id, at.worker, at.position)
            elif call.id not in self._sent_at and self._now - self._unknown.setdefault(call.id, self._now) > _UNHEARD:
                self._unknown.pop(call.id, None)
                call.excused = True
                self.drop(call.id, f"{name} does not have the call any more")
        if serving.slots:
            trouble = serving.resting or ("about to end" if serving.leaving else "")
            self.seen(name, Node(serving.host, tuple(serving.pids), serving.slots, trouble))
        else:
            for call in mine.values():
                call.excused = True
            self.gone(name, f"{name} of {serving.host} has ended")

    def _refused(self, refused: ms.Refused) -> None:
        if refused.reason == "versions":
            self._ended(refused.call, refused.node)
            self.settle(refused.call, False, lambda: VersionMismatch(refused.why))
        elif refused.reason == "stale" and refused.call in self._sent_at:
            self._sent_at[refused.call] = float("-inf"), 1  # goes once more at the next beat, with a fresh tick
        elif refused.reason in ("leaving", "full"):
            self._sent_at.pop(refused.call, None)
            self.again(refused.call)
        # One over the signature is not signed itself, so it counts for nothing: the call is sent again, and at last to
        # another worker.

    def _ended(self, call_id: str, node: str) -> None:
        """Have the worker forget its answer, also to a call that ended long ago; a copy elsewhere is given up."""
        self._sent_at.pop(call_id, None)
        self._unknown.pop(call_id, None)
        self._taken[node].append(call_id)
        call = self._held.get(call_id)
        if call is not None and call.node != node:
            self._publisher.say(call.node, ms.Drop(call_id), patience=5.0)

    def _leave_behind(self, name: str) -> None:
        """Its calls go elsewhere or fail; should the worker come back, it need not run them to the end."""
        for call in self.held():
            if call.node == name:
                self._abandoned[call.id] = None
                self._sent_at.pop(call.id, None)


def _unique(node: str, beginning: str) -> bool:
    return len(beginning) >= 4 and node.rpartition(".")[2].startswith(beginning)


def place_of(transport: type[Transport], url: str, **options: Any) -> Place:
    """Read a URL for that transport; raises ConfigError."""
    row = ENGINES.row(url)
    known = known_options(transport)
    return read(url, example=row.example, known=known, port=row.port, users=row.has_users, **options)


def known_options(transport: type[Transport]) -> tuple[str, ...]:
    """Return the names of options that the transport reads."""
    return (*transport.options, *(TLS if transport.tls else ()))


def _ignored(_data: bytes, _why: WireError) -> None:
    """The listener counts what is not signed; nobody is answered."""
