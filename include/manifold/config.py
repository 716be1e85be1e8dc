"""Where ledger, store and secrets are, by the environment.

| variable | meaning | without it |
|---|---|---|
| `MANIFOLD_HOME` | folder of this user's state | the platform's state folder |
| `MANIFOLD_LEDGER` | SQLAlchemy URL of the ledger | SQLite in the home |
| `MANIFOLD_STORE` | URL of the store | `file://` in the home |
| `MANIFOLD_SECRET` | `id:hex[,id:hex…]`; the first signs, all verify | a file in the home, made once, mode 600 |

Inside Airflow, `manifold.airflow.configuration` fills them from Airflow's configuration, and the fallbacks are refused.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import platformdirs

from manifold.errors import ConfigError
from manifold.protocol.envelope import Keyring

resolvers: list[Callable[[str], str | None]] = []
"""Each turns a connection id into a URL, or returns None; `manifold.airflow` adds one for Airflow's connections."""

fillers: list[Callable[[], None]] = []
"""Each puts what it knows of the variables into the environment, when one is missing that is wanted; `manifold.airflow`
adds one for Airflow's configuration."""


def home() -> Path:
    """This user's folder of state; made, with mode 700, where it is missing."""
    path = Path(_variable("MANIFOLD_HOME") or platformdirs.user_state_path("manifold")).expanduser().absolute()
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def ledger_url() -> str:
    """SQLAlchemy URL of the ledger."""
    return _variable("MANIFOLD_LEDGER") or f"sqlite:///{home() / 'ledger.db'}"


def store_url() -> str:
    """URL of the deployment's store."""
    return _variable("MANIFOLD_STORE") or (home() / "store").as_uri()


def resolve(name: str) -> str:
    """The URL that `name` stands for: itself, or what a resolver makes of it; ConfigError where none knows it."""
    if isinstance(name, str):
        if "://" in name:
            return name
        for resolver in resolvers:
            if url := resolver(name):
                return url
    raise ConfigError(
        f"{name!r} is neither a URL such as processes://4 nor the id of a connection that this process can see"
    )


def new_secret() -> str:
    """A fresh value for `MANIFOLD_SECRET`."""
    return f"k{secrets.token_hex(3)}:{secrets.token_hex(32)}"


def keyring() -> Keyring:
    """The deployment's secrets; raises ConfigError where `MANIFOLD_SECRET` is malformed."""
    return _parse_secret(_variable("MANIFOLD_SECRET") or _secret_file())


def _variable(name: str) -> str | None:
    if not os.environ.get(name):
        for filler in fillers:
            filler()
    return os.environ.get(name)


@lru_cache(maxsize=4)
def _parse_secret(text: str) -> Keyring:
    keys = {}
    for one in filter(None, (part.strip() for part in text.split(","))):
        key_id, _, value = one.partition(":")
        try:
            keys[key_id] = bytes.fromhex(value)
        except ValueError:
            raise ConfigError(
                "MANIFOLD_SECRET must read id:hex[,id:hex…]; `manifold doctor --new-secret` makes one"
            ) from None
    return Keyring(keys)


def _secret_file() -> str:
    path = home() / "secret"
    if not path.exists():
        fresh = path.with_name(f"secret.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_secret())
        # A link fails where another process was first, and is never seen half written.
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    with path.open() as file:
        _check_private(path, os.fstat(file.fileno()))
        return file.read().strip()


def _check_private(path: Path, status: os.stat_result) -> None:
    """Whoever knows the secret has workers run code; whoever can put another one there, too."""
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{path} belongs to another user, who knows the secret: delete it, and a new one is made")
    if status.st_mode & 0o077:
        raise ConfigError(f"others than you may read {path}, and so have your workers run code: chmod 600 {path}")
