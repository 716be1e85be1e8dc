"""What a coordinator tells its monitors. Events are hints for people; the ledger is the truth."""

from __future__ import annotations

from dataclasses import dataclass, field

from manifold.protocol.records import Failure, LogLine


@dataclass(frozen=True, slots=True)
class Event:
    """The root: which scatter, and the coordinator's epoch."""

    uid: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ScatterStarted(Event):
    """A coordinator owns the scatter and begins. `why` says in a sentence what this try does.

    `warnings`, which `why` ends with, are what people must know: that code, constants or input changed, or results are
    lost.
    """

    name: str
    engine: str
    why: str
    total: int | None
    n_ok: int = 0
    n_failed: int = 0
    n_skipped: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """The net counters of the whole scatter after a commit. `in_flight` counts chunks; `total` may be an estimate."""

    total: int | None
    n_ok: int
    n_failed: int
    n_skipped: int
    in_flight: int
    slots: int
    paused: bool = False


@dataclass(frozen=True, slots=True)
class ChunkCommitted(Event):
    """One receipt counts now. `seconds` is the worker's own time for it."""

    start: int
    stop: int
    worker: str
    seconds: float
    n_failed: int
    failures: list[Failure] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    lines: list[LogLine] = field(default_factory=list)
    attempt: str = ""


@dataclass(frozen=True, slots=True)
class ChunkLost(Event):
    """A chunk's worker is gone; the chunk will run again, whole or halved."""

    start: int
    stop: int
    worker: str | None
    reason: str
    attempt: str = ""


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something that a person should read once: a warning, an applied control, a wait."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class ScatterEnded(Event):
    """A try ended.

    `state` is that of the scatter, if this has ended: `succeeded`, `failed` or `cancelled`. Otherwise it is `drained`
    or `stopped`, and the next try continues; `message` says why.
    """

    state: str
    total: int | None
    n_ok: int
    n_failed: int
    n_skipped: int
    seconds: float
    message: str | None = None

    @property
    def final(self) -> bool:
        """Whether the scatter has ended with the try."""
        return self.state not in ("drained", "stopped")
