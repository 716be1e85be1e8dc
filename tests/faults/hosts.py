"""Hosts of their own on this machine: each with a name, an address and a cable that can be pulled.

On Linux, as root, with iproute2, a host is a network namespace, and all of them are plugged into one bridge, which lies
in a namespace of its own. A cut is done by the bridge ("isolated" ports hear nothing of each other): packets vanish
without a word, as on a broken network. The namespaces have no names, so with this process everything is gone.

Elsewhere every host is this machine, and nothing can be cut; `possible()` tells.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from manifold.demo.process import Child, kill_all
from manifold.demo.server import LOOPBACK

_SPACES = {"net": 0x4000_0000, "uts": 0x0400_0000}  # CLONE_NEWNET, CLONE_NEWUTS of linux/sched.h
_NETWORK = "198.18.{}.{}"  # kept for tests between networks by RFC 2544, so nobody's own
_libc = ctypes.CDLL(None, use_errno=True)
_networks = count(1)


class Host:
    """This machine, under a name. What is started on it is known, and is killed with it."""

    def __init__(self, name: str, address: str = LOOPBACK) -> None:
        self.name = name
        self.address = address
        self._children: list[Child] = []

    def start(
        self, name: str, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None
    ) -> Child:
        """A process on this host; it may end before its descendants."""
        records = log.with_name("records")
        with self.entered():
            child = Child.start(name, command, log=log, records=records, env=env, cwd=Path(__file__).parents[2])
        self._children.append(child)
        return child

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread starts, opens or connects meanwhile is on this host."""
        yield

    def processes(self) -> list[psutil.Process]:
        """What runs on it."""
        return [process for child in self._children for process in child.family()]

    def kill(self) -> None:
        """SIGKILL all that runs on it."""
        for child in self._children:
            child.kill()
        while running := self.processes():
            kill_all(running)

    def close(self) -> None:
        """Give it up."""
        self.kill()


class Namespace(Host):
    """A network namespace, by its file descriptor; `port` is its end at the bridge."""

    def __init__(self, name: str, address: str, port: str) -> None:
        super().__init__(name, address)
        self.port = port
        with ThreadPoolExecutor(1) as thread:  # whose own namespace the new one becomes
            self._spaces = thread.submit(_new_spaces, name).result()

    @property
    def path(self) -> str:
        """By which `ip` knows it."""
        return f"/proc/{os.getpid()}/fd/{self._spaces[0]}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        before = _open_spaces()
        try:
            _enter(self._spaces)
            yield
        finally:
            _enter(before)
            _close(before)

    def processes(self) -> list[psutil.Process]:
        inside = f"net:[{os.stat(self._spaces[0]).st_ino}]"
        found = []
        for process in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                if os.readlink(f"/proc/{process.pid}/ns/net") == inside and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def close(self) -> None:
        super().close()
        _close(self._spaces)


class Network:
    """Hosts, and what is between them. A context manager: at its end nothing runs on any of them.

    Args:
        apart: each host is a namespace of its own; otherwise all are this machine.
    """

    def __init__(self, *, apart: bool) -> None:
        self.apart = apart
        self._hosts: list[Host] = []
        self._cuts: Counter[str] = Counter()
        self._switch: Namespace | None = None
        self._number = 0

    def __enter__(self) -> Self:
        if self.apart:
            self._number = _free_number()
            self._switch = switch = Namespace("switch", "", "")
            own = f"mf{os.getpid()}n{next(_networks)}"
            _ip(f"link add {own} type veth peer name own netns {switch.path}")
            _ip(f"addr add {_NETWORK.format(self._number, 1)}/24 dev {own}")
            _ip(f"link set {own} up")
            with switch.entered():
                _ip("link add bridge type bridge forward_delay 0")
                _ip("link set bridge up")
                _ip("link set own master bridge up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in (*self._hosts, *filter(None, [self._switch])):
            host.close()

    def host(self, name: str) -> Host:
        """A new one."""
        host = self._plugged_in(name) if self.apart else Host(name)
        self._hosts.append(host)
        return host

    @contextmanager
    def cut(self, *hosts: Host) -> Iterator[None]:
        """These hosts hear nothing of each other, and of all others as before. Two cuts at once are one of all."""
        ports = [host.port for host in hosts if isinstance(host, Namespace)]
        self._count(ports, 1)
        try:
            yield
        finally:
            self._count(ports, -1)

    @contextmanager
    def unplugged(self, host: Host) -> Iterator[None]:
        """The host's cable is pulled."""
        assert isinstance(host, Namespace)
        assert self._switch is not None
        with self._switch.entered():
            _ip(f"link set {host.port} down")
        try:
            yield
        finally:
            with self._switch.entered():
                _ip(f"link set {host.port} up")

    def _plugged_in(self, name: str) -> Namespace:
        assert self._switch is not None
        number = len(self._hosts) + 2
        host = Namespace(name, _NETWORK.format(self._number, number), f"port{number}")
        with self._switch.entered():
            _ip(f"link add {host.port} type veth peer name eth0 netns {host.path}")
            _ip(f"link set {host.port} master bridge up")
        with host.entered():
            _ip("link set lo up")
            _ip(f"addr add {host.address}/24 dev eth0")
            _ip("link set eth0 up")
        return host

    def _count(self, ports: list[str], by: int) -> None:
        assert self._switch is not None, "hosts that are one machine cannot be cut from each other"
        with self._switch.entered():
            for port in ports:
                self._cuts[port] += by
                _ip(f"link set {port} type bridge_slave isolated {'on' if self._cuts[port] else 'off'}")


@cache
def possible() -> str | None:
    """None where hosts can be namespaces; else why not, as a clause."""
    if not hasattr(_libc, "setns"):
        return "this is not Linux"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if shutil.which("ip") is None:
        return "the program ip of iproute2 is not there"
    try:
        with Network(apart=True) as network:
            one, other = network.host("one"), network.host("other")
            with network.cut(one, other):
                pass
    except (OSError, subprocess.CalledProcessError) as exc:
        return f"the kernel refuses: {getattr(exc, 'stderr', None) or exc}"
    return None


def _new_spaces(name: str) -> list[int]:
    if _libc.unshare(sum(_SPACES.values())):
        raise OSError(ctypes.get_errno(), "unshare")
    socket.sethostname(name)
    return _open_spaces()


def _open_spaces() -> list[int]:
    return [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in _SPACES]


def _enter(spaces: Sequence[int]) -> None:
    for descriptor, kind in zip(spaces, _SPACES.values(), strict=True):
        if _libc.setns(descriptor, kind):
            raise OSError(ctypes.get_errno(), "setns")


def _close(spaces: Sequence[int]) -> None:
    with ExitStack() as stack:
        for descriptor in spaces:
            stack.callback(os.close, descriptor)


def _free_number() -> int:
    """Of a network that no other run on this machine has."""
    taken = _ip("route show")
    first = os.getpid() % 200
    numbers: list[int] = [*range(first, 200), *range(first)]
    return next(number for number in numbers if _NETWORK.format(number, 0) not in taken)


def _ip(arguments: str) -> str:
    done = subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True)
    return done.stdout
