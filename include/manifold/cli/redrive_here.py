"""A scatter of plain Python, run again by this process: items from the quarantine, code from the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Any

from manifold import config
from manifold.abc import Source, Store
from manifold.cli import shapes
from manifold.cli.context import opened_store, person
from manifold.cli.params import function_of, items_of
from manifold.cli.run import monitors, ran_shape
from manifold.control_requests import Again
from manifold.errors import BlobNotFound, ConfigError, InputGone, ResultsLost
from manifold.policy import Policy, Tolerance
from manifold.protocol.job import Job
from manifold.protocol.records import ScatterRow
from manifold.protocol.secrets import from_environment

if TYPE_CHECKING:
    from manifold.coordinator.spec import Mode
    from manifold.ledger import Ledger
    from manifold.worker.modules import JobModules


def redrive(
    ledger: Ledger,
    row: ScatterRow,
    what: Again,
    chosen: dict[str, Any],
    function: str | None,
    items: str | None,
    engine: str | None,
) -> shapes.Ran:
    """Run `what` again; of failed items those that `chosen` says (`coordinator.redrive.chooser`). The account after it.

    Raises ConfigError where it needs what only the caller has: the input, the function, the engine.
    """
    from manifold.coordinator.redrive import chooser
    from manifold.coordinator.spec import ScatterSpec
    from manifold.coordinator.start import run
    from manifold.engines.open import open_engine
    from manifold.ledger import Owner
    from manifold.protocol.by_value import by_value

    began = time.monotonic()
    source = _source(ledger, row, items, what)
    place = _engine_url(row, engine)
    with closing(opened_store(row)) as store:
        modules, job = _job(ledger, row, store)
        policy = _policy(row, job)
        spec = ScatterSpec(
            fn=function_of(function) if function else job.fn,
            source=source,
            name=row.name,
            uid=None if what == "everything" else row.uid,
            engine_url=place,
            names=job.names,
            consts=job.consts,
            policy=policy,
            mode=_MODES[what],
            why=f"runs again what {_NAMES[what]}, asked for by {person()}",
            store_url=row.store_url,
            chosen=chooser(ledger, row.uid, chosen) if what == "failed" else None,
            secrets=from_environment(policy),
            hidden=job.hidden,
            same_code=function is None,
            same_constants=True,
        )
        # What came with the code goes on with it, but not with code that is given here.
        with by_value(["."]), nullcontext() if function else modules.importable(), open_engine(place) as workers:
            results = run(
                spec,
                ledger=ledger,
                store=store,
                engine=workers,
                owner=Owner.here(f"manifold redrive, {person()}"),
                monitors=monitors(),
            )
        return ran_shape(ledger, results.uid, results, time.monotonic() - began)


def account(ledger: Ledger, uid: str) -> shapes.Ran:
    """The account of a scatter that has ended without success."""
    return ran_shape(ledger, uid, None, 0.0)


_MODES: dict[Again, Mode] = {"failed": "redrive", "missing": "continue", "everything": "fresh"}
_NAMES = {"failed": "failed", "missing": "is missing and what failed", "everything": "there is, from scratch"}


class Recorded(Source):
    """An input that the ledger knows of and that nobody needs to read: every position has an outcome."""

    def __init__(self, row: ScatterRow, pinned: dict[str, Any]) -> None:
        self.kind = row.source_kind  # type: ignore[misc]  # as the scatter's was
        self._row = row
        self._pinned = pinned

    def pin(self, pinned: dict[str, Any] | None) -> dict[str, Any]:
        return self._pinned

    def fingerprint(self) -> str | None:
        return self._row.source_fp

    def total(self) -> int | None:
        return self._row.total

    def read(self, start: int = 0) -> Iterator[Any]:
        raise InputGone(f"{self._row.title} needs its input again: say --items, as for `manifold run`")


def _source(ledger: Ledger, row: ScatterRow, items: str | None, what: Again) -> Source:
    """The input: as given, else as the ledger recorded it, if it will not be read or is files that are named there."""
    missing = None if row.total is None else row.total - row.done
    pinned = ledger.pin(row.uid)
    # Failed items are in the quarantine, and so are those of re-runs whose results are gone.
    unread = missing != 0 or all(one.layer for one in ledger.suspects(row.uid))
    if what != "everything" and unread and (what == "failed" or missing == 0):
        return Recorded(row, pinned)
    if items is not None:
        return items_of(items)
    path = pinned.get("path", "***")
    if row.source_kind == "files" and "***" not in path:
        return items_of(path)
    never = "some items never ran" if missing is None else f"{missing:,} items never ran"
    reason = "everything is to run" if what == "everything" else never if missing != 0 else "results are lost"
    raise ConfigError(
        f"{reason}, so {row.title} needs its input (it was a {row.source_kind}): say --items, as for `manifold run`; "
        "or run the program again that made it, under the same scatter_id"
    )


def _engine_url(row: ScatterRow, engine: str | None) -> str:
    url = engine or row.engine
    if engine is None and "://" not in url:
        raise ConfigError(
            f"{row.title} ran on an executor of its program's own ({url}); say --engine, such as threads://8"
        )
    return config.resolve(url)


def _job(ledger: Ledger, row: ScatterRow, store: Store) -> tuple[JobModules, Job]:
    """The code that it ran, and the modules that came with it."""
    from manifold.results.blobs import Blobs
    from manifold.worker.modules import JobModules

    try:
        modules = JobModules(Blobs(ledger, store, config.keyring(), row).shipment())
        return modules, modules.job()
    except BlobNotFound as exc:
        raise ResultsLost(f"the code of {row.title} is not in its store any more: {exc}") from exc
    except (ImportError, AttributeError) as exc:
        raise ConfigError(
            f"the code of {row.title} cannot be loaded here: {exc}. Run it where its modules are installed"
        ) from exc


def _policy(row: ScatterRow, job: Job) -> Policy:
    """The options that it ran with. Those that are functions or classes are only in the job."""
    functions: dict[str, Callable[..., Any] | Any] = {
        name: getattr(job, name) for name in ("key", "reduce", "initial", "retry_on", "no_retry_on")
    }
    plain = {name: value for name, value in row.policy.items() if name in Policy.names() - functions.keys()}
    tolerate = plain.pop("tolerate", None)
    # Nobody asks for a fresh start, or a refusal, by asking for the failed items.
    asked = {"tolerate": Tolerance(**tolerate) if tolerate else 0, "on_code_changed": "warn"}
    return Policy(**plain | functions | asked)
