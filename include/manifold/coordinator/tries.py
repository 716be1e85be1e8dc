"""One try at a scatter, from a plan to its results. Airflow's operator, plain Python and the command line share it."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from manifold import settings
from manifold.abc import Clock, Engine, Monitor, Source, Store
from manifold.clock import SystemClock
from manifold.coordinator import sameness
from manifold.coordinator.loop import Coordinator, ending_of
from manifold.coordinator.parts import Means, assembled
from manifold.engines.open import cannot_stop_items
from manifold.errors import ConfigError, ManifoldError, ScatterBusy
from manifold.policy import Policy
from manifold.protocol import naming
from manifold.protocol.identity import code_digest
from manifold.protocol.itemdigest import item_digest
from manifold.protocol.job import is_async
from manifold.protocol.records import ScatterRow
from manifold.protocol.secrets import Secrets
from manifold.protocol.ship import by_value
from manifold.redaction import hide, mask
from manifold.registry import masked
from manifold.results.view import Results
from manifold.stores.marker import mark
from manifold.stores.patient import PatientStore

if TYPE_CHECKING:
    from manifold.ledger import Claim, Ledger, NewScatter, Owner

log = logging.getLogger(__name__)

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
        secrets: the connections and variables that the function is given, with what the caller knows to be secret.
        hidden: texts among the constants that are secret.
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
    secrets: Secrets = field(default_factory=Secrets)
    hidden: Sequence[str] = ()


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
    clock = clock or SystemClock()
    means = Means(
        ledger=ledger,
        store=PatientStore(store, sleep=clock.sleep),
        engine=engine,
        keyring=settings.keyring(),
        monitors=monitors,
        stop=stop or threading.Event(),
        clock=clock,
        new_id=new_id,
    )
    return _Try(plan, means, owner).go()


class _Try:
    def __init__(self, plan: Plan, means: Means, owner: Owner) -> None:
        self._plan = plan
        self._means = means
        self._ledger = means.ledger
        self._owner = msgspec.structs.replace(owner, mode=plan.mode, why=plan.why)

    def go(self) -> Results:
        # Around all of it: items may be instances of classes in the author's modules, and are pickled as they are sent.
        with by_value(self._plan.roots), closing(hide([*self._plan.secrets.hide, *self._plan.hidden])):
            naming.acquaint(self._plan.fn)
            try:
                return self._go()
            except ManifoldError as exc:
                exc.args = tuple(mask(one) if isinstance(one, str) else one for one in exc.args)
                raise

    def _go(self) -> Results:
        plan = self._plan
        _check(plan, self._means.engine)
        found = self._find()
        if plan.mode == "hand back" and found is not None:
            return self._results(found)
        source = plan.source
        pinned = source.pin(self._ledger.pin(found.uid) if found is not None and plan.mode != "fresh" else None)
        if found is not None and plan.mode == "continue" and self._is_done(found):
            return self._results(found)
        claim, same = self._claim(found, pinned)
        self._means.store.on_wait = _renewing(claim)
        try:
            parts = assembled(plan, claim, same, self._means)
        except BaseException as exc:
            ending, message = ending_of(exc)
            claim.release(ending=ending, message=message)
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
            uid = new.uid if new.uid != row.uid else self._means.new_id()
            return self._acquire(row.uid).fresh(msgspec.structs.replace(new, uid=uid)), sameness.Sameness()
        # Also where it was made just now: another coordinator may have been faster, and begun already.
        same = sameness.check(self._plan, row, self._means.store)
        return self._acquire(row.uid), same

    def _takes_its_place(self, row: ScatterRow) -> bool:
        plan = self._plan
        other = plan.uid is not None and row.uid != plan.uid
        changed = plan.policy.on_code_changed == "fresh" and sameness.code_changed(plan, row)
        return other or plan.mode == "fresh" or changed

    def _acquire(self, uid: str) -> Claim:
        """The claim; waits for the lease of a coordinator that has died."""
        deadline = self._means.clock.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return self._ledger.acquire(uid, self._owner)
            except ScatterBusy:
                if self._means.clock.monotonic() > deadline or self._means.stop.is_set():
                    raise
                self._means.clock.sleep(1.0)

    def _new(self, pinned: dict[str, Any]) -> NewScatter:
        from manifold.ledger import NewScatter

        plan, policy = self._plan, self._plan.policy
        return NewScatter(
            uid=plan.uid or self._means.new_id(),
            name=plan.name,
            engine=plan.engine_url,
            source_kind=plan.source.kind,
            source_fp=plan.source.fingerprint(),
            source_pin=pinned,
            total=plan.source.total(),
            store_url=masked(plan.store_url or ""),
            store_uuid=mark(self._means.store, self._ledger.uuid),
            key_id=self._means.keyring.current,
            fn_name=_name(plan.fn),
            codec=sameness.codec_of(policy),
            reduce_digest=sameness.reduce_digest(policy),
            consts_digest=item_digest(dict(plan.consts)),
            policy=policy.describe(),
            fn_digest=code_digest(plan.fn),
        )

    def _results(self, row: ScatterRow) -> Results:
        return Results.of(row, self._ledger, self._means.store)


def _renewing(claim: Claim) -> Callable[[str], None]:
    """Return what keeps the claim while the store is waited for, which may take longer than a lease."""

    def renew(text: str) -> None:
        log.warning("%s", text)
        claim.renew()

    return renew


def _check(plan: Plan, engine: Engine) -> None:
    policy = plan.policy
    if policy.item_timeout is not None and not engine.kills_items and not is_async(plan.fn):
        raise ConfigError(cannot_stop_items(plan.engine_url, policy.item_timeout))
    if not callable(plan.fn):
        raise ConfigError(f"{plan.fn!r} is not a function")


def _name(fn: Callable[..., Any]) -> str:
    """What people call the function. Airflow loads a DAG file as `unusual_prefix_<digest>_<file>`."""
    module = re.sub(r"^unusual_prefix_[0-9a-f]+_", "", getattr(fn, "__module__", None) or type(fn).__module__)
    return f"{module}.{getattr(fn, '__qualname__', type(fn).__qualname__)}"
