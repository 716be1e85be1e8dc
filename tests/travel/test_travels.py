"""What travels with a function to a worker that has none of the author's modules."""

from __future__ import annotations

import pytest

from tests.travel.conftest import Folder

SEND = """
import sys
from manifold.policy import Policy
from manifold.protocol import by_value, shipment
from manifold.protocol.job import Job

def send(fn, name="sent"):
    with by_value.by_value(by_value.script_roots()):
        packed = shipment.pack(Job.of(fn, None, {}, Policy.of({})))
    open(name, "wb").write(packed)
"""

RUN = """
import sys, threading
from manifold.worker.modules import JobModules

def load(name):
    modules = JobModules(open(name, "rb").read())
    conflict = modules.conflict()
    assert conflict is None, conflict
    return modules, modules.job()

def call(loaded, item):
    modules, job = loaded
    with modules.importable():
        return job.fn(item)
"""


class Sender(Folder):
    """A folder whose functions are sent, and called in a process that does not have it on its path."""

    def send(self, program: str) -> None:
        self.write("sending.py", SEND)
        self.says(program)

    def called(self, item: object, *, more: str = "") -> str:
        (self.root.parent / "elsewhere").mkdir(exist_ok=True)
        sent = str(self.root / "sent")
        code = f"{RUN}\nprint(call(load({sent!r}), {item!r}))\n{more}"
        return self.says("-P", "-c", code, cwd=self.root.parent / "elsewhere")


@pytest.fixture
def sender(tmp_path: object) -> Sender:
    return Sender(tmp_path)  # type: ignore[arg-type]


HELPERS = """
    import contextlib, enum, functools, typing
    from dataclasses import dataclass, field

    @functools.lru_cache(maxsize=7)
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    @functools.cache
    def square(n):
        return n * n

    @functools.singledispatch
    def show(value):
        return "object"

    @show.register
    def _(value: int):
        return f"int {value}"

    @show.register(list)
    def _(value):
        return [show(one) for one in value]

    class Shape:
        def __init__(self, side):
            self.side = side

        @functools.cached_property
        def area(self):
            return self.side ** 2

        @functools.singledispatchmethod
        def scaled(self, by):
            raise TypeError(by)

        @scaled.register
        def _(self, by: int):
            return self.side * by

        @functools.lru_cache
        def remembered(self, n):
            return n + self.side

        def power(self, n):
            return self.side ** n

        cubed = functools.partialmethod(power, 3)

        @classmethod
        @functools.lru_cache
        def named(cls):
            return cls.__name__

        @staticmethod
        @functools.cache
        def static(n):
            return -n

    @contextlib.contextmanager
    def doubled(n):
        yield 2 * n

    def noisy(function):
        @functools.wraps(function)
        def wrapped(*args):
            return function(*args)
        return wrapped

    @noisy
    def plain(n):
        return n

    UserId = typing.NewType("UserId", int)
    P = typing.ParamSpec("P")

    def typed(f: typing.Callable[P, int]):
        return P.__name__

    @functools.total_ordering
    @dataclass
    class Version:
        n: int
        parts: list = field(default_factory=list)
        def __lt__(self, other):
            return self.n < other.n

    class Kind(enum.Enum):
        A = 1
        def next(self):
            return self.value + 1

    class _Missing:
        def __reduce__(self):
            return "MISSING"

    MISSING = _Missing()
    partial_square = functools.partial(square, 5)
"""
USE = """
    def use(n):
        shape = Shape(n)
        with doubled(n) as two:
            return [fib(10), fib.cache_parameters()["maxsize"], square(n), show(n), show([n, "x"]), shape.area,
                    shape.scaled(3), shape.remembered(1), shape.cubed(), Shape.named(), Shape.static(n), two, plain(n),
                    UserId(n), typed(None), Version(1) >= Version(0), Kind.A.next(), MISSING is Kept.missing,
                    partial_square()]
"""
USED = "[55, 7, 16, 'int 4', ['int 4', 'object'], 16, 12, 5, 64, 'Shape', -4, 8, 4, 4, 'P', True, 2, True, 25]"


@pytest.mark.parametrize("where", ["a helper", "the script", "a helper used as a module"])
def test_wrappers_of_functions_travel(sender: Sender, where: str) -> None:
    kept = "\n    class Kept:\n        missing = MISSING\n"
    if where == "the script":
        sender.write("script.py", HELPERS + kept + USE + "\n    from sending import send\n    send(use)\n")
    elif where == "a helper":
        sender.write("own.py", HELPERS + kept)
        sender.write("script.py", "from own import *\nfrom sending import send\n" + _dedented(USE) + "send(use)\n")
    else:
        sender.write("own.py", HELPERS + kept + USE)
        sender.write("script.py", "import own\nfrom sending import send\ndef use(n): return own.use(n)\nsend(use)\n")
    sender.send("script.py")
    assert sender.called(4) == USED


def _dedented(text: str) -> str:
    import textwrap

    return textwrap.dedent(text)


PACKAGE = {
    "pkg/__init__.py": "VERSION = 3\n",
    "pkg/tasks.py": """
        def run(n):
            from .helpers import twice
            from . import more
            import pkg.sub.deep
            import importlib
            dynamic = importlib.import_module("lonely")
            relative = importlib.import_module(".named", "pkg")
            return [twice(n), more.thrice(n), pkg.sub.deep.four(n), dynamic.five(n), pkg.VERSION, relative.SIX]
        """,
    "pkg/helpers.py": "from pkg.consts import TWO\nimport functools\n@functools.cache\ndef twice(n): return TWO * n\n",
    "pkg/consts.py": "TWO = 2\n",
    "pkg/more.py": """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Three:
            n: int = 3
        def thrice(n):
            def inner():
                from .consts import TWO
                return TWO
            return (inner() + 1) * n
        """,
    "pkg/named.py": "SIX = 6\n",
    "pkg/sub/deep.py": "def four(n): return 4 * n\n",
    "lonely.py": "def five(n): return 5 * n\n",
    "script.py": "from pkg.tasks import run\nfrom sending import send\nsend(run)\n",
}


@pytest.mark.parametrize("imported", ["", "import pkg.helpers, pkg.more, pkg.sub.deep, lonely, pkg.named\n"])
def test_modules_that_a_function_imports_when_it_runs_travel(sender: Sender, imported: str) -> None:
    for name, text in PACKAGE.items():
        sender.write(name, imported + text if name == "script.py" else text)
    sender.send("script.py")
    left = "print([n for n in sys.modules if n.partition('.')[0] in ('pkg', 'lonely')])"
    assert sender.called(10, more=left) == "[20, 30, 40, 50, 3, 6]\n[]", "and nothing of it stays"


def test_what_a_program_has_set_in_a_module_is_seen_where_the_function_imports_it(sender: Sender) -> None:
    sender.write("config.py", "RATE = 1\nclass Rates: low = 1\ndef rate(): return RATE\n")
    sender.write(
        "script.py",
        """
        import config
        from config import Rates
        from sending import send
        config.RATE = 7
        def run(n):
            import config
            before = config.rate()
            config.RATE = 8
            return [before, config.rate(), config.Rates is Rates]
        send(run)
        """,
    )
    sender.send("script.py")
    assert sender.called(1) == "[7, 8, True]"


def test_a_helper_whose_globals_cannot_be_pickled_travels_as_its_source(sender: Sender) -> None:
    sender.write(
        "locked.py",
        """
        import threading
        LOCK = threading.Lock()
        class Kind: pass
        def safe(n):
            with LOCK:
                return n
        """,
    )
    sender.write(
        "script.py",
        """
        import locked
        from locked import Kind, safe
        from sending import send
        def run(n):
            from locked import Kind as again
            return [safe(n), locked.safe(n), Kind is again, Kind is locked.Kind]
        send(run)
        """,
    )
    sender.send("script.py")
    assert sender.called(1) == "[1, 1, True, True]"


def test_modules_that_import_one_another_travel(sender: Sender) -> None:
    sender.write("first.py", "import second\ndef one(n): return second.two(n) if n else 'end'\n")
    sender.write("second.py", "import first\ndef two(n): return first.one(n - 1)\n")
    sender.write("script.py", "import first\nfrom sending import send\ndef run(n): return first.one(n)\nsend(run)\n")
    sender.send("script.py")
    assert sender.called(3) == "end"


def test_jobs_with_other_versions_of_a_helper_do_not_mix(sender: Sender) -> None:
    run = (
        "from sending import send\ndef run(n):\n    import own\n    return own.V, own.Kind.__name__\nsend(run, {!r})\n"
    )
    for version in ("one", "two"):
        sender.write("own.py", f"V = {version!r}\nclass Kind: pass\n")
        sender.write("script.py", run.format(version))
        sender.send("script.py")
    places = [str(sender.root / name) for name in ("one", "two")]
    code = f"""{RUN}
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, {str(sender.root)!r})
jobs = [load(place) for place in {places!r}]
with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(lambda n: call(jobs[n % 2], n)[0], range(40)))
assert found == ["one", "two"] * 20, found
import own
print(own.V, own.__file__ is not None)
"""
    assert sender.says("-P", "-c", code, cwd=sender.root.parent) == "two True", "this process's own is what it was"


def test_a_module_that_bears_the_name_of_an_installed_one_is_refused_by_name(sender: Sender) -> None:
    sender.write("script.py", "from sending import send\ndef run(n):\n    import own\n    return 1\nsend(run)\n")
    sender.write("own.py", "")
    sender.send("script.py")
    sender.write("venv/site-packages/own.py", "")
    sent, place = str(sender.root / "sent"), str(sender.root / "venv/site-packages")
    done = sender.run("-P", "-c", f"{RUN}\nsys.path.insert(0, {place!r})\nload({sent!r})", cwd=sender.root.parent)
    assert "module own beside the function has the name of a module that is installed there" in done.stderr


def test_installed_modules_are_not_sent(sender: Sender) -> None:
    sender.write(
        "script.py", "from sending import send\ndef run(n):\n    import json, numpy\n    return 1\nsend(run)\n"
    )
    sender.send("script.py")
    code = (
        f"{RUN}\nmodules, _ = load({str(sender.root / 'sent')!r})\nprint(modules.scope.modules, modules.scope.sources)"
    )
    assert sender.says("-P", "-c", code) == "{} {}"


def test_what_cannot_be_sent_is_named_with_the_function_that_uses_it(folder: Folder) -> None:
    folder.write(
        "script.py",
        """
        import threading, manifold
        GUARD = threading.Lock()
        def inner(n):
            with GUARD:
                return n
        def outer(n):
            return inner(n)
        manifold.scatter(outer, [1], engine="processes://1")
        """,
    )
    said = folder.run("script.py").stderr
    assert "it is GUARD of the script, a lock, which inner uses" in said
    assert "belong into per_worker(factory)" in said


def test_an_object_that_python_could_send_by_its_name_only_is_named(folder: Folder) -> None:
    folder.write(
        "script.py",
        """
        import manifold, numpy
        double = numpy.frompyfunc(lambda n: 2 * n, 1, 1)
        def run(n):
            return double(n)
        manifold.scatter(run, [1], engine="processes://1")
        """,
    )
    assert "it is double of the script, an ufunc, which run uses" in folder.run("script.py").stderr


def test_a_wrapper_of_an_installed_package_that_is_pickled_by_name_travels(sender: Sender) -> None:
    sender.write(
        "venv/site-packages/wrapping.py",
        """
        import functools
        class Wrapped:
            def __init__(self, function):
                functools.update_wrapper(self, function)
            def __call__(self, *args):
                return self.__wrapped__(*args) + 1
            def __reduce__(self):
                return self.__qualname__
        """,
    )
    place = str(sender.root / "venv/site-packages")
    sender.write(
        "script.py",
        f"""
        import sys
        sys.path.append({place!r})
        from wrapping import Wrapped
        from sending import send
        @Wrapped
        def helper(n):
            return n
        def run(n):
            return helper(n)
        send(run)
        """,
    )
    sender.send("script.py")
    code = f"{RUN}\nsys.path.append({place!r})\nprint(call(load({str(sender.root / 'sent')!r}), 4))"
    assert sender.says("-P", "-c", code, cwd=sender.root.parent) == "5"


def test_a_package_of_another_version_on_the_worker_is_explained(sender: Sender) -> None:
    place = sender.root / "venv/site-packages"
    sender.write("venv/site-packages/library.py", "def old(n): return n\ndef new(n): return n\n")
    sender.write(
        "script.py",
        f"""
        import sys
        sys.path.append({str(place)!r})
        from library import new
        from sending import send
        def run(n):
            return new(n)
        send(run)
        """,
    )
    sender.send("script.py")
    sender.write("venv/site-packages/library.py", "def old(n): return n\n")
    code = f"{RUN}\nsys.path.append({str(place)!r})\nload({str(sender.root / 'sent')!r})"
    said = sender.run("-P", "-c", code, cwd=sender.root.parent).stderr
    assert "Can't get attribute 'new' on <module 'library'" in said
    assert "install the same version on both" in said
