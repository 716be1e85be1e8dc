"""`manifold show` and `manifold watch`: one scatter, as the ledger has it now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from manifold import views
from manifold.cli import out, shapes
from manifold.cli.context import find, opened_ledger, task_of
from manifold.cli.exits import FAILED
from manifold.cli.params import AsJson, ScatterId
from manifold.names import shown_name
from manifold.protocol.records import TERMINAL
from manifold.text import duration

if TYPE_CHECKING:
    from manifold.ledger import Ledger, WorkerRow


def show(scatter_id: ScatterId, as_json: AsJson = False) -> None:
    """Show one scatter: counts, rate, time left, errors, workers.

    All figures are the ledger's. The rate is that of the last minute while it runs, afterwards that of its only try. An
    item counts with the mean time of its chunk. When a worker was last seen is told by the coordinator that saw it.
    """
    from manifold.cli.runs import of_deleted_runs

    with opened_ledger() as ledger:
        row = find(ledger, scatter_id)
        found = shown(ledger, row.uid, run_deleted=bool(of_deleted_runs(ledger, [row])))
    if as_json:
        out.say_json(found)
    else:
        out.say(_rendered(found))


def watch(
    scatter_id: ScatterId,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the ledger.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Follow a scatter until it ends.

    Live on a terminal, elsewhere a line for each change; with --json one object per look and line, as from `show`.
    It watches the ledger, so it may run anywhere, and
    Ctrl-C ends the watching alone. The exit code tells how the scatter ended: 0 for success, 1 for anything else.
    """
    with opened_ledger() as ledger:
        uid = find(ledger, scatter_id).uid
        follow = _lines if as_json or not out.console().is_terminal else _live
        state = follow(ledger, uid, every, as_json)
    if state != "succeeded":
        raise typer.Exit(FAILED)


def shown(ledger: Ledger, uid: str, *, run_deleted: bool = False) -> shapes.Shown:
    """All that there is to show of a scatter."""
    row, now = ledger.scatter(uid), ledger.time()
    task = task_of(ledger, row)
    standing = ledger.state(uid)

    from manifold.ledger import dashboard  # SQLAlchemy costs what `--help` need not pay

    pace = ledger.database.read(lambda conn: dashboard.pace(conn, row, standing.state, ledger.now()))
    seconds = views.item_seconds(ledger.item_seconds(uid))
    return shapes.Shown(
        **shapes.scatter_fields(row, now, standing, run_deleted=run_deleted),
        task=list(task) if task else None,
        rate=pace.rate,
        seconds_left=pace.seconds_left,
        item_seconds=None if seconds is None else shapes.ItemSeconds(**seconds),
        errors=shapes.error_kinds(ledger.kinds(uid)),
        workers=[_worker(one, now) for one in ledger.workers(uid)],
        control_requests=[shapes.ControlRequest(**views.control_request(one)) for one in ledger.pending_controls(uid)],
        paused_by=ledger.paused_by(uid),
        chunks_suspect=len(ledger.suspects(uid)),
        policy=views.options(row.policy),
        history=[shapes.Try(**views.try_(one)) for one in ledger.tries(uid)],
    )


def _worker(one: WorkerRow, now: float) -> shapes.Worker:
    return shapes.Worker(
        worker=one.worker,
        host=one.host,
        pid=one.pid,
        seconds_silent=max(0.0, now - one.last_seen),
        chunks_held=len(one.holding),
        items=one.items,
        chunks=one.chunks,
    )


# -- following ---------------------------------------------------------------------------------------------------------


def _live(ledger: Ledger, uid: str, every: float, _as_json: bool) -> str:
    with Live(console=out.console(), auto_refresh=False) as live:
        while True:
            found = shown(ledger, uid)
            live.update(Group(_rendered(found), _bar(found)), refresh=True)
            if found.state in TERMINAL:
                return found.state
            time.sleep(every)


def _lines(ledger: Ledger, uid: str, every: float, as_json: bool) -> str:
    before = ""
    while True:
        found = shown(ledger, uid)
        line = f"{found.state}: {_counts(found)}"
        if as_json:
            out.say_json(found, indent=None)
        elif line != before:
            out.say(line if found.state in TERMINAL else f"{line}, {_pace(found)}")
        if found.state in TERMINAL:
            return found.state
        before = line
        time.sleep(every)


def _bar(found: shapes.Shown) -> ProgressBar:
    done = found.succeeded + found.failed + found.skipped
    total = found.total if found.expected is None else max(done, found.expected)
    return ProgressBar(total=total, completed=done, pulse=total is None)


# -- rendering ---------------------------------------------------------------------------------------------------------


def _rendered(found: shapes.Shown) -> RenderableType:
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(found).items():
        facts.add_row(name, value)
    parts: list[RenderableType] = [facts]
    if found.errors:
        parts.append(_errors(found.errors))
    if found.workers:
        parts.append(_workers(found.workers))
    if len(found.history) > 1 or any(one.ending not in (None, "succeeded") for one in found.history):
        parts.append(_tries(found.history))
    return Group(*parts)


def _facts(found: shapes.Shown) -> dict[str, Any]:
    ended = found.ended_at is not None
    facts = {
        "scatter": f"{shown_name(found.name)} ({found.scatter})",
        "state": out.state(found.state),
        "runs": f"{found.function} on {found.engine}",
        "items": _counts(found),
    }
    if not ended or found.rate is not None:
        facts["rate"] = out.rate(found.rate) if ended else _pace(found)
    if found.item_seconds is not None:
        half, most, nearly = (
            duration(seconds) for seconds in (found.item_seconds.p50, found.item_seconds.p90, found.item_seconds.p99)
        )
        facts["item time"] = f"half below {half}, 90 % below {most}, 99 % below {nearly}"
    if not ended:
        facts["coordinator"] = found.coordinator or "none"
        if found.paused_by:
            facts["paused"] = f"by {found.paused_by}; manifold resume {found.scatter}"
    facts["begun"] = out.moment(found.created_at)
    if found.ended_at is not None:
        facts["ended"] = f"{out.moment(found.ended_at)}, in try {found.tries}"
    if found.message:
        facts["because"] = found.message
    if found.chunks_suspect:
        facts["lost"] = f"{found.chunks_suspect:,} chunks could not be read; manifold redrive --lost {found.scatter}"
    if found.control_requests:
        facts["asked for"] = "; ".join(
            f"{one.verb} {one.value or ''} by {one.by_whom}" for one in found.control_requests
        )
    return facts


def _pace(found: shapes.Shown) -> str:
    left = "" if found.seconds_left is None else f", about {duration(found.seconds_left)} left"
    return f"{out.rate(found.rate)}{left}"


def _counts(found: shapes.Scatter) -> str:
    done = out.done(found)
    share = "" if done is None else f" ({done} done)"
    left = out.count(found.without_outcome)
    if found.expected is not None:
        left = f"about {max(0, found.expected - found.succeeded - found.failed - found.skipped):,}"
    return (
        f"{out.total(found)}{share}: {found.succeeded:,} succeeded, {found.failed:,} failed, "
        f"{found.skipped:,} skipped, {left} without outcome"
    )


def _errors(kinds: list[shapes.ErrorKind]) -> Table:
    table = out.table("failed", "error", "first message", "fingerprint", right=("failed",))
    for kind in kinds:
        table.add_row(out.count(kind.count), kind.type, kind.message, kind.fingerprint)
    return table


def _tries(tries: list[shapes.Try]) -> Table:
    table = out.table("try", "began", "took", "ended", "items", "by", "because", right=("items",))
    for place, one in enumerate(tries):
        number = f"{one.number} of {one.numbers}" if one.number and one.numbers else str(len(tries) - place)
        took = "?" if one.ended_at is None else duration(max(0.0, one.ended_at - one.began_at))
        ending = out.state(one.ending or "running")
        because = one.message or ""
        table.add_row(number, out.moment(one.began_at), took, ending, out.count(one.items), one.owner, because)
    return table


def _workers(workers: list[shapes.Worker]) -> Table:
    table = out.table("worker", "items", "chunks", "holds", "last seen", right=("items", "chunks", "holds"))
    for one in workers:
        seen = f"{duration(one.seconds_silent)} ago"
        table.add_row(one.worker, out.count(one.items), out.count(one.chunks), str(one.chunks_held), seen)
    return table
