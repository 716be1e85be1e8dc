"""How a try ends that does not end its scatter, in words."""

from __future__ import annotations

from typing import Literal

from manifold.errors import Drained, InputGone, ManifoldError, Stopped
from manifold.protocol.records import ScatterRow
from manifold.redaction import mask
from manifold.text import counted


def incomplete(row: ScatterRow) -> str:
    """What a try says that ran only the failed items, as somebody asked."""
    missing = "items" if row.total is None else counted(row.total - row.done, "item")
    return (
        f"the failed items ran again, as asked, and nothing else: {row.n_failed:,} are failed now, and {missing} never "
        f"ran. `manifold continue {row.uid}`, or Continue on the page, runs those"
    )


def input_gone(lost: int, losses: int) -> ManifoldError:
    """Return why an input that was given once cannot close the account: chunks without results, or lost commits."""
    if lost:
        return InputGone(f"the results of {lost:,} chunks are lost: give the iterator once more to make them again")
    if losses:
        return InputGone("the ledger's database has lost commits in a failover: give the iterator once more")
    return ManifoldError("the ledger misses items that were given once and are not held any more; this is a bug")


def ending_of(exc: BaseException | None) -> tuple[Literal["drained", "stopped", "error"], str | None]:
    """How a try ended that left the scatter to be continued, and why, for people."""
    if exc is None or isinstance(exc, (Stopped, KeyboardInterrupt)):
        return "stopped", mask(str(exc)) if exc and str(exc) else "interrupted"
    return "drained" if isinstance(exc, Drained) else "error", mask(f"{type(exc).__name__}: {exc}")
