"""`@task.scatter`: a function that one task instance runs over many items. See `manifold.policy` for the options."""

from __future__ import annotations

import difflib
import functools
import inspect
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, overload

from airflow.sdk import BaseOperator, XComArg

from manifold.airflow.compat import (
    ResolveMixin,
    allow_in_xcom,
    building_a_dag,
    get_unique_task_id,
    note_known_secrets,
)
from manifold.airflow.configuration import register
from manifold.airflow.items import Items, check_items, check_lengths
from manifold.airflow.operator import ScatterOperator, split_outputs
from manifold.policy import Policy
from manifold.protocol.by_value import as_is
from manifold.results.results import Results
from manifold.results.slices import ResultsSlice
from manifold.worker.perworker import PerWorker

# Each process that reads a DAG file with a scatter in it can then read the handle from XCom, and what is behind it.
allow_in_xcom(Results, "manifold.results.view.Results")
allow_in_xcom(ResultsSlice)
register()
note_known_secrets()

_OPERATOR_OPTIONS = frozenset(inspect.signature(BaseOperator.__init__).parameters) - {"self", "kwargs"}


@overload
def scatter(python_callable: Callable[..., Any]) -> ScatterTask: ...
@overload
def scatter(**options: Any) -> Callable[[Callable[..., Any]], ScatterTask]: ...
def scatter(python_callable: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make a function a scatter: `@task.scatter(engine=…, tolerate="1%")`, `@manifold.scatter(…)`, or without options.

    Args:
        options: those of `manifold.policy.Policy`, and every argument of an Airflow operator (`retries`, `queue`, …).

    Raises:
        TypeError: an option that neither of them knows.
        ConfigError: an option whose value makes no sense.
    """
    _check_options(options)
    if python_callable is None:
        return lambda fn: ScatterTask(fn, options)
    return ScatterTask(python_callable, options)


class ScatterTask:
    """A function to scatter. `.partial(constant=…).over(item=…)` makes the task and gives its output.

    Outside a DAG it is the plain function, and so is `.function` always.
    """

    def __init__(
        self, function: Callable[..., Any], options: Mapping[str, Any], consts: Mapping[str, Any] | None = None
    ) -> None:
        if isinstance(function, ScatterTask):
            raise TypeError(f"{function.function.__qualname__} is a scatter already")
        if not callable(function):
            raise TypeError(f"@task.scatter decorates a function, not {function!r}")
        self.function: Callable[..., Any] = function
        self._options = dict(options)
        self._consts = dict(consts or {})
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if building_a_dag():
            name, one = self._name, next(iter(self._parameters()), "item")
            raise TypeError(
                f"{name}(…) would run here, while the DAG is built. To scatter it over items write "
                f"{name}.over({one}=items), with constants as {name}.partial(…).over({one}=items); "
                f"to call the plain function write {name}.function(…)"
            )
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<scatter {self._name}{inspect.signature(self.function)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker needs the function, and no Airflow.
        return as_is, (self.function,)

    def partial(self, *values: Any, **consts: Any) -> ScatterTask:
        """The same with these arguments fixed: plain values, templates, other tasks' outputs, `per_worker(…)`."""
        self._check_by_keyword("partial", values)
        self._check_names("partial", consts)
        for name, value in consts.items():
            if isinstance(value, PerWorker) and _has_references([*value.args, *value.kwargs.values()]):
                raise TypeError(
                    f"partial({name}=per_worker(…)): its arguments cannot be another task's output. Give that to the "
                    f"function itself: .partial({name}=per_worker(…), other=output)"
                )
        return ScatterTask(self.function, self._options, self._consts | consts)

    def override(self, **options: Any) -> ScatterTask:
        """The same with other options, such as `task_id`, `engine` or `retries`."""
        _check_options(options)
        return ScatterTask(self.function, self._options | options, self._consts)

    def over(self, *values: Any, **items: Any) -> XComArg:
        """One task that calls the function for each item; several inputs are walked in step.

        Args:
            items: a list, a range, another task's output, `Results`, `manifold.sources`, anything that can be iterated
                again and again, or a function of Airflow's context that returns one of these.

        Returns:
            The task's output, a `Results` handle for tasks further down.
        """
        self._check_by_keyword("over", values)
        if not items:
            raise TypeError(f"{self._name}.over(…) takes its items by keyword, such as over({self._free()[0]}=items)")
        self._check_names("over", items)
        self._check_complete(items)
        for name, value in items.items():
            check_items(name, value)
        check_lengths(items)
        return XComArg(self._operator(Items(items)))

    def expand(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: one task of a scatter already runs all items. The message says how to map scatters themselves."""
        one = self._free()[0]
        raise TypeError(
            f"{self._name}.expand(…) would make a task instance of each item; {self._name}.over({one}=items) runs them "
            f"all in one. For one scatter per group of items, map a task group: @task_group def each(group): return "
            f"{self._name}.over({one}=group), then each.expand(group=groups)"
        )

    expand_kwargs = expand

    @property
    def _name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def _operator(self, items: Items) -> ScatterOperator:
        options = self._options.copy()
        task_id = options.pop("task_id", None) or self._name.strip("<>")
        unique = get_unique_task_id(task_id, options.get("dag"), options.get("task_group"))
        options.setdefault("doc_md", inspect.getdoc(self.function))
        policy = {name: options.pop(name) for name in Policy.names() & options.keys()}
        return ScatterOperator(
            task_id=unique, python_callable=self.function, items=items, consts=self._consts, **policy, **options
        )

    def _parameters(self) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(self.function).parameters)

    def _free(self) -> list[str]:
        return [name for name in self._parameters() if name not in self._consts] or ["item"]

    def _check_by_keyword(self, where: str, values: tuple[Any, ...]) -> None:
        """Say what to write, with what was given, where the name of an argument is missing."""
        if values:
            free = self._free()
            names = free + [f"name{at}" for at in range(len(free) + 1, len(values) + 1)]
            given = ", ".join(f"{name}={reprlib.repr(value)}" for name, value in zip(names, values, strict=False))
            raise TypeError(
                f"{self._name}.{where}(…) takes its {'items' if where == 'over' else 'constants'} by keyword, since "
                f"the function may have several arguments: write {self._name}.{where}({given})"
            )

    def _check_names(self, where: str, given: Mapping[str, Any]) -> None:
        parameters = self._parameters()
        for name in given:
            if name in self._consts:
                raise TypeError(f"{self._name}.{where}({name}=…): {name} has a value from .partial already")
            parameter = parameters.get(name)
            if parameter is not None and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
                raise TypeError(f"{self._name}.{where}({name}=…): {name} must be usable as a keyword")
            if parameter is None and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
                raise TypeError(
                    f"{self._name}.{where}({name}=…): {self._name} has no such argument; it takes "
                    f"{', '.join(parameters) or 'none'}"
                )

    def _check_complete(self, items: Mapping[str, Any]) -> None:
        given = self._consts.keys() | items.keys()
        missing = [
            name
            for name, one in self._parameters().items()
            if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL) and name not in given
        ]
        if missing:
            raise TypeError(f"{self._name}.over(…): no value for {', '.join(missing)}; constants go into .partial(…)")


def _has_references(values: list[Any]) -> bool:
    return any(isinstance(value, ResolveMixin) for value in values)


def _check_options(options: Mapping[str, Any]) -> None:
    known = Policy.names() | _OPERATOR_OPTIONS
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; manifold.policy.Policy documents the options"
            raise TypeError(f"@task.scatter has no option {name!r}{hint}")
    # A value that makes no sense is told when the DAG file is read, not when the task runs at night.
    _, given = split_outputs(options)
    Policy.of({name: value for name, value in given.items() if name in Policy.names()})
