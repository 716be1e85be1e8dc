"""What authors write: a function in two wordings, in three forms of each, and the globals that it uses.

`editions` has this file as it is after somebody has changed one of these globals, and nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from tests.simulation.work import Given, at_hand

RATE = "a rate"
TABLE = {"rates": ["a row", "another row"]}


class Rates:
    """Has an attribute."""

    usual = "an attribute"


def helper() -> str:
    """Is called by name."""
    return DEEPER


DEEPER = "a global of a helper's"


def given(constant: str, code: str) -> Given:
    """What a function is given, beside its item."""
    return Given(constant, code, (RATE, *TABLE["rates"], Rates.usual, helper()))


def plain(item: object, constant: str) -> Any:
    """The user's function."""
    return at_hand.get().call(item, Given(constant, "first", (RATE, *TABLE["rates"], Rates.usual, helper())))


def plain_again(item: object, constant: str) -> Any:
    """The user's function, as somebody has changed it."""
    code = "second"
    return at_hand.get().call(item, Given(constant, code, (RATE, *TABLE["rates"], Rates.usual, helper())))


async def awaits(item: object, constant: str) -> Any:
    """The user's function, where items run together."""
    return await at_hand.get().call_async(
        item, Given(constant, "first", (RATE, *TABLE["rates"], Rates.usual, helper()))
    )


async def awaits_again(item: object, constant: str) -> Any:
    """The same, as somebody has changed it."""
    done = await at_hand.get().call_async(item, given(constant, "second"))
    return done  # noqa: RET504 - it must be other code


def awaitable(item: object, constant: str) -> Awaitable[Any]:
    """No `async def`, and what it returns is to be awaited."""
    return at_hand.get().call_async(item, given(constant, "first"))


def awaitable_again(item: object, constant: str) -> Awaitable[Any]:
    """The same, as somebody has changed it."""
    code = "second"
    return at_hand.get().call_async(item, given(constant, code))
