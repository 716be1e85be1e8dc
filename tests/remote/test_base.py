"""The parts of the base, each by itself: signatures, parts of messages, mailboxes of a hub, passwords, URLs."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from manifold.config import new_secret
from manifold.engines._remote import mailboxes as boxes
from manifold.engines._remote import messages as ms
from manifold.engines._remote import parts
from manifold.engines._remote.access import AccessDenied, Gate, password, prove
from manifold.engines._remote.place import check_url, read
from manifold.engines._remote.recent import Recent
from manifold.engines._remote.signing import Signer, Verifier
from manifold.errors import ConfigError, WireError

ME = "manifold.default.c." + "a" * 32


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())


# Signatures


def test_a_signed_message_is_taken_once() -> None:
    data, verifier = Signer().signed(ms.Drop("x"), ME), Verifier(ME)
    assert verifier.opened(data) == ms.Drop("x")
    with pytest.raises(WireError, match="taken before"):
        verifier.opened(data)


def test_messages_that_come_in_another_order_are_all_taken_and_once() -> None:
    signer, verifier = Signer(), Verifier(ME)
    sent = [signer.signed(ms.Drop(str(number)), ME) for number in range(500)]
    shuffled = [(data, number) for number, data in enumerate(sent)]
    random.Random(3).shuffle(shuffled)
    assert {verifier.opened(data).call for data, _ in shuffled} == {str(n) for n in range(500)}  # type: ignore[union-attr]
    for data in sent:
        with pytest.raises(WireError):
            verifier.opened(data)


def test_a_message_far_behind_the_latest_is_refused() -> None:
    signer, verifier = Signer(), Verifier(ME)
    old = signer.signed(ms.Drop("old"), ME)
    for _ in range(1100):
        verifier.opened(signer.signed(ms.Echo(), ME))
    with pytest.raises(WireError):
        verifier.opened(old)


def test_a_message_for_another_is_refused() -> None:
    with pytest.raises(WireError, match="another receiver"):
        Verifier(ME).opened(Signer().signed(ms.Drop("x"), ME[:-1] + "b"))


def test_what_another_secret_has_signed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Signer().signed(ms.Drop("x"), ME)
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    with pytest.raises(WireError):
        Verifier(ME).opened(data)


def test_an_unsigned_refusal_is_no_more_than_a_doubt() -> None:
    import msgspec

    forged = msgspec.msgpack.encode(ms.Refused("call", "w" * 9000, "node", "versions"))
    opened = Verifier(ME).opened(forged)
    assert isinstance(opened, ms.Refused)
    assert (opened.reason, len(opened.why)) == ("signature", 500)


# Parts


def test_a_large_message_is_whole_whatever_the_order_of_its_parts() -> None:
    data = os.urandom(100_000)
    pieces = list(parts.split(data, 1000, parts.new_name()))
    assert max(map(len, pieces)) <= 1000
    pieces += random.Random(1).choices(pieces, k=20)  # some twice
    random.Random(2).shuffle(pieces)
    joiner = parts.Joiner()
    assert [whole for piece in pieces if (whole := joiner.whole(piece)) is not None] == [data]
    assert joiner.bytes == 0


def test_a_small_message_goes_as_it_is() -> None:
    assert list(parts.split(b"abc", 1000, parts.new_name())) == [b"abc"]


def test_parts_that_are_never_whole_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "UNFINISHED", 50_000)
    joiner = parts.Joiner()
    for _ in range(500):
        pieces = list(parts.split(os.urandom(3000), 1000, parts.new_name()))
        assert joiner.whole(pieces[0]) is None
        assert joiner.bytes <= 50_000


@pytest.mark.parametrize(("place", "number"), [(5, 3), (0, 0), (2**32 - 1, 2**32 - 1)])
def test_parts_that_make_no_sense_do_no_harm(place: int, number: int) -> None:
    head = parts._HEAD.pack(b"MNFP", b"12345678", place, number)
    joiner = parts.Joiner()
    for _ in range(3):
        assert joiner.whole(head + b"x") in (None, b"")


# Mailboxes


def test_a_mailbox_gives_out_in_order_and_once() -> None:
    hub = boxes.Mailboxes()
    hub.open("g.1", "g")
    for number in range(5):
        assert hub.send("g.1", bytes([number]), False)
    assert [hub.receive("g.1", 0) for _ in range(6)] == [*(bytes([n]) for n in range(5)), None]


def test_a_full_mailbox_refuses_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "MOST", 100)
    hub = boxes.Mailboxes()
    hub.open("g.1", "g")
    assert [hub.send("g.1", b"x" * 60, False) for _ in range(3)] == [True, False, False]
    assert hub.send("g", b"x" * 60, True), "what goes to all leaves the full ones out"
    assert hub.receive("g.1", 0) == b"x" * 60
    assert hub.receive("g.1", 0) is None
    assert hub.send("g.1", b"x" * 1000, False), "an empty one takes any message"


def test_all_mailboxes_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "MOST_OF_ALL", 100)
    hub = boxes.Mailboxes()
    for name in ("g.1", "g.2"):
        hub.open(name, "g")
        assert hub.send(name, b"x" * 50, False)
    assert not hub.send("g.1", b"x", False)
    hub.close("g.2")
    assert hub.send("g.1", b"x", False)


def test_a_mailbox_that_nobody_uses_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "KEPT", -1.0)
    hub = boxes.Mailboxes()
    hub.open("g.1", "g")
    hub.open("g.2", "g")
    with pytest.raises(LookupError):
        hub.receive("g.1", 0)


def test_a_message_to_nobody_is_lost_without_an_error() -> None:
    assert boxes.Mailboxes().send("g.9", b"x", False)


def test_whoever_waits_is_woken_by_a_message() -> None:
    hub = boxes.Mailboxes()
    hub.open("g.1", "g")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(hub.receive, "g.1", 30.0)
        hub.send("g.1", b"x", False)
        assert waiting.result(20) == b"x"


@pytest.mark.parametrize("what", ["_delete", "ask", "__class__", ""])
def test_no_other_request_is_answered(what: str) -> None:
    with pytest.raises(LookupError):
        boxes.Mailboxes().ask(what, "g.1")


# Passwords


def test_both_sides_prove_that_they_know_the_password() -> None:
    asked: list[Any] = []
    gate = Gate(lambda *request: asked.append(request), b"password")
    prove(gate.ask, b"password")
    gate.ask("open", "a", "b")
    assert asked == [("open", "a", "b")]


@pytest.mark.parametrize("before", [[], [("hello", b"x" * 32)]])
@pytest.mark.parametrize("request_", [("open", "a", "b"), ("prove", b"x" * 32), ("hello", "x"), ("prove",)])
def test_nothing_is_answered_without_the_password(before: list[Any], request_: Any) -> None:
    gate = Gate(lambda *request: pytest.fail("it was answered"), b"password")
    for one in before:
        gate.ask(*one)
    with pytest.raises(AccessDenied):
        gate.ask(*request_)


def test_a_wrong_password_is_noticed_by_the_client_and_by_the_hub() -> None:
    with pytest.raises(AccessDenied, match="the hub does not know"):
        prove(Gate(lambda *_: None, b"password").ask, b"another")
    gate = Gate(lambda *_: None, b"password")
    gate.ask("hello", b"x" * 32)
    with pytest.raises(AccessDenied):
        gate.ask("prove", b"y" * 32)
    with pytest.raises(AccessDenied):
        gate.ask("prove", b"y" * 32)
    with pytest.raises(AccessDenied):
        gate.ask("hello", b"x" * 32)


def test_a_hub_without_a_password_in_its_url_has_one_of_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    place = check_url("tcp://host:7000")
    first = password(place)
    assert len(first) >= 32
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    assert password(place) != first
    assert password(check_url("tcp://:word@host:7000")) == b"word"


# URLs


def test_a_url_says_where_and_how() -> None:
    place = check_url("tcp://:p%40ss@host:7000?queue=big&silence=20&balance=random&tls=true")
    assert (place.host, place.port, place.password, place.queue) == ("host", 7000, "p@ss", "big")
    assert (place.silence, place.balance, place.options) == (20.0, "random", {"tls": "true"})
    assert place.url == "tcp://:p%40ss@host:7000?tls=true"
    assert "ss" not in f"{place} {place!r}"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("tcp://host", "port"),
        ("tcp://:7000", "host"),
        ("tcp://host:port", "port"),
        ("tcp://host:99999", "range"),
        ("tcp://host:7000?silence=1", "at least 3"),
        ("tcp://host:7000?silence=nan", "at least 3"),
        ("tcp://host:7000?balance=best", "least-busy"),
        ("tcp://host:7000?quue=x", "unknown option 'quue'"),
        ("tcp://host:7000?queue=a/b", "letters"),
        (f"tcp://host:7000?queue={'x' * 25}", "letters"),
    ],
)
def test_a_url_that_makes_no_sense_says_what_to_write(url: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        check_url(url)


def test_options_by_keyword_win() -> None:
    place = read("x://h:1?queue=a&b=1", example="x://h:1", known=("b",), queue="c", b="2")
    assert (place.queue, place.options) == ("c", {"b": "2"})


def test_an_ipv6_host_has_brackets_in_an_address() -> None:
    assert check_url("tcp://[::1]:7000").address == "[::1]:7000"


# What a worker remembers


def test_a_worker_forgets_only_what_is_refused_for_its_age() -> None:
    recent = Recent()
    for tick in range(1000):
        recent.add(f"call {tick}", tick)
        recent.forget(tick)
        assert all(f"call {one}" in recent for one in range(max(0, tick - ms.WINDOW), tick + 1))
    assert len(recent._calls) == ms.WINDOW + 1


def test_many_threads_use_one_hub() -> None:
    hub = boxes.Mailboxes()
    names = [f"g.{n}" for n in range(8)]
    for name in names:
        hub.open(name, "g")
    got: list[bytes] = []
    lock = threading.Lock()

    def read_all(name: str) -> None:
        for _ in range(200):
            data = hub.receive(name, 20.0)
            assert data is not None
            with lock:
                got.append(data)

    def fill(name: str) -> None:
        for number in range(200):
            hub.send(name, f"{name} {number}".encode(), False)

    with ThreadPoolExecutor(16) as threads:
        readers = [threads.submit(read_all, name) for name in names]
        for name in names:
            threads.submit(fill, name)
        for reader in readers:
            reader.result(60)
    assert sorted(got) == sorted(f"{name} {n}".encode() for name in names for n in range(200))
