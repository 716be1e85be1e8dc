"""`airflow tasks test`: it runs one task in a DAG run that it makes and deletes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from airflow.cli.commands.task_command import task_test
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG
from airflow.utils.session import create_session
from sqlalchemy import select

from manifold.airflow.decorator import scatter
from manifold.airflow.deleted import TEMPORARY, deleted_runs
from manifold.ledger import Ledger, open_ledger
from manifold.ledger.gc import of_idle_tasks
from manifold.names import name_parts

pytestmark = [pytest.mark.usefixtures("airflow_db"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def ledger(airflow_db: Path) -> Iterator[Ledger]:
    with closing(open_ledger(f"sqlite:///{airflow_db}/manifold/ledger.db")) as opened:
        yield opened


def test_what_airflow_tasks_test_runs_is_in_no_list_and_gc_knows_it(ledger: Ledger) -> None:
    with DAG("tried_alone", schedule=None) as dag:

        @scatter(engine="threads://2")
        def double(n: int) -> int:
            return 2 * n

        double.over(n=[1, 2, 3])
    bag = DagBag(os.devnull, bundle_path=Path(os.devnull))
    bag.bag_dag(dag)
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(bag, "dags-folder", None)
    before = dict(os.environ)
    words = {
        "bundle_name": None,
        "dag_id": "tried_alone",
        "task_id": "double",
        "map_index": -1,
        "logical_date_or_run_id": None,
        "env_vars": None,
        "task_params": None,
        "post_mortem": False,
        "subcommand": "test",
    }
    try:
        task_test(argparse.Namespace(**words), dag)
    finally:
        os.environ.clear()
        os.environ.update(before)
    (row,) = ledger.scatters(name_like="tried_alone")
    assert (row.state, row.n_ok) == ("succeeded", 3)
    assert ledger.scatters(name_like="tried_alone", system=False) == []
    _, run_id, _, _ = name_parts(row.name)
    assert run_id.startswith(TEMPORARY)
    with create_session() as session:
        assert session.scalars(select(DagRun.run_id).where(DagRun.dag_id == "tried_alone")).all() == []
        assert deleted_runs(session.connection(), [("tried_alone", run_id)]) == {("tried_alone", run_id)}
    assert row.uid in {one.uid for one in of_idle_tasks(ledger)}
