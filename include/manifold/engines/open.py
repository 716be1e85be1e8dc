"""An engine from whatever names one: a URL, a connection id, or an executor that the caller already has."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from manifold import config
from manifold.abc import Engine
from manifold.engines.wrapped import wrap
from manifold.errors import ConfigError
from manifold.redaction import masked
from manifold.registry import ENGINES


def check_engine(engine: str, *, is_async: bool = False, item_timeout: float | None = None, **options: Any) -> None:
    """Raise ConfigError for what can never run, as far as a URL tells without anything being opened or imported.

    Args:
        engine: a URL; the id of a connection, which only the task can look up, passes.
        is_async: the function is `async def`, so that its items can be stopped anywhere.
        options: what `open_engine` would be given.
    """
    if "://" not in engine:
        return
    row = ENGINES.check(engine, **options)
    if item_timeout is not None and not row.kills_items and not is_async:
        raise ConfigError(cannot_stop_items(engine, item_timeout))


def cannot_stop_items(engine: str, item_timeout: float) -> str:
    """What is told where an engine cannot enforce `item_timeout`."""
    able = ", ".join(f"{row.scheme}://" for row in ENGINES.entries.values() if row.kills_items)
    return (
        f"item_timeout={item_timeout:g} cannot be enforced by {masked(engine)}, which cannot stop a running item; use "
        f"{able}, or an async def function"
    )


def open_engine(engine: str | Executor, **options: Any) -> Engine:
    """The engine behind a URL, a connection id or an executor; shut it down after use (`with` does).

    Args:
        engine: a URL such as `processes://4`; the id of an Airflow connection, inside Airflow; or any
            `concurrent.futures.Executor`, which stays its owner's and is not shut down.
        options: go to the engine's `from_url`.

    Raises:
        ConfigError: nothing of that name, or an option that the engine does not have.
        EngineError: nothing answers there.
    """
    if isinstance(engine, Engine):
        return engine
    if isinstance(engine, Executor):
        return wrap(engine)
    opened: Engine = ENGINES.open(config.resolve(engine), **options)
    return opened
