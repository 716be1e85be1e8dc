"""The connections and variables of Airflow that a function is given, and what of them must not be shown.

They are values of environment variables, as Airflow's hooks read them: `AIRFLOW_CONN_CRM`, `AIRFLOW_VAR_REGION`. They
travel encrypted, beside the job, to each worker process that runs it, and rest nowhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from manifold.errors import ConfigError, WireError
from manifold.protocol import envelope
from manifold.redaction import secrets_in, worth_hiding

if TYPE_CHECKING:
    from manifold.policy import Policy

CONNECTION = "AIRFLOW_CONN_"
VARIABLE = "AIRFLOW_VAR_"


class Secrets(msgspec.Struct, frozen=True):
    """What a function is given beside its arguments.

    Args:
        environment: by the name of the variable, only connections and variables of Airflow.
        hide: texts that are masked wherever the function runs.
    """

    environment: dict[str, str] = {}
    hide: list[str] = []

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self.environment)})"  # never the values

    def __bool__(self) -> bool:
        return bool(self.environment or self.hide)


def conn_name(conn_id: str) -> str:
    """The variable that holds a connection: `AIRFLOW_CONN_CRM` for `crm`."""
    return CONNECTION + conn_id.upper()


def var_name(key: str) -> str:
    """The variable that holds a variable of Airflow's: `AIRFLOW_VAR_REGION` for `region`."""
    return VARIABLE + key.upper()


def variables(secrets: Secrets) -> dict[str, str]:
    """The variables of Airflow among them, by their keys as the environment has them."""
    named = secrets.environment.items()
    return {name.removeprefix(VARIABLE).lower(): value for name, value in named if name.startswith(VARIABLE)}


def from_environment(policy: Policy) -> Secrets:
    """What a policy names, of this process's environment, or of Airflow where this process has imported it.

    Raises ConfigError for a name that neither knows.
    """
    found = {conn_name(name): _needed(name, True) for name in policy.connections}
    found |= {var_name(name): _needed(name, False) for name in policy.variables}
    return Secrets(found, sorted(set(hidden_of(found))))


def hidden_of(environment: Mapping[str, str]) -> Iterator[str]:
    """What of connections and variables is masked: passwords, extras, each URI, each variable's value."""
    for name, value in environment.items():
        if worth_hiding(value):
            yield value
        if name.startswith(CONNECTION):
            yield from _hidden_of_connection(value)
        else:
            yield from secrets_in(value)


def sealed(keyring: envelope.Keyring, uid: str, key_id: str, secrets: Secrets) -> bytes:
    """The message that brings them to a worker, encrypted for this scatter."""
    header = envelope.Header(kind="secrets", uid=uid, key_id=key_id, encrypted=True)
    return envelope.seal(keyring, header, msgspec.msgpack.encode(secrets))


def opened(keyring: envelope.Keyring, uid: str, digest: str, message: bytes) -> Secrets:
    """The secrets of a message; raises WireError unless they are those that a job of this scatter names."""
    _, payload = envelope.unseal(keyring, message, "secrets", uid=uid, digest=digest, encrypted=True)
    try:
        return msgspec.msgpack.decode(payload, type=Secrets)
    except msgspec.MsgspecError as exc:
        raise WireError(
            f"the connections of a job are not readable; is another version installed there? {exc}"
        ) from None


def _hidden_of_connection(value: str) -> Iterator[str]:
    """Of a connection as JSON or as a URI: all but its type, host, schema, port, login and description."""
    if not value.lstrip().startswith("{"):
        yield from secrets_in(value)
        if "?" in value:
            from urllib.parse import parse_qsl

            yield from secrets_in([one for _, one in parse_qsl(value.partition("?")[2])])
        return
    try:
        fields = msgspec.json.decode(value)
    except msgspec.MsgspecError:
        return
    if isinstance(fields, dict):
        yield from secrets_in({name: one for name, one in fields.items() if name in ("password", "extra")})


def _needed(name: str, is_connection: bool) -> str:
    variable = (conn_name if is_connection else var_name)(name)
    value = os.environ.get(variable)
    if value is None and "airflow.sdk" in sys.modules:
        from manifold.airflow.inside import value_of

        value = value_of(name, is_connection)
    if value is None:
        kind = "connection" if is_connection else "variable"
        raise ConfigError(
            f"there is no {kind} {name!r}: outside of an Airflow task it is read from the environment. Set {variable}"
        )
    return value
