"""An auth manager with rights of single DAGs, which Airflow's simple one lacks."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

SECRET = "payroll"
"""The DAG that `stranger` may not see."""
STRANGER = "stranger"


class GuardedAuthManager(SimpleAuthManager):
    """As the simple one, but `stranger` sees neither that DAG, nor any task's log, nor what goes on in the cluster."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, access_entity: Any = None, **asked: Any) -> bool:
        if user.username == STRANGER and access_entity is DagAccessEntity.TASK_LOGS:
            return False
        if user.username == STRANGER and details is not None and details.id == SECRET:
            return False
        return bool(super().is_authorized_dag(user=user, details=details, access_entity=access_entity, **asked))

    def is_authorized_view(self, *, access_view: AccessView, user: Any) -> bool:
        if user.username == STRANGER and access_view is AccessView.CLUSTER_ACTIVITY:
            return False
        return bool(super().is_authorized_view(access_view=access_view, user=user))
