"""The exit codes: which there are, what each means, and which error ends in which. Nothing else decides on them."""

from __future__ import annotations

from manifold.errors import ConfigError, EngineError, Fenced, LedgerError, ManifoldError, ScatterBusy, StoreError

OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE, CONFLICT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

MEANINGS = {
    OK: "done",
    FAILED: "the scatter ended without success, or a check found something wrong",
    USAGE: "an option, argument, URL or setting that cannot be used",
    NOT_FOUND: "the ledger has no such scatter",
    UNREACHABLE: "ledger, store, engine or Airflow's API cannot be reached or used",
    CONFLICT: "not now: another coordinator is at work on it, or it has ended",
    INTERRUPTED: "Ctrl-C",
}
"""What each code tells a script."""


class NotFound(ManifoldError):
    """The ledger has nothing that the given ID could mean."""


class Unreachable(ManifoldError):
    """A service that the command needs does not answer, or refuses."""


class Conflict(ManifoldError):
    """The scatter's state does not allow it now."""


# The first that fits.
_CODES: tuple[tuple[type[ManifoldError], int], ...] = (
    (NotFound, NOT_FOUND),
    (ConfigError, USAGE),
    (Conflict, CONFLICT),
    (ScatterBusy, CONFLICT),
    (Fenced, CONFLICT),
    (Unreachable, UNREACHABLE),
    (LedgerError, UNREACHABLE),
    (StoreError, UNREACHABLE),
    (EngineError, UNREACHABLE),
)


def code_of(error: ManifoldError) -> int:
    """The exit code of a command that ends with this error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def table() -> str:
    """The codes for `--help`, a line each."""
    # A line of "\b" keeps a help text's lines as they are.
    return "\n".join(["\b\nExit codes:", *(f"  {code:3}  {meaning}" for code, meaning in MEANINGS.items())])
