"""Mailboxes of a hub of one thread: each request is answered once, whatever happens to the mailbox meanwhile."""

from __future__ import annotations

import time
from typing import Any

import pytest

from manifold.engines._remote.polled import TURN, PolledMailboxes
from manifold.testing.engines import until


class Hub:
    """The mailboxes, and the answers that each client was given."""

    def __init__(self) -> None:
        self.answers: list[tuple[bytes, bool, Any]] = []
        self._mailboxes = PolledMailboxes(lambda *answer: self.answers.append(answer))

    def ask(self, client: bytes, *request: Any) -> None:
        self._mailboxes.ask(client, request)

    def new(self) -> list[tuple[bytes, bool, Any]]:
        """Return the answers since the last time, after a turn."""
        time.sleep(TURN)
        self._mailboxes.turn()
        answers, self.answers = self.answers, []
        return answers


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.ask(b"owner", "open", "group.a", "group")
    assert hub.new() == [(b"owner", True, None)]
    return hub


def test_one_who_waits_is_answered_when_something_is_sent(hub: Hub) -> None:
    hub.ask(b"owner", "receive", "group.a", 60.0)
    assert hub.new() == []
    hub.ask(b"sender", "send", "group.a", b"1", False)
    assert hub.new() == [(b"sender", True, True), (b"owner", True, b"1")]
    hub.ask(b"owner", "receive", "group.a", 60.0)
    hub.ask(b"sender", "send", "group", b"2", True)
    assert hub.new() == [(b"sender", True, True), (b"owner", True, b"2")]


def test_what_is_there_already_is_answered_at_once(hub: Hub) -> None:
    hub.ask(b"sender", "send", "group.a", b"1", False)
    hub.ask(b"owner", "receive", "group.a", 60.0)
    assert hub.answers == [(b"sender", True, True), (b"owner", True, b"1")]


def test_one_who_has_waited_for_long_enough_gets_none(hub: Hub) -> None:
    hub.ask(b"owner", "receive", "group.a", 2 * TURN)
    until(lambda: hub.new() == [(b"owner", True, None)], "the wait is over")
    hub.ask(b"sender", "send", "group.a", b"1", False)
    assert hub.new() == [(b"sender", True, True)]


def test_a_mailbox_that_is_closed_meanwhile_is_an_error_of_its_owner_alone(hub: Hub) -> None:
    hub.ask(b"owner", "receive", "group.a", 60.0)
    hub.ask(b"another", "close", "group.a")
    hub.ask(b"sender", "send", "group.a", b"1", False)
    another, sender, owner = hub.new()
    assert (another, sender) == ((b"another", True, None), (b"sender", True, True))
    assert owner[:2] == (b"owner", False)


def test_the_latest_who_waits_is_the_owner(hub: Hub) -> None:
    hub.ask(b"cut off", "receive", "group.a", 60.0)
    hub.ask(b"owner", "receive", "group.a", 60.0)
    hub.ask(b"sender", "send", "group.a", b"1", False)
    assert hub.new() == [(b"sender", True, True), (b"owner", True, b"1")]


@pytest.mark.parametrize(
    "request_",
    [
        (),
        ([],),
        (None, None),
        ("nothing", 1),
        ("send", "group.a"),
        ("send", 1, b"", False),
        ("receive",),
        ("receive", 1, 1.0),
        ("receive", [], "x"),
        ("receive", "group.a", None),
        ("receive", "other.b", 1.0),
    ],
)
def test_a_senseless_request_is_answered_with_an_error(hub: Hub, request_: tuple[Any, ...]) -> None:
    hub.ask(b"stranger", *request_)
    (answer,) = hub.new()
    assert answer[:2] == (b"stranger", False)
    hub.ask(b"owner", "receive", "group.a", 0.0)
    assert hub.new() == [(b"owner", True, None)]
