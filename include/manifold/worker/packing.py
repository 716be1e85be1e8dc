"""What an execution left, as blobs and a receipt."""

from __future__ import annotations

from typing import Any

import msgspec

from manifold.abc import Store
from manifold.errors import StoreError, Unpicklable
from manifold.protocol import codec, envelope, outcome, proof
from manifold.protocol.blob_keys import BlobKind, chunk_key
from manifold.protocol.records import LogLine, Receipt
from manifold.protocol.task import Answer, ChunkTask
from manifold.text import a_type
from manifold.worker import capture, error_report, interrupts
from manifold.worker.execute import Execution
from manifold.worker.process import Process

_RECEIPT_FAILURES = 400
"""Failures that ride in a receipt (at most some 600 bytes each, so 256 KB); beyond, the sidecar has them."""


_NOT_AWAITED = (
    "was not awaited: the function is no `async def`, and its first result in the chunk was nothing to await. Make it "
    "`async def`, and await there"
)

_NOT_AWAITED_INSIDE = "was returned without being awaited: await it inside the function"


class Packing:
    """Turns what an execution left into blobs, which are put into the store, and the receipt that speaks of them."""

    def __init__(
        self,
        process: Process,
        keyring: envelope.Keyring,
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
        store = self._process.store(task.store)
        try:
            values = self._values()
            if store is not None and store.max_bytes is not None and len(values) > store.max_bytes:
                values = self._without_too_large(values, store.max_bytes)
        except _ReduceFailed as exc:
            return Answer(receipt=self._receipt(seconds, fatal=str(exc)))
        except _ProofNeeded:
            return Answer(need="proof")
        sealed = {}
        if len(execution.marks) < execution.done:
            sealed["blob"] = self._seal("result", "r", values)
        if execution.failed:
            execution.failed.sort(key=lambda one: one.failure.pos)
            sealed["fail"] = self._seal("failed", "f", codec.encode_failed(self._with_lines(execution.failed)))
        if self._lines.whole:
            self._seal("log", "l", envelope.encode(self._lines.whole))
        rest = self._blobs if store is None else _not_put(store, self._blobs)
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
        return Answer(receipt=receipt, blobs=rest)

    def _with_lines(self, failed: list[codec.FailedItem]) -> list[codec.FailedItem]:
        """What a failed item said rests beside it, where people look for it."""
        said: dict[int, list[LogLine]] = {}
        for line in self._lines.kept:
            said.setdefault(line.pos, []).append(line)
        return [msgspec.structs.replace(one, lines=said.get(one.failure.pos, [])) for one in failed]

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
            result_bytes=execution.meter.held,
            code_digest=task.code_digest,
            failures=failures[:_RECEIPT_FAILURES],
            failures_cut=len(failures) > _RECEIPT_FAILURES,
            kinds={one.failure.fingerprint: one.traceback for one in execution.failed[:_RECEIPT_FAILURES]},
            lines=self._lines.close(),
            **more,
        )

    def _values(self) -> bytes:
        """The payload of the results; results that will not be pickled become failed items."""
        if self._execution.job.reduce is not None:
            return self._segments()
        try:
            return codec.encode_values(self._execution.values)
        except proof.BROKEN:
            self._retract_unreadable()
        while True:
            try:
                return codec.encode_values(self._execution.values)
            except proof.BROKEN as exc:  # each by itself can be read, but not all of them together
                self._retract_last_of_shortest(exc)

    def _segments(self) -> bytes:
        execution = self._execution
        if self._task.prove:
            self._retract_unreadable()
        try:
            segments = execution.segments()
        except BaseException as exc:
            interrupts.pass_on(exc)
            raise _ReduceFailed(error_report.traceback_text(exc)) from exc
        try:
            return codec.encode_segments(segments)
        except proof.BROKEN as exc:
            if not self._task.prove:  # a fold may have changed the values, so that they cannot be folded once more
                raise _ProofNeeded from exc
            found = (proof.trouble(one.partial) for one in segments)
            reason = next((text for text in found if text is not None), f"cannot be read again: {exc}")
            raise _ReduceFailed(f"what it returned {reason}") from exc

    def _retract_unreadable(self) -> None:
        execution = self._execution
        ok = [index for index in range(execution.done) if index not in execution.marks]
        found = {}
        for index, value in zip(ok, execution.values, strict=True):
            if (reason := proof.trouble(value)) is not None:
                if interrupts.is_awaitable(value):
                    reason = _NOT_AWAITED_INSIDE if execution.job.is_async else _NOT_AWAITED
                found[index] = Unpicklable(f"its result, {a_type(value)}, {reason}")
        execution.retract(found)

    def _retract_last_of_shortest(self, exc: BaseException) -> None:
        """Fail the item with which the results stop being readable together."""
        execution = self._execution
        good, bad = 0, len(execution.values)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                codec.encode_values(execution.values[:middle])
                good = middle
            except proof.BROKEN:
                bad = middle
        ok = [index for index in range(execution.done) if index not in execution.marks]
        reason = f"its result, {a_type(execution.values[good])}, cannot be read beside those before it: {exc}"
        execution.retract({ok[good]: Unpicklable(reason)})

    def _seal(self, kind: envelope.Kind, suffix: BlobKind, payload: bytes) -> tuple[str, str, int]:
        """Seals one blob under a key that names this execution; its key, digest and size."""
        task = self._task
        place = (task.ledger_uuid, task.uid, task.start, task.stop, task.attempt, self._nonce)
        key = chunk_key(*place, suffix)
        header = envelope.Header(
            kind=kind,
            uid=task.uid,
            key_id=task.key_id,
            layer=task.layer,
            start=task.start,
            stop=task.stop,
            attempt=task.attempt,
            nonce=self._nonce,
        )
        blob = envelope.seal(self._keyring, header, payload)
        self._blobs[key] = blob
        return key, envelope.sealed_digest(blob), len(blob)

    def _without_too_large(self, payload: bytes, most: int) -> bytes:
        """The payload without results that would not fit the store even alone; those fail. Many small ones may fill
        several values of the store: that is the store's matter."""
        execution = self._execution
        if execution.job.reduce is not None:
            return payload
        ok = [index for index in range(execution.done) if index not in execution.marks]
        found: dict[int, BaseException] = {}
        for index, value in zip(ok, execution.values, strict=True):
            if (size := envelope.packed_size(codec.encode_values([value]), most)) > most:
                found[index] = Unpicklable(
                    f"its result, {a_type(value)}, is a blob of {size:,} bytes, and the store takes {most:,}: return "
                    "less, or where it was written to"
                )
        if not found:
            return payload
        execution.retract(found)
        return self._values()


def _not_put(store: Store, blobs: dict[str, bytes]) -> dict[str, bytes]:
    """Put the blobs, and return those that this process, without a free descriptor, cannot: they ride in the answer."""
    rest = dict(blobs)
    for key, blob in blobs.items():
        try:
            store.put(key, blob)
        except StoreError as exc:
            if not exc.exhausted:
                raise
            return rest
        del rest[key]
    return rest


class _ProofNeeded(Exception):
    """The chunk runs once more: each result is proven before it is folded."""


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
