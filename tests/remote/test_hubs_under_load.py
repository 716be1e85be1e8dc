"""What hubs bear: noise, requests that make no sense, many connections, a second hub, a process that is stopped."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from manifold.abc import TransportError
from manifold.abc.transport import PART
from manifold.config import new_secret
from manifold.demo.server import LOOPBACK
from manifold.engines._remote.engine import place_of
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes
from manifold.redaction import masked
from manifold.registry import ENGINES
from manifold.testing.engines import SLOW
from tests.remote.fleet import Fleet, command
from tests.remote.middles import MIDDLES, fleet

HUBS = [scheme for scheme in MIDDLES if issubclass(ENGINES.entries[scheme].load().transport, HubTransport)]
GROUP = "manifold.tests.w"


@pytest.fixture(scope="module", autouse=True)
def secret() -> Iterator[None]:
    """One secret for this process and the hubs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANIFOLD_SECRET", new_secret())
        yield


@pytest.fixture(scope="module")
def hubs(secret: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Fleet]]:
    """A hub of each scheme, without workers, started when it is first asked for."""
    with ExitStack() as stack:
        yield cache(lambda scheme: stack.enter_context(fleet(scheme, tmp_path_factory.mktemp(scheme), workers=0)))


@pytest.fixture
def hub(request: pytest.FixtureRequest, hubs: Callable[[str], Fleet]) -> Fleet:
    """The hub of the scheme that is the test's parameter."""
    return hubs(request.param)


every_hub = pytest.mark.parametrize("hub", HUBS, indirect=True)


def connect(url: str) -> HubTransport:
    """A transport to the hub of that URL."""
    kind: type[HubTransport] = ENGINES.row(url).load().transport
    return kind.connect(place_of(kind, url))


def opened(hub: Fleet, name: str) -> HubTransport:
    """A transport that owns the mailbox of that name."""
    transport = connect(hub.url)
    transport.open(f"{GROUP}.{name}", GROUP)
    return transport


def works(url: str) -> None:
    """A message goes through the hub."""
    with closing(connect(url)) as transport:
        transport.open(f"{GROUP}.works", GROUP)
        transport.send(f"{GROUP}.works", b"still")
        assert transport.receive(SLOW) == b"still"


@every_hub
def test_a_hub_serves_while_others_send_noise_or_hold_connections_and_say_nothing(hub: Fleet) -> None:
    dice = random.Random(1)
    with ExitStack() as silent:
        for number in range(100):
            sock = silent.enter_context(socket.create_connection((LOOPBACK, port_of(hub.url)), 5.0))
            with suppress(OSError):
                sock.sendall(noise(dice, number))
            if number % 10:  # the others stay, and say no more
                sock.close()
        works(hub.url)
    works(hub.url)


def noise(dice: random.Random, number: int) -> bytes:
    """What a scanner of ports sends, a browser, a client of TLS or of HTTP/2; or anything."""
    beginnings = [
        b"",
        b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PYRO",
        struct.pack(">I", 0xFFFFFFFF),
        struct.pack(">I", 5) + b"\x95hello",
    ]
    return beginnings[number % len(beginnings)] + dice.randbytes(dice.randrange(5_000))


@every_hub
def test_a_request_that_makes_no_sense_costs_its_connection_alone(hub: Fleet) -> None:
    requests: list[tuple[Any, ...]] = [
        ("explode",),
        ("open",),
        ("send", GROUP, "text", False),
        ("receive", 1, 2),
        ("close", []),
    ]
    for request in requests:
        transport = connect(hub.url)
        with pytest.raises((TransportError, TypeError)), transport._translated():
            transport._ask(*request)
        transport.close()
    works(hub.url)


@pytest.mark.parametrize(
    "request_", [("open", "a"), ("send", "a", "text", False), ("receive", "a", "1"), ("close", None), (1,), ("ask",)]
)
def test_mailboxes_take_requests_of_the_right_types_only(request_: tuple[Any, ...]) -> None:
    with pytest.raises((TypeError, LookupError)):
        Mailboxes().ask(*request_)


@every_hub
def test_three_hundred_owners_of_mailboxes_wait_at_a_time(hub: Fleet) -> None:
    open_ = threading.Semaphore(0)

    def wait(number: int) -> bytes | None:
        with closing(opened(hub, f"many{number}")) as owner:
            open_.release()
            return owner.receive(SLOW)

    with ThreadPoolExecutor(300) as others, closing(connect(hub.url)) as sender:
        waiting = [others.submit(wait, number) for number in range(300)]
        assert all(open_.acquire(timeout=SLOW) for _ in waiting)
        for number in range(300):
            sender.send(f"{GROUP}.many{number}", b"%d" % number)
        assert [one.result(SLOW) for one in waiting] == [b"%d" % number for number in range(300)]


@every_hub
def test_a_second_hub_at_its_port_is_refused(hub: Fleet) -> None:
    second = subprocess.run(command("hub", hub.url), capture_output=True, text=True, timeout=SLOW, check=False)
    assert second.returncode != 0
    assert f"cannot serve {masked(hub.url)}" in second.stderr
    assert "Traceback" not in second.stderr
    works(hub.url)


@pytest.mark.parametrize("scheme", HUBS)
def test_a_hub_that_stands_still_is_noticed_by_whoever_waits_and_whoever_sends(scheme: str, tmp_path: Path) -> None:
    connected, stopped = threading.Semaphore(0), threading.Event()

    def ask(request: Callable[[HubTransport], object]) -> None:
        with closing(opened(running, "still")) as transport:
            connected.release()
            assert stopped.wait(SLOW)
            with pytest.raises(TransportError):
                request(transport)

    with fleet(scheme, tmp_path, workers=0) as running, ThreadPoolExecutor(2) as others:
        asking = [
            others.submit(ask, lambda transport: transport.receive(0.25)),
            others.submit(ask, lambda transport: transport.send(f"{GROUP}.still", b"x" * PART)),
        ]
        assert all(connected.acquire(timeout=SLOW) for _ in asking)
        os.kill(running.hub().pid, signal.SIGSTOP)
        stopped.set()
        try:
            for one in asking:
                one.result(SLOW)
        finally:
            os.kill(running.hub().pid, signal.SIGCONT)
        works(running.url)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
