"""Resolves, in the task's process, the connections and variables that a function is given on its workers."""

from __future__ import annotations

import json

from airflow.sdk import BaseHook, Connection, Variable
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from manifold.airflow.compat import known_secrets
from manifold.errors import ConfigError
from manifold.policy import Policy
from manifold.protocol.secrets import Secrets, conn_name, hidden_of, var_name

_FIELDS = ("conn_type", "host", "login", "password", "schema", "port", "extra")


def secrets_of(policy: Policy) -> Secrets:
    """What a policy names, as this task sees it, with all that Airflow's own masker knows.

    Raises ConfigError for a name that is not defined.
    """
    environment = {conn_name(name): _needed(name, True) for name in policy.connections}
    environment |= {var_name(name): _needed(name, False) for name in policy.variables}
    return Secrets(environment, sorted({*hidden_of(environment), *known_secrets()}))


def value_of(name: str, is_connection: bool) -> str | None:
    """A connection as JSON, or a variable's value; None where this process sees none of that name."""
    try:
        if is_connection:
            return as_json(BaseHook.get_connection(name))
        value = Variable.get(name)
    except (AirflowException, AirflowRuntimeError):
        return None
    return value if isinstance(value, str) else json.dumps(value)


def as_json(connection: Connection) -> str:
    """A connection as the value of `AIRFLOW_CONN_…`. `extra` stays as it was written, JSON or not."""
    fields = {name: getattr(connection, name) for name in _FIELDS}
    return json.dumps({name: value for name, value in fields.items() if value not in (None, "")})


def _needed(name: str, is_connection: bool) -> str:
    value = value_of(name, is_connection)
    if value is None:
        kind, option = ("connection", "connections") if is_connection else ("variable", "variables")
        raise ConfigError(
            f"{option}=[{name!r}]: Airflow has no {kind} of that name. Make it under Admin, {kind.capitalize()}s, or "
            f"as {(conn_name if is_connection else var_name)(name)} in the environment of the task"
        )
    return value
