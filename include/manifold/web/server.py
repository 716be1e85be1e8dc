"""The only place of the page that imports what Airflow's api-server calls private: who asks, what they may, clearing.

Written for Airflow 3.3 and 3.4.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.common.dagbag import create_dag_bag
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.datamodels.task_instances import ClearTaskInstancesBody
from airflow.api_fastapi.core_api.routes.public.task_instances import post_clear_task_instances
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from airflow.models.log import Log

from manifold.airflow.deleted import deleted_runs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Literal

    from sqlalchemy.orm import Session

    from manifold.web.models import Task

__all__ = ["GetUserDep", "SessionDep", "audit", "clear", "deleted", "may_dag", "may_see_cluster", "readable_dags"]


def readable_dags(user: Any) -> Collection[str]:
    """The DAGs that the user may read."""
    found: set[str] = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    return found


def may_see_cluster(user: Any) -> bool:
    """The user may see what goes on in the deployment, whatever the DAG."""
    return bool(get_auth_manager().is_authorized_view(access_view=AccessView.CLUSTER_ACTIVITY, user=user))


def may_dag(user: Any, method: Literal["GET", "PUT"], dag_id: str | None, *, logs: bool = False) -> bool:
    """The user may read, or change, the task instances of this DAG (or their logs); of any DAG, where None is named."""
    team = DagModel.get_team_name(dag_id) if dag_id else None
    details = DagDetails(id=dag_id, team_name=team) if dag_id else None
    entity = DagAccessEntity.TASK_LOGS if logs else DagAccessEntity.TASK_INSTANCE
    return bool(get_auth_manager().is_authorized_dag(method=method, access_entity=entity, details=details, user=user))


def audit(session: Session, user: Any, event: str, task: Task | None, extra: str) -> None:
    """Write an entry into Airflow's audit log, whatever becomes of the action itself."""
    of = {} if task is None else task.model_dump()
    name = user.get_name()
    session.add(Log(event=event, owner=name, owner_display_name=name, extra=extra, **of))
    session.commit()


def clear(session: Session, user: Any, task: Task, *, dry_run: bool = False) -> list[str]:
    """Clear a task instance and what follows it, as "Clear Task" does; the names of all that are cleared.

    The caller has seen to the user's rights. Raises FastAPI's HTTPException as Airflow's own route: 404 where there is
    no such DAG, run or task, 409 where it runs.
    """
    marker: str | tuple[str, int] = task.task_id if task.map_index < 0 else (task.task_id, task.map_index)
    body = ClearTaskInstancesBody(
        dry_run=dry_run,
        dag_run_id=task.run_id,
        task_ids=[marker],
        only_failed=False,
        include_downstream=True,
        reset_dag_runs=True,
        prevent_running_task=True,
    )
    answer = post_clear_task_instances(task.dag_id, _dag_bag(), body, session, user)
    return sorted(
        one.task_id if one.map_index < 0 else f"{one.task_id}[{one.map_index}]" for one in answer.task_instances
    )


def deleted(session: Session, tasks: Iterable[Task | None]) -> set[tuple[str, str]]:
    """The (dag, run) of those tasks whose DAG run Airflow does not hold any more."""
    runs = {(task.dag_id, task.run_id) for task in tasks if task is not None}
    return deleted_runs(session.connection(), runs) if runs else set()


@cache
def _dag_bag() -> Any:
    return create_dag_bag()
