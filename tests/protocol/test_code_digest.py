"""The digest of code: other where the code, or what it refers to, is other, and the same everywhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from manifold.protocol.identity import code_digest

BASE = """
    import abc, asyncio, contextlib, dataclasses, datetime, enum, functools, logging, operator, re, threading
    import settings
    from settings import FACTOR
    from pkg import deep

    log = logging.getLogger(__name__)
    RATE = 2
    TABLE = {"a": 1, "b": [1, 2, {"c": (3,)}]}
    MANY = {f"k{n}": n for n in range(1000)}
    NAMES = {"x", "y", "zz"}
    LOCK = threading.Lock()
    PATTERN = re.compile("a+")
    SINCE = datetime.date(2026, 1, 1)
    SEEN = []
    COPIED = {"kept": 74}
    TOTAL = 0

    def helper(x, by=3):
        return x * by

    OPERATIONS = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b}
    CHAIN = [helper, functools.partial(helper, by=4)]

    class Base(abc.ABC):
        scale = 5
        def shift(self, x):
            return x + 1

    class Shape(Base):
        limit = 10
        def __init__(self, size=1):
            self.size = size
            self.lock = threading.Lock()
        @property
        def half(self):
            return self.size / 2
        @staticmethod
        def fixed(x):
            return x + 7
        @classmethod
        def made(cls, x):
            return cls(x)
        @functools.cached_property
        def heavy(self):
            return 99
        def __call__(self, x):
            return self.shift(x) * self.size
        def method(self, x):
            return x * self.size

    class Kind(enum.Enum):
        A = 1
        B = 2

    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int = 0
        tags: tuple = dataclasses.field(default=("t",))

    POINT = Point(3)

    class Calculator:
        def __init__(self, rate):
            self.rate, self.calls = rate, 0
        def add(self, x):
            return x + self.rate + 70
        @staticmethod
        def update(x):
            return x + 71

    CALCULATOR = Calculator(72)
    COUNTED = Calculator(73)

    def logged(fn):
        @functools.wraps(fn)
        def inner(x):
            log.debug("called")
            return fn(x) + 100
        return inner

    @logged
    def decorated(x):
        return x + RATE

    @functools.lru_cache(maxsize=16)
    def cached(x):
        return x + 40

    @functools.singledispatch
    def dispatched(x):
        return "other"

    @dispatched.register
    def _(x: int):
        return "int"

    @contextlib.contextmanager
    def managed():
        yield 41

    async def later(x):
        return x + 50

    def recursive(x):
        return recursive(x - 1) + mutual(x) if x else 60

    def mutual(x):
        return recursive(x - 1) if x else 61

    def adder(n):
        return lambda x: x + n

    ADDERS = {"one": adder(1), "two": adder(2)}

    def f(x):
        global TOTAL
        from lazy import LAZY
        TOTAL += 1
        SEEN.append(x)
        with LOCK, managed() as m:
            values = [RATE * n for n in TABLE["b"]]
            y = OPERATIONS["add"](x, FACTOR) + settings.LIMIT + deep.inner.DEEP + len(NAMES) + MANY["k7"]
            z = Shape(2)(x) + Point().x + POINT.x + helper(x) + CHAIN[1](x) + cached(x) + ADDERS["one"](x)
            COUNTED.calls += 1
            CALCULATOR.add(x), Calculator.update(x), COUNTED.add(x)
            COPIED.copy().update(x=1)
            copied = dict(COPIED)
            copied.update(x=1)
            more = decorated(x), recursive(2), later, dispatched(1)
            return (y, z, values, m, Kind.B, PATTERN, SINCE, LAZY, *more, 1.5)
"""
MODULES = {
    "settings.py": "FACTOR = 3\nLIMIT = 9\nUNUSED = 1\ndef scaled(x):\n    return x\n",
    "lazy.py": "from other import OTHER\nLAZY = 80 + OTHER\n",
    "other.py": "OTHER = 1\n",
    "pkg/__init__.py": "",
    "pkg/deep.py": "from pkg import inner\n",
    "pkg/inner.py": "DEEP = 90\n",
}
ASKED = """
import importlib, json, sys
from manifold.protocol.identity import code_digest
made = []
for folder, what in json.load(sys.stdin):
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("job", "settings", "lazy", "other", "pkg"):
            del sys.modules[name]
    sys.path[0] = folder
    importlib.invalidate_caches()
    job = importlib.import_module("job")
    made.append(code_digest(eval(what, vars(job))))
print(json.dumps(made))
"""

CHANGES = [
    ("a constant", "job.py", "RATE = 2", "RATE = 3"),
    ("the type of a constant", "job.py", "RATE = 2", "RATE = 2.0"),
    ("a table", "job.py", '{"c": (3,)}', '{"c": (4,)}'),
    ("a large table", "job.py", "range(1000)", "range(1, 1001)"),
    ("a table of which it changes copies", "job.py", '"kept": 74', '"kept": 75'),
    ("a set", "job.py", '"zz"}', '"z"}'),
    ("a pattern", "job.py", '"a+"', '"a*"'),
    ("a date", "job.py", "date(2026, 1, 1)", "date(2026, 1, 2)"),
    ("a helper", "job.py", "return x * by", "return x + by"),
    ("a helper's default", "job.py", "by=3", "by=5"),
    ("a function in a dict", "job.py", "lambda a, b: a + b", "lambda a, b: a * b"),
    (
        "two functions that change places",
        "job.py",
        '{"one": adder(1), "two": adder(2)}',
        '{"one": adder(2), "two": adder(1)}',
    ),
    ("a keyword of a partial in a list", "job.py", "helper, by=4", "helper, by=6"),
    ("an attribute of a class", "job.py", "limit = 10", "limit = 11"),
    ("an attribute of its base", "job.py", "scale = 5", "scale = 6"),
    ("a method of its base", "job.py", "return x + 1\n", "return x + 2\n"),
    ("a property", "job.py", "self.size / 2", "self.size / 3"),
    ("a static method", "job.py", "return x + 7", "return x + 8"),
    ("a class method", "job.py", "return cls(x)", "return cls(x + 1)"),
    ("a cached property", "job.py", "return 99", "return 98"),
    ("a method", "job.py", "self.shift(x) * self.size", "self.shift(x) - self.size"),
    ("an enum's value", "job.py", "B = 2", "B = 3"),
    ("a dataclass's default", "job.py", "x: int = 0", "x: int = 1"),
    ("another default of it", "job.py", '("t",)', '("u",)'),
    ("a method whose name is one of a container's", "job.py", "self.rate + 70", "self.rate + 79"),
    ("a static method of such a name", "job.py", "x + 71", "x + 78"),
    ("the state of an object with such methods", "job.py", "Calculator(72)", "Calculator(77)"),
    ("an object's state", "job.py", "Point(3)", "Point(4)"),
    ("a decorator", "job.py", "fn(x) + 100", "fn(x) + 101"),
    ("what is decorated", "job.py", "return x + RATE", "return x - RATE"),
    ("a function with a cache", "job.py", "return x + 40", "return x + 41"),
    ("a function that dispatches", "job.py", 'return "int"', 'return "INT"'),
    ("a context manager", "job.py", "yield 41", "yield 42"),
    ("an async function", "job.py", "return x + 50", "return x + 51"),
    ("a recursive function", "job.py", "else 60", "else 62"),
    ("its counterpart", "job.py", "else 61", "else 63"),
    ("the extent of a with", "job.py", "            return (y,", "        return (y,"),
    ("a constant in a tuple", "job.py", "1.5)", "1.25)"),
    ("a value of an own module", "settings.py", "LIMIT = 9", "LIMIT = 8"),
    ("a value imported from it", "settings.py", "FACTOR = 3", "FACTOR = 4"),
    ("a value of a module in a package", "pkg/inner.py", "DEEP = 90", "DEEP = 91"),
    ("a module imported inside", "lazy.py", "80", "81"),
    ("a module that this imports", "other.py", "OTHER = 1", "OTHER = 2"),
]
NO_CHANGES = [
    ("a comment, and lines that move", "job.py", "    RATE = 2", "    # the rate\n\n\n    RATE = 2"),
    ("a name that nobody uses", "settings.py", "UNUSED = 1", "UNUSED = 2"),
    ("a function that nobody calls", "settings.py", "    return x", "    return x + 1"),
    ("the order of a dict", "job.py", '{"a": 1, "b": [1, 2, {"c": (3,)}]}', '{"b": [1, 2, {"c": (3,)}], "a": 1}'),
    ("the order of definitions", "job.py", "    RATE = 2\n", "    RATE = 0\n    RATE = 2\n"),
    ("another function beside it", "job.py", "    def adder", "    def unused():\n        return 1\n\n    def adder"),
    ("state that the function changes", "job.py", "SEEN = []", "SEEN = [1, 2]"),
    ("an object whose attributes it changes", "job.py", "Calculator(73)", "Calculator(76)"),
    ("a count that it changes", "job.py", "TOTAL = 0", "TOTAL = 17"),
    ("a lock", "job.py", "LOCK = threading.Lock()", "LOCK = threading.RLock() and threading.Lock()"),
]


def place(folder: Path, changed: tuple[str, str, str] | None = None) -> Path:
    """The folder with a script and its modules, one of them changed."""
    for name, text in {"job.py": BASE, **MODULES}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if changed is not None and changed[0] == name:
            assert changed[1] in text, changed
            text = text.replace(changed[1], changed[2])
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def digests(*asked: tuple[Path, str], seed: str = "0") -> list[str]:
    """What another process makes of (folder, expression) in this order."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    given = json.dumps([(str(folder), what) for folder, what in asked])
    command = [sys.executable, "-c", ASKED]
    done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=True)
    made: list[str] = json.loads(done.stdout)
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digest after each change, by the change; "" before any."""
    rows = [("", None), *((row[0], row[1:]) for row in CHANGES + NO_CHANGES)]
    found = digests(*((place(tmp_path_factory.mktemp("job"), changed), "f") for _, changed in rows))
    return dict(zip((what for what, _ in rows), found, strict=True))


@pytest.mark.parametrize("what", [row[0] for row in CHANGES])
def test_what_the_function_refers_to_is_part_of_it(made: dict[str, str], what: str) -> None:
    assert made[what] != made[""]


@pytest.mark.parametrize("what", [row[0] for row in NO_CHANGES])
def test_what_makes_no_difference_is_no_change(made: dict[str, str], what: str) -> None:
    assert made[what] == made[""]


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_hash_seed_and_folder_make_the_same_digest(
    made: dict[str, str], tmp_path: Path, seed: str
) -> None:
    folder = place(tmp_path / "deeper" / "and" / "longer")
    loaded = "__import__('lazy') and f"  # whether a module is loaded already makes no difference
    assert {*digests((folder, "f"), (folder, loaded), seed=seed)} == {made[""]}


CALLABLES = [
    ("a keyword of a partial", "functools.partial(helper, by=2)", "functools.partial(helper, by=3)"),
    ("an argument of a partial", "functools.partial(helper, 2)", "functools.partial(helper, 3)"),
    (
        "a partial of a partial",
        "functools.partial(functools.partial(helper, 1), by=2)",
        "functools.partial(functools.partial(helper, 1), by=3)",
    ),
    ("the state of a callable object", "Shape(1)", "Shape(2)"),
    ("the state of a bound method's object", "Shape(1).method", "Shape(2).method"),
    ("the table of a bound method", "{'a': 1}.get", "{'a': 2}.get"),
    ("a class", "Shape", "Point"),
    ("a builtin", "len", "sum"),
    ("an operator", "operator.itemgetter(0)", "operator.itemgetter(1)"),
    ("a closure", "adder(1)", "adder(2)"),
    ("text and bytes", "adder('a')", "adder(b'a')"),
    ("1 and True", "adder(1)", "adder(True)"),
    ("0.0 and -0.0", "adder(0.0)", "adder(-0.0)"),
    ("keys that are numbers or text", "adder({1: 2})", "adder({'1': 2})"),
    ("large integers", "adder(2**70)", "adder(2**70 + 1)"),
    ("an array", "adder(__import__('numpy').arange(5))", "adder(__import__('numpy').arange(5) + 1)"),
    (
        "a frame",
        "adder(__import__('pandas').DataFrame({'a': [1]}))",
        "adder(__import__('pandas').DataFrame({'a': [2]}))",
    ),
]


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The digests of the expressions, in three processes."""
    folder = place(tmp_path_factory.mktemp("job"))
    asked = [one for row in CALLABLES for one in row[1:]] + [_held(value) for value in UNSTABLE]
    return [dict(zip(asked, digests(*((folder, what) for what in asked), seed=seed), strict=True)) for seed in "123"]


@pytest.mark.parametrize(("one", "other"), [row[1:] for row in CALLABLES], ids=[row[0] for row in CALLABLES])
def test_callables_of_every_kind_count_by_value(called: list[dict[str, str]], one: str, other: str) -> None:
    assert len({process[one] for process in called}) == 1
    assert called[0][one] != called[0][other]


UNSTABLE = ["object()", "threading.Lock()", "open(__file__)", "iter([1])", "Shape(1)", "__import__('random').Random()"]
UNSTABLE += [
    "__import__('requests').Session()",
    "__import__('sqlite3').connect(':memory:')",
    "log",
    "__import__('weakref').ref(f)",
]


def _held(value: str) -> str:
    return f"functools.partial(helper, {value})"


@pytest.mark.parametrize("value", UNSTABLE)
def test_what_has_no_stable_form_is_left_out(called: list[dict[str, str]], value: str) -> None:
    assert len({process[_held(value)] for process in called}) == 1


def test_a_function_goes_by_its_code_and_not_by_its_name_or_docstring() -> None:
    def one(x: int) -> int:
        """One way to say it."""
        return x + 1

    def other(x: int) -> int:
        """Another way."""
        return x + 1

    assert code_digest(one) == code_digest(other)


def test_a_path_into_the_own_folder_is_the_same_in_another_folder(tmp_path: Path) -> None:
    text = "from pathlib import Path\nHERE = Path(__file__).parent\nTEXT = str(HERE / 'a.sql')\n"
    text += "def f(x):\n    return HERE, TEXT\n"
    folders = tmp_path / "v1", tmp_path / "version2"
    for folder in folders:
        folder.mkdir()
        (folder / "job.py").write_text(text)
    one, other = digests(*((folder, "f") for folder in folders))
    assert one == other


def test_a_table_of_a_million_entries_costs_one_pass() -> None:
    table = {f"key {n}": n for n in range(1_000_000)}
    nested = [{"n": n, "t": (n, "x")} for n in range(300_000)]
    before = code_digest(lambda x: table[x], lambda x: nested[x])
    nested[250_000]["n"] = -1
    assert code_digest(lambda x: table[x], lambda x: nested[x]) != before
    table["key 999999"] = 0
    assert code_digest(lambda x: table[x]) != before
