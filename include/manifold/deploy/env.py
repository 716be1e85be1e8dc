"""`make env`: a `.env` with fresh secrets, from what `.env.example` describes.

Runs as a script of the standard library, before anything is installed: python3 include/manifold/deploy/env.py
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import string
import sys
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_SETTING = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
_LOGIN, _PASSWORD = 16, 43  # characters: 95 bits for what people type, 256 for what they do not


def password(length: int = _PASSWORD) -> str:
    """Return a fresh password of ASCII letters and digits that begins with a letter.

    Every reader takes it as it is: a command line (nothing begins with `-`), a URL, a shell, YAML (neither a number nor
    a date), a `.env` file (no `$`, `#` or quote) and redis.conf.
    """
    rest = (secrets.choice(string.ascii_letters + string.digits) for _ in range(length - 1))
    return secrets.choice(string.ascii_letters) + "".join(rest)


def login() -> str:
    """Return a password that a person types."""
    return password(_LOGIN)


def fernet_key() -> str:
    """Return a fresh key for Fernet that begins with a letter, for the same readers."""
    while True:
        key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        if key[0].isalpha():
            return key


_KINDS: dict[str, Callable[[], str]] = {
    "login": login,
    "password": password,
    "fernet": fernet_key,
    "manifold": lambda: f"k{secrets.token_hex(3)}:{secrets.token_hex(32)}",  # as config.new_secret() makes it
}


def filled(example: str) -> str:
    """The text with a fresh secret in place of each `<kind>`; no two are alike."""
    return _SETTING.sub(lambda found: f"{found[1]}={_value(found[2])}", example)


def added(present: str, example: str) -> str:
    """What `example` has and `present` lacks, with fresh secrets; empty if nothing."""
    known = {name for name, _ in _SETTING.findall(present)}
    missing = [line for line in _SETTING.finditer(example) if line[1] not in known]
    return "".join(f"{line[1]}={_value(line[2])}\n" for line in missing)


def write(path: Path, example: str) -> str:
    """Make that file, or add what it lacks, and change nothing that it says; a sentence on what was done."""
    if not path.exists():
        _put(path, filled(example))
        return f"wrote {path}, with fresh secrets. Keep it: what is encrypted with them is lost without them"
    present = path.read_text()
    more = added(present, example)
    if not more:
        return f"{path} is complete; nothing was changed"
    _put(path, f"{present.rstrip()}\n\n# Added since; .env.example says what they are.\n{more}")
    return f"added to {path}: {', '.join(name for name, _ in _SETTING.findall(more))}"


def _value(text: str) -> str:
    kind = text.removeprefix("<").removesuffix(">")
    return _KINDS[kind]() if text.startswith("<") else text


def _put(path: Path, text: str) -> None:
    """Never readable for others, and never half written."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else _ROOT / ".env"
    sys.stdout.write(write(target, (_ROOT / ".env.example").read_text()) + "\n")
