"""Log lines as JSON, one object a line, with the scatter, chunk, attempt, worker and engine that they are about.

`MANIFOLD_LOG=json` switches them on, in every process that has it in its environment: coordinators, workers, exporter,
command line. They go to stderr. Where Airflow's own logging runs, the lines and their fields go through that instead:
into the task's log, and to a worker's stdout (as JSON by `AIRFLOW__LOGGING__JSON_LOGS=True`).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from manifold import events
from manifold.redaction import mask, masked_in
from manifold.text import storable

FIELDS = {
    "timestamp": "date",
    "level": "keyword",
    "event": "text",
    "logger": "keyword",
    "scatter": "keyword",
    "scatter_name": "keyword",
    "engine": "keyword",
    "chunk": "object",
    "attempt": "keyword",
    "worker": "keyword",
    "succeeded": "long",
    "failed": "long",
    "skipped": "long",
    "seconds": "double",
    "state": "keyword",
    "exception": "text",
}
"""Every field of a line, with its type in Elasticsearch. `event` is the text; `chunk` has `start` and `stop`."""


def wanted() -> bool:
    """Lines with fields were asked for."""
    return os.environ.get("MANIFOLD_LOG") == "json"


@lru_cache(maxsize=1)
def setup() -> None:
    """Have this process write its lines as JSON, if that was asked for; only the first call does anything."""
    if not wanted():
        return
    import structlog
    from structlog.stdlib import ProcessorFormatter

    ours = logging.getLogger("manifold")
    ours.setLevel(logging.INFO)
    if structlog.is_configured():  # by Airflow, whose handlers take the lines of everybody
        return
    chain: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    handler = logging.StreamHandler(sys.__stderr__)  # what an item prints is the item's, and caught elsewhere
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[
                ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    ours.addHandler(handler)
    ours.propagate = False


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Within it every line of this thread has these of `FIELDS`, where lines with fields were asked for."""
    if not wanted():
        yield
        return
    from structlog.contextvars import bound_contextvars

    with bound_contextvars(**{name: value for name, value in fields.items() if value is not None}):
        yield


def fields_of(event: events.Event) -> dict[str, Any]:
    """What an event of a coordinator says, as fields."""
    found: dict[str, Any] = {}
    if isinstance(event, (events.ChunkCommitted, events.ChunkLost)):
        found |= {"chunk": {"start": event.start, "stop": event.stop}, "attempt": event.attempt, "worker": event.worker}
    if isinstance(event, events.ChunkCommitted):
        found |= {"seconds": event.seconds, "failed": event.n_failed}
    if isinstance(event, events.ScatterEnded):
        found |= {"seconds": event.seconds, "state": event.state}
        found |= {"succeeded": event.n_ok, "failed": event.n_failed, "skipped": event.n_skipped}
    return found


def without_secrets(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The line with *** in place of passwords in URLs and of the secrets in this process's environment."""
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = storable(mask(masked_in(value)))
    return line
