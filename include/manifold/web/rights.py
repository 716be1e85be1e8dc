"""What the user who asks may see and do: Airflow's own rights, asked of its auth manager at each request.

| to | the user needs |
|---|---|
| see the scatters of a DAG's tasks in the list | to read the DAG |
| see one of them | to read the DAG's task instances |
| see tracebacks, what failed items printed, and the export | to read the logs of the DAG's tasks, too |
| see scatters of plain Python, which no DAG owns | the view "cluster activity" |
| steer a scatter, retry its failed items | to change the DAG's task instances (what "Clear Task" needs) |
| steer a scatter of plain Python | both: cluster activity, and to change task instances of any DAG |
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, HTTPException

from manifold.ledger.listing import Visible
from manifold.web import server
from manifold.web.models import Task
from manifold.web.server import GetUserDep, SessionDep


class Rights:
    """Those of one user."""

    def __init__(self, user: Any) -> None:
        self.user = user

    @property
    def name(self) -> str:
        """Who it is, for the ledger and the audit log."""
        return str(self.user.get_name())

    def visible(self) -> Visible:
        """Whose scatters the list shows."""
        return Visible(server.readable_dags(self.user), server.may_see_cluster(self.user))

    def may_see(self, task: Task | None) -> bool:
        if task is None:
            return server.may_see_cluster(self.user)
        return server.may_dag(self.user, "GET", task.dag_id)

    def may_read_logs(self, task: Task | None) -> bool:
        return server.may_dag(self.user, "GET", None if task is None else task.dag_id, logs=True)

    def may_steer(self, task: Task | None) -> bool:
        return self.may_see(task) and server.may_dag(self.user, "PUT", None if task is None else task.dag_id)


def _rights(user: GetUserDep) -> Rights:
    return Rights(user)


Who = Annotated[Rights, Depends(_rights)]
"""The user of this request; 401 without a login."""


def allow_steering(who: Rights, session: SessionDep, action: str, uid: str, task: Task | None, **extra: Any) -> None:
    """Write to Airflow's audit log what somebody does, or would; raises a 403 where they may not."""
    allowed = who.may_steer(task)
    told = {"scatter": uid, **extra} | ({} if allowed else {"refused": True})
    server.audit(session, who.user, f"manifold.{action}", task, json.dumps(told, default=str))
    if not allowed:
        of = "scatters of plain Python" if task is None else f"task instances of {task.dag_id}"
        raise HTTPException(403, f"{who.name} may not change {of}")
