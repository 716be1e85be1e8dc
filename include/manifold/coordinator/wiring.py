"""What a coordinator is handed, and how a try puts it together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from manifold.abc import Clock, Engine, Monitor, Source
from manifold.clock import SystemClock
from manifold.coordinator.compatibility import Compatibility
from manifold.coordinator.dispatch import Address, Dispatch
from manifold.coordinator.given import Given
from manifold.coordinator.planner import Planner, Span, in_order
from manifold.coordinator.reattach import Reattached, Reattachment
from manifold.coordinator.receipts import Receipts
from manifold.coordinator.redrive import Redrive, chooser
from manifold.errors import ConfigError
from manifold.policy import Policy
from manifold.protocol import envelope, secrets, shipment
from manifold.protocol.blob_keys import function_key
from manifold.protocol.job import Job
from manifold.protocol.records import ChunkRow, ScatterRow
from manifold.redaction import masked
from manifold.stores.patient import PatientStore

if TYPE_CHECKING:
    from manifold.coordinator.spec import ScatterSpec
    from manifold.ledger import Claim, Ledger

_PAGE = 1000


@dataclass(slots=True, kw_only=True)
class Resources:
    """What a try works with, whatever it runs.

    Args:
        stop: set by whoever wants it to end soon.
        goes_on: whether another try follows then, and what workers have begun is left to it.
        new_id: makes ids; never the same twice.
    """

    ledger: Ledger
    store: PatientStore
    engine: Engine
    keyring: envelope.Keyring
    monitors: Sequence[Monitor] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Clock = field(default_factory=SystemClock)
    new_id: Callable[[], str]
    goes_on: Callable[[], bool] = lambda: False


@dataclass(slots=True, kw_only=True)
class Context(Resources):
    """All that a coordinator is handed; nothing is reached for, so that a simulation can own every part.

    Args:
        planner: for what is not committed; None where only failed items run again.
        only_failed: failed items run again and nothing else, although other items have no outcome.
        planner_again: makes one that begins with what the ledger says then, for so many items (None: unknown).
        redrive: for what failed before; None where nothing did.
        same_work: it is known to be that of earlier tries, so what these had sent may count whenever it arrives.
    """

    claim: Claim
    source: Source
    planner: Planner | None
    only_failed: bool
    planner_again: Callable[[int | None], Planner]
    redrive: Redrive | None
    dispatch: Dispatch
    receipts: Receipts
    policy: Policy
    why: str
    reattached: Reattached = field(default_factory=Reattached)
    same_work: bool = True
    warnings: Sequence[str] = ()


def build(spec: ScatterSpec, claim: Claim, same: Compatibility, given: Given, resources: Resources) -> Context:
    """Return all that the coordinator of a spec needs, under a claim; makes up for results that readers have missed."""
    return _Builder(spec, claim, same, given, resources).context()


class _Builder:
    def __init__(
        self, spec: ScatterSpec, claim: Claim, same: Compatibility, given: Given, resources: Resources
    ) -> None:
        self._given = given
        self._spec = spec
        self._claim = claim
        self._same = same
        self._resources = resources
        self._unclosed = False  # items without an outcome are left alone, as asked

    def context(self) -> Context:
        spec, claim, resources = self._spec, self._claim, self._resources
        given = self._sealed_secrets(claim.row)
        job = Job.of(
            spec.fn,
            spec.names,
            spec.consts,
            spec.policy,
            secrets="" if given is None else envelope.sealed_digest(given),
            hidden=tuple(spec.hidden),
        )
        receipts = Receipts(
            resources.ledger,
            resources.store,
            resources.keyring,
            uid=claim.uid,
            key_id=claim.row.key_id,
            store_uuid=claim.row.store_uuid,
            label=job.label,
            new_id=resources.new_id,
        )
        warnings = [*self._same.warnings]
        self._unclosed = self._spec.mode == "redrive" and claim.epoch > 1 and not self._is_closed()
        if not self._unclosed and (lost := receipts.see_to_suspects(claim)):
            warnings.append(f"the results of {lost:,} chunks are lost, and are made again")
        address = self._address(job, given)
        if (total := spec.source.total()) is not None:
            claim.set_total(total)  # raises ItemsChanged where an earlier try counted otherwise
        dispatch = Dispatch(resources.engine, resources.keyring, address, new_id=resources.new_id)
        reattached = self._reattached(dispatch, receipts)
        try:
            return self._with_plan(warnings, receipts, dispatch, reattached)
        except BaseException:
            dispatch.leave_all()
            raise

    def _with_plan(
        self, warnings: list[str], receipts: Receipts, dispatch: Dispatch, reattached: Reattached
    ) -> Context:
        spec, claim, resources = self._spec, self._claim, self._resources
        spans = [Span(sent.attempt.start, sent.attempt.stop) for sent in dispatch.in_flight.values()]
        why = [spec.why, *warnings]
        if told := str(reattached):
            why.append(told)
            claim.adopt(list(dispatch.in_flight), told)
        row, only_failed = claim.row, self._unclosed or self._only_failed()
        renewed = self._takes_items_of_today() and not only_failed
        chosen = self._see_to_redrive()
        redrive = self._redrive(chosen, spec.source if renewed else None) if row.n_failed else None
        again = partial(self._planner, redrive.as_they_were if redrive is not None and renewed else None)
        return Context(
            **{one.name: getattr(resources, one.name) for one in fields(resources)},
            claim=claim,
            source=spec.source,
            planner=None if only_failed else again(row.total, spans),
            only_failed=self._unclosed,
            planner_again=again,
            redrive=redrive,
            dispatch=dispatch,
            receipts=receipts,
            policy=spec.policy,
            why="; ".join(why),
            warnings=warnings,
            same_work=not self._same.other_work,
            reattached=reattached,
        )

    def _reattached(self, dispatch: Dispatch, receipts: Receipts) -> Reattached:
        """What this try has taken up of those before it, where the engine keeps such things."""
        resources, claim, same = self._resources, self._claim, self._same
        if not resources.engine.reattaches:
            return Reattached()
        reattachment = Reattachment(
            resources.engine, claim, dispatch, receipts, self._spec.source, same_work=not same.other_work
        )
        return reattachment.take(resources.clock.monotonic())

    # -- the items -----------------------------------------------------------------------------------------------------

    def _only_failed(self) -> bool:
        """The input need not be looked at: it has no gaps, and either it is the same or nobody asked."""
        same = self._same
        nobody_asked = self._spec.mode == "redrive" and not same.changed
        return self._is_closed() and (nobody_asked or not same.compare)

    def _is_closed(self) -> bool:
        """Every item has an outcome."""
        row = self._claim.row
        return row.total is not None and row.done == row.total

    def _takes_items_of_today(self) -> bool:
        """Items that failed run again as the input has them now, and not as they were."""
        accepts = self._spec.policy.on_items_changed == "accept"
        return accepts and self._same.compare and not self._spec.source.one_shot

    def _redrive(self, chosen: Callable[[int], bool] | None, source: Source | None) -> Redrive:
        resources, claim = self._resources, self._claim
        return Redrive(
            resources.ledger, resources.store, resources.keyring, claim.row, claim.epoch, chosen=chosen, source=source
        )

    def _planner(
        self,
        may_differ: Callable[[ChunkRow], dict[int, Any]] | None,
        total: int | None,
        spans: Sequence[Span] = (),
    ) -> Planner:
        ledger, uid = self._resources.ledger, self._claim.uid
        strikes = [(one.start, one.stop) for one in ledger.strikes(uid) if one.layer == 0]
        return Planner(
            self._spec.source,
            in_order(base_rows(ledger, uid), spans),
            strikes=strikes,
            check=self._same.compare,
            may_differ=may_differ,
            total=total,
        )

    def _see_to_redrive(self) -> Callable[[int], bool] | None:
        """What somebody asked for is done by this try, whichever mode it is in; which failed items are meant."""
        ledger, claim = self._resources.ledger, self._claim
        asked = [one for one in ledger.pending_controls(claim.uid) if one.verb == "redrive"]
        if not asked:
            return self._spec.chosen
        claim.applied(*(one.no for one in asked))
        return chooser(ledger, claim.uid, *(one.value for one in asked))

    # -- the function --------------------------------------------------------------------------------------------------

    def _address(self, job: Job, given: bytes | None) -> Address:
        """What all tasks have in common. Puts the function where workers find it."""
        spec, claim, resources, row = self._spec, self._claim, self._resources, self._claim.row
        code = row.fn_digest if spec.same_code and row.fn_digest else self._given.code
        consts = self._same.constants or row.consts_digest
        job_digest, job_blob = self._sealed(job, row)
        fn_key = function_key(resources.ledger.uuid, row.uid, claim.epoch, job_digest)
        resources.store.put(fn_key, job_blob)
        described: dict[str, Any] = {"policy": spec.policy.describe(), "engine": spec.engine_url}
        described |= {"fn_key": fn_key, "fn_digest": code, "consts_digest": consts}
        claim.describe(other_work=self._same.other_work, **described)
        return Address(
            uid=row.uid,
            epoch=claim.epoch,
            key_id=row.key_id,
            ledger_uuid=resources.ledger.uuid,
            job_digest=job_digest,
            job_key=fn_key,
            job_blob=job_blob,
            secrets=given,
            code_digest=code,
            store=self._store_for_workers(),
            digest_items=spec.source.kind != "range",
            most_bytes=spec.policy.chunk_bytes,
        )

    def _sealed_secrets(self, row: ScatterRow) -> bytes | None:
        """What the function is given of Airflow, for the messages alone: it is not put into the store."""
        given = self._spec.secrets
        return secrets.sealed(self._resources.keyring, row.uid, row.key_id, given) if given else None

    def _sealed(self, job: Job, row: ScatterRow) -> tuple[str, bytes]:
        try:
            payload = shipment.pack(job)
        except Exception as exc:
            raise ConfigError(
                f"{row.fn_name} and its constants cannot be sent to a worker: {type(exc).__name__}: {exc}"
                f"{shipment.culprit(job)}. Open connections, locks and files belong into per_worker(factory)"
            ) from exc
        # Its constants may be secrets: whoever reads broker or store does not read them.
        header = envelope.Header(kind="function", uid=row.uid, key_id=row.key_id, encrypted=True)
        blob = envelope.seal(self._resources.keyring, header, payload)
        return envelope.sealed_digest(blob), blob

    def _store_for_workers(self) -> str | None:
        """The store as a message names it; None where results ride in the receipts instead."""
        url, reach, engine = self._spec.store_url, self._resources.store.reach, self._resources.engine
        if url is None or masked(url) != url:
            return None  # a password does not go through a broker; the deployment's own store ("") needs none there
        reached = engine.in_process if reach == "process" else reach == "hosts" or engine.same_host
        return url if reached else None


def base_rows(ledger: Ledger, uid: str) -> Iterator[ChunkRow]:
    """The committed base rows by start, in pages, as they are when each page is read."""
    after = -1
    while page := ledger.chunks(uid, after=after, limit=_PAGE):
        yield from page
        after = page[-1].start
