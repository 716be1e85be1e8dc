"""What `manifold doctor` looks at, one function each: what was found, and how to fix what is broken."""

from __future__ import annotations

import os
import platform
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from manifold import config
from manifold.abc import Store
from manifold.cli.context import answering, in_airflow, opened_ledger
from manifold.cli.probe import seen_by_worker
from manifold.cli.shapes import Check
from manifold.errors import EngineError, ManifoldError, StoreError
from manifold.redaction import masked
from manifold.registry import REGISTRIES
from manifold.text import counted

_SECONDS = 15.0  # for a worker to answer; it may be at work on something else
_FOLDER = "manifold-doctor"


def examine(engines: list[str]) -> Iterator[Check]:
    """Everything, in the order in which it should be fixed."""
    yield versions()
    yield configuration()
    yield ledger()
    yield secret()
    key = f"{_FOLDER}/{secrets.token_hex(8)}"
    with _trial_store(key) as (found, store):
        yield found
        for name in engines:
            yield engine(name, key if store is not None else None)


def versions() -> Check:
    """What is installed here."""
    found = [f"Python {platform.python_version()}", *filter(None, map(_installed, _packages()))]
    return Check(name="versions", state="ok", found=", ".join(found))


def configuration() -> Check:
    """Where the settings come from, and whether they are enough for Airflow's executor."""
    if not in_airflow():
        return Check(name="settings", state="ok", found=f"no Airflow is configured here; state is in {config.home()}")
    from manifold.airflow.configuration import configure, executor

    try:
        configure()
    except ManifoldError as exc:
        return Check(name="settings", state="broken", found=f"Airflow with {executor()}", fix=str(exc))
    return Check(name="settings", state="ok", found=f"Airflow with {executor()}; Manifold is configured for it")


def ledger() -> Check:
    """Whether the ledger answers and has its tables."""
    try:
        url = config.ledger_url()
        where = masked(url)
    except ManifoldError as exc:
        return Check(name="ledger", state="broken", found="its URL cannot be read", fix=str(exc))
    try:
        with answering(url), opened_ledger(url) as book:
            from manifold.ledger.states import LIVE

            running = len([row for state in LIVE for row in book.scatters(state=state)])
    except ManifoldError as exc:
        return Check(name="ledger", state="broken", found=where, fix=str(exc))
    return Check(name="ledger", state="ok", found=f"{where} answers; at work now: {counted(running, 'scatter')}")


def secret() -> Check:
    """Whether there is a secret, and who else can read it."""
    try:
        ring = config.keyring()
    except ManifoldError as exc:
        return Check(name="secret", state="broken", found="it cannot be used", fix=str(exc))
    if os.environ.get("MANIFOLD_SECRET"):
        return Check(name="secret", state="ok", found=f"key {ring.current} of MANIFOLD_SECRET signs")
    path = config.home() / "secret"
    return Check(name="secret", state="ok", found=f"key {ring.current} of {path} signs; workers elsewhere need it too")


def engine(name: str, key: str | None) -> Check:
    """Whether a call reaches a worker and comes back, and whether that worker finds `key` in its store."""
    from manifold.engines.open import open_engine

    title = f"engine {masked(name)}"
    try:
        with open_engine(name) as opened:
            if trouble := opened.check():
                return Check(name=title, state="broken", found="chunks would not run", fix=trouble)
            seen = _answer(opened.submit(seen_by_worker, key or f"{_FOLDER}/none"))
            slots, needs_store = opened.slots(), not opened.in_process
    except ManifoldError as exc:
        return Check(name=title, state="broken", found="no call came back from it", fix=str(exc))
    found = f"{slots} slots; a call came back from {seen['host']}, pid {seen['pid']}, Manifold {seen['version']}"
    if key and needs_store and seen["trouble"]:
        fix = f"workers and coordinators need one store (MANIFOLD_STORE), but that worker says: {seen['trouble']}"
        return Check(name=title, state="broken", found=found, fix=fix)
    return Check(name=title, state="ok", found=found)


def _answer(future: Future[Any]) -> dict[str, Any]:
    try:
        return dict(future.result(timeout=_SECONDS))
    except NoAnswer:
        future.cancel()
        raise EngineError(
            f"no worker has run a call within {_SECONDS:g} s: they are busy, or do not take it from the queue"
        ) from None


@contextmanager
def _trial_store(key: str) -> Iterator[tuple[Check, Store | None]]:
    """How the store does, with `key` in it until the end."""
    store: Store | None = None
    try:
        where = masked(config.store_url())
        store = _with_key(key)
        found = Check(name="store", state="ok", found=f"{where} keeps what it is given; {_reach(store)}")
    except ManifoldError as exc:
        found = Check(name="store", state="broken", found="it keeps nothing", fix=str(exc))
    try:
        yield found, store
    finally:
        if store is not None:
            store.delete(key)
            store.close()


def _with_key(key: str) -> Store:
    from manifold.stores import open_store

    store = open_store()
    try:
        store.put(key, key.encode())
        if store.get(key) != key.encode():
            raise StoreError(f"the store gave back other bytes for {key} than it was given")
    except BaseException:
        store.close()
        raise
    return store


def _reach(store: Store) -> str:
    if store.reach == "hosts":
        return "every host reaches it"
    return "only this host reaches it" if store.reach == "host" else "it ends with the process"


def _packages() -> Iterator[str]:
    """What is worth naming: the core, and what the adapters' extras install."""
    yield from ("airflow-manifold", "apache-airflow", "cloudpickle")
    extras = {row.extra for registry in REGISTRIES for row in registry.entries.values() if row.extra}
    with suppress(PackageNotFoundError):
        for line in requires("airflow-manifold") or ():
            if wanted := re.match(rf"([\w.-]+).*extra == .({'|'.join(extras)})\W", line):
                yield wanted[1]


def _installed(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None
