"""File descriptors: whether this process has some left, and what holds them.

A process without a free descriptor can open no file and no connection. That is not an outage of what it wanted to open.
"""

from __future__ import annotations

import errno
import gc
import os
import resource
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from manifold.errors import StoreError

_LACKING = {errno.EMFILE, errno.ENFILE}
_SPARE = 4
"""Descriptors that opening one connection may take: its socket, a look into /etc/hosts, a lock file."""
_LOOKED_AT = 4096  # descriptors, to tell what holds them
_OPEN = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
_WHAT_TO_DO = (
    "What runs in it leaves files or connections open. Close them (`with open(...)`), make one client for all items "
    "with per_worker, run fewer items at once, or raise the limit (`ulimit -n`)"
)


class Shortage(NamedTuple):
    """`text` says what holds the descriptors, and what to do. `of_host`: it is the whole host that has none left."""

    text: str
    of_host: bool = False


def lacking(exc: BaseException | None) -> bool:
    """True for an error that came of a lack of descriptors, or of another error that did."""
    seen: list[BaseException] = []
    while exc is not None and exc not in seen:
        if getattr(exc, "errno", None) in _LACKING or (isinstance(exc, StoreError) and exc.exhausted):
            return True
        seen.append(exc)
        exc = exc.__cause__ or exc.__context__
    return False


def shortage() -> Shortage | None:
    """Return what is to be said where this process has hardly a descriptor left; None where it has enough.

    Files that only wait for the garbage collector are closed first.
    """
    if _found() is None:
        return None
    gc.collect()
    return _found()


def _found() -> Shortage | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        used = sum(int(name) < limit for name in os.listdir(_OPEN))
    except OSError as exc:
        if exc.errno == errno.ENFILE:
            text = "the host has no file descriptor left for any process: see fs.file-nr and fs.file-max of sysctl"
            return Shortage(text, of_host=True)
        used = limit if exc.errno == errno.EMFILE else 0
    if limit == resource.RLIM_INFINITY or limit - used >= _SPARE:
        return None
    held = _held(limit)
    return Shortage(f"process {os.getpid()} has {used:,} of {limit:,} file descriptors open{held}. {_WHAT_TO_DO}")


def _held(limit: int) -> str:
    """What most of them are, which can be read without a free one; "" where the system does not tell."""
    kinds: Counter[str] = Counter()
    for number in range(min(limit, _LOOKED_AT)):
        with suppress(OSError):
            kinds[os.readlink(f"/proc/self/fd/{number}").partition(":[")[0]] += 1
    most = ", ".join(f"{count:,} x {kind}" for kind, count in kinds.most_common(2))
    return f" ({most})" if most else ""
