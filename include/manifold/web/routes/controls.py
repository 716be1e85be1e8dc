"""What a person wants of a scatter: controls, and failed items again."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException

from manifold import control_requests
from manifold.errors import ConfigError, LedgerError
from manifold.ledger import quarantine as rows
from manifold.ledger.states import LIVE
from manifold.protocol.records import TERMINAL
from manifold.web import models, requests, server
from manifold.web.dependencies import AnyScatter, Found
from manifold.web.rights import allow_steering
from manifold.web.server import SessionDep

router = APIRouter(tags=["steering"])


@router.post("/scatters/{uid}/controls", status_code=202)
def control(found: AnyScatter, asking: requests.Control, session: SessionDep) -> models.Asked:
    """Record a control request, which the scatter's coordinator applies within two seconds."""
    value = asking.value.model_dump(exclude_unset=True) if isinstance(asking, requests.Change) else {}
    allow_steering(found.who, session, asking.verb, found.uid, found.task, **value)
    if found.row.state in TERMINAL:
        raise HTTPException(409, _ended(found, asking.verb))
    try:
        control_requests.check_settings(value)
        asked = control_requests.ask(found.ledger, found.row, asking.verb, value, found.who.name)
    except ConfigError as exc:
        raise HTTPException(400, str(exc)) from exc
    except LedgerError as exc:
        if found.ledger.scatter(found.uid).state in TERMINAL:
            raise HTTPException(409, _ended(found, asking.verb)) from exc
        raise
    return models.Asked(verb=asking.verb, coordinator=asked.coordinator, done=asked.done, text=asked.sentence())


def _ended(found: Found, verb: str) -> str:
    return f"scatter {found.row.title} has ended; there is nothing to {verb}"


@router.post("/scatters/{uid}/redrive")
def redrive(found: AnyScatter, chosen: requests.Redrive, session: SessionDep) -> models.Redriven:
    """Run failed items again, or what is missing, or everything.

    The request goes into the ledger, then the Airflow task is cleared, by the user's rights.
    """
    task = found.task
    allow_steering(found.who, session, "redrive", found.uid, task, **chosen.model_dump())
    if task is None:
        raise HTTPException(
            409,
            f"{found.row.title} is not of an Airflow task, so nobody could run it: {_command(chosen)} {found.uid}",
        )
    if found.glance.condition in LIVE:
        raise HTTPException(409, f"{found.row.title} is being run by {found.row.owner}; wait for its end, or drain it")
    items = _count(found, chosen)
    if items == 0 and not (_is_closed(found) and found.ledger.suspects(found.uid)):
        what = "nothing that is missing or failed" if isinstance(chosen, requests.Missing) else "no such failed items"
        raise HTTPException(409, f"{found.row.title} has {what}; there is nothing to run again")
    server.clear(session, found.who.user, task, dry_run=True)  # a task that is gone, or runs, leaves no request either
    control_requests.ask_redrive(found.ledger, found.row, _asked(chosen), found.who.name)
    return models.Redriven(items=items, cleared=server.clear(session, found.who.user, task))


def _asked(chosen: requests.Redrive) -> dict[str, Any]:
    """As the ledger keeps it and `manifold.coordinator.redrive.chooser` reads it: {} means all failed items."""
    match chosen:
        case requests.At():
            return {"positions": sorted(set(chosen.positions))}
        case requests.OfKind():
            return {"fingerprints": [chosen.fingerprint]}
        case requests.Missing():
            return control_requests.MISSING
        case requests.Everything():
            return control_requests.EVERYTHING
    return {}


def _command(chosen: requests.Redrive) -> str:
    """What does the same on the command line."""
    if isinstance(chosen, requests.Missing):
        return "manifold continue"
    return "manifold restart" if isinstance(chosen, requests.Everything) else "manifold redrive"


def _is_closed(found: Found) -> bool:
    return found.row.total is not None and found.row.done == found.row.total


def _count(found: Found, chosen: requests.Redrive) -> int | None:
    if isinstance(chosen, requests.Everything):
        return found.row.total
    if isinstance(chosen, requests.Missing):
        return None if found.row.total is None else found.row.total - found.row.done + found.row.n_failed
    if isinstance(chosen, requests.AllFailed):
        return found.row.n_failed
    kind = chosen.fingerprint if isinstance(chosen, requests.OfKind) else None
    positions = chosen.positions if isinstance(chosen, requests.At) else None
    return found.ledger.database.read(lambda conn: rows.number(conn, found.uid, fingerprint=kind, positions=positions))
