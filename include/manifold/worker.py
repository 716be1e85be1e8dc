"""Run one chunk: what an engine calls in a worker. Sealed task in, sealed answer out; nothing else is shared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from manifold import beat, capture, codec, faults, logs, outcome, settings, wire
from manifold.errors import StoreError, Unpicklable, WireError
from manifold.execute import Broken, Execution
from manifold.itemdigest import chunk_digest
from manifold.job import Job
from manifold.perworker import resolve_per_worker
from manifold.process import HERE, Loaded, Process
from manifold.records import Receipt
from manifold.task import Answer, ChunkTask, Unsendable, Versions

log = logging.getLogger(__name__)

_RECEIPT_FAILURES = 400
"""Failures that ride in a receipt (at most some 600 bytes each, so 256 KB); beyond, the sidecar has them."""


def run_chunk(message: bytes, process: Process = HERE) -> bytes:
    """The sealed answer to a sealed task. `process` is the one that this code runs in, as it knows itself.

    Raises:
        WireError: the task is not signed by this deployment.
        StoreError: the results could not be put; the chunk may be sent again, no item is to blame.
    """
    keyring = settings.keyring()
    header, payload = wire.unseal(keyring, message, "task")
    try:
        task = msgspec.msgpack.decode(payload, type=ChunkTask)
    except msgspec.MsgspecError as exc:
        raise WireError(
            f"worker {process.name} cannot read the task; is another version installed there? {exc}"
        ) from exc
    if (task.uid, task.attempt) != (header.uid, header.attempt):
        raise WireError("the task is not the one that its seal names")
    nonce = process.nonce()
    logs.setup()
    chunk = {"start": task.start, "stop": task.stop}
    with logs.about(scatter=task.uid, chunk=chunk, attempt=task.attempt, worker=process.name):
        answer = _answer(process, keyring, task, nonce)
        if logs.wanted():
            _log_line(answer)
    sealed = msgspec.structs.replace(header, kind="receipt", nonce=nonce)
    return wire.seal(keyring, sealed, msgspec.msgpack.encode(answer))


def _log_line(answer: Answer) -> None:
    if (receipt := answer.receipt) is not None:
        counts = {"succeeded": receipt.n_ok, "failed": receipt.n_failed, "skipped": receipt.n_skipped}
        with logs.about(**counts, seconds=receipt.seconds):
            log.info("the chunk is done")
    elif answer.refused is not None:
        log.warning("the chunk is refused: %s", answer.refused)


def _answer(process: Process, keyring: wire.Keyring, task: ChunkTask, nonce: str) -> Answer:
    if difference := task.versions.differs(Versions.here()):
        return Answer(refused=f"{difference} ({process.name}). Install the same on both", refusal="versions")
    if task.epoch < process.newest_epoch(task.uid, task.epoch):
        return Answer(refused="a newer coordinator has taken the scatter over", refusal="stale")
    try:
        loaded = process.loaded(task.job_digest, lambda: _load(process, keyring, task))
    except ImportError as exc:
        missing = exc.name or str(exc)
        return Answer(
            refused=f"the function needs {missing!r}, which worker {process.name} lacks: {exc}. Install it there, or "
            "import it from a module beside the DAG, which is sent along",
            refusal="package",
        )
    if loaded is None:
        return Answer(need="job")
    items = _items(process, task)
    return Answer(need="each") if items is None else _run(process, keyring, task, nonce, loaded, items)


def _load(process: Process, keyring: wire.Keyring, task: ChunkTask) -> Loaded | None:
    """The job, from the message or from the store; None where it is in neither."""
    blob = task.job or _kept_job(process, task)
    if blob is None:
        return None
    _, payload = wire.unseal(keyring, blob, "function", uid=task.uid, digest=task.job_digest)
    job: Job = wire.loads(payload)
    return Loaded(job, job.bind(resolve_per_worker(job.consts)))


def _kept_job(process: Process, task: ChunkTask) -> bytes | None:
    store = process.store(task.store)
    try:
        return store.get(task.job_key) if store is not None else None
    except StoreError:
        return None  # the coordinator sends it along


def _items(process: Process, task: ChunkTask) -> list[Any] | None:
    """The chunk's items; None where they must come each in a pickle of its own, to find the one that fails."""
    if task.span is not None:
        return list(range(*task.span))
    if task.packed is not None:
        try:
            return wire.loads(task.packed)  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001 - unpickling runs a user's code
            return None
    return [_one(process, packed) for packed in task.each or ()]


def _one(process: Process, packed: bytes | Unsendable) -> Any:
    if isinstance(packed, Unsendable):
        return Broken(packed.reason, packed.shown)
    try:
        return wire.loads(packed)
    except Exception as exc:  # noqa: BLE001 - unpickling runs a user's code
        return Broken(
            f"cannot be unpickled on worker {process.name}: {type(exc).__name__}: {exc}", "(unreadable)", packed
        )


def _run(
    process: Process, keyring: wire.Keyring, task: ChunkTask, nonce: str, loaded: Loaded, items: list[Any]
) -> Answer:
    job = loaded.job
    positions: Sequence[int] = task.positions if task.positions is not None else range(task.start, task.stop)
    digest = chunk_digest(items) if task.digest_items and task.positions is None else None
    again: list[Any] = []  # the items once more, unpickled afresh, since a function may change what it is given

    def pristine() -> Sequence[Any]:
        if not again:
            again.extend(_items(process, task) or ())
        return again

    call = loaded.call if task.each is None else _refusing_broken(loaded.call)
    watched = beat.current()
    execution = Execution(
        job,
        call,
        items,
        positions,
        pristine=pristine,
        allowance=task.allowance,
        pace=task.pace,
        monotonic=process.monotonic,
        sleep=process.sleep,
        report=watched.report if task.careful or job.item_timeout else None,
    )
    watched.position, watched.stop, watched.deadline = (lambda: execution.done), execution.stop, execution.deadline
    if beat.draining():
        execution.stop()
    lines = capture.Lines(lambda: execution.position, job.log_lines, keep=job.keep_logs)
    began = process.monotonic()
    with capture.capturing(lines):
        execution.run()
    seconds = process.monotonic() - began
    if digest is not None and execution.done < len(positions):
        digest = chunk_digest(list(pristine()[: execution.done]))
    return _Packing(process, keyring, task, nonce, execution, lines).answer(seconds, digest)


def _refusing_broken(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(item: Any) -> Any:
        if isinstance(item, Broken):
            raise Unpicklable(item.reason)
        return call(item)

    return checked


class _Packing:
    """Turns what an execution left into blobs and a receipt."""

    def __init__(
        self,
        process: Process,
        keyring: wire.Keyring,
        task: ChunkTask,
        nonce: str,
        execution: Execution,
        lines: capture.Lines,
    ) -> None:
        self._process = process
        self._keyring = keyring
        self._task = task
        self._nonce = nonce
        self._execution = execution
        self._lines = lines
        self._blobs: dict[str, bytes] = {}

    def answer(self, seconds: float, items_digest: str | None) -> Answer:
        task, execution = self._task, self._execution
        try:
            values = self._values()
        except _ReduceFailed as exc:
            return Answer(receipt=self._receipt(seconds, fatal=str(exc)))
        store = self._process.store(task.store)
        sealed = {}
        if len(execution.marks) < execution.done:
            sealed["blob"] = self._seal("result", "r", values)
            if store is not None and store.max_bytes is not None and sealed["blob"][2] > store.max_bytes:
                self._shorten(sealed["blob"], store.max_bytes)
                return self.answer(seconds, None)
        if execution.failed:
            execution.failed.sort(key=lambda one: one.failure.pos)
            sealed["fail"] = self._seal("failed", "f", codec.encode_failed(execution.failed))
        if self._lines.whole:
            self._seal("log", "l", msgspec.msgpack.encode(self._lines.whole))
        if store is not None:
            for key, blob in self._blobs.items():
                store.put(key, blob)
        blob_key, blob_digest, blob_bytes = sealed.get("blob", (None, None, 0))
        fail_key, fail_digest, _ = sealed.get("fail", (None, None, 0))
        receipt = self._receipt(
            seconds,
            items_digest=items_digest,
            blob_key=blob_key,
            blob_digest=blob_digest,
            blob_bytes=blob_bytes,
            fail_key=fail_key,
            fail_digest=fail_digest,
        )
        return Answer(receipt=receipt, blobs={} if store is not None else self._blobs)

    def _receipt(self, seconds: float, **more: Any) -> Receipt:
        task, execution = self._task, self._execution
        done, marks = execution.done, execution.marks
        n_failed = sum(1 for mark in marks.values() if mark == "f")
        whole = done == len(execution.positions)
        stop = task.stop if whole else execution.positions[done - 1] + 1
        failures = [one.failure for one in execution.failed]
        return Receipt(
            uid=task.uid,
            epoch=task.epoch,
            layer=task.layer,
            attempt=task.attempt,
            nonce=self._nonce,
            start=task.start,
            stop=stop,
            n_ok=done - len(marks),
            n_failed=n_failed,
            n_skipped=len(marks) - n_failed,
            worker=self._process.name,
            host=self._process.host,
            pid=self._process.pid,
            seconds=seconds,
            outcome=_outcome(task, execution, stop),
            executions=done + execution.retries,
            code_digest=task.code_digest,
            failures=failures[:_RECEIPT_FAILURES],
            failures_cut=len(failures) > _RECEIPT_FAILURES,
            kinds={one.failure.fingerprint: one.traceback for one in execution.failed[:_RECEIPT_FAILURES]},
            lines=self._lines.close(),
            **more,
        )

    def _values(self) -> bytes:
        """The payload of the results; results that will not be pickled become failed items."""
        execution = self._execution
        if execution.job.reduce is not None:
            try:
                return codec.encode_segments(execution.segments())
            except Exception as exc:
                raise _ReduceFailed(faults.traceback_text(exc)) from exc
        try:
            return codec.encode_values(execution.values)
        except Exception:  # noqa: BLE001 - pickling runs a user's code; the culprits are found below
            ok = [index for index in range(execution.done) if index not in execution.marks]
            for index, value in zip(ok, list(execution.values), strict=True):
                try:
                    wire.dumps(value)
                except Exception as exc:  # noqa: BLE001 - as above
                    reason = f"its result, a {type(value).__name__}, cannot be pickled: {exc}"
                    execution.retract(index, Unpicklable(reason))
            return codec.encode_values(execution.values)

    def _seal(self, kind: wire.Kind, suffix: str, payload: bytes) -> tuple[str, str, int]:
        """Seals one blob under a key that names this execution; its key, digest and size."""
        task = self._task
        place = f"{task.start:016x}-{task.stop:016x}.{task.attempt}.{self._nonce}.{suffix}"
        key = f"{task.ledger_uuid}/{task.uid}/{place}"
        header = wire.Header(
            kind=kind,
            uid=task.uid,
            key_id=task.key_id,
            layer=task.layer,
            start=task.start,
            stop=task.stop,
            attempt=task.attempt,
            nonce=self._nonce,
        )
        blob = wire.seal(self._keyring, header, payload)
        self._blobs[key] = blob
        return key, wire.sealed_digest(blob), len(blob)

    def _shorten(self, blob: tuple[str, str, int], most: int) -> None:
        """Keep half of the chunk, as a prefix, so that its results fit the store; a single one that does not fails."""
        execution = self._execution
        del self._blobs[blob[0]]
        if execution.done > 1:
            execution.truncate(execution.done // 2)
        else:
            reason = f"its result is a blob of {blob[2]:,} bytes, and the store takes {most:,}"
            execution.retract(0, Unpicklable(reason))


class _ReduceFailed(Exception):
    """The reduce function raised: no item is to blame."""


def _outcome(task: ChunkTask, execution: Execution, stop: int) -> str | None:
    """The run-length code over [start, stop); None where all are ok."""
    if task.positions is None and not execution.marks:
        return None
    if task.positions is None:
        return outcome.encode("".join(execution.marks.get(index, "o") for index in range(execution.done)))
    of = {execution.positions[index]: execution.marks.get(index, "o") for index in range(execution.done)}
    return outcome.encode("".join(of.get(pos, ".") for pos in range(task.start, stop)))
