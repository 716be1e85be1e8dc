"""What a worker process has at hand, and the folds that authors write, in two wordings."""

from __future__ import annotations

from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol


class Given(NamedTuple):
    """What an item is given beside itself: a constant, the wording of the function, and what its globals say."""

    constant: str
    code: str
    globals: tuple[str, ...]


class AtHand(Protocol):
    """What an item does, in the process that runs now."""

    def call(self, item: object, given: Given) -> Any: ...

    def call_async(self, item: object, given: Given) -> Awaitable[Any]: ...


at_hand: ContextVar[AtHand] = ContextVar("at_hand")


def join(left: str, right: str) -> str:
    """Associative and not commutative, so it shows every mistake in the order of a fold."""
    return left + right


def join_again(left: str, right: str) -> str:
    """The same in other words."""
    return f"{left}{right}"
