"""What a person wants of a scatter: controls, and failed items again."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException

from manifold import steering
from manifold.errors import ConfigError, LedgerError
from manifold.ledger import quarantine as rows
from manifold.records import TERMINAL
from manifold.web import models, server
from manifold.web.found import AnyScatter, Found
from manifold.web.rights import allow_steering
from manifold.web.server import SessionDep

router = APIRouter(tags=["steering"])


@router.post("/scatters/{uid}/controls", status_code=202)
def control(found: AnyScatter, wish: models.Control, session: SessionDep) -> models.Asked:
    """Write down a wish, which the scatter's coordinator sees to within two seconds."""
    allow_steering(found.who, session, wish.verb, found.uid, found.task, **wish.value)
    _check(wish)
    if found.row.state in TERMINAL:
        raise HTTPException(409, _ended(found, wish.verb))
    try:
        asked = steering.ask(found.ledger, found.row, wish.verb, wish.value, found.who.name)
    except LedgerError as exc:
        if found.ledger.scatter(found.uid).state in TERMINAL:
            raise HTTPException(409, _ended(found, wish.verb)) from exc
        raise
    return models.Asked(verb=wish.verb, coordinator=asked.coordinator, done=asked.done, text=asked.sentence())


def _check(wish: models.Control) -> None:
    if wish.verb != "set" and wish.value:
        raise HTTPException(422, f"{wish.verb} takes no value; set does")
    if wish.verb == "set" and not wish.value:
        raise HTTPException(422, 'set needs a value, such as {"max_concurrency": 4}')
    try:
        steering.check_settings(wish.value)
    except ConfigError as exc:
        raise HTTPException(422, str(exc)) from exc


def _ended(found: Found, verb: str) -> str:
    return f"scatter {found.row.name} has ended; there is nothing to {verb}"


@router.post("/scatters/{uid}/redrive")
def redrive(found: AnyScatter, chosen: models.Redrive, session: SessionDep) -> models.Redriven:
    """Run failed items again: the wish goes into the ledger, then the Airflow task is cleared, by the user's rights."""
    wish = chosen.model_dump(exclude_none=True)
    task = found.task
    allow_steering(found.who, session, "redrive", found.uid, task, **wish)
    if task is None:
        raise HTTPException(
            409, f"{found.row.name} is no Airflow task's scatter, so nobody could run it: manifold redrive {found.uid}"
        )
    if found.glance.condition in ("running", "paused"):
        raise HTTPException(409, f"{found.row.name} is being run by {found.row.owner}; wait for its end, or drain it")
    items = _count(found, chosen)
    if not items and not found.ledger.suspects(found.uid):
        raise HTTPException(409, f"{found.row.name} has no such failed items; there is nothing to run again")
    server.clear(session, found.who.user, task, dry_run=True)  # a task that is gone, or runs, leaves no wish either
    steering.ask_redrive(found.ledger, found.row, _wish(chosen), found.who.name)
    return models.Redriven(items=items, cleared=server.clear(session, found.who.user, task))


def _wish(chosen: models.Redrive) -> dict[str, Any]:
    """As the ledger keeps it and `manifold.redrive.chooser` reads it: {} means all failed items."""
    if chosen.positions is not None:
        return {"positions": sorted(set(chosen.positions))}
    return {} if chosen.fingerprint is None else {"fingerprints": [chosen.fingerprint]}


def _count(found: Found, chosen: models.Redrive) -> int:
    if chosen.positions is None and chosen.fingerprint is None:
        return found.row.n_failed
    return found.ledger.database.read(
        lambda conn: rows.number(conn, found.uid, fingerprint=chosen.fingerprint, positions=chosen.positions)
    )
