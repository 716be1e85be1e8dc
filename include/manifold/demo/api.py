"""The few calls of Airflow's REST API that the demo needs."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from manifold.errors import ManifoldError


class ApiError(ManifoldError):
    """Airflow's API refused a call or is not reachable; the message says which call and what it answered."""


class Api:
    """Airflow's API at `url`, as that user."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._login = {"username": user, "password": password}
        self._token = ""
        # What listens on 127.0.0.1 is not behind anybody's proxy.
        self._open = build_opener(ProxyHandler({})).open

    def unhealthy(self) -> list[str]:
        """The parts of Airflow that are not up; "api-server" while it does not answer, or is not the one we know."""
        try:
            # Only ours knows the password: another server may have taken the port just before ours.
            health = self._call("GET", "/api/v2/monitor/health")
        except ApiError:
            return ["api-server"]
        return [name.replace("_", "-") for name, part in health.items() if part["status"] != "healthy"]

    def import_errors(self) -> dict[str, str]:
        """What went wrong in each DAG file that could not be parsed."""
        errors = self._call("GET", "/api/v2/importErrors")["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def knows(self, dag_id: str) -> bool:
        """Whether that DAG can be triggered."""
        found = self._call("GET", f"/api/v2/dags?dag_id_pattern={quote(dag_id)}")["dags"]
        return dag_id in {dag["dag_id"] for dag in found}

    def unpause(self, dag_id: str) -> None:
        """Let runs of that DAG begin."""
        self._call("PATCH", f"/api/v2/dags/{quote(dag_id)}", {"is_paused": False})

    def trigger(self, dag_id: str) -> str:
        """The id of a new run of that DAG."""
        run = self._call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", {"logical_date": None})
        return str(run["dag_run_id"])

    def unfinished(self, dag_id: str) -> list[str]:
        """The ids of the runs of that DAG that are queued or running."""
        runs = self._call("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns?state=queued&state=running")["dag_runs"]
        return [run["dag_run_id"] for run in runs]

    def set_pool(self, name: str, slots: int) -> None:
        """Let so many tasks of that pool run at a time."""
        self._call("PATCH", f"/api/v2/pools/{quote(name)}?update_mask=slots", {"slots": slots})

    def tasks_at_work(self) -> int:
        """How many task instances an executor may hold now: those that are queued or running."""
        path = "/api/v2/dags/~/dagRuns/~/taskInstances?state=queued&state=running&limit=1"
        return int(self._call("GET", path)["total_entries"])

    @property
    def token(self) -> str:
        """What logs a command in, for a day."""
        self._log_in()
        return self._token

    def give_up(self, dag_id: str, run_id: str) -> None:
        """Mark a run as failed, which ends its tasks."""
        self._call("PATCH", self._run(dag_id, run_id), {"state": "failed"})

    def state(self, dag_id: str, run_id: str) -> str:
        """The state of a run: queued, running, success or failed."""
        return str(self._call("GET", self._run(dag_id, run_id))["state"])

    def failed_tasks(self, dag_id: str, run_id: str) -> dict[str, str]:
        """The log of each task of a run that failed."""
        tasks = f"{self._run(dag_id, run_id)}/taskInstances"
        failed = self._call("GET", f"{tasks}?state=failed")["task_instances"]
        return {
            one["task_id"]: self._log(f"{tasks}/{quote(one['task_id'])}/logs/{one['try_number']}") for one in failed
        }

    def _log(self, path: str) -> str:
        content = self._call("GET", f"{path}?full_content=true")["content"]
        return "\n".join(line if isinstance(line, str) else _readable(line) for line in content)

    @staticmethod
    def _run(dag_id: str, run_id: str) -> str:
        return f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"

    def _call(self, method: str, path: str, body: object = None) -> Any:
        self._log_in()
        return self._send(method, path, body)

    def _log_in(self) -> None:
        if not self._token:
            self._token = self._send("POST", "/auth/token", self._login)["access_token"]

    def _send(self, method: str, path: str, body: object) -> Any:
        request = Request(self._url + path, method=method, data=json.dumps(body).encode() if body else None)
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json")
        request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._open(request, timeout=30) as answer:
                return json.load(answer)
        except HTTPError as exc:
            said = exc.read().decode(errors="replace")[:500]
            raise ApiError(f"{method} {path} was answered with status {exc.code}: {said}") from exc
        except (URLError, OSError, ValueError) as exc:
            raise ApiError(f"{method} {path} got no answer from {self._url}: {exc}") from exc


def _readable(line: dict[str, Any]) -> str:
    text = f"{line.get('level', ''):8} {line.get('event', '')}"
    for error in line.get("error_detail") or []:
        text += f"\n{error.get('exc_type')}: {error.get('exc_value')}"
    return text
