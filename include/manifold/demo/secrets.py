"""Secrets that are made once and kept in a file of mode 600."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from manifold.config import new_secret
from manifold.deploy.env import fernet_key, login, password


@dataclass(frozen=True, slots=True)
class Secrets:
    """Every secret of the stack, each of its own. Databases: `postgres` is the superuser's, the others their roles'."""

    postgres: str = field(default_factory=password)
    airflow_database: str = field(default_factory=password)
    ledger_database: str = field(default_factory=password)
    redis: str = field(default_factory=password)
    fernet: str = field(default_factory=fernet_key)
    jwt: str = field(default_factory=password)
    api: str = field(default_factory=password)
    manifold: str = field(default_factory=new_secret)
    admin: str = field(default_factory=login)

    @classmethod
    def kept(cls, path: Path) -> Self:
        """Those in that file; what is missing there is made and added."""
        known = {}
        with suppress(FileNotFoundError):
            known = json.loads(path.read_text())
        found = cls(**known)
        if asdict(found) != known:
            write_private(path, json.dumps(asdict(found), indent=2) + "\n")
        return found


def kept_password(path: Path) -> str:
    """The password in that file; made where it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, password())
    return path.read_text()


def write_private(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Put `text` into a file that nobody else can ever read, and that is never half written.

    With `owner` (user and group id) it is theirs. Whoever else may write to the folder can put nothing in its way.
    """
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        if owner is not None:
            os.fchown(descriptor, *owner)
    fresh.replace(path)
