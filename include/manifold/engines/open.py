"""An engine from whatever names one: a URL, a connection id, or an executor that the caller already has."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from manifold import settings
from manifold.abc import Engine
from manifold.engines import ENGINES
from manifold.engines.wrapped import wrap


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
    url = settings.resolve(engine)
    opened: Engine = ENGINES.adapter(url).from_url(url, **options)
    return opened
