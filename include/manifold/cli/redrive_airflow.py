"""A scatter of an Airflow task, run again by Airflow: a control request in the ledger, and the task cleared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifold.cli.airflow_api import Api
from manifold.cli.context import person
from manifold.cli.exits import Unreachable
from manifold.control_requests import ask_redrive
from manifold.protocol.records import ScatterRow

if TYPE_CHECKING:
    from manifold.ledger import Ledger


def redrive(
    ledger: Ledger, row: ScatterRow, task: tuple[str, str, str, int], chosen: dict[str, Any], api_url: str | None
) -> list[str]:
    """The task instances that were cleared.

    Raises Unreachable, with what to click, where Airflow's API cannot be used; the request is then recorded all the
    same, unless the API refuses the caller.
    """
    api = Api.from_environment(api_url)
    if api is not None:
        api.clear(task, dry_run=True)  # whoever may not clear the task leaves no request either
    ask_redrive(ledger, row, chosen, person())
    if api is None:
        raise Unreachable(_by_hand(task))
    return api.clear(task)


def _by_hand(task: tuple[str, str, str, int]) -> str:
    dag, run, name, index = task
    mapped = "" if index < 0 else f", map index {index}"
    return (
        f"the request is in the ledger: the next try of the task runs only what was asked for. To start it, open the "
        f"DAG {dag!r}, its run {run!r} and the task {name!r}{mapped} in Airflow, and press Clear Task Instance with "
        f"'Downstream'. Or let this command do it: set AIRFLOW_API_URL and AIRFLOW_API_TOKEN (or AIRFLOW_API_USER and "
        f"AIRFLOW_API_PASSWORD), and say it again"
    )
