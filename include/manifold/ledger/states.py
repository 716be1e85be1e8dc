"""The state of a scatter as people are shown it: derived here from the ledger, and named nowhere else."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from sqlalchemy import and_, case, func, not_, select, true
from sqlalchemy.sql.elements import ColumnElement

from manifold.ledger.tables import control, scatter, scatter_try

Condition = Literal[
    "running", "paused", "draining", "drained", "stopped", "succeeded", "failed", "cancelled", "replaced"
]
"""`paused` by a person, and it sends nothing; `draining`: it ends once what runs has ended; `drained`: it has, and
waits to be continued; `stopped`: its coordinator is gone, and the next try continues; the others are the ledger's."""


class Standing(NamedTuple):
    """How a scatter stands: its state, as shown, and why it is so, where there is more to say."""

    state: Condition
    reason: str | None


RUN_DELETED = "its DAG run was deleted in Airflow"
"""What is said of a scatter whose task instance is no more."""


def of_deleted_run(standing: Standing) -> Standing:
    """Say of a scatter's standing, too, that nothing in Airflow leads to it any more."""
    return Standing(standing.state, f"{RUN_DELETED}; {standing.reason}" if standing.reason else RUN_DELETED)


LIVE: frozenset[Condition] = frozenset({"running", "paused", "draining"})
"""Those that a coordinator works on."""

CONDITIONS: tuple[Condition, ...] = get_args(Condition)


def alive(now: ColumnElement[float]) -> ColumnElement[bool]:
    """The SQL of: a coordinator works on the scatter, at `now` by the ledger's clock."""
    of = scatter.c
    return and_(of.state == "running", of.owner.is_not(None), func.coalesce(of.lease_until, 0) > now)


def peoples() -> ColumnElement[bool]:
    """The SQL of: somebody's own, not one of the deployment itself."""
    return scatter.c.system.is_not(true())


def condition(now: ColumnElement[float]) -> ColumnElement[str]:
    """The SQL of a scatter's state, as shown, at `now`."""
    of = scatter.c
    return case(
        (of.state != "running", of.state),
        (and_(not_(alive(now)), _latest_ending() == "drained"), "drained"),
        (not_(alive(now)), "stopped"),
        (_drain_epoch() == of.epoch, "draining"),
        (_latest_pause() == "pause", "paused"),
        else_="running",
    )


def reason(now: ColumnElement[float]) -> ColumnElement[str | None]:
    """The SQL of why a scatter is as it is, for people: how its latest try ended, what ended the
    scatter, or what holds it up now."""
    of = scatter_try.c
    mine = (of.uid == scatter.c.uid, of.epoch == scatter.c.epoch)
    said = case((of.ended_at.is_(None), LOST), else_=of.message)
    latest = select(said).where(*mine).correlate(scatter).scalar_subquery()
    holds_up = select(of.message).where(*mine, of.ended_at.is_(None)).correlate(scatter).scalar_subquery()
    return case((scatter.c.state != "running", scatter.c.message), (not_(alive(now)), latest), else_=holds_up)


LOST = "its coordinator does not report any more: it was killed, ran out of memory, or its host was lost"
"""Why a try is said to be lost."""


def _latest_ending() -> ColumnElement[str | None]:
    of = scatter_try.c
    mine = (of.uid == scatter.c.uid, of.epoch == scatter.c.epoch)
    return select(of.ending).where(*mine).correlate(scatter).scalar_subquery()


def _drain_epoch() -> ColumnElement[int | None]:
    """The newest epoch that somebody asked to drain: a request for an older one died with it."""
    of = control.c
    mine = (of.uid == scatter.c.uid, of.verb == "drain")
    return select(func.max(of.epoch)).where(*mine).correlate(scatter).scalar_subquery()


def _latest_pause() -> ColumnElement[str | None]:
    of = control.c
    mine = (of.uid == scatter.c.uid, of.verb.in_(("pause", "resume")))
    return select(of.verb).where(*mine).order_by(of.no.desc()).limit(1).correlate(scatter).scalar_subquery()
