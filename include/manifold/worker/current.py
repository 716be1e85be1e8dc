"""`manifold.item()`: which item a function is at work on, for idempotency keys, log lines and file names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manifold.errors import ConfigError

if TYPE_CHECKING:
    from manifold.worker.execute import Execution


@dataclass(frozen=True, slots=True)
class Item:
    """The item that a function is called with.

    Args:
        scatter: the id of the scatter. A fresh start is another scatter.
        position: the item's place in the input, from 0.
        key: its name by `key=`, or None.
        attempt: 1 in the first execution, 2 in the first of its `item_retries`, and so on. A chunk that is sent again,
            and a redrive, count from 1 again.
    """

    scatter: str
    position: int
    key: str | None
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """The same in every execution of this item of this scatter, such as `9f0c…-17`, and of no other.

        It does not depend on the engine, the chunks, the worker or the attempt: retries, redrives, copies and tries of
        the task have it too. Where `on_items_changed="accept"` lets another item take this position, it has the same.
        """
        return f"{self.scatter}-{self.position}"


at: ContextVar[tuple[int, Any] | None] = ContextVar("manifold_at", default=None)
"""Which item of the chunk this context runs: its index and itself; None where they run one after the other."""
attempt: ContextVar[int] = ContextVar("manifold_attempt", default=1)
"""How often that item was begun."""

_running: ContextVar[tuple[str, Execution] | None] = ContextVar("manifold_running", default=None)


def item() -> Item:
    """The item that this function is called with.

    Works in plain and `async def` functions and in what copies their context, such as `asyncio.to_thread`. Raises
    ConfigError elsewhere: a thread of its own is told by argument.
    """
    running = _running.get()
    if running is None:
        raise ConfigError(
            "manifold.item() is for a function that a scatter runs, in the thread or task that it was called in. In a "
            "thread of your own pass its answer as an argument; in a test use manifold.worker.current.as_item()"
        )
    scatter, execution = running
    if isinstance(execution, Item):  # a test's
        return execution
    if (mine := at.get()) is not None:
        index, value, count = *mine, attempt.get()
    else:
        index, count = execution.done, execution.attempt
        value = execution.items[index]
    return Item(scatter, execution.positions[index], execution.job.label(value), count)


@contextmanager
def executing(scatter: str, execution: Execution) -> Iterator[None]:
    """Around the items of one chunk."""
    reset, before = _running.set((scatter, execution)), at.set(None)
    try:
        yield
    finally:
        at.reset(before)
        _running.reset(reset)


@contextmanager
def as_item(scatter: str = "test", position: int = 0, key: str | None = None, attempt: int = 1) -> Iterator[Item]:
    """Within it, `item()` gives this one: for tests of a function that asks for it."""
    found = Item(scatter, position, key, attempt)
    reset = _running.set((scatter, found))  # type: ignore[arg-type]
    try:
        yield found
    finally:
        _running.reset(reset)
