"""One try at a scatter, from a plan to its results. Airflow's operator, plain Python and the command line share it."""

from __future__ import annotations

import inspect
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from manifold import sameness, settings, wire
from manifold.abc import Clock, Engine, Monitor, Source, Store
from manifold.clock import SystemClock
from manifold.coordinator import Coordinator, Parts
from manifold.dispatch import Address, Dispatch
from manifold.errors import ConfigError, ScatterBusy
from manifold.itemdigest import item_digest
from manifold.job import Job, code_digest
from manifold.policy import Policy
from manifold.receipts import Receipts
from manifold.records import ScatterRow
from manifold.redrive import Redrive, chooser
from manifold.registry import masked
from manifold.results import Results
from manifold.ship import by_value
from manifold.stores.marker import mark

if TYPE_CHECKING:
    from manifold.ledger import Claim, Ledger, NewScatter, Owner

Mode = Literal["continue", "fresh", "redrive", "hand back"]
"""continue: gaps, and items that failed in earlier tries; fresh: all again, under a new uid;
redrive: only failed items; hand back: what is there, without running anything."""

_BUSY_SECONDS = 45.0  # a lease is 30 s: a coordinator that died is waited for, one that lives is not


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run, and what this try does about what is there already.

    Args:
        names: the keywords of an item; None for a single positional one.
        name: what the scatter is called in the ledger; unique among the living.
        uid: its identity where the caller keeps one (Airflow's task state store); None finds it by name.
        why: a sentence for the log: what this try does, and why.
        engine_url: what the ledger shows, and what scatters that share the engine are counted by.
        store_url: as the worker shall open it: "" for its own default, None where it cannot.
        chosen: for a redrive, which failed positions; None for all.
        roots: folders whose modules travel by value.
    """

    fn: Callable[..., Any]
    source: Source
    name: str
    engine_url: str
    names: tuple[str, ...] | None = None
    consts: Mapping[str, Any] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    mode: Mode = "continue"
    uid: str | None = None
    why: str = ""
    store_url: str | None = ""
    chosen: Callable[[int], bool] | None = None
    roots: Sequence[str] = ()


def run(
    plan: Plan,
    *,
    ledger: Ledger,
    store: Store,
    engine: Engine,
    owner: Owner,
    monitors: Sequence[Monitor] = (),
    stop: threading.Event | None = None,
    clock: Clock | None = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Results:
    """The results of the scatter, when its account is closed.

    Raises:
        ConfigError: the plan cannot be run on this engine or store.
        ScatterBusy: a coordinator that is alive is at work on it.
        ScatterError: it ended without success, as the ledger says too.
        ManifoldError: this try could not go on; the next one continues.
    """
    return _Try(
        plan, ledger, store, engine, owner, monitors, stop or threading.Event(), clock or SystemClock(), new_id
    ).go()


class _Try:
    def __init__(
        self,
        plan: Plan,
        ledger: Ledger,
        store: Store,
        engine: Engine,
        owner: Owner,
        monitors: Sequence[Monitor],
        stop: threading.Event,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._store = store
        self._engine = engine
        self._owner = owner
        self._monitors = monitors
        self._stop = stop
        self._clock = clock
        self._new_id = new_id
        self._keyring = settings.keyring()

    def go(self) -> Results:
        # Around all of it: items may be instances of classes in the author's modules, and are pickled as they are sent.
        with by_value(self._plan.roots):
            return self._go()

    def _go(self) -> Results:
        plan = self._plan
        _check(plan, self._engine, self._store)
        found = self._find()
        if plan.mode == "hand back" and found is not None:
            return self._results(found)
        source = plan.source
        pinned = source.pin(found.source_pin if found is not None and plan.mode != "fresh" else None)
        if found is not None and plan.mode == "continue" and self._is_done(found):
            return self._results(found)
        claim, same = self._claim(found, pinned)
        try:
            parts = self._parts(claim, same)
        except BaseException:
            claim.release()
            raise
        return self._results(Coordinator(parts).run())

    # -- which scatter -----------------------------------------------------------------------------------------------

    def _find(self) -> ScatterRow | None:
        """The living scatter of this name, if it is the one that the caller means."""
        found = self._ledger.find(self._plan.name)
        if found is not None and self._plan.uid is not None and found.uid != self._plan.uid:
            return None
        return found

    def _is_done(self, found: ScatterRow) -> bool:
        """Nothing is left to do, which needs no scan to see."""
        source = self._plan.source
        return (
            found.state == "succeeded"
            and found.n_failed == 0
            and found.source_fp is not None
            and found.source_fp == source.fingerprint()
            and found.reduce_digest == sameness.reduce_digest(self._plan.policy)
            and not sameness.code_changed(self._plan, found)
            and not self._ledger.suspects(found.uid)
        )

    def _claim(self, found: ScatterRow | None, pinned: dict[str, Any]) -> tuple[Claim, sameness.Sameness]:
        """The claim on `found`, or on a new scatter where there is none, or where this try is to take its place."""
        row, new = found, None
        if row is None:
            new = self._new(pinned)
            row = self._ledger.find(self._plan.name) or self._ledger.create(new)
        if (new is None or row.uid != new.uid) and self._takes_its_place(row):
            new = new or self._new(pinned)
            # A uid names one scatter for ever: afresh means another one.
            uid = new.uid if new.uid != row.uid else self._new_id()
            return self._acquire(row.uid).fresh(msgspec.structs.replace(new, uid=uid)), sameness.Sameness()
        # Also where it was made just now: another coordinator may have been faster, and begun already.
        same = sameness.check(self._plan, row, self._store)
        return self._acquire(row.uid), same

    def _takes_its_place(self, row: ScatterRow) -> bool:
        plan = self._plan
        other = plan.uid is not None and row.uid != plan.uid
        changed = plan.policy.on_code_changed == "fresh" and sameness.code_changed(plan, row)
        return other or plan.mode == "fresh" or changed

    def _acquire(self, uid: str) -> Claim:
        """The claim; waits for the lease of a coordinator that has died."""
        deadline = self._clock.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return self._ledger.acquire(uid, self._owner)
            except ScatterBusy:
                if self._clock.monotonic() > deadline or self._stop.is_set():
                    raise
                self._clock.sleep(1.0)

    def _new(self, pinned: dict[str, Any]) -> NewScatter:
        from manifold.ledger import NewScatter

        plan, policy = self._plan, self._plan.policy
        return NewScatter(
            uid=plan.uid or self._new_id(),
            name=plan.name,
            engine=plan.engine_url,
            source_kind=plan.source.kind,
            source_fp=plan.source.fingerprint(),
            source_pin=pinned,
            total=plan.source.total(),
            store_url=masked(plan.store_url or ""),
            store_uuid=mark(self._store, self._ledger.uuid),
            key_id=self._keyring.current,
            fn_name=_name(plan.fn),
            codec=sameness.codec_of(policy),
            reduce_digest=sameness.reduce_digest(policy),
            consts_digest=item_digest(dict(plan.consts)),
            policy=policy.describe(),
            fn_digest=code_digest(plan.fn),
        )

    # -- the parts of a coordinator ----------------------------------------------------------------------------------

    def _parts(self, claim: Claim, same: sameness.Sameness) -> Parts:
        plan, policy = self._plan, self._plan.policy
        receipts = Receipts(
            self._ledger,
            self._store,
            self._keyring,
            uid=claim.uid,
            key_id=claim.row.key_id,
            check=same.compare,
            sleep=self._clock.sleep,
            new_id=self._new_id,
        )
        why = [plan.why, *same.warnings]
        if lost := receipts.see_to_suspects(claim):
            why.append(f"the results of {lost:,} chunks are lost, and are made again")
        row = claim.row
        chosen = self._see_to_redrive(claim)
        code = code_digest(plan.fn)
        job_digest, job_blob = self._job(row)
        # A key of this epoch alone: gc may be about to delete what an earlier try has left.
        fn_key = f"{self._ledger.uuid}/{row.uid}/function.{claim.epoch}.{job_digest[:32]}"
        self._store.put(fn_key, job_blob)
        claim.describe(fn_key=fn_key, fn_digest=code, policy=policy.describe(), engine=plan.engine_url)
        total = plan.source.total()
        if total is not None:
            claim.set_total(total)  # raises ItemsChanged where an earlier try counted otherwise
        address = Address(
            uid=row.uid,
            epoch=claim.epoch,
            key_id=row.key_id,
            ledger_uuid=self._ledger.uuid,
            job_digest=job_digest,
            job_key=fn_key,
            job_blob=job_blob,
            code_digest=code,
            store=self._store_for_workers(),
            digest_items=plan.source.kind != "range",
        )
        redrive = (
            Redrive(self._ledger, self._store, self._keyring, row, claim.epoch, chosen=chosen) if row.n_failed else None
        )
        return Parts(
            ledger=self._ledger,
            claim=claim,
            engine=self._engine,
            source=plan.source,
            planner=None if self._only_failed(row, same) else receipts.planner_again(plan.source, row.total),
            redrive=redrive,
            dispatch=Dispatch(self._engine, self._keyring, address, new_id=self._new_id),
            receipts=receipts,
            policy=policy,
            why="; ".join(why),
            monitors=self._monitors,
            clock=self._clock,
            stop=self._stop,
        )

    def _store_for_workers(self) -> str | None:
        """The store as a message names it; None where results ride in the receipts instead."""
        url, reach = self._plan.store_url, self._store.reach
        if url is None or masked(url) != url:
            return None  # a password does not go through a broker; the deployment's own store ("") needs none there
        reached = self._engine.in_process if reach == "process" else reach == "hosts" or self._engine.same_host
        return url if reached else None

    def _only_failed(self, row: ScatterRow, same: sameness.Sameness) -> bool:
        """The input need not be looked at: it has no gaps, and either it is the same or nobody asked."""
        closed = row.total is not None and row.done == row.total
        return closed and (self._plan.mode == "redrive" or not same.compare)

    def _see_to_redrive(self, claim: Claim) -> Callable[[int], bool] | None:
        """What somebody asked for is done by this try, whichever mode it is in; which failed items are meant."""
        asked = [one for one in self._ledger.pending_controls(claim.uid) if one.verb == "redrive"]
        if not asked:
            return self._plan.chosen
        claim.applied(*(one.no for one in asked))
        return chooser(self._ledger, claim.uid, *(one.value for one in asked))

    def _job(self, row: ScatterRow) -> tuple[str, bytes]:
        plan = self._plan
        job = Job.of(plan.fn, plan.names, plan.consts, plan.policy)
        try:
            payload = wire.dumps(job)
        except Exception as exc:
            raise ConfigError(
                f"{row.fn_name} and its constants cannot be sent to a worker: {type(exc).__name__}: {exc}. "
                "Open connections, locks and files belong into per_worker(factory)"
            ) from exc
        blob = wire.seal(self._keyring, wire.Header(kind="function", uid=row.uid, key_id=row.key_id), payload)
        return wire.sealed_digest(blob), blob

    def _results(self, row: ScatterRow) -> Results:
        return Results.of(row, self._ledger, self._store)


def _check(plan: Plan, engine: Engine, store: Store) -> None:
    policy = plan.policy
    if policy.item_timeout is not None and not engine.kills_items and not inspect.iscoroutinefunction(plan.fn):
        raise ConfigError(
            f"item_timeout={policy.item_timeout:g} cannot be kept by {plan.engine_url}, which cannot stop a running "
            "item; use processes://, celery://, or an async def function"
        )
    if not callable(plan.fn):
        raise ConfigError(f"{plan.fn!r} is not a function")


def _name(fn: Callable[..., Any]) -> str:
    """What people call the function. Airflow loads a DAG file as `unusual_prefix_<digest>_<file>`."""
    module = re.sub(r"^unusual_prefix_[0-9a-f]+_", "", fn.__module__)
    return f"{module}.{getattr(fn, '__qualname__', type(fn).__qualname__)}"
