"""What does not survive a fork: the worker's own state, in the children that an item's code makes.

An item may fork (`multiprocessing`, `os.fork`, `subprocess` with a `preexec_fn`). The child has a copy of all that this
process has: its signal handlers, its open sockets, and the stack of the chunk that runs. None of it is the child's:

* signals that the worker handles have the system's default action in it, from its first instruction on;
* what a module keeps for this process is forgotten, by the function that the module gives to `in_child`;
* it never goes on with the chunk: where the item's function ends in it, by whatever way, the child ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

_SIGNALS = frozenset(
    {
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGALRM,
        signal.SIGCHLD,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
_MOST = 255  # of an exit status

_callbacks: dict[Callable[[], None], None] = {}
_stops: dict[int, Callable[[], None]] = {}
_handlers: dict[int, Any] = {}  # the worker's own, by signal, while it serves
_lock = threading.Lock()
_serving = 0
_raising = False
_masks = threading.local()
_registered = False


def in_child(callback: Callable[[], None]) -> None:
    """Have every child that is forked from now on run `callback` first; giving the same one again changes nothing."""
    _register()
    _callbacks[callback] = None


@contextmanager
def serving(*, raising: bool = False) -> Iterator[None]:
    """Within it, the signal handlers that this process has now are a worker's, which no child inherits.

    Args:
        raising: they may raise in the midst of an item.
    """
    global _serving, _raising
    _register()
    with _lock:
        _serving += 1
    _raising = raising
    _handlers.update({number: signal.getsignal(number) for number in _SIGNALS})
    try:
        yield
    finally:
        with _lock:
            _serving -= 1


def quiet() -> bool:
    """No signal handler of this process raises, unless an item has set it."""
    return _serving > 0 and not _raising


@contextmanager
def only_here(stop: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Around code of a user's: a child that it forks calls `stop` at once, and ends where it would leave this block."""
    _register()
    pid = os.getpid()
    _stops[id(stop)] = stop
    try:
        yield
    except BaseException as exc:
        end_child(pid, exc)
        raise
    finally:
        _stops.pop(id(stop), None)
    end_child(pid, None)


def end_child(pid: int, exc: BaseException | None) -> None:
    """End this process with what `exc` says unless it is the process `pid`. Where a user's exceptions are caught."""
    if os.getpid() != pid:
        _leave(exc)


def _leave(exc: BaseException | None) -> NoReturn:
    """End this process as Python would, but for `atexit`, whose functions are the worker's."""
    status = 1
    try:
        status = _status(exc)
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
    finally:
        os._exit(status)


def _status(exc: BaseException | None) -> int:
    if exc is None:
        return 0
    if not isinstance(exc, SystemExit):
        traceback.print_exception(exc)
        return 1
    if exc.code is None or isinstance(exc.code, int):
        return (exc.code or 0) & _MOST
    sys.stderr.write(f"{exc.code}\n")
    return 1


def _register() -> None:
    global _registered
    if not _registered:
        _registered = True
        os.register_at_fork(before=_before, after_in_parent=_unblock, after_in_child=_after_in_child)


def _before() -> None:
    # A signal that reached a child before its handlers are the default ones would be lost in the worker's handler,
    # and whoever sent it (`Process.terminate`) would wait for ever.
    _masks.old = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS) if _serving else None


def _unblock() -> None:
    if (old := getattr(_masks, "old", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _after_in_child() -> None:
    try:
        for stop in list(_stops.values()):
            stop()
        for callback in list(_callbacks):
            callback()
    finally:
        _forget()
        _unblock()


def _forget() -> None:
    global _lock, _serving
    _lock = threading.Lock()  # a thread that is not here may have held it
    for number, handler in _handlers.items() if _serving else ():
        if handler is not None and signal.getsignal(number) is handler:  # else it is the item's own
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    _serving = 0
    _handlers.clear()
    _stops.clear()
