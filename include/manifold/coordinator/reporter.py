"""Tells monitors what happens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from manifold import events
from manifold.abc import Engine, Monitor
from manifold.protocol.records import Attempt, Receipt, ScatterRow
from manifold.redaction import mask
from manifold.text import storable

if TYPE_CHECKING:
    from manifold.coordinator.dispatch import Dispatch

log = logging.getLogger(__name__)


class Reporter:
    """Events to monitors. A monitor that raises is named once and told nothing more; the scatter goes on."""

    def __init__(self, monitors: Sequence[Monitor], uid: str, epoch: int) -> None:
        self._monitors = list(monitors)
        self._uid = uid
        self._epoch = epoch

    def started(self, row: ScatterRow, why: str, warnings: Sequence[str] = ()) -> None:
        self._emit(
            events.ScatterStarted(
                self._uid,
                self._epoch,
                name=row.title,
                engine=row.engine,
                why=mask(why),
                warnings=tuple(map(mask, warnings)),
                total=row.total,
                n_ok=row.n_ok,
                n_failed=row.n_failed,
                n_skipped=row.n_skipped,
            )
        )

    def progress(self, row: ScatterRow, dispatch: Dispatch, engine: Engine, *, paused: bool) -> None:
        counts = {"total": row.of, "n_ok": row.n_ok, "n_failed": row.n_failed, "n_skipped": row.n_skipped}
        flying, slots = len(dispatch.in_flight), engine.slots()
        self._emit(
            events.Progress(self._uid, self._epoch, **counts, in_flight=flying, slots=slots, paused=paused)  # type: ignore[arg-type]
        )

    def committed(self, receipt: Receipt) -> None:
        self._emit(
            events.ChunkCommitted(
                self._uid,
                self._epoch,
                start=receipt.start,
                stop=receipt.stop,
                worker=receipt.worker,
                seconds=receipt.seconds,
                n_failed=receipt.n_failed,
                failures=receipt.failures,
                kinds=receipt.kinds,
                lines=receipt.lines,
                attempt=receipt.attempt,
            )
        )

    def lost(self, attempt: Attempt, worker: str | None, reason: str) -> None:
        where = attempt.start, attempt.stop
        self._emit(events.ChunkLost(self._uid, self._epoch, *where, worker, storable(mask(reason)), attempt.id))

    def notice(self, level: str, text: str) -> None:
        self._emit(events.Notice(self._uid, self._epoch, level, storable(mask(text))))

    def ended(self, row: ScatterRow, seconds: float, ending: str, message: str | None) -> None:
        """Tell how the try ended; `ending` and `message` say it where the scatter itself has not ended."""
        goes_on = row.state == "running"
        self._emit(
            events.ScatterEnded(
                self._uid,
                self._epoch,
                state=("drained" if ending == "drained" else "stopped") if goes_on else row.state,
                total=row.total,
                n_ok=row.n_ok,
                n_failed=row.n_failed,
                n_skipped=row.n_skipped,
                seconds=seconds,
                message=message if goes_on else row.message,
            )
        )

    def _emit(self, event: events.Event) -> None:
        for monitor in list(self._monitors):
            try:
                monitor.emit(event)
            except Exception:
                log.exception("the monitor %s failed and is told nothing more", type(monitor).__name__)
                self._monitors.remove(monitor)
