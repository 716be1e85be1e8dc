"""Classes of a DAG file, whose module has another name wherever the file lies, and of the helpers beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

DAG_FILE = """
    import enum
    from dataclasses import dataclass
    from datetime import timedelta
    from airflow.sdk import DAG, task
    import shapes_beside

    class Kind(enum.Enum):
        A = "a"
        B = "b"

    @dataclass(frozen=True)
    class Order:
        n: int
        kind: Kind = Kind.B

    def holds(value):
        order, shape = value
        return (isinstance(order, Order) and order.kind is Kind.B and order == Order(order.n)
                and isinstance(shape, shapes_beside.Shape) and shape.colour is shapes_beside.Colour.RED)

    @task.scatter(tolerate="100%")
    def make(n):
        from late_beside import triple
        if n == 3:
            raise ValueError("not this one")
        return Order(triple(n)), shapes_beside.Shape()

    @task.scatter
    def chained(value):
        assert holds(value), value
        return value

    @task
    def report(results, again):
        assert len(results) == 4 and all(map(holds, results)), list(results)
        assert len(again) == 4 and all(map(holds, again)), list(again)
        print("REPORTED", sorted(order.n for order, _ in again))

    @task.scatter(tolerate="100%")
    def refuses(value):
        if not holds(value):
            raise TypeError("another class")
        raise ValueError("refused")

    with DAG("identity", schedule=None,
             default_args={"engine": "processes://1", "retry_delay": timedelta(0)}) as dag:
        made = make.over(n=range(5))
        again = chained.over(value=made)
        report(made, again)
        refuses.over(value=made)
"""
SHAPES = """
    import enum
    class Colour(enum.Enum):
        RED = 1
    class Shape:
        colour = Colour.RED
        def __init__(self):
            self.colour = Colour.RED
"""
LATE = """
    import functools
    @functools.lru_cache
    def triple(n):
        return 3 * n
"""
DRIVE = """
import sys
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
dags = Path(sys.argv[1])
sys.path.insert(0, str(dags))
bag = DagBag(str(dags / "etl.py"), bundle_path=dags)
assert not bag.import_errors, bag.import_errors
dag = bag.dags["identity"]
module = sys.modules[dag.task_dict["make"].python_callable.__module__]
assert module.__name__.startswith("unusual_prefix_"), module
if sys.argv[2] == "run":
    from tests.airflow.runs import run
    done = run(dag)
    states = {name: done.state(name) for name in dag.task_dict}
    print("STATES", states)
from manifold.ledger import open_ledger
from manifold.results.results import Results
ledger = open_ledger("sqlite:///" + sys.argv[3])
rows = {row.name.split("/")[2] if "/" in row.name else row.name: row for row in ledger.scatters()
        if row.name.startswith("identity/")}
found = {key: Results.of(row, ledger) for key, row in rows.items()}
values = [value for key, one in found.items() if "refuses" not in key for value in one]
items = [failure.item for key, one in found.items() if "refuses" in key for failure in one.failures()]
kinds = [failure.type for key, one in found.items() if "refuses" in key for failure in one.failures()]
print("READ", len(values), all(map(module.holds, values)), len(items), all(map(module.holds, items)), set(kinds))
"""


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    folder = tmp_path / "dags"
    folder.mkdir()
    for name, text in {"etl.py": DAG_FILE, "shapes_beside.py": SHAPES, "late_beside.py": LATE}.items():
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def drive(dags: Path, what: str, home: Path) -> str:
    """What a process of its own says that has loaded the DAG file as Airflow does."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "MANIFOLD_HOME": str(home / "manifold")}
    done = subprocess.run(
        [sys.executable, "-c", DRIVE, str(dags), what, str(home / "manifold" / "ledger.db")],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout


@pytest.mark.timeout(900)
def test_the_next_task_a_chained_scatter_and_another_deployment_see_the_dag_files_own_classes(
    airflow_db: Path, dags: Path
) -> None:
    said = drive(dags, "run", airflow_db)
    assert "'make': 'success', 'chained': 'success', 'report': 'success'" in said
    assert "REPORTED [0, 3, 6, 12]" in said
    assert "READ 8 True 4 True {'ValueError'}" in said
    moved = dags.rename(dags.with_name("deployed-elsewhere"))
    assert "READ 8 True 4 True {'ValueError'}" in drive(moved, "read", airflow_db), "the module's name is another now"
