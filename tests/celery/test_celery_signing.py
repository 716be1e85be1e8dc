"""What a coordinator and Celery workers say to each other is signed, for one receiver, and taken once."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import msgspec
import pytest

from manifold.config import new_secret
from manifold.engines.celery import messages as ms
from manifold.engines.celery.calls import InFlight, Sent
from manifold.engines.celery.inbox import Inbox
from manifold.engines.celery.nodes import Nodes
from manifold.engines.celery.signing import EVERYBODY, Signer, Verifier
from manifold.errors import VersionMismatch, WireError, WorkerLost
from manifold.protocol import envelope

ENGINE = "e" * 32
HERE = ms.reply_queue(ENGINE)
SIGNS = [
    ms.Started("a", "host:7"),
    ms.Running("host:7", {"a": 3}),
    ms.Redelivered("a"),
    ms.Overdue("a", "host:7", 3),
    ms.Echo(ENGINE),
    ms.Refused("a", "Python is 3.9 there", "versions"),
]
SERVING = ms.Serving("w1", "host", 1, ["q"], [7], 1, 0, ["a"])


@pytest.fixture
def call() -> Sent:
    return Sent("a", Future())


@pytest.fixture
def flight(call: Sent) -> InFlight:
    flight = InFlight(silence=10.0)
    flight.add(call)
    flight.sent("a")
    return flight


@pytest.fixture
def inbox(flight: InFlight) -> Inbox:
    return Inbox(ENGINE, flight, Nodes("q"), lambda call, cancelled: None, set())


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: type(sign).__name__)
def test_a_signed_message_arrives_once(sign: ms.Message) -> None:
    verifier, body = Verifier(HERE), Signer().signed(sign, HERE)
    assert verifier.opened(body) == sign
    with pytest.raises(WireError, match="taken before"):
        verifier.opened(body)


def test_what_is_said_to_everybody_arrives_at_each_once() -> None:
    body = Signer().signed(SERVING, EVERYBODY)
    for name in (HERE, ms.reply_queue("f" * 32)):
        verifier = Verifier(name)
        assert verifier.opened(body) == SERVING
        with pytest.raises(WireError, match="taken before"):
            verifier.opened(body)


@pytest.mark.parametrize("message", [*SIGNS, SERVING], ids=lambda one: type(one).__name__)
def test_what_an_older_worker_sends_unsigned_is_not_believed(message: ms.Message) -> None:
    bare = msgspec.msgpack.encode(message)
    if isinstance(message, ms.Refused):
        assert Verifier(HERE).opened(bare) == ms.Refused("a", message.why, "signature"), "a doubt, and no more"
        return
    with pytest.raises(WireError):
        Verifier(HERE).opened(bare)


@pytest.mark.parametrize("message", [*SIGNS, SERVING], ids=lambda one: type(one).__name__)
def test_what_is_signed_with_another_secret_is_not_believed(
    message: ms.Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MANIFOLD_SECRET", new_secret())
        body = Signer().signed(message, EVERYBODY if message is SERVING else HERE)
    with pytest.raises(WireError, match="does not have"):
        Verifier(HERE).opened(body)


def test_what_was_said_to_another_coordinator_is_not_taken_for_ours() -> None:
    body = Signer().signed(ms.Started("a", "host:7"), ms.reply_queue("f" * 32))
    with pytest.raises(WireError, match="for another receiver"):
        Verifier(HERE).opened(body)


def test_a_beat_of_one_worker_is_none_of_another_kind() -> None:
    """A `Started` to everybody would reach every coordinator."""
    body = Signer().signed(ms.Started("a", "host:7"), EVERYBODY)
    with pytest.raises(WireError, match="for another receiver"):
        Verifier(HERE).opened(body)


def test_an_older_message_of_a_sender_is_not_taken_after_a_newer_one() -> None:
    signer, verifier = Signer(), Verifier(HERE)
    older, newer = (signer.signed(ms.Running("host:7", {"a": n}), HERE) for n in (1, 2))
    assert verifier.opened(newer) == ms.Running("host:7", {"a": 2})
    with pytest.raises(WireError, match="taken before"):
        verifier.opened(older)


def test_senders_are_told_apart() -> None:
    verifier = Verifier(HERE)
    for signer in (Signer(), Signer()):
        assert verifier.opened(signer.signed(ms.Echo(ENGINE), HERE)) == ms.Echo(ENGINE)


def test_a_sealed_result_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = envelope.Keyring({"k": b"0123456789abcdef"})
    monkeypatch.setenv("MANIFOLD_SECRET", f"k:{b'0123456789abcdef'.hex()}")
    blob = envelope.seal(
        keyring, envelope.Header(kind="result", uid=HERE, key_id="k", start=9), msgspec.msgpack.encode(SIGNS[0])
    )
    with pytest.raises(WireError, match="another place"):
        Verifier(HERE).opened(blob)


@pytest.mark.parametrize(
    "body", [b"", b"\xa1\xff", b"\x91" * 5_000, envelope.MAGIC, envelope.MAGIC + bytes(100), b"\xc1"], ids=len
)
def test_garbage_is_an_error_of_ours(body: bytes) -> None:
    with pytest.raises(WireError):
        Verifier(HERE).opened(body)


# What an unsigned word can do


def test_invented_beats_do_not_make_time_pass(call: Sent, flight: InFlight, inbox: Inbox) -> None:
    """Time passes by the coordinator's own echoes. Who could send some would have every worker look silent, and their
    items get a strike for each."""
    flight.heard(ms.Started("a", "host:7"))
    verifier, genuine = Verifier(HERE), Signer().signed(ms.Echo(ENGINE), HERE)
    for body in [genuine, *[genuine] * 100, *[msgspec.msgpack.encode(ms.Echo(ENGINE))] * 100]:
        hear(inbox, verifier, body)
    assert flight.now == ms.BEAT
    assert not call.future.done()


def hear(inbox: Inbox, verifier: Verifier, body: bytes) -> None:
    try:
        inbox.heard(verifier.opened(body))
    except WireError:
        return


def test_a_refused_call_that_gives_no_sign_of_life_is_sent_again_and_is_nobodys_death(
    call: Sent, flight: InFlight, inbox: Inbox
) -> None:
    inbox.heard(ms.Refused("a", "worker host:7 did not unpickle the call: …", "signature"))
    assert not call.future.done()
    for _ in range(3):
        inbox.heard(ms.Echo(ENGINE))
    error = call.future.exception(0)
    assert isinstance(error, WorkerLost)
    assert (error.started, error.died) == (False, False)
    assert "did not unpickle" in str(error)


def test_an_invented_refusal_does_not_end_a_call_that_runs(call: Sent, inbox: Inbox) -> None:
    inbox.heard(ms.Started("a", "host:7"))
    for _ in range(20):
        inbox.heard(ms.Refused("a", "an invention", "signature"))
        inbox.heard(ms.Running("host:7", {"a": 1}))
        inbox.heard(ms.Echo(ENGINE))
    assert not call.future.done()


def test_a_signed_refusal_over_versions_ends_a_call_at_once(call: Sent, inbox: Inbox) -> None:
    body = Signer().signed(ms.Refused("a", "Python is 3.9 there", "versions"), HERE)
    inbox.heard(Verifier(HERE).opened(body))
    assert isinstance(call.future.exception(0), VersionMismatch)


# What a worker does with calls that are none


@pytest.mark.parametrize(
    "text", ["", "=", "é", "AAAA", None, 7, ["AAAA"], {"a": 1}, "A" * 1_000_000], ids=lambda text: f"{text!r:.9}"
)
def test_a_call_that_is_none_is_refused(text: Any) -> None:
    with pytest.raises(WireError):
        ms.Opened(text, "a")


def test_a_worker_answers_whoever_signed_the_call() -> None:
    """Not whom the message names, which nobody signed."""
    assert ms.Opened(ms.seal_call(ENGINE, "a", len, ((),), {}), "a").reply_to == HERE


@pytest.mark.parametrize("name", [None, 7, "", "default", "manifold.reply.", HERE + "x", HERE + "\n", "celery.pidbox"])
def test_a_worker_refuses_to_nobody_but_a_coordinator(name: object) -> None:
    assert not ms.is_reply_queue(name)
    assert ms.is_reply_queue(HERE)


# What a coordinator takes up of one before it

BEFORE = ms.reply_name("e" * 32, 3)


@pytest.fixture
def adopted(flight: InFlight, inbox: Inbox) -> Sent:
    """A call that the coordinator of epoch 3 had sent."""
    call = Sent("adopted", Future(), BEFORE, adopted=True, excused=True)
    flight.add(call)
    inbox.watch(call)
    return call


def answer_of(name: str, call: str, value: object) -> ms.Answered:
    return ms.Opened(ms.seal_call(name, call, len, ((),), {}), call).returned(value)


def test_the_answer_to_a_coordinator_before_is_taken_by_the_next_one(adopted: Sent, inbox: Inbox) -> None:
    inbox.heard(answer_of(BEFORE, "adopted", 7))
    assert adopted.future.result(0) == 7


@pytest.mark.parametrize("name", [ENGINE, ms.reply_name("e" * 32, 2), ms.reply_name("d" * 32, 3)])
def test_an_answer_sealed_for_another_coordinator_or_scatter_is_refused(adopted: Sent, inbox: Inbox, name: str) -> None:
    inbox.heard(answer_of(name, "adopted", 7))
    assert not adopted.future.done()
    assert inbox.refused == 1


def test_an_answer_to_a_call_that_nobody_waits_for_is_neither_opened_nor_counted(inbox: Inbox) -> None:
    inbox.heard(answer_of(BEFORE, "long ago", 7))
    inbox.heard(ms.Answered("long ago", b"nonsense"))
    assert inbox.refused == 0


def test_nobodys_echo_but_ones_own_is_time_that_passes(flight: InFlight, inbox: Inbox) -> None:
    for _ in range(5):
        inbox.heard(ms.Echo("the coordinator before"))
    assert flight.now == 0
    inbox.heard(ms.Echo(ENGINE))
    assert flight.now > 0


def test_silence_over_an_adopted_call_is_nobodys_death_and_a_death_that_is_told_of_is(
    adopted: Sent, flight: InFlight, inbox: Inbox
) -> None:
    other = Sent("other", Future(), BEFORE, adopted=True, excused=True)
    flight.add(other)
    for call in (adopted, other):
        inbox.heard(ms.Running("host:7", {call.id: 2}))
    inbox.heard(ms.Died("other", "host:7", 2))
    for _ in range(12):
        inbox.heard(ms.Echo(ENGINE))
    silent, dead = adopted.future.exception(0), other.future.exception(0)
    assert isinstance(silent, WorkerLost)
    assert isinstance(dead, WorkerLost)
    assert (silent.started, silent.died) == (True, False)
    assert (dead.started, dead.died, dead.position) == (True, True, 2)


def test_what_is_said_to_a_coordinator_before_is_heard_by_the_next_one_once() -> None:
    verifier = Verifier(HERE, ms.reply_queue(BEFORE))
    body = Signer().signed(ms.Started("a", "host:7"), ms.reply_queue(BEFORE))
    assert verifier.opened(body) == ms.Started("a", "host:7")
    with pytest.raises(WireError, match="taken before"):
        verifier.opened(body)
    with pytest.raises(WireError, match="another receiver"):
        verifier.opened(Signer().signed(ms.Started("a", "host:7"), ms.reply_queue(ms.reply_name("e" * 32, 2))))
    assert ms.is_reply_queue(ms.reply_queue(BEFORE))
