"""An author's classes and helpers on Celery workers, which live long and have none of his modules."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.celery.brokers import Deployment, serves

SCRIPT = """
    import enum, functools, sys
    from dataclasses import dataclass

    import manifold
    from celery import Celery
    from manifold.engines.celery.engine import CeleryEngine

    class Kind(enum.Enum):
        A = "a"
        B = "b"

    @dataclass(frozen=True)
    class Order:
        n: int
        kind: Kind = Kind.B

        def version(self):
            return VERSION

    @functools.lru_cache
    def twice(n):
        return 2 * n

    def work(order):
        from beside import Shape, version
        from beside.deep import thrice
        assert isinstance(order, Order) and order.kind is Kind.B and order == Order(order.n)
        if order.n == 3 and "fail" in FLAGS:
            raise ValueError("not now")
        return Order(twice(order.n)), Shape(thrice(order.n)), order.version(), version()

    VERSION, FLAGS = sys.argv[2], sys.argv[3:]

    if __name__ == "__main__":
        app = Celery("coordinator", broker=sys.argv[1], set_as_current=False)
        with CeleryEngine(app, "travel") as engine:
            results = manifold.scatter(work, [Order(n) for n in range(5)], engine=engine, tolerate="100%", chunk_size=2,
                                       scatter_id="orders", fresh="fresh" in FLAGS)
        from beside import Shape
        for order, shape, one, two in results:
            assert isinstance(order, Order) and order.kind is Kind.B, order
            assert isinstance(shape, Shape), shape
        items = [failure.item for failure in results.failures()]
        assert all(isinstance(item, Order) and item.kind is Kind.B for item in items), items
        print(len(results), len(items), {one for _, _, one, _ in results}, {two for *_, two in results})
"""


def scatter(folder: Path, broker: Deployment, version: str, *flags: str) -> str:
    """What a process says that scatters the version of the author's that this is."""
    (folder / "beside").mkdir(exist_ok=True)
    (folder / "script.py").write_text(textwrap.dedent(SCRIPT))
    (folder / "beside/__init__.py").write_text(
        f"class Shape:\n    def __init__(self, n): self.n = n\ndef version(): return {version!r}\n"
    )
    (folder / "beside/deep.py").write_text("from . import version\ndef thrice(n): return 3 * n\n")
    done = subprocess.run(
        [sys.executable, "script.py", broker.server.url(), version, *flags],
        cwd=folder,
        env={**os.environ, "MANIFOLD_HOME": str(folder / "home"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout.strip()


def test_classes_hold_and_no_version_of_them_mixes_with_another_in_one_worker(
    broker: Deployment, tmp_path: Path
) -> None:
    with broker.worker("travel", "travel", slots=1), broker.engine("travel") as engine:
        serves(engine, 1)
        assert scatter(tmp_path, broker, "one", "fail") == "4 1 {'one'} {'one'}"
        assert scatter(tmp_path, broker, "one") == "5 0 {'one'} {'one'}", (
            "the failed item is one of the new try's class"
        )
        assert scatter(tmp_path, broker, "two", "fresh") == "5 0 {'two'} {'two'}", "yesterday's copy does not win"
        assert scatter(tmp_path, broker, "one", "fresh") == "5 0 {'one'} {'one'}"
