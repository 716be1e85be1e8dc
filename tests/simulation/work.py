"""What authors write: functions and folds, in two wordings of each. They stay themselves on their way to a worker."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

at_hand: ContextVar[Callable[[object, str], Any]] = ContextVar("at_hand")
"""What an item does with a constant, in the process that runs now."""


def work(item: object, constant: str) -> Any:
    """The user's function."""
    return at_hand.get()(item, constant)


def work_again(item: object, constant: str) -> Any:
    """The user's function, as somebody has changed it."""
    done = at_hand.get()(item, constant)
    return done  # noqa: RET504 - it must be other code


def join(left: str, right: str) -> str:
    """Associative and not commutative, so it shows every mistake in the order of a fold."""
    return left + right


def join_again(left: str, right: str) -> str:
    """The same in other words."""
    return f"{left}{right}"
