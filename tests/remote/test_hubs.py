"""Hubs, each as a process: who may use one, how much it holds, and what is left when it dies."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from multiprocessing.connection import Client, Connection, answer_challenge, deliver_challenge
from pathlib import Path

import pytest

from manifold import Results
from manifold.abc import MailboxFull, Place, Transport
from manifold.api import scatter_items
from manifold.config import new_secret
from manifold.demo.server import LOOPBACK
from manifold.engines._remote.mailboxes import MOST, HubTransport
from manifold.engines._remote.place import check_url
from manifold.engines.open import open_engine
from manifold.errors import EngineError
from manifold.registry import ENGINES
from manifold.testing.engines import until
from tests.remote.fleet import Fleet
from tests.remote.middles import MIDDLES

HUBS = [scheme for scheme in MIDDLES if issubclass(ENGINES.entries[scheme].load().transport, HubTransport)]
SECRET, OTHER, PASSWORD = new_secret(), new_secret(), "p4ssword+of the/hub"
ITEMS = 20_000


def transport(scheme: str) -> type[Transport]:
    made: type[Transport] = ENGINES.entries[scheme].load().transport
    return made


def with_password(url: str, word: str) -> str:
    scheme, _, place = url.partition("://")
    return f"{scheme}://{f':{word}@' if word else ''}{place.rpartition('@')[2]}"


@pytest.fixture(scope="module", autouse=True)
def secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANIFOLD_SECRET", SECRET)
        yield


@pytest.fixture(params=HUBS)
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """A hub without a password in its URL."""
    fleet = MIDDLES[request.param](tmp_path, LOOPBACK)
    fleet.url = with_password(fleet.url, "")
    fleet.start_hub()
    yield fleet
    fleet.close()


@pytest.fixture(params=HUBS)
def locked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """A hub with one, which knows no secret beside it."""
    fleet = MIDDLES[request.param](tmp_path, LOOPBACK)
    fleet.url = with_password(fleet.url, "p4ssword+of%20the%2Fhub")
    env = {name: value for name, value in os.environ.items() if not name.startswith("MANIFOLD_")}
    fleet.start_hub({**env, "MANIFOLD_HOME": str(tmp_path / "home")})
    assert not (tmp_path / "home" / "secret").exists()
    yield fleet
    fleet.close()


# -- who may use it ----------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_an_error_that_says_what_to_compare(locked: Fleet) -> None:
    for word in ("another", ""):
        with pytest.raises(EngineError, match=r"is MANIFOLD_SECRET, or the URL's.*, the same there\?") as refused:
            open_engine(with_password(locked.url, word))
        assert not any(part in str(refused.value) for part in ("another@", PASSWORD, SECRET))
    open_engine(locked.url).shutdown()


def test_a_wrong_secret_is_an_error_that_says_what_to_compare(hub: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", OTHER)
    with pytest.raises(EngineError, match=r"is MANIFOLD_SECRET, or the URL's.*, the same there\?"):
        open_engine(hub.url)


def test_a_hub_with_a_password_of_its_own_needs_no_secret_and_shows_none(
    locked: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    locked.worker()
    with locked.engine() as engine:
        assert engine.submit(pow, 2, 10).result(60) == 1024
        assert not shows(repr(engine))
    locked.kill_hub()
    with pytest.raises(EngineError) as refused:
        open_engine(locked.url)
    until(lambda: "lost the connection" in locked.output(), "the worker says what it lost")
    assert not shows(f"{refused.value} {locked.output()} {caplog.text}")


def test_what_nobody_signed_in_for_ends_no_hub(hub: Fleet) -> None:
    place = check_url(hub.url)
    for data in (b"\x00", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100_000, bytes(range(256)) * 16):
        with socket.create_connection((place.host, place.port), timeout=10) as sock, suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(1.0)
            sock.recv(1000)
    open_engine(hub.url).shutdown()


def test_a_hub_that_is_not_there_is_an_error_that_says_how_to_start_it(hub: Fleet) -> None:
    hub.kill_hub()
    with pytest.raises(EngineError, match=f"Is a hub started there .manifold hub '{hub.url}'"):
        open_engine(hub.url)


def test_a_hub_that_is_stopped_is_an_error_soon(hub: Fleet) -> None:
    for process in hub.hub().family():
        process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(EngineError, match=f"cannot use {hub.url}"):
            open_engine(hub.url)
    finally:
        for process in hub.hub().family():
            process.send_signal(signal.SIGCONT)
    open_engine(hub.url).shutdown()


def test_a_pickle_of_one_who_knows_the_key_runs_nothing_in_the_hub_of_a_manager(tmp_path: Path) -> None:
    fleet = MIDDLES["manager"](tmp_path, LOOPBACK)
    fleet.start_hub()
    place = check_url(fleet.url)
    with closing(fleet), closing(admitted(place)) as connection:
        connection.send_bytes(pickle.dumps((None, "create", (Run(f"touch {tmp_path}/ran"),), {})))
        assert b"#TRACEBACK" in connection.recv_bytes()
        open_engine(fleet.url).shutdown()
    assert not (tmp_path / "ran").exists()


class Run:
    def __init__(self, words: str) -> None:
        self.words = words

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.words,)


def admitted(place: Place) -> Connection:
    """Connect to the hub of a manager as BaseManager would."""
    connection = Client((place.host, place.port))
    answer_challenge(connection, place.password.encode())
    deliver_challenge(connection, place.password.encode())
    return connection


# -- how much it holds -------------------------------------------------------------------------------------------------


def filled(sender: Transport, mailbox: str, size: int) -> int:
    """Send numbered messages until the mailbox is full; return how many there are."""
    for number in range(2 * MOST // size):
        try:
            sender.send(mailbox, number.to_bytes(4, "big") * (size // 4))
        except MailboxFull:
            return number
    raise AssertionError("the mailbox has no bound")


def test_a_full_mailbox_refuses_and_loses_nothing(hub: Fleet) -> None:
    kind, place = transport(check_url(hub.url).scheme), check_url(hub.url)
    size = min(kind.max_bytes, 4 * 1024 * 1024)
    with closing(kind.connect(place)) as owner, closing(kind.connect(place)) as sender:
        owner.open("full.a", "full")
        sent = filled(sender, "full.a", size)
        assert MOST // size - 1 <= sent <= MOST // size + 1
        sender.send("nobody.b", b"is lost, without an error")
        for number in range(sent):
            data = owner.receive(10.0)
            assert data is not None
            assert (len(data), data[:4]) == (size, number.to_bytes(4, "big"))
        assert owner.receive(0.1) is None
        sender.send("full.a", b"there is room")
        assert owner.receive(10.0) == b"there is room"


# -- what is left when it dies -----------------------------------------------------------------------------------------


def test_a_hub_that_is_killed_in_the_midst_of_a_scatter_costs_no_item(
    hub: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    for _ in range(2):
        hub.worker()
    hub.engine(2).shutdown()
    seen = tmp_path / "seen"

    def square(number: int, seen: str) -> int:
        if number == 5_000:
            Path(seen).touch()
        return number * number

    def scatter() -> Results:
        given = {"seen": str(seen)}
        return scatter_items(square, range(ITEMS), consts=given, engine=hub.url, chunk_size=50, monitors=[])

    with ThreadPoolExecutor(1) as other:
        running = other.submit(scatter)
        until(lambda: seen.exists() or running.done(), "the midst of the scatter")
        hub.kill_hub()
        assert not running.done()
        hub.start_hub()
        assert list(running.result()) == [number * number for number in range(ITEMS)]


def shows(text: str) -> bool:
    return any(part in text for part in (PASSWORD, "p4ssword", SECRET.partition(":")[2]))
