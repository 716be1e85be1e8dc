"""An author's classes are the same classes in every process that has them: function, item, result, quarantine."""

from __future__ import annotations

import pytest

from tests.travel.conftest import Folder

KINDS = """
    import abc, enum, pathlib, sys, typing
    from dataclasses import dataclass
    from typing import Generic, NamedTuple, TypeVar

    import attrs
    import pydantic

    T = TypeVar("T")

    class Kind(enum.Enum):
        A = "a"
        B = "b"

        @property
        def loud(self):
            return self.value.upper()

    class Rights(enum.Flag):
        READ = enum.auto()
        WRITE = enum.auto()

    class Size(enum.IntEnum):
        BIG = 10

    @dataclass(frozen=True)
    class Point:
        x: int
        kind: Kind = Kind.B

    @dataclass(slots=True)
    class Slotted:
        x: int

    class Plain:
        def __init__(self, x):
            self.x = x
        def __eq__(self, other):
            return type(other) is Plain and self.x == other.x
        __hash__ = None

    class Pair(NamedTuple):
        left: int
        right: Kind

    class Refused(Exception):
        pass

    class Base(abc.ABC):
        @abc.abstractmethod
        def area(self): ...

    class Square(Base):
        def __init__(self, side):
            self.side = side
        def area(self):
            return self.side ** 2

    class Outer:
        class Inner:
            pass

    class Box(Generic[T]):
        def __init__(self, held: T):
            self.held = held

    class Model(pydantic.BaseModel):
        x: int
        kind: Kind = Kind.A

    @attrs.define
    class Made:
        x: int

    class _Nothing:
        def __reduce__(self):
            return "NOTHING"

    NOTHING = _Nothing()

    def helper(n):
        return n + 1

    def many():
        return [Kind.B, Rights.READ | Rights.WRITE, Size.BIG, Point(1), Slotted(2), Plain(3), Pair(1, Kind.A),
                Refused("no"), Square(4), Outer.Inner(), Box("x"), Box[int], Model(x=1), Made(5), NOTHING, helper,
                Square(3).area, Kind, Point(2, Kind.A)]

    def problems(values):
        kind, rights, size, point, slotted, plain, pair, refused, square, inner, box, boxed, model, made, nothing, \\
            function, method, kind_class, other = values
        checks = {
            "enum": kind is Kind.B and kind == Kind.B and kind.loud == "B",
            "flag": rights == Rights.READ | Rights.WRITE and isinstance(rights, Rights),
            "intenum": size is Size.BIG,
            "dataclass": point == Point(1) and isinstance(point, Point) and hash(point) == hash(Point(1)),
            "member": point.kind is Kind.B and other.kind is Kind.A,
            "slots": slotted == Slotted(2) and isinstance(slotted, Slotted),
            "plain": plain == Plain(3),
            "namedtuple": pair == Pair(1, Kind.A) and isinstance(pair, Pair) and pair.right is Kind.A,
            "exception": isinstance(refused, Refused) and refused.args == ("no",),
            "abc": isinstance(square, Base) and isinstance(square, Square) and square.area() == 16,
            "nested": isinstance(inner, Outer.Inner),
            "generic": isinstance(box, Box) and boxed == Box[int],
            "pydantic": isinstance(model, Model) and model == Model(x=1) and model.kind is Kind.A,
            "attrs": made == Made(5) and isinstance(made, Made),
            "sentinel": nothing is NOTHING,
            "function": function(1) == 2,
            "method": method() == 9 and isinstance(method.__self__, Square),
            "class": kind_class is Kind,
        }
        return [name for name, holds in checks.items() if not holds]
"""

WORK = """
    def work(item):
        if wrong := problems(item):
            raise TypeError(f"wrong on the worker: {wrong}")
        if not pathlib.Path("fixed").exists() and item[0] is Kind.B:
            raise Refused("not yet")
        return many()
"""

READ = """
    import manifold

    def same_function(values):
        return [] if values[15] is helper else ["is function"]

    def run():
        return manifold.scatter(work, [many()], engine="processes://1", scatter_id="kinds", tolerate="100%")

    if __name__ == "__main__":
        results = run()
        items = [failure.item for failure in results.failures()]
        wrong = [problems(values) + same_function(values) for values in [*results, *items]]
        print(len(results), len(items), *wrong)
"""

FAILED, SUCCEEDED = "0 1 []", "1 0 []"


@pytest.mark.parametrize("engine", ["processes://1", "threads://2"])
def test_classes_of_a_script_hold_in_workers_quarantine_redrive_and_every_later_reader(
    folder: Folder, engine: str
) -> None:
    folder.write("nightly.py", KINDS + WORK + READ.replace("processes://1", engine))
    assert folder.says("nightly.py") == FAILED, "the first try fails, and its item comes back as it was"
    folder.write("fixed", "")
    assert folder.says("nightly.py") == SUCCEEDED, "the item of the quarantine is one of the new worker's classes"
    assert folder.says("nightly.py") == SUCCEEDED, "a third process only reads"
    folder.write("report.py", "import nightly\n\nnightly.manifold\n" + REPORT.format("nightly"))
    assert folder.says("report.py") == SUCCEEDED, "another program has imported the script"
    assert folder.says("-m", "nightly") == SUCCEEDED, "the script is run as a module"


REPORT = """
from {0} import helper, problems, run
results = run()
print(len(results), 0, *[problems(values) + ([] if values[15] is helper else ["is function"]) for values in results])
"""


def test_classes_of_a_module_beside_the_script_hold_too(folder: Folder) -> None:
    folder.write("own/__init__.py", "")
    folder.write("own/kinds.py", KINDS)
    folder.write("nightly.py", "import pathlib\nfrom own.kinds import *\nfrom own.kinds import Refused\n")
    with (folder.root / "nightly.py").open("a") as file:
        import textwrap

        file.write(textwrap.dedent(WORK) + textwrap.dedent(READ))
    assert folder.says("nightly.py") == FAILED
    folder.write("fixed", "")
    assert folder.says("nightly.py") == SUCCEEDED
    folder.write("report.py", READ_ONLY)
    assert folder.says("report.py") == SUCCEEDED, "the reader's process imports the module by itself"


READ_ONLY = """
import manifold
from manifold.ledger import open_ledger
from manifold.results.results import Results
ledger = open_ledger()
results = Results.of(ledger.find("kinds"), ledger)
values = list(results)
from own.kinds import problems
print(len(values), 0, *[problems(one) for one in values])
"""


@pytest.mark.parametrize("program", ["nightly.py"])
def test_a_reader_without_the_class_is_told_so_once_and_gets_a_copy_that_is_one_class(
    folder: Folder, program: str
) -> None:
    folder.write(program, KINDS + WORK.replace("many()", "Point(1)") + READ_MANY)
    folder.says(program)
    folder.write("fixed", "")
    assert folder.says(program) == "4"
    folder.write(
        "report.py",
        READ_ONLY.partition("from own")[0] + "print(len({type(v) for v in values}), len({v.kind for v in values}))",
    )
    done = folder.run("report.py")
    assert (done.returncode, done.stdout) == (0, "1 1\n"), done.stderr
    assert done.stderr.count("Point of nightly.py cannot be found in this process") == 1
    assert "Import nightly before reading, or move it to a module that both import" in done.stderr


READ_MANY = """
    import manifold
    if __name__ == "__main__":
        items = [many(), [Kind.A, *many()[1:]], many(), many()]
        items = [many(), many(), many(), many()]
        print(len(manifold.scatter(work, items, engine="processes://1", scatter_id="kinds", tolerate="100%",
                                   chunk_size=1)))
"""


LOCAL = """
    import enum, pathlib, sys
    import manifold

    def main():
        class Kind(enum.Enum):
            A = 1
            B = 2

        def work(kind):
            assert isinstance(kind, Kind), kind
            if kind is Kind.B and not pathlib.Path("fixed").exists():
                raise ValueError("not yet")
            return kind

        results = manifold.scatter(work, [Kind.A, Kind.B], engine="processes://1", scatter_id="local", tolerate="100%")
        print(list(results) == [Kind.A, Kind.B][: len(results)], len(results))

    if __name__ == "__main__":
        main()
"""


def test_a_class_inside_a_function_is_that_of_the_function_in_each_later_run_of_the_program(folder: Folder) -> None:
    folder.write("nightly.py", LOCAL)
    assert folder.says("nightly.py") == "True 1"
    folder.write("fixed", "")
    assert folder.says("nightly.py") == "True 2"
    assert folder.says("nightly.py") == "True 2", "nothing runs, and the results are read"
    folder.write("report.py", READ_ONLY.partition("from own")[0].replace("kinds", "local") + "print(len(values))")
    done = folder.run("report.py")
    assert done.stdout == "2\n"
    assert done.stderr.count("main.<locals>.Kind of nightly.py cannot be found in this process") == 1
    assert "define it at the top of a module" in done.stderr


REDEFINED = """
    import enum, multiprocessing, sys
    from concurrent.futures import ProcessPoolExecutor
    import manifold
    from manifold.engines.open import open_engine

    CELL = "class Kind(enum.Enum):\\n A = 1\\n B = 2\\n def said(self): return {said!r}\\n"
    exec(CELL.format(said="one"))

    def work(kind):
        assert isinstance(kind, Kind)
        return kind, kind.said()

    def child():
        found = list(manifold.scatter(work, [Kind.B], engine="processes://1"))
        assert found == [(Kind.B, "one")], found

    if __name__ == "__main__":
        own = multiprocessing.get_context("spawn").Process(target=child)
        own.start()
        own.join()
        print("child", own.exitcode)
        for method in ("fork", "spawn"):
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
                print(method, list(manifold.scatter(work, [Kind.A], engine=pool)) == [(Kind.A, "one")])
        with open_engine("processes://1") as engine:
            old_kind, old = Kind, manifold.scatter(work, [Kind.A], engine=engine)
            exec(CELL.format(said="two"))
            new = manifold.scatter(work, [Kind.A], engine=engine)
            print("cells", list(old) == [(old_kind.A, "one")], list(new) == [(Kind.A, "two")], old_kind is not Kind)

            class Settings:
                rate = 1

            read = lambda _: Settings.rate
            first = list(manifold.scatter(read, [0], engine=engine))
            Settings.rate = 2
            print("set", first, list(manifold.scatter(read, [0], engine=engine)))
"""


def test_children_forks_cells_that_run_twice_and_attributes_that_change(folder: Folder) -> None:
    folder.write("cells.py", REDEFINED)
    assert folder.says("cells.py").splitlines() == [
        "child 0",
        "fork True",
        "spawn True",
        "cells True True True",
        "set [1] [2]",
    ]


def test_failed_items_run_again_from_the_command_line_with_the_modules_that_came_with_the_code(folder: Folder) -> None:
    folder.write("late.py", "class Kept: pass\ndef twice(n): return 2 * n\n")
    folder.write("loaded.py", "RATE = 1\nclass Item:\n    def __init__(self, n): self.n = n\n")
    folder.write(
        "nightly.py",
        f"""
        import pathlib
        import manifold, loaded
        FIXED = pathlib.Path({str(folder.root / "fixed")!r})
        def work(item):
            import late
            from loaded import Item, RATE
            if not FIXED.exists():
                raise ValueError("not yet")
            assert isinstance(item, Item) and isinstance(item, loaded.Item)
            return Item(late.twice(item.n) * RATE)
        if __name__ == "__main__":
            loaded.RATE = 10
            results = manifold.scatter(work, [loaded.Item(1), loaded.Item(2)], engine="processes://1",
                                       scatter_id="late", tolerate="100%")
            print(len(results), [isinstance(one, loaded.Item) and one.n for one in results])
        """,
    )
    assert folder.says("nightly.py") == "0 []"
    folder.write("fixed", "")
    elsewhere = folder.root.parent / "elsewhere"
    elsewhere.mkdir()
    folder.says("-c", "from manifold.cli import main; main()", "redrive", "late", cwd=elsewhere)
    assert folder.says("nightly.py") == "2 [20, 40]"
