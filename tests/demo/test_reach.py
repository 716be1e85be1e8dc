from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifold.demo import reach
from manifold.demo.postgres import PostgresServer
from manifold.demo.process import StartError

USER = "nobody"


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that only root may enter, and a room of its own for what must lie elsewhere."""
    tmp_path.chmod(0o700)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    yield tmp_path
    reach.remove_rooms()


def as_user(*command: str | Path) -> int:
    account = pwd.getpwnam(USER)
    done = subprocess.run(command, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/", check=False)
    return done.returncode


def program(site: Path) -> None:
    """A program that finds what it needs in a folder beside its own, as wheels have it."""
    for name, text in {"tool/bin/run": 'cat "$(dirname "$0")/../../tool.libs/text"', "tool.libs/text": "found"}.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)


def test_a_program_in_reach_is_run_from_where_it_is(tmp_path: Path) -> None:
    assert reach.programs(Path("/usr"), ["bin"], "bin/env", "1", USER) == Path("/usr")


def test_a_program_out_of_reach_is_copied_with_what_it_needs(private: Path) -> None:
    program(private / "site")
    parts = ["tool", "tool.libs"]
    copy = reach.programs(private / "site", parts, "tool/bin/run", "1", USER)
    assert copy != private / "site"
    assert as_user(copy / "tool/bin/run") == 0
    assert reach.programs(private / "site", parts, "tool/bin/run", "1", USER) == copy


def test_a_program_that_runs_nowhere_is_refused_with_what_to_do(private: Path) -> None:
    program(private / "site")
    (private / "site/tool/bin/run").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(StartError, match="Start as a user who is not root"):
        reach.programs(private / "site", ["tool"], "tool/bin/run", "1", USER)


def test_a_folder_out_of_reach_becomes_a_link_and_goes_with_it(private: Path) -> None:
    real = reach.place(private / "data", USER)
    assert (private / "data").is_symlink()
    assert as_user("touch", real / "file") == 0
    assert reach.place(private / "data", USER) == real
    assert (real / "file").exists()
    reach.remove(private / "data")
    assert not real.exists()
    assert not (private / "data").is_symlink()


def test_a_deleted_link_means_a_fresh_start(private: Path) -> None:
    real = reach.place(private / "data", USER)
    (real / "file").touch()
    (private / "data").unlink()
    assert list(reach.place(private / "data", USER).iterdir()) == []


def test_a_room_that_others_may_write_to_is_not_used(private: Path) -> None:
    real = reach.place(private / "data", USER)
    reach.remove(private / "data")
    room = real.parent
    room.chmod(0o777)
    assert reach.place(private / "data", USER).parent != room
    room.chmod(0o755)


@pytest.fixture
def strict_umask() -> Iterator[None]:
    """Files that are made are their owner's alone, as in the demo."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_postgresql_runs_below_a_folder_that_only_root_may_enter(private: Path) -> None:
    with PostgresServer(private / "data") as server:
        assert server.create_database("ledger").endswith("/ledger")
    server.remove()
    assert not (private / "data").exists()
