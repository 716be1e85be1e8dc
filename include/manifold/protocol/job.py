"""The job: what every chunk of a scatter runs. It travels once to each worker process, then goes by its digest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from manifold.policy import NAMED_ERRORS, Policy


@dataclass(frozen=True, slots=True)
class Job:
    """A function, its constants, and the options that a worker acts on.

    Args:
        names: the keywords that an item goes by; None passes it as the only positional argument. With several
            names an item is a tuple in their order.
        consts: the same for every item; `per_worker` values are made by the worker.
        connections, variables: what it is given of Airflow, by name.
        secrets: the digest of the message that brings them (`protocol.secrets`); "" where there is none.
        hidden: texts among the constants that are masked wherever it runs.
    """

    fn: Callable[..., Any]
    names: tuple[str, ...] | None = None
    consts: Mapping[str, Any] = field(default_factory=dict)
    item_retries: int = 0
    retry_on: tuple[NAMED_ERRORS, ...] = ()
    no_retry_on: tuple[NAMED_ERRORS, ...] = ()
    item_backoff: float = 0.0
    item_timeout: float | None = None
    key: Callable[[Any], object] | str | None = None
    reduce: Callable[[Any, Any], Any] | None = None
    initial: Any = None
    async_concurrency: int = 100
    log_lines: int = 100
    keep_logs: bool = False
    connections: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    secrets: str = ""
    hidden: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        fn: Callable[..., Any],
        names: tuple[str, ...] | None,
        consts: Mapping[str, Any],
        policy: Policy,
        *,
        secrets: str = "",
        hidden: tuple[str, ...] = (),
    ) -> Job:
        """The job of a policy."""
        options = {f.name: getattr(policy, f.name) for f in fields(cls) if f.name in Policy.names()}
        return cls(fn=fn, names=names, consts=dict(consts), secrets=secrets, hidden=hidden, **options)

    @property
    def is_async(self) -> bool:
        return is_async(self.fn)

    def bind(self, consts: Mapping[str, Any]) -> Callable[[Any], Any]:
        """The function of one item, with constants as given; the bare function where there is nothing to add."""
        call = partial(self.fn, **consts) if consts else self.fn
        if self.names is None:
            return call
        if len(self.names) == 1:
            name = self.names[0]
            return lambda item: call(**{name: item})
        names = self.names
        return lambda item: call(**dict(zip(names, item, strict=True)))

    def label(self, item: Any) -> str | None:
        """The item's name for people, by `key`; a key that fails is not a failure of the item."""
        if self.key is None:
            return None
        try:
            named = item if self.names is None or len(self.names) == 1 else dict(zip(self.names, item, strict=True))
            return str(named[self.key] if isinstance(self.key, str) else self.key(named))
        except Exception as exc:  # noqa: BLE001 - a label only
            return f"(key failed: {type(exc).__name__})"


def is_async(fn: Callable[..., Any]) -> bool:
    """Return whether calling `fn` makes a coroutine.

    So do an `async def`, a method or a `partial` of one, an object whose `__call__` is one, and what
    `inspect.markcoroutinefunction` has marked. A wrapper counts by itself, not by what it wraps.
    """
    while isinstance(fn, partial):
        fn = fn.func
    method = inspect.getattr_static(type(fn), "__call__", None)
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(method)
