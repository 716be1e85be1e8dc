"""The columns of a scatter that is made, and of one that gets an owner."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, exists, literal, select

from manifold.ledger.rows import NewScatter, Owner
from manifold.ledger.tables import insert_into, pin, scatter
from manifold.ledger.tries import LEASE


def created(new: NewScatter, now: float) -> dict[str, Any]:
    """The columns of a scatter that is to be inserted, but for its generation."""
    values = msgspec.structs.asdict(new) | {"state": "running", "created_at": now}
    del values["source_pin"]  # `write_pin`
    return values


def write_pin(conn: Connection, new: NewScatter) -> None:
    """Keep what the input was when the scatter began, if the scatter was really made."""
    if new.source_pin:
        made = exists(select(scatter.c.uid).where(scatter.c.uid == new.uid))
        values = select(literal(new.uid).label("uid"), literal(new.source_pin, pin.c.value.type).label("value"))
        insertion = insert_into(conn.dialect.name, pin).from_select(["uid", "value"], values.where(made))
        conn.execute(insertion.on_conflict_do_nothing())


def owned(owner: Owner, token: str | None, now: float) -> dict[str, Any]:
    """The columns that say who owns a scatter. `token` tells this claim from any other of the same owner."""
    return {
        "owner": owner.text,
        "owner_host": owner.host,
        "owner_pid": owner.pid,
        "owner_started": owner.pid_started,
        "owner_key": owner.claim_key,
        "owner_token": token,
        "claim_no": owner.claim_no,
        "claimed_at": now,
        "lease_until": now + LEASE,
    }
