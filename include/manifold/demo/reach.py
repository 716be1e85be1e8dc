"""Programs and data where a user who is not root can reach them, for a server that refuses to run as root.

Where the checkout lies below a folder that only root may enter, they live in a room of root's own in /var/tmp.
The kernel is asked, as that user, rather than modes read: so access lists and `noexec` mounts count, too.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from manifold.demo.process import StartError

_PLACES = ("/var/tmp", "/tmp")  # nosec B108 # `_rooms` takes only what is root's own there


def programs(site: Path, parts: Sequence[str], name: str, version: str, user: str) -> Path:
    """`site`, or a copy of those parts of it, in which that user can run the program `name`."""
    if _can(user, site / name, "--version"):
        return site
    for room in _rooms():
        copy = room / f"programs-{version}"
        if not copy.exists():
            _copy(site, parts, copy)
        if _can(user, copy / name, "--version"):
            return copy
    raise _unreachable(site, user)


def place(path: Path, user: str) -> Path:
    """The folder that `path` is or links to, made where it is missing: that user owns it and can enter it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a link to a folder that was cleaned away
        if _can(user, "test", "-x", path.parent):
            path.mkdir(mode=0o700)
        else:
            room = next(_rooms(), None)
            if room is None:
                raise _unreachable(path, user)
            real = room / f"{path.name}-{_digest(path)}"
            shutil.rmtree(real, ignore_errors=True)  # somebody deleted the link to it, and meant all of it
            real.mkdir(mode=0o700)
            path.symlink_to(real)
    account = pwd.getpwnam(user)
    os.chown(path, account.pw_uid, account.pw_gid)
    return path.resolve()


def remove(path: Path) -> None:
    """Delete that folder, and where it is a link, what it points to."""
    real = path.resolve()
    shutil.rmtree(real, ignore_errors=True)
    if path.is_symlink():
        path.unlink()


def remove_rooms() -> None:
    """Delete what this installation keeps in /var/tmp."""
    for room in _rooms():
        shutil.rmtree(room, ignore_errors=True)


def _rooms() -> Iterator[Path]:
    """Folders of root's own that everybody may enter, one for each virtual environment."""
    for parent in _PLACES:
        room = Path(parent, f"manifold-{_digest(Path(sys.prefix))}")
        with suppress(FileExistsError):
            room.mkdir(mode=0o755)
            room.chmod(0o755)  # whatever the umask
        status = room.lstat()
        # Names in /var/tmp are anybody's: a folder or link that somebody else put there is not used.
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
            yield room


def _copy(site: Path, parts: Sequence[str], target: Path) -> None:
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    for part in parts:
        shutil.copytree(site / part, fresh / part, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    for path in [fresh, *fresh.rglob("*")]:
        path.chmod(0o755)  # whatever the umask, now and when the wheel was unpacked
    # Fails where another process was first, which is as good.
    with suppress(OSError):
        fresh.rename(target)
    shutil.rmtree(fresh, ignore_errors=True)


def _can(user: str, *command: str | Path) -> bool:
    group = pwd.getpwnam(user).pw_gid
    try:
        done = subprocess.run(
            command, user=user, group=group, extra_groups=[], cwd="/", capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]


def _unreachable(path: Path, user: str) -> StartError:
    return StartError(
        f"PostgreSQL does not run as root, and the user {user} can reach neither {path} nor a copy in "
        f"{' or '.join(_PLACES)}. Start as a user who is not root, or put the checkout where everybody may enter."
    )
