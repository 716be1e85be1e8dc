"""Digests of items: equal for equal values, different for whatever can be told apart."""

from __future__ import annotations

import datetime as dt
import enum
import pickle
import re
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold.protocol.digests import chunk_digest, item_digest, whole_digest

text = st.text(st.characters(codec="utf-8"))
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | text
    | st.binary()
    | st.dates()
    | st.decimals(allow_nan=False)
)
values = st.recursive(leaves, lambda one: st.lists(one, max_size=5) | st.dictionaries(text, one, max_size=5))


def without_addresses(value: object) -> str:
    """Names a case alike in every process that runs some of them."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def copied(value: Any) -> Any:
    """An equal value that shares no object with the first, dicts in another order."""
    if isinstance(value, dict):
        return {copied(key): copied(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [copied(one) for one in value]
    return pickle.loads(pickle.dumps(value))


def typed(value: Any) -> Any:
    """The value in a form in which Python's == tells 1, 1.0 and True apart, and 0.0 from -0.0."""
    if isinstance(value, dict):
        return {key: typed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [typed(one) for one in value]
    return (type(value).__name__, repr(value))


def alike(value: Any) -> Any:
    """As `typed`, without the difference that the encoding does not make: a date and a Decimal are their text."""
    if isinstance(value, dict):
        return {key: alike(one) for key, one in value.items()}
    if isinstance(value, list):
        return [alike(one) for one in value]
    return ("str", repr(str(value))) if isinstance(value, (dt.date, Decimal)) else typed(value)


@given(st.lists(values, max_size=10))
def test_equal_values_have_one_digest_whatever_objects_hold_them(items: list[Any]) -> None:
    digest = chunk_digest(items)
    assert digest is not None
    assert len(digest) == 32
    assert chunk_digest(copied(items)) == digest
    assert chunk_digest(tuple(items)) == digest


@given(values, values)
def test_two_values_have_one_digest_only_if_they_are_alike(one: Any, other: Any) -> None:
    assert (item_digest(one) == item_digest(other)) == (alike(one) == alike(other))


def test_a_shared_string_changes_nothing() -> None:
    shared = "".join(["ab", "c"])
    apart = "".join(["a", "bc"])
    assert pickle.dumps((shared, shared)) != pickle.dumps((shared, apart))
    assert item_digest((shared, shared)) == item_digest((shared, apart))


def test_values_that_look_alike_are_told_apart() -> None:
    lookalikes: list[Any] = [
        1,
        True,
        1.0,
        "1",
        b"1",
        None,
        "None",
        0,
        False,
        0.0,
        -0.0,
        "",
        b"",
        [],
        {},
        [[]],
        float("nan"),
    ]
    lookalikes += ["nan", [1], ["1"], {"a": 1}, {"a": 1.0}, {"a": True}, {"a": None}, ["a", 1], Path("/a"), "/a", b"/a"]
    assert len({item_digest(one) for one in lookalikes}) == len(lookalikes)


def test_nan_is_itself() -> None:
    assert item_digest({"x": float("nan")}) == item_digest({"x": float("nan")})


def test_order_counts_in_lists_and_not_in_dicts_and_sets() -> None:
    assert item_digest([1, 2]) != item_digest([2, 1])
    assert item_digest({"a": 1, "b": 2}) == item_digest(OrderedDict(b=2, a=1))
    assert item_digest({"x", "y", "z"}) == item_digest({"z", "y", "x"})


def test_chunks_with_other_borders_are_other_chunks() -> None:
    assert chunk_digest(["a", "b"]) != chunk_digest(["ab"])
    assert chunk_digest([]) != chunk_digest([[]])


@dataclass
class Customer:
    id: int
    since: dt.date


class Colour(enum.Enum):
    RED = "red"


class Opaque:
    pass


def test_dataclasses_and_enums_count_by_what_they_hold() -> None:
    day = dt.date(2026, 1, 1)
    assert item_digest(Customer(1, day)) == item_digest(Customer(1, day))
    assert item_digest(Customer(1, day)) != item_digest(Customer(2, day))
    assert item_digest(Colour.RED) is not None


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (Opaque(), Colour.RED),
        (2**64, 2**64 + 1),
        (-(2**63) - 1, -(2**63) - 2),
        (1j, 2j),
        ({1: 2}, {"1": 2}),
        ({1: 2}, {True: 2}),
        ({None: ["x"]}, {"": ["x"]}),
        ({(1, 2): "pair"}, {(2, 1): "pair"}),
        ("\udc80", "\udc81"),
        (range(3), range(4)),
        (np.arange(3), np.arange(3.0)),
        (np.float64(1), np.float32(1)),
        (pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-02")),
        ([Opaque(), 2**64], [Opaque(), 2**64, 1]),
    ],
    ids=without_addresses,
)
def test_what_the_encoder_does_not_know_is_walked(value: Any, other: Any) -> None:
    digest = item_digest(value)
    assert digest is not None
    assert item_digest(pickle.loads(pickle.dumps(value))) == digest
    assert item_digest(other) not in (None, digest)
    assert chunk_digest([1, value]) not in (None, chunk_digest([1, other]))


@pytest.mark.parametrize(
    "value", [len, threading.Lock(), iter([1]), {"deep": [threading.Lock()]}, lambda: 1], ids=without_addresses
)
def test_what_has_no_stable_form_has_no_digest(value: Any) -> None:
    assert item_digest(value) is None
    assert chunk_digest([1, value]) is None
    assert whole_digest([*range(50_000), value]) is None


def test_a_value_that_holds_itself_has_a_digest_of_its_shape() -> None:
    def loop(value: Any) -> list[Any]:
        made: list[Any] = [value]
        made.append(made)
        return made

    assert item_digest(loop(1)) == item_digest(loop(1)) != item_digest(loop(2))


@given(st.lists(values, max_size=10))
def test_the_digest_of_a_whole_input_is_that_of_equal_items(items: list[Any]) -> None:
    assert whole_digest(items) == whole_digest(copied(items)) == whole_digest(deque(items))
    assert whole_digest(items) != whole_digest([*items, None])


@pytest.mark.parametrize("position", [0, 1, 16_383, 16_384, 29_999, 40_000, 49_999])
def test_one_item_of_many_that_differs_is_another_input(position: int) -> None:
    items = [{"n": n} for n in range(50_000)]
    before = whole_digest(items)
    items[position] = {"n": -1}
    assert whole_digest(items) != before


def test_a_range_needs_none() -> None:
    assert chunk_digest(range(10)) is None


def test_another_process_with_another_hash_seed_makes_the_same_digest() -> None:
    code = (
        "from manifold.protocol.digests import chunk_digest; "
        "print(chunk_digest([{'b': {'x', 'y', 'zz'}, 'a': 1.5}, b'q']))"
    )
    seeds = ("1", "2")
    made = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in seeds
    }
    assert len(made) == 1
    assert "None" not in made.pop()
