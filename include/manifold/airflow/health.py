"""What the DAG `cluster_health` does: an item through each configured engine, and a value through each store.

Configured are the deployment's own engine and store, the connections in the environment, and what the Airflow variables
`manifold_engines` and `manifold_stores` (JSON lists of URLs or connection ids) name. `manifold_hosts` lists the hosts
that must have a worker of each engine whose workers are elsewhere.
"""

from __future__ import annotations

import secrets
import socket
import time
from typing import Any

from airflow.sdk import Variable

from manifold import config
from manifold.abc import Engine, Store
from manifold.airflow.configuration import configure, connections, default_engine
from manifold.api import scatter_items
from manifold.engines.open import open_engine
from manifold.errors import EngineError, StoreError
from manifold.redaction import without_login
from manifold.registry import ENGINES, STORES
from manifold.stores import open_store

_HEARING = 5.0  # seconds in which every live worker has spoken


def engines() -> list[str]:
    """URLs and connection ids of the engines to be looked at, the deployment's own first."""
    configure()
    return list(dict.fromkeys([default_engine(), *connections(ENGINES), *_listed("manifold_engines")]))


def stores() -> list[str]:
    """The same of the stores; "default" is the deployment's own."""
    configure()
    return list(dict.fromkeys(["default", *connections(STORES), *_listed("manifold_stores")]))


def through_engine(name: str) -> dict[str, Any]:
    """Send one item through the engine and read its result: the engine, who ran it, its hosts, the seconds it took.

    Raises EngineError, with what is to be done, where nothing answers, no worker takes the item, or a host is gone.
    """
    configure()
    url = config.resolve(name)
    shown, wanted, token = without_login(url), set(_listed("manifold_hosts")), secrets.token_hex(8)
    with open_engine(url) as opened:
        if trouble := opened.check():
            raise EngineError(f"{shown} runs nothing: {trouble}")
        elsewhere = not opened.same_host
        hosts = _hosts(opened, wanted if elsewhere else set())
    if elsewhere and (gone := sorted(wanted - hosts)):
        raise EngineError(
            f"{' and '.join(gone)} gave {shown} no sign of life; {' and '.join(sorted(hosts)) or 'nobody'} did. Start "
            "the workers there again, or take the host out of the Airflow variable manifold_hosts"
        )
    began = time.monotonic()
    results = scatter_items(
        _echo,
        [token],
        engine=url,
        scatter_id=f"cluster_health/{shown}",
        fresh=True,
        monitors=(),
        chunk_size=1,
        system=True,
    )
    [(back, host)] = results
    if back != token:
        raise EngineError(f"{shown} gave back {back!r} for {token!r}; another deployment's worker is at its queue")
    seconds = round(time.monotonic() - began, 3)
    return {"engine": shown, "host": host, "hosts": sorted(hosts | {host}), "seconds": seconds}


def through_store(name: str) -> dict[str, Any]:
    """Put a value into the store, read it and delete it: the store, and the seconds it took; raises StoreError."""
    configure()
    url = config.store_url() if name == "default" else config.resolve(name)
    key, value = f"cluster_health/{secrets.token_hex(8)}", secrets.token_bytes(64)
    began = time.monotonic()
    store: Store = open_store(url)
    try:
        store.put(key, value)
        if store.get(key) != value:
            raise StoreError(f"{without_login(url)} gave back other bytes than it was given")
        store.delete(key)
    finally:
        store.close()
    return {"store": without_login(url), "seconds": round(time.monotonic() - began, 3)}


def _echo(token: str) -> tuple[str, str]:
    return token, socket.gethostname()


def _hosts(engine: Engine, wanted: set[str]) -> set[str]:
    """The hosts that give signs of life; those that must be there get the time to do so."""
    until = time.monotonic() + _HEARING
    while True:
        hosts = {one.host for one in engine.workers() if one.alive}
        if wanted <= hosts or time.monotonic() > until:
            return hosts
        time.sleep(0.1)


def _listed(variable: str) -> list[str]:
    return [str(one) for one in Variable.get(variable, default=[], deserialize_json=True)]
