"""Where ledger, store and secret are, by Airflow's configuration: section `[manifold]`, or `AIRFLOW__MANIFOLD__…`.

| option | meaning |
|---|---|
| `ledger` | SQLAlchemy URL of the ledger, or a connection id |
| `store` | URL of the store that coordinators and workers share |
| `secret` | signs and verifies what goes between them: `id:hex[,id:hex…]` |
| `default_engine` | the engine of scatters that name none: a URL or a connection id |

`MANIFOLD_LEDGER`, `MANIFOLD_STORE` and `MANIFOLD_SECRET` win over it. An executor of a single host needs none of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from airflow.sdk.configuration import conf

from manifold import config
from manifold.airflow.compat import in_dags_test
from manifold.airflow.hooks import connection_url
from manifold.errors import ConfigError
from manifold.redaction import masked
from manifold.registry import STORES, Registry, scheme_of

SECTION = "manifold"
OPTIONS = ("ledger", "store", "secret")
_SINGLE_HOST = {"LocalExecutor", "SequentialExecutor"}
_EXAMPLES = {
    "ledger": "postgresql://user:password@host/manifold   (then run: airflow db migrate)",
    "store": "s3://bucket/manifold, or file:///a/folder/that/all/workers/mount",
    "secret": "the line that `manifold doctor --new-secret` prints",
}


def configure() -> None:
    """Make this process use Airflow's configuration and connections, once it is seen to be enough for a coordinator.

    Raises ConfigError, with what to write where, when an executor of many hosts would work with what only one has.
    """
    register()
    fill()
    one_host = single_host() or in_dags_test()
    missing = [option for option in OPTIONS if not os.environ.get(_variable(option))]
    if missing and not one_host:
        wanted = "\n".join(f"  AIRFLOW__MANIFOLD__{option.upper()}={_EXAMPLES[option]}" for option in missing)
        raise ConfigError(
            f"Manifold has no {' and no '.join(missing)} that every worker of {executor()} reaches. Set, the same for "
            f"scheduler and workers:\n{wanted}\n(or the same options in section [manifold] of airflow.cfg)"
        )
    check_ledger(config.ledger_url(), one_host=one_host)
    check_store(config.store_url())


def register() -> None:
    """Let the core ask Airflow, from now on, for connections and for the variables that it lacks."""
    if connection_url not in config.resolvers:
        config.resolvers.append(connection_url)
    if fill not in config.fillers:
        config.fillers.append(fill)


def fill() -> None:
    """Put Airflow's configuration into the environment, where the core and the workers it starts read it."""
    for option in OPTIONS:
        value = conf.get(SECTION, option, fallback=None)
        if value and not os.environ.get(_variable(option)):
            os.environ[_variable(option)] = value if option == "secret" else config.resolve(value)
    os.environ.setdefault("MANIFOLD_HOME", str(airflow_home() / "manifold"))


def check_ledger(url: str, *, one_host: bool) -> None:
    """Raises ConfigError for a ledger that the executor's hosts do not share."""
    if scheme_of(url) == "sqlite" and not one_host:
        raise ConfigError(
            f"the ledger {masked(url)} is SQLite, which serves one host, but {executor()} has many. "
            f"Set AIRFLOW__MANIFOLD__LEDGER={_EXAMPLES['ledger']}"
        )


def check_store(url: str) -> None:
    """Raises ConfigError for a store that ends with the task's process, before the next task reads from it."""
    row = STORES.named(scheme_of(url))
    if row is not None and row.reach == "process":
        raise ConfigError(
            f"the store {url} ends with this task's process, so no other task could read the results. "
            f"Set AIRFLOW__MANIFOLD__STORE={_EXAMPLES['store']}"
        )


def connections(registry: Registry) -> Iterator[str]:
    """The ids of the connections in the environment that an adapter of this kind opens."""
    for variable in sorted(os.environ):
        if variable.startswith("AIRFLOW_CONN_"):
            name = variable.removeprefix("AIRFLOW_CONN_").lower()
            with suppress(ConfigError):  # a connection of somebody else's
                if registry.reads(config.resolve(name)):
                    yield name


def default_engine() -> str:
    """The engine of a scatter that names none, or "default": a URL or connection id."""
    return conf.get(SECTION, "default_engine", fallback=None) or f"processes://{os.cpu_count() or 1}"


def executor() -> str:
    """Airflow's executors, as configured."""
    return str(conf.get("core", "executor", fallback="LocalExecutor"))


def single_host() -> bool:
    """All of Airflow's executors run tasks on the scheduler's host."""
    # An entry reads [team=][alias:][module.]Class.
    entries = re.split("[,;]", executor())
    return all(re.split("[=:.]", entry.strip())[-1] in _SINGLE_HOST for entry in entries)


def airflow_home() -> Path:
    """Airflow's folder of state."""
    return Path(os.path.expandvars(os.environ.get("AIRFLOW_HOME") or "~/airflow")).expanduser()


def _variable(option: str) -> str:
    return f"MANIFOLD_{option.upper()}"
