"""Every option of a scatter: its name, what it does, its default. Nothing else documents them.

The same names work in `@task.scatter(...)`, `manifold.scatter(...)` and `manifold run --option`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Literal

from manifold import error_names
from manifold.errors import ConfigError
from manifold.protocol.records import MAX_CHUNK
from manifold.registry import masked
from manifold.words import did_you_mean

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
        resume: "auto" continues what a crash cut off and starts afresh when a person cleared the task;
            "always" continues whatever is there; "never" always starts afresh.

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
        for name in ("retry_on", "no_retry_on"):
            object.__setattr__(self, name, error_names.checked(name, getattr(self, name)))
        for name in ("connections", "variables"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        object.__setattr__(self, "tolerate", Tolerance.parse(self.tolerate))
        _whole("chunk_size", self.chunk_size, 1, MAX_CHUNK)
        _whole("chunk_bytes", self.chunk_bytes, 1024)
        _whole("max_concurrency", self.max_concurrency, 1)
        _whole("item_retries", self.item_retries, 0)
        _whole("stop_after_same_error", self.stop_after_same_error, 0)
        _whole("async_concurrency", self.async_concurrency, 1)
        _whole("log_lines", self.log_lines, 0)
        _seconds("rate_limit", self.rate_limit, zero=False)
        _seconds("item_backoff", self.item_backoff, zero=True)
        _seconds("item_timeout", self.item_timeout, zero=False)
        _one_of("on_items_changed", self.on_items_changed, "fail", "accept")
        _one_of("on_code_changed", self.on_code_changed, "warn", "fail", "fresh")
        _one_of("resume", self.resume, "auto", "always", "never")
        for name in ("speculate", "keep_logs"):
            _one_of(name, getattr(self, name), True, False)  # "no" would be taken for yes
        for name in ("reduce", "key"):
            value = getattr(self, name)
            if value is not None and not callable(value) and not (name == "key" and isinstance(value, str)):
                raise ConfigError(f"{name}={value!r} is not a function")

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


def _names(option: str, names: Any) -> tuple[str, ...]:
    """Names that hooks find in the environment, where upper and lower case are one."""
    listed = (names,) if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
    seen: dict[str, str] = {}
    for name in listed:
        if not isinstance(name, str) or not name.strip():
            example = "crm" if option == "connections" else "region"
            raise ConfigError(f'{option}={names!r} must be a list of names, such as {option}=["{example}"]')
        if (other := seen.setdefault(name.upper(), name)) != name:
            raise ConfigError(f"{option}: {other!r} and {name!r} would share one variable of the environment")
    return tuple(seen.values())


def _whole(name: str, value: int | None, low: int, high: int | None = None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"between {low} and {high:,}"
        raise ConfigError(f"{name}={value!r} must be a whole number, {bound}")


def _seconds(name: str, value: float | None, *, zero: bool) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (value == 0 and not zero):
        raise ConfigError(f"{name}={value!r} must be a finite number {'not below' if zero else 'above'} 0")


def _one_of(name: str, value: object, *allowed: object) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")
