"""Run one chunk: what an engine calls in a worker. Sealed task in, sealed answer out; nothing else is shared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from manifold import config, descriptors, logs
from manifold.errors import ManifoldError, StoreError, Unpicklable, WireError
from manifold.protocol import envelope, secrets
from manifold.protocol.digests import chunk_digest
from manifold.protocol.task import Answer, Broken, ChunkTask, Unsendable, Versions
from manifold.redaction import mask
from manifold.worker import airflow_import, beat, capture, current, error_report, forks, granted, interrupts, loops
from manifold.worker.execute import Execution
from manifold.worker.interrupts import Interrupts
from manifold.worker.meter import Meter
from manifold.worker.modules import JobModules, NotLoadable
from manifold.worker.originals import Originals
from manifold.worker.packing import Packing
from manifold.worker.perworker import resolve_per_worker
from manifold.worker.process import HERE, Loaded, Process

log = logging.getLogger(__name__)


def run_chunk(message: bytes, process: Process = HERE) -> bytes:
    """The sealed answer to a sealed task. `process` is the one that this code runs in, as it knows itself.

    Raises:
        WireError: the task is not signed by this deployment.
        StoreError: the results could not be put; the chunk may be sent again, no item is to blame.
    """
    try:
        return _run_chunk(message, process)
    except BaseException as exc:
        if descriptors.lacking(exc):
            beat.current().retire()
        raise


def _run_chunk(message: bytes, process: Process) -> bytes:
    keyring = config.keyring()
    header, payload = envelope.unseal(keyring, message, "task")
    try:
        task = msgspec.msgpack.decode(payload, type=ChunkTask)
    except msgspec.MsgspecError as exc:
        raise WireError(
            f"worker {process.name} cannot read the task; is another version installed there? {exc}"
        ) from exc
    if (task.uid, task.attempt) != (header.uid, header.attempt):
        raise WireError("the task is not the one that its seal names")
    nonce = process.nonce()
    airflow_import.allow()
    logs.setup()
    chunk = {"start": task.start, "stop": task.stop}
    with logs.about(scatter=task.uid, chunk=chunk, attempt=task.attempt, worker=process.name):
        with forks.only_here():
            answer = _with_warning(process, _answer(process, keyring, task, nonce))
        if logs.wanted():
            _log_line(answer)
    sealed = msgspec.structs.replace(header, kind="receipt", nonce=nonce)
    return envelope.seal(keyring, sealed, envelope.encode(answer))


def _with_warning(process: Process, answer: Answer) -> Answer:
    """The answer of a process that may have run out of file descriptors; one that has is replaced after this call."""
    receipt = answer.receipt
    if not (answer.refused or answer.blobs or (receipt is not None and receipt.n_failed)):
        return answer
    if (short := descriptors.shortage()) is None:
        return answer
    beat.current().retire()
    return msgspec.structs.replace(answer, warning=f"worker {process.name}: {short.text}")


def _log_line(answer: Answer) -> None:
    if (receipt := answer.receipt) is not None:
        counts = {"succeeded": receipt.n_ok, "failed": receipt.n_failed, "skipped": receipt.n_skipped}
        with logs.about(**counts, seconds=receipt.seconds):
            log.info("the chunk is done")
    elif answer.refused is not None:
        log.warning("the chunk is refused: %s", answer.refused)


def _answer(process: Process, keyring: envelope.Keyring, task: ChunkTask, nonce: str) -> Answer:
    if difference := task.versions.differs(Versions.here()):
        text = f"{difference} ({process.name}). Install the same on both"
        return Answer(refused=text, refusal="versions", worker=process.name)
    if task.epoch < (newest := process.newest_epoch(task.uid, task.epoch)):
        return Answer(refused="a newer coordinator has taken the scatter over", refusal="stale", epoch=newest)
    try:
        loaded = process.loaded(task.job_digest, lambda: _load(process, keyring, task))
        call = None if loaded is None else _call(loaded)
    except ImportError as exc:
        return Answer(refused=_why_not_loaded(process, exc), refusal="package", worker=process.name)
    except ManifoldError:
        raise
    except Exception as exc:  # noqa: BLE001 - a user's code: unpickling the function, factories of `per_worker`
        text = f"{type(exc).__qualname__}: {error_report.traceback_text(exc)}"
        return Answer(refused=text, refusal="set-up", worker=process.name)
    if loaded is None or call is None:
        return Answer(need="job")
    with loaded.modules.importable():
        items = _items(process, task)
        if items is None:
            return Answer(need="each")
        try:
            return _run(process, keyring, task, nonce, loaded, call, items)
        except (OSError, StoreError) as exc:  # around the items, such as that of an event loop to be
            if not descriptors.lacking(exc):
                raise
            return Answer(refused=f"{type(exc).__qualname__}: {exc}", refusal="set-up", worker=process.name)


def _why_not_loaded(process: Process, exc: ImportError) -> str:
    """What the function lacks on this worker, and what to do."""
    if isinstance(exc, NotLoadable):
        return f"worker {process.name} cannot load the function: {mask(str(exc))}"
    return (
        f"the function needs {exc.name or str(exc)!r}, which worker {process.name} lacks: {mask(str(exc))}. Install it "
        "there, or import it from a module in the folder of the DAG file or script, which is sent along"
    )


def _load(process: Process, keyring: envelope.Keyring, task: ChunkTask) -> Loaded | None:
    """The job, from the message or from the store; None where it is in neither."""
    blob = task.job or _kept_job(process, task)
    if blob is None:
        return None
    _, payload = envelope.unseal(keyring, blob, "function", uid=task.uid, digest=task.job_digest)
    modules = JobModules(payload)
    if conflict := modules.conflict():
        raise NotLoadable(conflict)
    job = modules.job()
    if job.secrets and task.secrets is None:
        return None
    given = secrets.opened(keyring, task.uid, job.secrets, task.secrets) if task.secrets else secrets.Secrets()
    process.hide(task.job_digest, [*job.hidden, *given.hide])
    granted.register(given.hide)
    with granted.given(given.environment), modules.importable():
        call = None if job.is_async else job.bind(resolve_per_worker(job.consts))
    return Loaded(job, call, modules, given.environment)


def _call(loaded: Loaded) -> Callable[[Any], Any]:
    """The function of one item, constants bound; raises what a `per_worker` factory raises."""
    if loaded.call is not None:
        return loaded.call
    with granted.given(loaded.environment), loaded.modules.importable():
        return loaded.job.bind(loops.here().resolved(loaded, dict(loaded.job.consts)))


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
            return envelope.loads(task.packed)  # type: ignore[no-any-return]
        except BaseException as exc:  # noqa: BLE001 - unpickling runs a user's code
            interrupts.pass_on(exc)
            return None
    return [_one(process, packed) for packed in task.each or ()]


def _one(process: Process, packed: bytes | Unsendable) -> Any:
    if isinstance(packed, Unsendable):
        return Broken(packed.reason, packed.shown)
    try:
        return envelope.loads(packed)
    except BaseException as exc:  # noqa: BLE001 - unpickling runs a user's code
        interrupts.pass_on(exc)
        return Broken(
            f"cannot be unpickled on worker {process.name}: {type(exc).__name__}: {exc}", "(unreadable)", packed
        )


def _run(
    process: Process,
    keyring: envelope.Keyring,
    task: ChunkTask,
    nonce: str,
    loaded: Loaded,
    call: Callable[[Any], Any],
    items: list[Any],
) -> Answer:
    job = loaded.job
    positions: Sequence[int] = task.positions if task.positions is not None else range(task.start, task.stop)
    digest = chunk_digest(items) if task.digest_items and task.positions is None else None
    originals = Originals(lambda: _items(process, task) or [])
    watched = beat.current()
    lines = capture.Lines(lambda: execution.position, job.log_lines, keep=job.keep_logs)
    execution = Execution(
        job,
        call if task.each is None else _refusing_broken(call),
        items,
        positions,
        originals=originals,
        allowance=task.allowance,
        pace=task.pace,
        meter=Meter(_most(process, task)),
        monotonic=process.monotonic,
        sleep=process.sleep,
        report=watched.report if task.careful or job.item_timeout else None,
        ended=lines.end,
        interrupts=Interrupts(),
        alarm=process.alarm,
    )
    watched.position, watched.stop, watched.deadline = (lambda: execution.done), execution.stop, execution.deadline
    if beat.draining():
        execution.stop()
    began = process.monotonic()
    with (
        execution.released(),
        granted.given(loaded.environment),
        current.executing(task.uid, execution),
        capture.capturing(lines),
    ):
        execution.run()
    seconds = process.monotonic() - began
    whole = execution.done == len(positions)
    lines.settle(None if whole else positions[execution.done])
    if not whole:
        digest = None if digest is None else chunk_digest(originals.first(execution.done))
    return Packing(process, keyring, task, nonce, execution, lines).answer(seconds, digest)


def _most(process: Process, task: ChunkTask) -> int | None:
    """Bytes of results at which the chunk ends early."""
    store = process.store(task.store)
    bounds = [task.most_bytes, store.max_bytes if store is not None else None]
    return min((bound for bound in bounds if bound is not None), default=None)


def _refusing_broken(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(item: Any) -> Any:
        if isinstance(item, Broken):
            raise Unpicklable(item.reason)
        return call(item)

    return checked
