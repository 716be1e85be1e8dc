"""One try at a scatter, from its spec to its results, for Airflow's operator, plain Python and the command line."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from manifold import config
from manifold.abc import Clock, Engine, Monitor, Store
from manifold.clock import SystemClock
from manifold.coordinator import compatibility
from manifold.coordinator.compatibility import Compatibility
from manifold.coordinator.endings import ending_of
from manifold.coordinator.existing import compared
from manifold.coordinator.given import Given
from manifold.coordinator.loop import Coordinator
from manifold.coordinator.spec import ScatterSpec
from manifold.coordinator.wiring import Resources, build
from manifold.engines.open import cannot_stop_items
from manifold.errors import ConfigError, ManifoldError, ScatterBusy
from manifold.protocol import naming
from manifold.protocol.by_value import by_value
from manifold.protocol.job import is_async
from manifold.protocol.records import ScatterRow
from manifold.redaction import hide, mask, masked
from manifold.results.results import Results
from manifold.stores.marker import mark
from manifold.stores.patient import PatientStore
from manifold.text import function_name

if TYPE_CHECKING:
    from manifold.ledger import Claim, Ledger, NewScatter, Owner

log = logging.getLogger(__name__)

_BUSY_SECONDS = 45.0  # a lease is 30 s: a coordinator that died is waited for, one that lives is not


def run(
    spec: ScatterSpec,
    *,
    ledger: Ledger,
    store: Store,
    engine: Engine,
    owner: Owner,
    monitors: Sequence[Monitor] = (),
    stop: threading.Event | None = None,
    goes_on: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Results:
    """The results of the scatter, when its account is closed.

    Raises:
        ConfigError: the spec cannot be run on this engine or store.
        ScatterBusy: a coordinator that is alive is at work on it.
        ScatterError: it ended without success, as the ledger says too.
        ManifoldError: this try could not go on; the next one continues.
    """
    clock = clock or SystemClock()
    resources = Resources(
        ledger=ledger,
        store=PatientStore(store, sleep=clock.sleep),
        engine=engine,
        keyring=config.keyring(),
        monitors=monitors,
        stop=stop or threading.Event(),
        clock=clock,
        new_id=new_id,
        goes_on=goes_on,
    )
    return _Try(spec, resources, owner).go()


class _Try:
    def __init__(self, spec: ScatterSpec, resources: Resources, owner: Owner) -> None:
        self._spec = spec
        self._resources = resources
        self._ledger = resources.ledger
        self._owner = msgspec.structs.replace(owner, mode=spec.mode, why=spec.why)
        self._given = Given(spec, resources.keyring)

    def go(self) -> Results:
        # Around all of it: items may be instances of classes in the author's modules, and are pickled as they are sent.
        with by_value(self._spec.roots), closing(hide([*self._spec.secrets.hide, *self._spec.hidden])):
            naming.acquaint(self._spec.fn)
            try:
                return self._go()
            except ManifoldError as exc:
                exc.args = tuple(mask(one) if isinstance(one, str) else one for one in exc.args)
                raise

    def _go(self) -> Results:
        spec = self._spec
        _check(spec, self._resources.engine)
        found = self._find()
        if spec.mode == "reuse" and found is not None:
            return self._existing(found, compared(spec, found, self._ledger))
        source = spec.source
        pinned = source.pin(self._ledger.pin(found.uid) if found is not None and spec.mode != "fresh" else None)
        if found is not None and spec.mode == "continue" and self._is_done(found):
            return self._existing(found)
        claim, same = self._claim(found, pinned)
        self._resources.store.on_wait = _renewing(claim)
        try:
            context = build(spec, claim, same, self._given, self._resources)
        except BaseException as exc:
            ending, message = ending_of(exc)
            claim.release(ending=ending, message=message)
            raise
        return self._results(Coordinator(context).run())

    # -- which scatter -----------------------------------------------------------------------------------------------

    def _find(self) -> ScatterRow | None:
        """The living scatter of this name, if it is the one that the caller means."""
        found = self._ledger.find(self._spec.name)
        if found is not None and self._spec.uid is not None and found.uid != self._spec.uid:
            return None
        return found

    def _is_done(self, found: ScatterRow) -> bool:
        """Nothing is left to do, and nothing is other than it was, which needs no scan to see."""
        given = self._given
        return (
            found.state == "succeeded"
            and self._nothing_is_left(found)
            and not given.reduce_changed(found)
            and not given.initial_changed(found)
            and not given.code_changed(found)
            and not given.constants_changed(found)
        )

    def _nothing_is_left(self, found: ScatterRow) -> bool:
        """Every item has a result, of the same input as far as is seen without reading it."""
        before = compatibility.fingerprint(found)
        return (
            found.done == found.total
            and found.n_failed == 0
            and before is not None
            and before == self._spec.source.fingerprint()
            and not self._ledger.suspects(found.uid)
        )

    def _existing(self, found: ScatterRow, warnings: Sequence[str] = ()) -> Results:
        """What is there, with a word about whatever differs from what is asked for. No coordinator runs to say it."""
        compatibility.refuse_changes(self._spec, found, self._given)
        for text in (*warnings, *compatibility.warnings(found, self._given)):
            log.warning("%s: %s", found.title, text)
        return self._results(found)

    def _claim(self, found: ScatterRow | None, pinned: dict[str, Any]) -> tuple[Claim, Compatibility]:
        """The claim on `found`, or on a new scatter where there is none, or where this try is to take its place."""
        row, new = found, None
        if row is None:
            new = self._new(pinned)
            row = self._ledger.find(self._spec.name) or self._ledger.create(new)
        if (new is None or row.uid != new.uid) and (replaced := self._takes_its_place(row)) is not None:
            new = new or self._new(pinned)
            # A uid names one scatter for ever: from scratch means another one.
            uid = new.uid if new.uid != row.uid else self._resources.new_id()
            self._explain(replaced)
            return self._acquire(row.uid).fresh(msgspec.structs.replace(new, uid=uid)), Compatibility(replaced)
        # Also where it was made just now: another coordinator may have been faster, and begun already.
        same = compatibility.check(self._spec, row, self._resources.store, self._given)
        self._explain(same.warnings)
        if not row.done and (unstable := self._given.unstable(row)):
            log.info("%s: a later try cannot compare %s", row.title, compatibility.unstable_text(unstable))
        claim = self._acquire(row.uid)
        if compatibility.compared(row) == compatibility.compared(claim.row):
            return claim, same
        claim.release(message="another coordinator went on meanwhile, so this one compares again")
        return self._claim(claim.row, pinned)

    def _explain(self, warnings: Sequence[str]) -> None:
        self._owner = msgspec.structs.replace(self._owner, why="; ".join([self._spec.why, *warnings]))

    def _takes_its_place(self, row: ScatterRow) -> list[str] | None:
        """Warnings, where this try is to begin from scratch in place of `row`; else None."""
        spec, given, policy = self._spec, self._given, self._spec.policy.on_code_changed
        if spec.mode == "fresh" or (spec.uid is not None and row.uid != spec.uid):
            return []
        changed = given.constants_changed(row)
        if policy == "fresh" and (changed or given.code_changed(row)):
            return [compatibility.fresh_start(row, given)]
        # To continue would run nothing, and return results of other constants.
        if policy == "warn" and spec.mode == "continue" and changed and self._nothing_is_left(row):
            return [compatibility.fresh_start(row, given)]
        return None

    def _acquire(self, uid: str) -> Claim:
        """The claim; waits for the lease of a coordinator that has died."""
        deadline = self._resources.clock.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return self._ledger.acquire(uid, self._owner)
            except ScatterBusy:
                if self._resources.clock.monotonic() > deadline or self._resources.stop.is_set():
                    raise
                self._resources.clock.sleep(1.0)

    def _new(self, pinned: dict[str, Any]) -> NewScatter:
        from manifold.ledger import NewScatter

        spec, policy = self._spec, self._spec.policy
        return NewScatter(
            uid=spec.uid or self._resources.new_id(),
            name=spec.name,
            engine=spec.engine_url,
            source_kind=spec.source.kind,
            source_fp=spec.source.fingerprint(),
            source_pin=pinned,
            total=spec.source.total(),
            store_url=masked(spec.store_url or ""),
            store_uuid=mark(self._resources.store, self._ledger.uuid),
            key_id=self._resources.keyring.current,
            fn_name=function_name(spec.fn),
            codec=compatibility.codec_of(policy),
            reduce_digest=self._given.reduce,
            consts_digest=self._given.constants(self._resources.keyring.current).encode(),
            policy=policy.describe(),
            fn_digest=self._given.code,
            system=policy.system,
        )

    def _results(self, row: ScatterRow) -> Results:
        return Results.of(row, self._ledger, self._resources.store)


def _renewing(claim: Claim) -> Callable[[str], None]:
    """Return what keeps the claim while the store is waited for, which may take longer than a lease."""

    def renew(text: str) -> None:
        log.warning("%s", text)
        claim.renew()

    return renew


def _check(spec: ScatterSpec, engine: Engine) -> None:
    policy = spec.policy
    if policy.item_timeout is not None and not engine.kills_items and not is_async(spec.fn):
        raise ConfigError(cannot_stop_items(spec.engine_url, policy.item_timeout))
    if not callable(spec.fn):
        raise ConfigError(f"{spec.fn!r} is not a function")
