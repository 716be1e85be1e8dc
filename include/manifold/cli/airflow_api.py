"""The calls of Airflow's REST API that the command line makes, with the rights of its caller."""

from __future__ import annotations

import json
import os
from http import HTTPStatus
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

from manifold.cli.context import in_airflow
from manifold.cli.exits import Unreachable
from manifold.errors import ConfigError
from manifold.redaction import masked
from manifold.text import shortened

_SECONDS = 30.0


class _Unmoved(HTTPRedirectHandler):
    """Follows no redirect: the token is for the host that was named, and urllib would hand it on to any other."""

    def redirect_request(self, *_: Any) -> None:
        return None


_open = build_opener(_Unmoved).open


class Api:
    """Airflow's API at `url`, with a bearer token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    @classmethod
    def from_environment(cls, url: str | None = None) -> Self | None:
        """The API that the environment names and has a login for; None where one of the two is missing.

        Raises ConfigError for a URL that is none, Unreachable where the login fails.
        """
        where = (url or os.environ.get("AIRFLOW_API_URL") or _configured_url() or "").rstrip("/")
        if where and not where.startswith(("http://", "https://")):
            raise ConfigError(
                f"{masked(where)!r} is not the URL of an Airflow API, such as https://airflow.example.com"
            )
        token = os.environ.get("AIRFLOW_API_TOKEN")
        user, password = os.environ.get("AIRFLOW_API_USER"), os.environ.get("AIRFLOW_API_PASSWORD")
        if not where or not (token or (user and password)):
            return None
        api = cls(where, token or "")
        if not token:
            login = api._post("/auth/token", {"username": user, "password": password})
            api._token = str(login["access_token"])
        return api

    def clear(self, task: tuple[str, str, str, int], *, dry_run: bool = False) -> list[str]:
        """Clear a task instance (dag, run, task, map index) and what follows it; the names of all that were cleared."""
        dag, run, name, index = task
        body = {
            "dry_run": dry_run,
            "dag_run_id": run,
            "task_ids": [name if index < 0 else [name, index]],
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        answer = self._post(f"/api/v2/dags/{quote(dag, safe='')}/clearTaskInstances", body)
        found = [_label(one) for one in answer.get("task_instances", ())]
        if not found:
            raise Unreachable(f"Airflow at {masked(self._url)} has no task {name!r} in the run {run!r} of {dag!r}")
        return found

    def has_run(self, dag_id: str, run_id: str) -> bool:
        """Airflow holds that DAG run. Raises Unreachable where it does not say."""
        return self._holds(f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}")

    def has_dag(self, dag_id: str) -> bool:
        """Airflow holds that DAG. Raises Unreachable where it does not say."""
        return self._holds(f"/api/v2/dags/{quote(dag_id, safe='')}")

    def _holds(self, path: str) -> bool:
        return self._call("GET", path, None, absent={}) != {}

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", path, body)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None, *, absent: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The answer; `absent`, if given, where there is no such thing. Raises Unreachable for any other refusal."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._url + path, method=method, data=data)
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with _open(request, timeout=_SECONDS) as answer:
                return dict(json.load(answer))
        except HTTPError as exc:
            with exc:  # it is the answer, too, and holds its socket
                if exc.code == HTTPStatus.NOT_FOUND and absent is not None:
                    return absent
                raise Unreachable(f"Airflow refused {method} {path} at {masked(self._url)}: {_reason(exc)}") from exc
        except (URLError, OSError, ValueError) as exc:
            raise Unreachable(f"no Airflow API answers at {masked(self._url)}: {exc}") from exc


def _configured_url() -> str | None:
    if not in_airflow():
        return None
    from airflow.sdk.configuration import conf

    found: str | None = conf.get("api", "base_url", fallback=None)
    return found


def _label(instance: dict[str, Any]) -> str:
    index = instance.get("map_index", -1)
    return str(instance["task_id"]) if index < 0 else f"{instance['task_id']}[{index}]"


def _reason(exc: HTTPError) -> str:
    if exc.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"status {exc.code}: this login may not do that, or has run out"
    return f"status {exc.code}: {shortened(exc.read().decode(errors='replace'), 300)}"
