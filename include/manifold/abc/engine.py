"""Where chunks run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any, ClassVar, Self

from manifold.protocol.records import WorkerInfo


class Engine(Executor):
    """Where chunks run: the standard library's `Executor`, made from a URL.

    * `submit(fn, /, *args, **kwargs)` never eats a keyword of the caller's, returns at once, and calls `fn` anew each
      time. `fn` may be any callable that cloudpickle can carry.
    * An exception of `fn` arrives as it was raised. A result or exception that cannot travel fails that future alone.
    * A worker that dies fails only the futures it held, with `WorkerLost`, soon; the rest go on, as does the engine.
      `WorkerLost.started`, `died`, `position` and `worker` say what is known.
    * `shutdown(wait, cancel_futures)` is the standard library's; afterwards nothing that the engine started runs, but
      for calls that it was told to leave.
      `submit` after it raises RuntimeError. It may be called twice.
    * Made by a coordinator, used from its thread; futures may complete in any thread.

    Class attributes, read by the core and by the contract tests:
    """

    in_process: ClassVar[bool] = False
    """Chunks run as threads of this process: no worker can be killed, and C code cannot be stopped."""
    kills_items: ClassVar[bool] = False
    """`item_timeout` holds even where the item never returns to the interpreter."""
    same_host: ClassVar[bool] = True
    """Workers share this host's file system (so a `file://` store reaches them)."""
    reattaches: ClassVar[bool] = False
    """Calls outlive the process that submitted them, and the next coordinator can wait for them by `attach`. Where
    workers end with their coordinator there is nothing to wait for, and neither method is needed."""
    connected: bool = True
    """What stands between this process and its workers (a broker) answers, as far as is known."""
    refused: int = 0
    """Messages that reached this process and were thrown away, because nobody of this deployment had signed them."""
    refused_by_workers: int = 0
    """The same of its workers, as far as they have told this process."""

    @classmethod
    @abstractmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The engine behind `url`; raises ConfigError for a URL it cannot read, EngineError where nothing answers."""

    @abstractmethod
    def slots(self) -> int:
        """Chunks it can run at this moment; 0 while no worker is there. Cheap: called several times a second."""

    @abstractmethod
    def workers(self) -> list[WorkerInfo]:
        """The workers it knows of, dead ones too for a while. Cheap."""

    def check(self) -> str | None:
        """A sentence on what would keep chunks from running (no worker serves the queue, …), or None. May take 5 s."""
        return None

    def broken(self) -> str | None:
        """Why it will never run anything again, as a clause; None while it works or may come back. Cheap."""
        return None

    def attach(self, scatter: str, epoch: int, calls: Mapping[str, int]) -> dict[str, Future[Any]]:
        """Return the futures of calls that coordinators before this one had submitted, and that are not over.

        * Called once, before the first `submit_as`, where the engine `reattaches`. `calls` has the epoch of each call
          that may be there, by its name.
        * Returned are those that a worker holds and those whose answer waits; their futures then end as any other. One
          that nobody has begun is dropped as well as the engine can: the caller sends its work again.
        * May take 10 s if there are `calls`; never raises because a worker does not answer.
        * Where the engine has calls of another scatter in flight, it may return none.
        """
        return {}

    def submit_as(self, call: str, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Submit under a name by which a later `attach` asks for the call; it was never given before."""
        return self.submit(fn, *args)

    def stop_listening(self) -> None:
        """Take nothing more from the workers, before calls are left: what they answer from now on waits for whoever
        attaches next. What has come until then has ended its futures."""

    def leave(self, future: Future[Any]) -> None:
        """Wait for the call no longer, and let it run on, for whoever attaches next; the future is then over."""
        self.kill(future)

    def exclude(self, node: str, seconds: float, why: str) -> bool:
        """Give the worker of that `WorkerInfo.node` no calls for a while; what it holds goes on. Return False where the
        engine cannot, or no other worker would be left."""
        return False

    def kill(self, future: Future[Any]) -> None:
        """Stop what `future` runs, if the engine can; the future then fails with WorkerLost. Best effort."""
        future.cancel()
