"""Ctrl-C and its kin, so that they end a program in order, and never in the middle of tidying up.

For the main thread. A signal that is ignored from outside, as by nohup, stays ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupting() -> AbstractContextManager[None]:
    """Within, SIGTERM and a closed terminal raise KeyboardInterrupt, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    return _handled_by(interrupt)


def uninterrupted() -> AbstractContextManager[None]:
    """Within, a second Ctrl-C does nothing: it would leave behind what is being tidied up."""
    return _handled_by(signal.SIG_IGN)


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    heard = [one for one in _ENDING if signal.getsignal(one) != signal.SIG_IGN]
    before = {one: signal.signal(one, handler) for one in heard}
    try:
        yield
    finally:
        for one, earlier in before.items():
            signal.signal(one, earlier)
