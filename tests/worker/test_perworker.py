"""Constants that each worker process makes for itself, once, and closes."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path

import pytest

from manifold import per_worker
from manifold.worker.perworker import close_per_worker, resolve_per_worker


class Table:
    made = 0

    def __init__(self, name: str = "t") -> None:
        type(self).made += 1
        self.name = name
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    Table.made = 0
    yield
    close_per_worker()


def test_the_value_takes_the_place_of_the_recipe() -> None:
    consts = {"table": per_worker(Table, "weather"), "timeout": 10}
    resolved = resolve_per_worker(consts)
    assert resolved["table"].name == "weather"
    assert resolved["timeout"] == 10


def test_it_is_made_once_whoever_asks_and_however_often() -> None:
    recipe = per_worker(Table)
    barrier, found = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        found.append(resolve_per_worker({"t": recipe})["t"])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Table.made == 1
    assert all(one is found[0] for one in found)


def test_only_the_recipe_travels() -> None:
    recipe = per_worker(Table, name="weather")
    recipe.value()
    copy = pickle.loads(pickle.dumps(recipe))
    assert repr(copy) == repr(recipe) == "per_worker(Table, name='weather')"
    copy.value()
    assert Table.made == 2


def test_what_a_factory_raises_is_raised_and_tried_again() -> None:
    answers: list[OSError | Table] = [OSError("not yet"), Table()]

    def factory() -> Table:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    recipe = per_worker(factory)
    with pytest.raises(OSError, match="not yet"):
        recipe.value()
    assert recipe.value().name == "t"


def test_it_is_closed_once_at_the_end() -> None:
    table = per_worker(Table).value()
    keep = per_worker(Table)
    kept = keep.value()
    close_per_worker()
    close_per_worker()
    assert (table.closed, kept.closed) == (1, 1)


def test_it_is_closed_when_the_last_job_that_names_it_is_forgotten() -> None:
    recipe = per_worker(Table)
    table = recipe.value()
    del recipe
    gc.collect()
    assert table.closed == 1


def test_a_context_manager_is_entered_and_left() -> None:
    steps = []

    @contextmanager
    def client() -> Iterator[str]:
        steps.append("in")
        yield "the client"
        steps.append("out")

    recipe = per_worker(client)
    assert recipe.value() == "the client"
    close_per_worker()
    assert steps == ["in", "out"]


def test_one_that_does_not_close_is_told_and_the_others_close(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck(Table):
        def close(self) -> None:
            raise OSError("stuck")

    other, stuck = per_worker(Table), per_worker(Stuck)
    table, _ = other.value(), stuck.value()
    close_per_worker()
    assert table.closed == 1
    assert "did not close" in caplog.text


def test_an_argument_that_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a function and its arguments, not 5"):
        per_worker(5)  # type: ignore[arg-type]


_SCRIPT = """
import sys
from manifold import per_worker
class Loud:
    def close(self): open(sys.argv[1], "a").write("closed ")
recipe = per_worker(Loud)
recipe.value()
"""


def test_a_process_that_ends_closes_its_own(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _SCRIPT, str(tmp_path / "out")], check=True)
    assert (tmp_path / "out").read_text() == "closed "


class Loud:
    def __init__(self, path: Path) -> None:
        self.path = path

    def close(self) -> None:
        self.path.write_text("closed")


def _child(path: Path) -> None:
    recipe = per_worker(Loud, path)
    recipe.value()
    globals()["keep"] = recipe


@pytest.mark.parametrize("context", [SpawnContext(), ForkServerContext()], ids=["spawn", "forkserver"])
def test_a_child_process_that_ends_closes_its_own(context: SpawnContext | ForkServerContext, tmp_path: Path) -> None:
    child = context.Process(target=_child, args=(tmp_path / "out",))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert (tmp_path / "out").read_text() == "closed"
