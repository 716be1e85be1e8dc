"""What other code, other constants and another input do to a scatter that is there: nothing old comes unnoticed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import io
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sqlalchemy import text

import manifold
from manifold import per_worker
from manifold.coordinator.spec import ScatterSpec
from manifold.coordinator.start import run
from manifold.engines.open import open_engine
from manifold.errors import CodeChanged, InputGone, ItemsChanged, TooManyFailures
from manifold.ledger import Ledger, Owner, open_ledger
from manifold.monitors.progress import ProgressMonitor
from manifold.policy import Policy
from manifold.protocol.digests import item_digest
from manifold.sources import as_source, lines
from manifold.stores import open_store


class Kind(enum.Enum):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: float


class Client:
    """Has state that counts, and a lock, which has no stable form."""

    def __init__(self, url: str = "here") -> None:
        self.url = url
        self.lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class Opaque:
    """Can be pickled, and not be compared."""

    def __reduce__(self) -> Any:
        return Opaque, (), {"held": iter([1])}


def shown(x: Any, **consts: Any) -> str:
    return f"{x!r} {sorted(consts.items(), key=str)!r}"


def again(items: Any = (1, 2, 3), *, fn: Any = shown, **options: Any) -> manifold.Results:
    given = {"engine": "threads://1", "scatter_id": "job", **options}
    return manifold.scatter(fn, items, **given)  # type: ignore[no-any-return]


def epochs() -> int:
    """How many coordinators the scatter has had; 1 while results are only returned."""
    ledger: Ledger = open_ledger()
    row = ledger.find("job")
    assert row is not None
    return row.epoch


# -- constants -------------------------------------------------------------------------------------------------------

CONSTANTS: list[tuple[Any, Any]] = [
    (2, 3),
    (1, True),
    (1, 1.0),
    (0, False),
    (0.0, -0.0),
    ("a", b"a"),
    ("1", 1),
    (None, ""),
    ([1, 2], [2, 1]),
    ([1, 2], (1, 2)),
    ({"a": 1}, {"a": 2}),
    ({1: "x"}, {"1": "x"}),
    ({1, 2}, {1, 3}),
    (dt.date(2026, 1, 1), "2026-01-01"),
    (Decimal("1.10"), Decimal("1.1")),
    (2**70, 2**70 + 1),
    (float("inf"), float("-inf")),
    (Kind.A, Kind.B),
    (Point(1.0), Point(2.0)),
    (np.array([1, 2]), np.array([1, 3])),
    (np.float32(1), np.float64(1)),
    (Path("/a"), "/a"),
    (range(3), range(4)),
    (deque([1]), deque([2])),
    (len, sum),
    (lambda x: x, lambda x: x + 1),
    (Client("here"), Client("there")),
    (per_worker(Point, 1.0), per_worker(Point, 2.0)),
    (per_worker(lambda: 1), per_worker(lambda: 2)),
    (per_worker(Client), Client()),
]


@pytest.mark.parametrize(("one", "other"), CONSTANTS, ids=lambda value: str(value)[:24])
def test_results_of_other_constants_are_never_returned(one: Any, other: Any) -> None:
    first = list(again(consts={"rate": one, "same": per_worker(dict)}, fn=_kind_of_rate))
    assert list(again(consts={"rate": one, "same": per_worker(dict)}, fn=_kind_of_rate)) == first
    assert epochs() == 1, "equal constants run nothing"
    again(consts={"same": per_worker(dict), "rate": other}, fn=_kind_of_rate)
    ledger = open_ledger()
    row = ledger.find("job")
    assert row is not None
    assert row.gen == 2, "other constants run everything"


def _kind_of_rate(x: int, rate: Any, same: Any) -> str:
    return f"{x} {type(rate).__name__}"


def test_the_results_are_those_of_the_constants_that_were_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    assert list(again(consts={"rate": 2})) == ["1 [('rate', 2)]", "2 [('rate', 2)]", "3 [('rate', 2)]"]
    assert caplog.messages == []
    assert list(again(consts={"rate": 3})) == ["1 [('rate', 3)]", "2 [('rate', 3)]", "3 [('rate', 3)]"]
    (told,) = caplog.messages
    assert told == "job: changed since the try before: rate; so all items run from scratch"
    assert next(iter(again(consts={"rate": 3, "more": 1}))) == "1 [('more', 1), ('rate', 3)]"
    assert next(iter(again())) == "1 []"


def test_equal_constants_in_another_order_and_form_run_nothing() -> None:
    again(consts={"a": {"x": 1, "y": {3, 1}}, "b": float("nan"), "c": Client()})
    again(consts={"c": Client(), "b": float("nan"), "a": {"y": {1, 3}, "x": 1}})
    assert epochs() == 1


def test_other_keywords_of_the_items_are_another_call() -> None:
    def keyed(a: int = 0, b: int = 0) -> str:
        return f"{a} {b}"

    assert list(again({"a": [1, 2]}, fn=keyed)) == ["1 0", "2 0"]
    assert list(again({"b": [1, 2]}, fn=keyed)) == ["0 1", "0 2"]


def test_changed_constants_can_be_made_to_fail_or_to_start_from_scratch() -> None:
    again(consts={"rate": 2})
    with pytest.raises(CodeChanged, match=r"constants differ .*\(rate\).*on_code_changed='fail'"):
        again(consts={"rate": 3}, on_code_changed="fail")
    assert next(iter(again(consts={"rate": 3}, on_code_changed="fresh"))) == "1 [('rate', 3)]"


def sometimes(x: int, limit: int) -> int:
    if x >= limit:
        raise ValueError(x)
    return x * limit


def test_what_is_committed_stays_with_a_word_where_something_is_left_to_run(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TooManyFailures):
        again(range(4), fn=sometimes, consts={"limit": 3}, chunk_size=1)
    assert caplog.messages == []
    assert list(again(range(4), fn=sometimes, consts={"limit": 10}, chunk_size=1)) == [0, 3, 6, 30]
    assert "the constants differ from those of the try before (limit): what is committed stays" in caplog.text
    caplog.clear()
    assert list(again(range(4), fn=sometimes, consts={"limit": 10}, chunk_size=1)) == [0, 3, 6, 30]
    assert "come from tries that differed in limit" in caplog.text, "the mixture is told whenever it is returned"
    assert list(again(range(4), fn=sometimes, consts={"limit": 9}, chunk_size=1)) == [0, 9, 18, 27]
    caplog.clear()
    again(range(4), fn=sometimes, consts={"limit": 9}, chunk_size=1)
    assert caplog.messages == []


def test_a_constant_without_a_stable_form_is_named_once_a_try(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "manifold")
    again(consts={"odd": Opaque(), "rate": 1})
    (told,) = [one for one in caplog.messages if "odd" in one]
    assert "a later try cannot compare the constant odd" in told
    caplog.clear()
    again(consts={"odd": Opaque(), "rate": 1})
    (told,) = caplog.messages
    assert "not compared with the try before: the constant odd (it holds" in told
    assert list(again(consts={"odd": Opaque(), "rate": 2}, fn=_kind_of_odd)) == ["Opaque"] * 3, (
        "the others are compared"
    )


def _kind_of_odd(x: int, odd: Any, rate: int) -> str:
    return type(odd).__name__


def test_initial_is_that_of_the_latest_call_and_runs_nothing() -> None:
    def add(left: int, right: int) -> int:
        return left + right

    assert again([1, 2], fn=int, reduce=add, initial=10).value() == 13
    assert again([1, 2], fn=int, reduce=add, initial=100).value() == 103
    assert again([1, 2], fn=int, reduce=add).value() == 3
    with pytest.raises(CodeChanged, match="reduce="):
        again([1, 2], fn=int, reduce=max)


def test_another_value_of_a_variable_is_another_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    def region(x: int) -> str:
        return os.environ["AIRFLOW_VAR_REGION"]

    for value in ("eu", "us"):
        monkeypatch.setenv("AIRFLOW_VAR_REGION", value)
        monkeypatch.setenv("AIRFLOW_CONN_CRM", f"http://user:{value}-password@crm")
        assert list(again([1], fn=region, variables=["region"], connections=["crm"])) == [value]
    monkeypatch.setenv("AIRFLOW_CONN_CRM", "http://user:new-password@crm")
    again([1], fn=region, variables=["region"], connections=["crm"])
    assert epochs() == 1, "another password is no reason to run"


def test_the_ledger_keeps_no_digest_of_a_constant_that_a_reader_could_try_passwords_against(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = set()
    for secret in ("id1:" + "ab" * 16, "id1:" + "cd" * 16):
        monkeypatch.setenv("MANIFOLD_SECRET", secret)
        again(consts={"password": "hunter2"}, scatter_id=secret)
        row = open_ledger().find(secret)
        assert row is not None
        assert "hunter2" not in str(row.consts_digest)
        kept.add(row.consts_digest)
    assert len(kept) == 2


# -- the input -------------------------------------------------------------------------------------------------------


def _changed(items: list[Any], *at: int) -> list[Any]:
    return [("other", item) if index in at else item for index, item in enumerate(items)]


@pytest.mark.parametrize(
    ("kind", "at"),
    [(list, (0,)), (list, (1,)), (list, (999,)), (list, tuple(range(1, 999))), (tuple, (499,)), (deque, (998,))],
    ids=str,
)
def test_one_changed_item_of_many_is_another_input(kind: Any, at: tuple[int, ...]) -> None:
    items = list(range(1000))
    again(kind(items), fn=str)
    with pytest.raises(ItemsChanged):
        again(kind(_changed(items, *at)), fn=str)
    again(kind(items), fn=str)
    assert epochs() == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        ("1", 1),
        ("a", b"a"),
        (0.0, -0.0),
        ({1: 2}, {"1": 2}),
        (2**64, 2**64 + 1),
        (1j, 2j),
        (dt.date(2026, 1, 1), "2026-01-01"),
        (Decimal("1.5"), "1.5"),
        (Kind.A, 1),
        (Point(1.0), Point(2.0)),
        (np.array([1, 2]), np.array([1, 3])),
        (Client("here"), Client("there")),
        ([[1], [2]], [[1], [3]]),
        ({1, 2}, {1, 3}),
        (range(3), range(4)),
        ("caf\udce9", "caf\udcea"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_items_that_look_alike_are_told_apart(one: Any, other: Any) -> None:
    again([0, one, 0], fn=_ignore)
    again([0, one, 0], fn=_ignore)
    assert epochs() == 1
    with pytest.raises(ItemsChanged):
        again([0, other, 0], fn=_ignore)


FORMS: dict[str, Any] = {
    "in step": lambda item: {"x": [0, item, 0], "y": [1, 2, 3]},
    "the first of many": lambda item: manifold.sources.first([0, item, 0, 7], 3),
    "a field of a row": lambda item: [{"field": item}, {"field": 0}],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("one", "other"), [(1, True), ({1: 2}, {"1": 2})], ids=str)
def test_a_list_is_compared_whole_wherever_it_stands(form: str, one: Any, other: Any) -> None:
    again(FORMS[form](one), fn=_ignore)
    again(FORMS[form](one), fn=_ignore)
    assert epochs() == 1
    with pytest.raises(ItemsChanged):
        again(FORMS[form](other), fn=_ignore)


def _ignore(*args: Any, **kwargs: Any) -> None:
    return None


def test_items_without_a_stable_form_are_told_and_the_others_compared(caplog: pytest.LogCaptureFixture) -> None:
    items: list[Any] = [0, 1, 2, Opaque(), 4, 5]
    again(items, fn=_ignore, chunk_size=2)
    assert caplog.messages == []
    again([0, 1, 2, Opaque(), 4, 5], fn=_ignore, chunk_size=2)
    (told,) = caplog.messages
    assert "2 committed items, from item 2 on, could not be compared with the first try's" in told
    with pytest.raises(ItemsChanged, match="items 4 to 5"):
        again([0, 1, 2, Opaque(), 4, 6], fn=_ignore, chunk_size=2)


class Numbers:
    def __init__(self, *numbers: Any) -> None:
        self.numbers = numbers

    def __iter__(self) -> Iterator[Any]:
        return iter(self.numbers)


@pytest.mark.parametrize("kind", [Numbers, lambda *items: iter(items)], ids=["iterable", "iterator"])
def test_an_iterable_that_changed_is_refused_where_nothing_is_left_to_run(kind: Any) -> None:
    again(kind(1, 2, 3), fn=_ignore)
    again(kind(1, 2, 3), fn=_ignore)
    with pytest.raises(ItemsChanged):
        again(kind(1, 2, 4), fn=_ignore)


def test_results_as_items_are_those_of_one_moment(caplog: pytest.LogCaptureFixture) -> None:
    upstream = again([1, 2, 3], fn=int, scatter_id="upstream")
    for part in (upstream, upstream[1:]):
        again(part, fn=_ignore, scatter_id=f"down {len(part)}")
        again(part, fn=_ignore, scatter_id=f"down {len(part)}")
    other = again([1, 2, 3], fn=int, scatter_id="upstream", fresh=True)
    for part in (other, other[1:]):
        with pytest.raises(ItemsChanged):
            again(part, fn=_ignore, scatter_id=f"down {len(part)}")


# -- the code --------------------------------------------------------------------------------------------------------


def doubled(x: int) -> int:
    return x * 2


def tripled(x: int) -> int:
    return x * 3


def test_old_results_of_other_code_are_returned_with_a_word_each_time(caplog: pytest.LogCaptureFixture) -> None:
    again(fn=doubled)
    again(fn=doubled)
    assert caplog.messages == []
    assert list(again(fn=tripled)) == [2, 4, 6]
    assert "or what it refers to, has changed since the try before" in caplog.text
    caplog.clear()
    assert list(again(fn=tripled)) == [2, 4, 6]
    assert "come from tries that differed in the code" in caplog.text
    assert list(again(fn=tripled, fresh=True)) == [3, 6, 9]
    caplog.clear()
    again(fn=tripled)
    assert caplog.messages == []


def test_monitors_of_ones_own_do_not_keep_warnings_from_the_log(caplog: pytest.LogCaptureFixture) -> None:
    again(fn=doubled, monitors=[])
    again(fn=tripled, monitors=[])
    assert "has changed since the try before" in caplog.text


def test_the_progress_bar_shows_what_changed() -> None:
    again(fn=doubled)
    out = io.StringIO()
    again(fn=tripled, monitors=[ProgressMonitor(Console(file=out, force_terminal=True, width=300))])
    assert "has changed since the try before" in out.getvalue()


def test_an_accepted_change_of_the_input_is_told(caplog: pytest.LogCaptureFixture) -> None:
    again(["1", "x", "3"], fn=int, tolerate=1, chunk_size=1)
    again(["1", "2", "3"], fn=int, tolerate=1, chunk_size=1, on_items_changed="accept")
    assert "the input has changed since the first try" in caplog.text


# -- what a retry in Airflow returns, whose account is closed --------------------------------------------------------


def returned(items: Any, *, fn: Any = shown, consts: Any = None, **options: Any) -> manifold.Results:
    """As the operator asks where nothing is to run."""
    ledger, policy = open_ledger(), Policy(**options)
    row = ledger.find("job")
    assert row is not None
    plan = ScatterSpec(
        fn=fn,
        source=as_source(items),
        name="job",
        engine_url="threads://1",
        consts=consts or {},
        policy=policy,
        mode="reuse",
        uid=row.uid,
    )
    with open_engine("threads://1") as engine:
        return run(plan, ledger=ledger, store=open_store(None), engine=engine, owner=Owner.here())


def test_a_retry_returns_results_of_other_constants_or_code_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    again([1], consts={"rate": 2})
    assert list(returned([1], consts={"rate": 2})) == ["1 [('rate', 2)]"]
    assert caplog.messages == []
    assert list(returned([1], consts={"rate": 3})) == ["1 [('rate', 2)]"]
    assert "the constants differ from those of the try before (rate)" in caplog.text
    with pytest.raises(CodeChanged, match="rate"):
        returned([1], consts={"rate": 3}, on_code_changed="fail")
    returned([1], consts={"rate": 2}, fn=doubled)
    assert "test_changes.shown, or what it refers to, has changed" in caplog.text
    assert epochs() == 1


@pytest.mark.parametrize("kind", [list, Numbers, lambda items: iter(items)], ids=["list", "iterable", "iterator"])
def test_a_retry_never_returns_results_of_another_input(kind: Any) -> None:
    items = [5, 6, 7, 8]
    made = (lambda given: Numbers(*given)) if kind is Numbers else kind
    again(made(items), chunk_size=2)
    assert len(returned(made(items))) == 4
    for other in ([5, 6, 7, 9], [0, 6, 7, 8], [5, 6, 7], [5, 6, 7, 8, 9]):
        with pytest.raises((ItemsChanged, InputGone)):
            returned(made(other))
    assert epochs() == 1


def test_a_retry_returns_results_whose_input_was_moved_since_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in.txt").write_text("1\n2\n")
    again(lines(tmp_path / "in.txt"))
    (tmp_path / "in.txt").unlink()
    assert len(returned(lines(tmp_path / "in.txt"))) == 2
    assert "whether the input is what it was could not be checked" in caplog.text


def test_an_accepted_change_of_the_input_is_told_where_nothing_runs(caplog: pytest.LogCaptureFixture) -> None:
    again([1, 2])
    assert len(returned([1, 3], on_items_changed="accept")) == 2
    assert "these results are of what it was" in caplog.text


def test_a_fingerprint_of_an_earlier_version_is_no_change_and_chunks_are_compared() -> None:
    again([1, 2, 3], fn=doubled)
    ledger = open_ledger()
    with ledger.database.engine.begin() as connection:
        old = {"fp": f"list:3:{'ab' * 16}", "code": "ab" * 32, "consts": item_digest({})}
        connection.execute(text("UPDATE scatter SET source_fp = :fp, fn_digest = :code, consts_digest = :consts"), old)
    assert list(again([1, 2, 3], fn=doubled)) == [2, 4, 6]
    with pytest.raises(ItemsChanged, match="items 2 to 2"):
        again([1, 2, 4], fn=doubled, chunk_size=1)
