"""What stands in an operator's `template_fields` for its items, so that Airflow neither renders nor walks them.

Jinja would cost 141 µs for each string, evaluate a `{{` that is data, and fail the task on a `{%`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import XComArg

from manifold.abc import Source
from manifold.airflow.compat import ResolveMixin
from manifold.errors import ConfigError
from manifold.sources import as_source
from manifold.text import a_type, shortened

if TYPE_CHECKING:
    from airflow.sdk import Context

_log = logging.getLogger(__name__)

_MANY_ITEMS = 10_000
_MANY_BYTES = 10_000_000
_BETTER = (
    "XCom passes through Airflow's database. Hand over where the items are instead: "
    "manifold.sources.lines(path) or records(path), or another scatter's Results"
)


class Items(ResolveMixin):
    """The items of one scatter by keyword, such as `{"url": lines("urls.txt")}`.

    A value is any iterable that can be read again, another task's output, or a function of Airflow's context that
    returns an iterable. `resolve` runs in the task and puts outputs and functions' results in place.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    def __str__(self) -> str:
        return ", ".join(f"{name}={_described(value)}" for name, value in self.values.items())

    def __deepcopy__(self, memo: dict[int, Any]) -> Items:
        return Items(self.values)  # the items are only read

    def iter_references(self) -> Iterator[tuple[Any, str]]:
        for value in self.values.values():
            yield from XComArg.iter_xcom_references(value if isinstance(value, ResolveMixin) else _listed(value))

    def resolve(self, context: Context) -> Items:
        return Items({name: _resolved(name, value, context) for name, value in self.values.items()})


def check_items(name: str, value: Any) -> None:
    """Raises ConfigError, when the DAG file is read, for what can never be items."""
    if isinstance(value, ResolveMixin) or _asks_context(value):
        return
    if isinstance(value, Iterator):
        raise ConfigError(
            f"over({name}=…) got {a_type(value)}, which can be read only once; a retry must read the items "
            f"again. Write a list, a range, manifold.sources.lines(…), another task's output, or a function that makes "
            f"them in the task: over({name}=lambda context: …)"
        )
    try:
        as_source(value)
    except ConfigError as exc:
        raise ConfigError(f"over({name}=…): {exc}. A constant goes into .partial({name}=…)") from None


def check_lengths(values: Mapping[str, Any]) -> None:
    """Raises ConfigError where lists that are walked in step are seen to differ in length."""
    lengths = {name: len(value) for name, value in values.items() if isinstance(value, (list, tuple, range))}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
        raise ConfigError(f"over({', '.join(values)}) walks its inputs in step, so they must be equally long: {told}")


def _asks_context(value: Any) -> bool:
    """A function of Airflow's context, to be called in the task."""
    return callable(value) and not isinstance(value, (Iterable, Source))


def _listed(value: Any) -> list[Any]:
    """The outputs of other tasks that stand in a list."""
    return [one for one in value if isinstance(one, ResolveMixin)] if isinstance(value, (list, tuple)) else []


def _resolved(name: str, value: Any, context: Context) -> Any:
    if isinstance(value, ResolveMixin):
        output = value.resolve(context)
        _warn_of_size(name, output)
        return output
    if _listed(value):
        return [one.resolve(context) if isinstance(one, ResolveMixin) else one for one in value]
    if _asks_context(value):
        return value(context)
    return value


def _warn_of_size(name: str, output: Any) -> None:
    """XCom is for small values: say so once it is plain that this one is not."""
    if not isinstance(output, (list, tuple, dict)):
        return
    if len(output) > _MANY_ITEMS:
        _log.warning("%s came by XCom with %s items. %s", name, f"{len(output):,}", _BETTER)
    elif _json_bytes(output, _MANY_BYTES) > _MANY_BYTES:
        _log.warning("%s came by XCom with more than %d MB. %s", name, _MANY_BYTES // 1_000_000, _BETTER)


def _json_bytes(values: Iterable[Any], enough: int) -> int:
    size = 0
    for value in values:
        size += len(json.dumps(value, default=repr))
        if size > enough:
            break
    return size


def _described(value: Any) -> str:
    """Short, and the same whenever the DAG file is read: it goes into the DAG's hash."""
    if isinstance(value, ResolveMixin):
        return f"output of {', '.join(sorted({task.task_id for task, _ in value.iter_references()})) or 'a mapping'}"
    if isinstance(value, range):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"{len(value):,} items"
    if _asks_context(value):
        return f"{getattr(value, '__qualname__', type(value).__qualname__)}(context)"
    told = repr(value)
    return type(value).__qualname__ if " at 0x" in told else shortened(told, 200)
