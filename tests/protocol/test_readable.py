"""What is committed as succeeded can be read by the reader: an item whose result cannot fails alone, and says why."""

from __future__ import annotations

import datetime
import decimal
import enum
import io
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import manifold
import manifold.errors
from manifold.cli.app import app
from manifold.ledger import open_ledger
from manifold.protocol import envelope, proof, salvage


class QuotaError(Exception):
    def __init__(self, limit: int, used: int) -> None:
        super().__init__(f"{used} of {limit}")


class RefusesState:
    def __init__(self) -> None:
        self.x = 1

    def __setstate__(self, state: object) -> None:
        raise ValueError("no state is taken")


class EndsTheProcess:
    def __reduce__(self) -> Any:
        return SystemExit, ("never mind",), None, None, iter([(1, 2)])


class MissesAttributes:
    """The usual mistake: __getattr__ that needs what is not there yet."""

    def __init__(self) -> None:
        self.inner = {"a": 1}

    def __getattr__(self, name: str) -> Any:
        return self.inner[name]


class NamesNothing:
    def __reduce__(self) -> Any:
        return int, ("rubbish",)


class Own(BaseException):
    pass


class StateRaises:
    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __setstate__(self, state: dict[str, Any]) -> None:
        raise state["kind"]


class ReduceRaises:
    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        raise self.kind


class HardToWeigh:
    """Nothing of it can be asked for."""

    def __getattribute__(self, name: str) -> Any:
        raise Own


class Reduced:
    def __reduce__(self) -> Any:
        return 7


class Deep:
    def __reduce__(self) -> Any:
        return _endless, ()


def _endless() -> Any:
    return _endless()


UNREADABLE: dict[str, Callable[[], Any]] = {
    "an exception": lambda: QuotaError(1, 2),
    "within a dict": lambda: {"errors": [QuotaError(1, 2)]},
    "in a set": lambda: {RefusesState()},
    "setstate": RefusesState,
    "getattr": MissesAttributes,
    "rubbish": NamesNothing,
    "no reduce": Reduced,
    "recursion": Deep,
    "system exit": EndsTheProcess,
    "ctrl-c when it is loaded": lambda: StateRaises(KeyboardInterrupt),
    "ctrl-c when it is pickled": lambda: ReduceRaises(KeyboardInterrupt),
    "own when it is loaded": lambda: StateRaises(Own),
    "own when it is pickled": lambda: ReduceRaises(Own),
    "own whatever is asked": HardToWeigh,
    "a lock": threading.Lock,
    "a generator": lambda: (x for x in "ab"),
    "a file": lambda: io.TextIOWrapper(io.BytesIO()),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_result_that_nobody_could_read_fails_alone(kind: str) -> None:
    def some(x: int) -> Any:
        return UNREADABLE[kind]() if x == 3 else {"x": x}

    results = manifold.scatter(some, range(20), engine="threads://1", chunk_size=10, tolerate=1)
    assert list(results.pairs()) == [(x, {"x": x}) for x in range(20) if x != 3]
    (failed,) = results.failures()
    assert (failed.position, failed.type) == (3, "manifold.errors.Unpicklable")
    assert "pickled" in failed.message
    assert "plain data" in failed.message


def test_the_message_says_why_and_what_to_do() -> None:
    results = manifold.scatter(lambda x: QuotaError(1, 2), [1], engine="threads://1", tolerate=1)
    (failed,) = results.failures()
    assert "a QuotaError" in failed.message
    assert "missing 1 required positional argument" in failed.message
    assert "__reduce__" in failed.message


def test_a_whole_chunk_of_them_fails_item_by_item() -> None:
    results = manifold.scatter(
        lambda x: QuotaError(1, 2), range(3000), engine="threads://1", chunk_size=3000, tolerate="100%"
    )
    assert results.summary()["failed"] == 3000


class Box:
    used = False


_box = Box()


class OneOfAKind:
    """Each by itself can be read; a second one in the same pickle, which shares the box, cannot."""

    def __reduce__(self) -> Any:
        return _take, (_box,)


def _take(box: Box) -> OneOfAKind:
    if box.used:
        raise RuntimeError("there is one of a kind")
    box.used = True
    return OneOfAKind()


def test_results_that_cannot_be_read_beside_each_other_do_not_stop_the_chunk() -> None:
    results = manifold.scatter(lambda x: OneOfAKind(), range(5), engine="threads://1", chunk_size=5, tolerate="100%")
    assert results.summary()["succeeded"] == 1
    assert results.summary()["failed"] == 4
    assert [type(one) for one in results] == [OneOfAKind]


def test_a_fold_loses_only_the_item_whose_result_cannot_be_read() -> None:
    def some(x: int) -> list[Any]:
        return [QuotaError(1, 2)] if x == 3 else [x]

    def joined(left: list[Any], right: list[Any]) -> list[Any]:
        left.extend(right)  # it changes what it is given, so it must not be called twice for one value
        return left

    results = manifold.scatter(some, range(20), engine="threads://1", chunk_size=10, tolerate=1, reduce=joined)
    assert results.value() == [x for x in range(20) if x != 3]
    assert [failed.position for failed in results.failures()] == [3]


def test_a_fold_that_cannot_be_read_is_nobodys_fault() -> None:
    with pytest.raises(manifold.errors.ScatterError, match="can be pickled, but not be unpickled"):
        manifold.scatter(
            lambda x: x, range(4), engine="threads://1", chunk_size=4, reduce=lambda left, right: QuotaError(1, 2)
        )


def test_a_failed_item_that_would_not_load_again_is_not_kept() -> None:
    def spoil(x: list[Any]) -> None:
        raise ValueError("bad")

    results = manifold.scatter(spoil, [[1]], engine="threads://1", tolerate=1)
    (failed,) = results.failures()
    assert failed.item == [1]
    assert envelope.dumps_if_possible(QuotaError(1, 2)) is None


class Kind(enum.Enum):
    A = 1


@dataclass(frozen=True)
class Frozen:
    a: int


@dataclass
class Plain:
    a: int
    b: list[Any]


PLAIN: list[Any] = [
    *(None, True, 1, 1.5, 2j, "a", b"b", bytearray(b"c"), (1,), [1], {"a": {1}}, frozenset([1]), range(3)),
    *(datetime.datetime.now(datetime.UTC), datetime.date(2020, 1, 1), decimal.Decimal(1), uuid.uuid4(), Path("/x")),
    *(Counter("a"), defaultdict(list), Frozen(1), Plain(1, [Frozen(2)])),
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_plain_data_is_not_loaded_to_prove_it(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[bytes] = []
    monkeypatch.setattr("manifold.protocol.proof.scope.loads", loads.append)
    proof.dumps([value] * 3)
    assert loads == []


@pytest.mark.parametrize("value", [ValueError(1), QuotaError(1, 2), Kind.A, [RefusesState()]])
def test_what_runs_code_of_its_own_is_loaded(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[bytes] = []
    monkeypatch.setattr("manifold.protocol.proof.scope.loads", loads.append)
    proof.dumps([value] * 3)
    assert len(loads) == 1


def test_arrays_are_plain_data(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy")
    loads: list[bytes] = []
    monkeypatch.setattr("manifold.protocol.proof.scope.loads", loads.append)
    proof.dumps([numpy.arange(9), numpy.float64(1), numpy.array(["a", None], object), numpy.datetime64("2020-01-01")])
    assert loads == []
    proof.dumps(numpy.array([ValueError(1)], object))
    assert len(loads) == 1


def test_what_cannot_be_read_of_a_pickled_list_is_told_by_its_index() -> None:
    bad, state = QuotaError(1, 2), RefusesState()
    values: list[Any] = [
        1,
        bad,
        {"k": [state]},
        "ok",
        NamesNothing(),
        (state,),
        {state},
        [bad],
        *range(2500),
        {"z": bad},
    ]
    found = salvage.load_items(envelope.dumps(values))
    assert [index for index, one in enumerate(found) if isinstance(one, salvage.Unreadable)] == [1, 2, 4, 5, 6, 7, 2508]
    assert [one for one in found if not isinstance(one, salvage.Unreadable)] == [1, "ok", *range(2500)]


def test_verify_deep_names_the_item_whose_result_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # as an older version committed it
        patch.setattr("manifold.protocol.codec.proof.dumps", envelope.dumps)
        results = manifold.scatter(
            _some_unreadable, range(20), engine="threads://1", chunk_size=10, tolerate=1, scatter_id="old"
        )
    answer = CliRunner().invoke(app, ["verify", "old", "--deep"])
    assert answer.exit_code == 1
    assert "the results of items 13, 15" in " ".join(answer.output.split())
    assert list(results[:10]) == [{"x": x} for x in range(10)]
    with pytest.raises(manifold.ManifoldError, match=r"items 10 to 19 .* cannot be unpickled here: TypeError"):
        list(results)
    assert open_ledger().suspects(results.uid) == []


def _some_unreadable(x: int) -> Any:
    if x == 11:
        raise ValueError("bad")
    return QuotaError(1, 2) if x in (13, 15) else {"x": x}
