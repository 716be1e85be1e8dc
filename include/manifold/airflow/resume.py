"""Which scatter a task instance means, over its tries: a nonce in Airflow's task state store, and what this try does.

The four names dag/run/task/map_index are not unique over time: a DAG run deleted and made again has them too. The task
state store goes with the DAG run, so a nonce in it does not come back. It is written before the ledger row is made.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Literal

from manifold.control_requests import Again
from manifold.protocol.records import ScatterRow

KEY = "manifold"
"""The key in the task state store. Its value: uid, and max_tries as the try that wrote it saw it."""

Mode = Literal["continue", "fresh", "redrive", "reuse"]
Resume = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class Cookie:
    """What the task state store holds. `max_tries` tells a retry, which keeps it, from a clear, which raises it."""

    uid: str
    max_tries: int

    @classmethod
    def read(cls, store: Any) -> Cookie | None:
        """The cookie in a task state store; None where there is none, or somebody edited it beyond use."""
        match store.get(KEY):
            case {"uid": str(uid), "max_tries": int(max_tries)}:
                return cls(uid, max_tries)
        return None

    def write(self, store: Any, retention: Any) -> None:
        """Put it into a task state store. `retention` as Airflow takes it."""
        store.set(KEY, {"uid": self.uid, "max_tries": self.max_tries}, retention=retention)


@dataclass(frozen=True, slots=True)
class Decision:
    """What this try does, on which scatter, and why in a sentence for the task's log.

    `keeps`: somebody asked for some items by number, so no option may make all of them run.
    """

    mode: Mode
    uid: str
    why: str
    keeps: bool = False


def decide(
    cookie: Cookie | None,
    row: ScatterRow | None,
    *,
    max_tries: int,
    resume: Resume = "auto",
    again: Again | None = None,
    outdated: bool = False,
    lost: bool = False,
    drained: bool = False,
) -> Decision:
    """What this try does. Pure: the same arguments give the same answer, but for the uid of a new scatter.

    Args:
        cookie: what the task state store held.
        row: the ledger's row of `cookie.uid`; None where it has none, or a newer one of the same name.
        max_tries: the task instance's.
        resume: the option.
        again: what somebody asked to be run again, and it has not been done.
        lost: a reader has missed committed results.
        drained: this is the try that somebody had drained, and goes on now.
        outdated: the function or a constant has changed since, and `on_code_changed="fresh"`.
    """
    if cookie is None:
        return Decision("fresh", new_uid(), "begins: this task has not scattered anything in this DAG run")
    if row is None:
        return Decision("fresh", new_uid(), "begins: no earlier try of it left anything in the ledger")
    if again is not None:
        return _as_asked(again, row)
    if resume == "never" and not drained:
        return Decision(
            "fresh", new_uid(), f'starts from scratch: resume="never" leaves {row.done:,} recorded items behind'
        )
    if outdated:
        return Decision("fresh", new_uid(), "starts from scratch: code or constants have changed since the try before")
    if lost:
        return Decision("continue", row.uid, "makes results again that a reader has missed")
    if row.state != "succeeded":
        return Decision("continue", row.uid, f"continues: {_so_far(row)} have an outcome ({_ending(row)})")
    return _closed(cookie, row, cleared=max_tries > cookie.max_tries, always=resume == "always")


def stays_cancelled(cookie: Cookie | None, row: ScatterRow | None, *, max_tries: int, again: Again | None) -> bool:
    """Whether somebody has cancelled the scatter while its task waited for a retry, or drained: this start of the task
    is Airflow's own, and nobody has cleared the task since, or asked for anything to run again."""
    if cookie is None or row is None or row.state != "cancelled" or again is not None:
        return False
    return max_tries <= cookie.max_tries


def _as_asked(again: Again, row: ScatterRow) -> Decision:
    if again == "everything":
        return Decision("fresh", new_uid(), "begins from scratch, as somebody asked")
    if again == "missing":
        return Decision("continue", row.uid, f"continues, as somebody asked: {_so_far(row)} have an outcome", True)
    return Decision("redrive", row.uid, f"runs {_failed(row)} again, as somebody asked, and nothing else", True)


def new_uid() -> str:
    """The identity of a new scatter: 32 hex digits that nobody can guess or draw twice."""
    return secrets.token_hex(16)


def _closed(cookie: Cookie, row: ScatterRow, *, cleared: bool, always: bool) -> Decision:
    if not cleared:
        why = f"returns the existing results: all {row.done:,} items were accounted for before an earlier try ended"
        return Decision("reuse", row.uid, why)
    if not always:
        return Decision(
            "fresh",
            new_uid(),
            f"starts from scratch: all {row.done:,} items were accounted for, then the task was cleared",
        )
    if row.n_failed:
        why = f'runs {_failed(row)} again: cleared, and resume="always" keeps the rest'
        return Decision("redrive", row.uid, why)
    return Decision("reuse", row.uid, f'returns the existing results: cleared, but resume="always" keeps {row.done:,}')


def _failed(row: ScatterRow) -> str:
    return "the failed item" if row.n_failed == 1 else f"the {row.n_failed:,} failed items"


def _so_far(row: ScatterRow) -> str:
    return f"{row.done:,} items" if row.total is None else f"{row.done:,} of {row.total:,} items"


def _ending(row: ScatterRow) -> str:
    """How the try before ended."""
    if row.state == "running":
        return "the try before was cut off"
    return f"the try before {row.state}" + (f": {row.message}" if row.message else "")
