"""Every option of a scatter: its name, what it does, its default. Nothing else documents them.

The same names work in `@task.scatter(...)`, `manifold.scatter(...)` and `manifold run --option`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Literal

from manifold import error_names, option_checks
from manifold.errors import ConfigError
from manifold.option_checks import function, number, one_of, optional, text, whole
from manifold.protocol.records import MAX_CHUNK
from manifold.redaction import masked
from manifold.text import did_you_mean

NAMED_ERRORS = str | type[BaseException]
_EARLY = 1000  # items done before a share of an input of unknown length means anything
_ADAPTIVE_START = 1  # an item may weigh 50 MB, or take a minute


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A failure budget: a count of items, or a share of all items."""

    count: int | None = None
    share: float | None = None

    def allows(self, failed: int, done: int, total: int | None, *, ended: bool = False) -> bool:
        """True while `failed` net failures are within the budget.

        A share counts of `total` where that is known; else of the items done, once there are 1,000 of them
        (or the input has ended).
        """
        return failed <= self.budget(done, total, ended=ended)

    def budget(self, done: int, total: int | None, *, ended: bool = False) -> int:
        """How many items may fail, as far as is known now."""
        if self.share is None:
            return self.count or 0
        if total is None and done < _EARLY and not ended:
            return MAX_CHUNK  # too early to tell
        # By the decimal digits of the share: 0.29 * 100 is less than 29 in binary.
        return math.floor(Fraction(repr(self.share)) * (done if total is None else total))

    @classmethod
    def parse(cls, value: Any) -> Tolerance:
        """`5`, `"5"` or `"1%"`; raises ConfigError for anything else."""
        if isinstance(value, Tolerance):
            return value
        text = str(value).strip()
        if match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text):
            share = float(f"{match[1]}e-2")
            if share <= 1:
                return cls(share=share)
        elif re.fullmatch(r"\d+", text) and not isinstance(value, bool):
            return cls(count=int(text))
        raise ConfigError(
            f"tolerate={value!r} is neither a count of items such as 5 nor a percentage between 0 and 100 such as '1%'"
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """The options of one scatter, checked. `Policy(**options)` raises ConfigError for one that makes no sense.

    Where it runs and where results rest:
        engine: URL or Airflow connection id of the engine, such as `processes://4` or `celery_default`.
        store: URL or connection id of the store; None takes the deployment's (`MANIFOLD_STORE`).
        worker_queue: the queue that chunks go to, for engines that have queues; None takes the engine's own.

    How the input is cut and how fast it goes:
        chunk_size: items in a chunk, at most 65,536; None adapts to about a second of work, and to `chunk_bytes`.
        chunk_bytes: upper bound of a chunk's pickled input, in bytes, and of what its results weigh; a single larger
            item still travels alone.
        max_concurrency: chunks that may run at once; None: as many as the engine has slots.
        rate_limit: executions of an item per second over the whole scatter, retries included; None: no limit.

    What happens when an item fails:
        item_retries: how often one item is tried again, in place, by the worker.
        retry_on, no_retry_on: exception classes, or their names: `module.Class` as an import would find it, `Class`
            for one that is defined already, `*.Class` for any of that name, which is not checked; by default every
            Exception is retried. `no_retry_on` wins.
        item_backoff: seconds before the first retry of an item; doubles each time, up to 60 s, with jitter.
        item_timeout: seconds that one execution of an item may take; refused where the engine cannot keep it.
        tolerate: how many items may fail, as a count (5) or a percentage ("1%"), before the scatter fails.
        stop_after_same_error: end early when the first N items that finish all fail with the same error; 0: never.

    Copies, folding, names:
        speculate: run a second copy of a straggling chunk. Off, because side effects then happen twice at once.
        key: a function of the item that names it for people, or a field's name where items are mappings.
        reduce: an associative function of two results; the scatter then keeps one folded value.
        initial: the value that `reduce` begins with, used once.
        async_concurrency: for an `async def` function, how many items of a chunk run at once.

    What it is given of Airflow (see docs/airflow-in-items.md):
        connections: ids of Airflow connections that the function's hooks may use on its workers.
        variables: keys of Airflow variables that the function may read there.

    Doing it again:
        on_items_changed: "fail", or "accept" to let items differ that are not committed, or that failed; these then
            run again as the input has them now. What succeeded or was skipped may never differ.
        on_code_changed: "warn" and go on, "fail", or "fresh" to start again, where the function, what it refers to, or
            a constant is not what it was. "warn" starts again, too, in plain Python, where constants changed and
            nothing is left to run.
        resume: "auto" continues what a crash cut off and starts from scratch when a person cleared the task;
            "always" continues whatever is there; "never" always starts from scratch.

    For people:
        log_lines: how many lines an item's function may print in a chunk before the rest is dropped.
        keep_logs: keep each chunk's whole log in the store.
        system: it belongs to the deployment itself, such as a check of its health; lists leave it out unless asked.
    """

    engine: str | None = None
    store: str | None = None
    worker_queue: str | None = None
    chunk_size: int | None = None
    chunk_bytes: int = 4 * 1024 * 1024
    max_concurrency: int | None = None
    rate_limit: float | None = None
    item_retries: int = 0
    retry_on: tuple[NAMED_ERRORS, ...] = ()
    no_retry_on: tuple[NAMED_ERRORS, ...] = ()
    item_backoff: float = 0.0
    item_timeout: float | None = None
    tolerate: Any = 0
    stop_after_same_error: int = 0
    speculate: bool = False
    key: Callable[[Any], object] | str | None = None
    reduce: Callable[[Any, Any], Any] | None = None
    initial: Any = None
    async_concurrency: int = 100
    connections: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    on_items_changed: Literal["fail", "accept"] = "fail"
    on_code_changed: Literal["warn", "fail", "fresh"] = "warn"
    resume: Literal["auto", "always", "never"] = "auto"
    log_lines: int = 100
    keep_logs: bool = False
    system: bool = False

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in option_checks.checked(given, _CHECKS).items():
            object.__setattr__(self, name, value)

    @classmethod
    def names(cls) -> frozenset[str]:
        """The names of all options."""
        return frozenset(f.name for f in fields(cls))

    @classmethod
    def of(cls, options: dict[str, Any]) -> Policy:
        """The policy of these options; an unknown name is a ConfigError that tells the nearest, and all."""
        unknown = sorted(options.keys() - cls.names())
        if unknown:
            hint = did_you_mean(unknown[0], cls.names())
            raise ConfigError(f"unknown option {', '.join(unknown)}; {hint}There are: {', '.join(sorted(cls.names()))}")
        return cls(**options)

    def with_(self, **changes: Any) -> Policy:
        """The same, but for `changes`."""
        return Policy(**{f.name: getattr(self, f.name) for f in fields(self)} | changes)

    def describe(self) -> dict[str, Any]:
        """JSON-like: what the ledger shows of it. Functions stand by their qualified names, URLs without passwords."""
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        shown |= {name: masked(url) for name in ("engine", "store") if (url := shown[name]) is not None}
        shown["tolerate"] = asdict(self.tolerate)
        return {name: _plain(value) for name, value in shown.items() if value is not None}

    @property
    def first_chunk(self) -> int:
        """Items in the first chunk: the fixed size, or a probe that is small enough to learn from."""
        return self.chunk_size or _ADAPTIVE_START


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool, dict)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return getattr(value, "__qualname__", None) or repr(value)[:200]


_SWITCH = one_of(True, False)
_CHECKS: dict[str, option_checks.Check] = {
    "engine": optional(text("processes://4")),
    "store": optional(text("s3://bucket/folder")),
    "worker_queue": optional(text("high_memory")),
    "chunk_size": optional(whole(1, MAX_CHUNK)),
    "chunk_bytes": whole(1024),
    "max_concurrency": optional(whole(1)),
    "rate_limit": optional(number(zero=False)),
    "item_retries": whole(0),
    "retry_on": error_names.checked,
    "no_retry_on": error_names.checked,
    "item_backoff": number(zero=True),
    "item_timeout": optional(number(zero=False)),
    "tolerate": lambda _, value: Tolerance.parse(value),
    "stop_after_same_error": whole(0),
    "speculate": _SWITCH,
    "key": optional(function(or_field=True)),
    "reduce": optional(function()),
    "initial": option_checks.anything,
    "async_concurrency": whole(1),
    "connections": option_checks.names,
    "variables": option_checks.names,
    "on_items_changed": one_of("fail", "accept"),
    "on_code_changed": one_of("warn", "fail", "fresh"),
    "resume": one_of("auto", "always", "never"),
    "log_lines": whole(0),
    "keep_logs": _SWITCH,
    "system": _SWITCH,
}
