"""Time, chance and the processes of one simulated deployment, in one thread: the same seed does the same things."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NoReturn

from greenlet import getcurrent, greenlet

from manifold.abc import Clock
from tests.simulation.faults import Faults

_MOST_STEPS = 8_000
"""Events after which a seed counts as one that never ends; a long one takes some 3,000."""


class Violation(BaseException):
    """What must not be. Not an Exception, so that nothing under test takes it for one of its own."""


class Crashed(BaseException):
    """The process that runs this is dead: from here on nothing it does has an effect."""


class World:
    """One seed: what happens, when, and what was found wrong."""

    def __init__(
        self, seed: int, *, tell: Callable[[str], None] | None, focus: Collection[str], most_steps: int = _MOST_STEPS
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.trace: list[str] = []
        self.faults = Faults(self.rng, self.log, focus)
        self.violation: Violation | None = None
        self.crossed: Counter[str] = Counter()  # edges of small constants, by their names
        self.hub = getcurrent()
        self.actors: list[Actor] = []
        self.ended = False  # what runs from here on is only unwound
        self.at_end: list[Callable[[], object]] = []  # unwinds what is left of dead processes
        self.on_stall: Callable[[Actor], None] = lambda _actor: None
        self._tell = tell
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._ids = itertools.count(1)
        self._steps = 0
        self._most_steps = most_steps

    def log(self, text: str) -> None:
        """One line of the trace."""
        line = f"{self.now:10.3f} {text}"
        self.trace.append(line)
        if self._tell is not None:
            self._tell(line)

    def digest(self) -> str:
        """Equal for equal traces."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def new_id(self) -> str:
        """A name that was never given before."""
        return f"{next(self._ids):04x}"

    def fail(self, text: str) -> NoReturn:
        """Something is wrong, and the seed ends here."""
        self.violation = self.violation or Violation(text)
        raise self.violation

    def later(self, seconds: float, event: Callable[[], object]) -> None:
        """Have `event` happen after `seconds`."""
        heapq.heappush(self._events, (self.now + max(0.0, seconds), next(self._order), event))

    def run(self, until: Callable[[], bool]) -> None:
        """Let things happen until `until` holds."""
        while not until():
            self._steps += 1
            if self._steps > self._most_steps or not self._events:
                held = ", ".join(actor.name for actor in self.actors if not actor.ended)
                self.fail(f"it never ends: after {self._steps:,} events there is still {held or 'something to do'}")
            at, _, event = heapq.heappop(self._events)
            self.now = max(self.now, at)
            event()
            for actor in self.actors:
                actor.wake_if_signalled()
            if self.violation is not None:
                raise self.violation
        self.actors = [actor for actor in self.actors if not actor.ended]

    def drain(self) -> None:
        """Let everything happen that still is to."""
        self.run(lambda: not self._events)

    def end(self) -> None:
        """Kill what still runs, so that nothing of it is left for the next seed."""
        self.ended = True
        for actor in self.actors:
            actor.abandon()
        for unwind in reversed(self.at_end):
            unwind()


class Actor:
    """A process that runs code under test: it stands still while others act, and may be killed where it stands."""

    def __init__(self, world: World, name: str, body: Callable[[Actor], object], *, slow: bool = False) -> None:
        self.name = name
        self._slow = slow
        self.result: object = None
        self.error: Exception | None = None
        self.ended = False
        self.dead = False
        self._world = world
        self._body = body
        self._signal: threading.Event | None = None
        self._turn = 0
        self._parked = False
        self._greenlet = greenlet(self._run, world.hub)
        world.actors.append(self)
        world.later(0, self._greenlet.switch)

    def point(self, what: str) -> None:
        """Something is about to take effect, or has. Here a process may die, or stop while the others continue."""
        if self.dead:
            raise Crashed(self.name)
        if self._world.faults.hits("crash", f"{self.name} at {what}"):
            self.dead = True
            raise Crashed(self.name)
        if self._slow and self._world.rng.random() < 0.3:
            self.sleep(2.0 * self._world.rng.random())
        if self._world.faults.hits("stall", f"{self.name} at {what}"):
            self._world.on_stall(self)
            self.sleep(self._world.rng.choice((0.2, 3.0, 50.0)))

    def sleep(self, seconds: float) -> None:
        self.wait(None, seconds)

    def wait(self, signal: threading.Event | None, timeout: float) -> None:
        """As `Clock.wait`, in simulated time."""
        if self.dead:
            raise Crashed(self.name)
        self._signal, self._parked = signal, True
        self._turn += 1
        turn = self._turn
        self._world.later(timeout, lambda: self._wake(turn))
        self._world.hub.switch()
        if self.dead:
            raise Crashed(self.name)

    def kill(self) -> None:
        """End it without warning, where it waits."""
        if not self.ended:
            self._world.log(f"{self.name} is killed")
            self.dead = True
            self._wake(self._turn)

    def wake_if_signalled(self) -> None:
        if self._parked and self._signal is not None and self._signal.is_set():
            self._wake(self._turn)

    def abandon(self) -> None:
        """The seed is over: unwind it."""
        self.dead = True
        if not self.ended:
            with suppress(Crashed):
                self._greenlet.throw(Crashed(self.name))

    def _wake(self, turn: int) -> None:
        if self._parked and turn == self._turn:
            self._parked = False
            self._greenlet.switch()

    def _run(self) -> None:
        try:
            self.result = self._body(self)
            self._world.log(f"{self.name} is done")
        except Crashed:
            self._world.log(f"{self.name} is dead")
        except Violation:
            pass  # the world has it
        except Exception as exc:  # noqa: BLE001 - whatever a coordinator ends with is judged by the world
            self.error = exc
            self._world.log(f"{self.name} ends with {type(exc).__name__}: {str(exc)[:160]}")
        finally:
            self.ended = self.dead = True


class SimClock(Clock):
    """The clock of one process: its monotonic time begins anywhere."""

    def __init__(self, world: World, actor: Actor, begin: float) -> None:
        self._world = world
        self._actor = actor
        self._begin = begin

    def monotonic(self) -> float:
        return self._begin + self._world.now

    def wait(self, signal: threading.Event, timeout: float) -> None:
        self._actor.wait(signal, timeout)
