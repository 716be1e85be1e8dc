"""The same in plain Python: a function over many items, on an engine, with its account kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from manifold.abc import Engine, Monitor, Store
from manifold.coordinator.spec import Mode, ScatterSpec
from manifold.coordinator.start import run
from manifold.engines.open import open_engine
from manifold.errors import MissingExtra
from manifold.monitors import progress
from manifold.policy import Policy
from manifold.protocol.by_value import script_roots
from manifold.protocol.secrets import from_environment
from manifold.results.results import Results
from manifold.sources import as_source, zipped
from manifold.stores import open_store

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from manifold.ledger import Ledger

_MISSING = object()


def scatter(fn: Any = None, /, items: Any = _MISSING, **options: Any) -> Any:
    """`Results` of `fn` over `items`; or, without items, Airflow's decorator `@scatter(...)`.

    In plain Python::

        pages = manifold.scatter(fetch, urls, engine="processes://4", scatter_id="pages", item_retries=2)

    See `scatter_items` for the arguments. In a DAG file, `@scatter(engine="celery_default")` is `@task.scatter(...)`.
    """
    if items is not _MISSING:
        return scatter_items(fn, items, **options)
    try:
        from manifold.airflow.decorator import scatter as decorator
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != "airflow":
            raise  # a fault to be shown
        raise MissingExtra(
            f"scatter without items is Airflow's decorator, which needs {exc.name!r}: "
            'pip install "airflow-manifold[airflow]". In plain Python write scatter(function, items, …)'
        ) from exc
    return decorator(fn, **options)


def scatter_items(
    fn: Callable[..., Any],
    items: Any,
    *,
    engine: str | Executor = "processes://",
    store: str | Store | None = None,
    ledger: str | Ledger | None = None,
    scatter_id: str | None = None,
    fresh: bool = False,
    consts: Mapping[str, Any] | None = None,
    monitors: Sequence[Monitor] | None = None,
    **options: Any,
) -> Results:
    """The results of `fn(item, **consts)` for every item, lazy and in item order.

    Args:
        fn: any function that can be pickled by value: a lambda, a closure and what a notebook defines, too.
        items: a list, a range, anything that can be iterated, `manifold.sources.lines(...)` or `records(...)`,
            another `Results`; or a dict of those, walked in step and passed by keyword.
        engine: URL, or an `Executor` of your own.
        store, ledger: URL or open object; the defaults lie in `MANIFOLD_HOME`.
        scatter_id: a name to continue under. The same id again runs only what is missing or failed.
            Other constants, where nothing is missing or failed, run everything; changed items are refused.
        fresh: forget what is there under `scatter_id` and run everything.
        monitors: what is told about progress; by default a progress bar, on a terminal.
        options: see `manifold.policy.Policy`.

    Raises:
        ConfigError: an argument makes no sense; the message says which.
        ScatterError: it ended without success: too many failures, a changed input, cancelled.
    """
    from manifold.ledger import Ledger, Owner, open_ledger

    policy = Policy.of({**options, "engine": engine if isinstance(engine, str) else None})
    names = tuple(items) if isinstance(items, dict) else None
    given = tuple(items.values()) if isinstance(items, dict) else (items,)
    source = as_source(given[0]) if len(given) == 1 else zipped(**items)
    mode: Mode = "fresh" if fresh or policy.resume == "never" else "continue"
    with ExitStack() as opened:
        running: Engine = open_engine(engine, **({"queue": policy.worker_queue} if policy.worker_queue else {}))
        if isinstance(engine, str):
            opened.callback(running.shutdown, wait=True, cancel_futures=True)
        # Results read from ledger and store later on, so these two stay open.
        kept = store if isinstance(store, Store) else open_store(store)
        book = ledger if isinstance(ledger, Ledger) else open_ledger(ledger)
        told = progress.with_warnings(monitors if monitors is not None else progress.default())
        for monitor in told:
            opened.callback(monitor.close)
        spec = ScatterSpec(
            fn=fn,
            source=source,
            names=names,
            consts=consts or {},
            policy=policy,
            name=scatter_id or f"{getattr(fn, '__name__', 'scatter')}-{uuid4().hex[:12]}",
            mode=mode,
            why="starts from scratch" if mode == "fresh" else "runs what is not there yet",
            engine_url=engine if isinstance(engine, str) else type(engine).__name__,
            store_url=_worker_store(store),
            roots=[str(root) for root in script_roots()],
            secrets=from_environment(policy),
        )
        return run(spec, ledger=book, store=kept, engine=running, owner=Owner.here(), monitors=told)


def _worker_store(store: str | Store | None) -> str | None:
    """The store's URL as workers shall open it; an object of the caller's is reached through the coordinator."""
    return store if isinstance(store, str) else "" if store is None else None
