"""What `redrive`, `continue` and `restart` share: a scatter's items run again, here or by Airflow."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

from manifold import control_requests
from manifold.cli import out, redrive_airflow, redrive_here, shapes
from manifold.cli.context import find, opened_ledger, task_of
from manifold.cli.exits import Conflict
from manifold.cli.params import AsJson, DryRun, ScatterId
from manifold.cli.run import tell_ran
from manifold.errors import ConfigError, Incomplete, ScatterError
from manifold.names import shown_name
from manifold.protocol.records import ScatterRow
from manifold.text import counted

if TYPE_CHECKING:
    from manifold.control_requests import Again
    from manifold.ledger import Ledger

Function = Annotated[
    str | None,
    typer.Option(metavar="MODULE:FUNCTION", help="Run this instead of the code as it was.", show_default=False),
]
Items = Annotated[
    str | None,
    typer.Option(
        metavar="ITEMS",
        help="The input, as for `run`; needed only for items that never ran or whose results are lost.",
        show_default=False,
    ),
]
EngineUrl = Annotated[str | None, typer.Option(metavar="URL", help="Another engine than before.", show_default=False)]
ApiUrl = Annotated[
    str | None,
    typer.Option(
        envvar="AIRFLOW_API_URL",
        metavar="URL",
        help="Airflow's API; without it [api] base_url.",
        show_default=False,
    ),
]


class Options(NamedTuple):
    """What every command that runs items again may be given."""

    dry_run: DryRun = False
    function: Function = None
    items: Items = None
    engine: EngineUrl = None
    api_url: ApiUrl = None
    as_json: AsJson = False


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the fields of its argument `options` as options of its own, behind the others."""
    own, shared = get_type_hints(command, include_extras=True), get_type_hints(Options, include_extras=True)
    mine = [one for one in signature(command).parameters.values() if one.name != "options"]
    more = [Parameter(name, Parameter.KEYWORD_ONLY, default=Options._field_defaults[name]) for name in Options._fields]
    hints = {name: hint for name, hint in (own | shared).items() if name != "options"}

    @wraps(command)
    def given(**values: Any) -> None:
        command(options=Options(**{name: values.pop(name) for name in Options._fields}), **values)

    parameters = [one.replace(annotation=hints[one.name], kind=Parameter.KEYWORD_ONLY) for one in (*mine, *more)]
    given.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # which is where typer looks
    given.__annotations__ = hints
    return given


@takes_options
def continue_(scatter_id: ScatterId, options: Options) -> None:
    """Run what is missing, and what failed.

    Missing is every item without an outcome, after a cancel or a crash; and results that are lost. A scatter of plain
    Python runs here, and needs its input (--items) unless that is files; one of an Airflow task by clearing the task.
    """
    with opened_ledger() as ledger:
        row = find(ledger, scatter_id)
        missing = None if row.total is None else row.total - row.done
        run_again(
            ledger,
            row,
            "missing",
            control_requests.MISSING,
            row.n_failed,
            missing,
            len(ledger.suspects(row.uid)),
            options,
        )


@takes_options
def restart(scatter_id: ScatterId, options: Options) -> None:
    """Run everything again, from scratch: nothing of what is recorded counts any more.

    A scatter of plain Python runs here, and needs its input (--items) unless that is files; one of an Airflow task by
    clearing the task. What is recorded is replaced once the new scatter has begun.
    """
    with opened_ledger() as ledger:
        row = find(ledger, scatter_id)
        missing = None if row.total is None else row.total - row.n_failed
        run_again(ledger, row, "everything", control_requests.EVERYTHING, row.n_failed, missing, 0, options)


def run_again(
    ledger: Ledger,
    row: ScatterRow,
    what: Again,
    chosen: dict[str, Any],
    failed: int,
    missing: int | None,
    lost: int,
    options: Options,
) -> None:
    """Run items of a scatter again, or have Airflow do it, and tell what became of it.

    Args:
        chosen: the request as the ledger keeps it.
        failed, missing, lost: failed items, items without an outcome (None: unknown) and lost chunks that it runs.
    """
    task = task_of(ledger, row)
    if task:
        refuse_own(row, {"--function": options.function, "--items": options.items, "--engine": options.engine})
    done = shapes.Redriven(
        scatter=row.uid,
        name=row.name,
        where="airflow" if task else "here",
        what=what,
        dry_run=options.dry_run,
        items=failed,
        missing=missing,
        chunks_lost=lost,
        cleared=[],
        result=None,
    )
    if (failed or missing != 0 or lost) and not options.dry_run:
        _refuse_busy(ledger, row)
        try:
            if task:
                done.cleared = redrive_airflow.redrive(ledger, row, task, chosen, options.api_url)
            else:
                given = (options.function, options.items, options.engine)
                done.result = redrive_here.redrive(ledger, row, what, chosen, *given)
        except Incomplete as exc:  # what was asked for is done
            done.result = redrive_here.account(ledger, row.uid)
            out.note(str(exc))
        except ScatterError:
            done.result = redrive_here.account(ledger, row.uid)
            _tell(done, options.as_json)
            raise
    _tell(done, options.as_json)


def refuse_own(row: ScatterRow, options: dict[str, str | None]) -> None:
    """Refuse what the DAG of an Airflow task says instead."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(
            f"{row.title} is the scatter of an Airflow task, whose next try takes function, items and engine from its "
            f"DAG: leave out {' and '.join(given)}"
        )


def _refuse_busy(ledger: Ledger, row: ScatterRow) -> None:
    if by := control_requests.coordinator(row, ledger.time()):
        raise Conflict(f"{row.title} is being run by {by}; wait for its end (manifold watch {row.uid})")


def _tell(done: shapes.Redriven, as_json: bool) -> None:
    if as_json:
        out.say_json(done)
        return
    if not (done.items or done.missing != 0 or done.chunks_lost):
        out.say(f"{shown_name(done.name)}: there is nothing to run again")
    elif done.dry_run:
        out.say(f"{shown_name(done.name)}: would run again, {_place(done)}: {_what(done)}")
    elif done.result is not None:
        tell_ran(done.result, as_json=False)
    else:
        out.say(f"{shown_name(done.name)}: will run again: {_what(done)}; cleared: {', '.join(done.cleared)}")


def _what(done: shapes.Redriven) -> str:
    if done.what == "everything":
        return "everything" if done.missing is None else f"everything, {counted(done.items + done.missing, 'item')}"
    lost = f" and {counted(done.chunks_lost, 'lost chunk')}" if done.chunks_lost else ""
    failed = f"{counted(done.items, 'failed item')}{lost}"
    if done.what == "failed":
        return failed
    never = "all items that never ran" if done.missing is None else f"{counted(done.missing, 'item')} that never ran"
    return f"{never}, and {failed}"


def _place(done: shapes.Redriven) -> str:
    return "by Airflow, which the task is cleared for" if done.where == "airflow" else "here"
