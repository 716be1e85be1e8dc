from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from manifold.demo.process import Child, StartError, end_left_over, free_port, wait_until
from tests.demo.waiting import in_sessions, running, until

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"


Shell = Callable[[str], Child]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """A folder for logs and records; whatever is on record there is ended afterwards."""
    yield tmp_path
    end_left_over(tmp_path / "records")


@pytest.fixture
def shell(room: Path) -> Iterator[Shell]:
    """Starts shell scripts as the child of this process; ended afterwards."""
    started = []

    def start(script: str) -> Child:
        child = Child.start("child", ["sh", "-c", script], log=room / "child.log", records=room / "records")
        started.append(child)
        return child

    yield start
    for child in started:
        child.stop(patience=0)


def starter(room: Path, script: str) -> tuple[subprocess.Popen[str], int]:
    """A process that starts a child and waits; with the child's pid."""
    program = f"""
import sys, time
from pathlib import Path
from manifold.demo.process import Child
room = Path({str(room)!r})
child = Child.start("child", ["sh", "-c", {script!r}], log=room / "child.log", records=room / "records")
print(child.pid, flush=True)
time.sleep(1000)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def kill(process: subprocess.Popen[str]) -> None:
    with process:
        process.kill()


def log_has(room: Path, text: str) -> bool:
    return text in (room / "child.log").read_text()


def test_a_child_that_ends_by_itself_is_named_with_the_end_of_its_log(shell: Shell) -> None:
    child = shell("echo the port is taken >&2; exit 3")
    with pytest.raises(StartError, match=r"child ended with status 3[\s\S]*the port is taken"):
        wait_until(lambda: False, child, seconds=20)


def test_a_child_that_is_never_ready_is_named_too(room: Path, shell: Shell) -> None:
    child = shell("echo still thinking; sleep 1000")
    until(lambda: log_has(room, "still thinking"), "a line in the log")
    with pytest.raises(StartError, match=r"child is not ready after 0.1 s[\s\S]*still thinking"):
        wait_until(lambda: False, child, seconds=0.1)


def test_stop_ends_descendants_whose_parent_is_gone(room: Path, shell: Shell) -> None:
    child = shell("sh -c 'sleep 1000 & echo orphan'; exec sleep 1000")
    until(lambda: log_has(room, "orphan") and len(in_sessions([child.pid])) == 2, "a process and an orphan")
    child.stop()
    assert in_sessions([child.pid]) == []


def test_stop_kills_what_ignores_the_polite_signal(room: Path, shell: Shell) -> None:
    child = shell(STUBBORN)
    until(lambda: log_has(room, "ready"), "the trap")
    child.stop(patience=0.2)
    assert in_sessions([child.pid]) == []
    assert list((room / "records").iterdir()) == []


def test_a_child_ends_with_its_starter_even_by_kill_9(room: Path) -> None:
    process, pid = starter(room, "sleep 1000")
    assert running(pid)
    kill(process)
    if sys.platform != "linux":
        end_left_over(room / "records")
    until(lambda: not running(pid), "the end of the child")


def test_what_outlives_its_starter_is_ended_at_the_next_start(room: Path) -> None:
    process, pid = starter(room, STUBBORN)
    until(lambda: log_has(room, "ready"), "the trap")
    kill(process)
    assert running(pid)
    assert end_left_over(room / "records") == ["child"]
    assert in_sessions([pid]) == []
    assert end_left_over(room / "records") == []


def test_descendants_of_a_dead_child_are_ended_at_the_next_start(room: Path) -> None:
    process, pid = starter(room, f"({STUBBORN}) & wait")
    until(lambda: log_has(room, "ready"), "the trap")
    os.kill(pid, signal.SIGKILL)
    kill(process)
    until(lambda: not running(pid), "the end of the child")
    assert len(in_sessions([pid])) >= 1
    assert end_left_over(room / "records") == ["child"]
    assert in_sessions([pid]) == []


def test_a_process_that_merely_has_the_recorded_number_is_left_alone(room: Path) -> None:
    (room / "records").mkdir()
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as other:
        started = psutil.Process(other.pid).create_time() - 60
        (room / "records" / "child.json").write_text(json.dumps({"pid": other.pid, "started": started}))
        assert end_left_over(room / "records") == []
        assert other.poll() is None
        other.kill()


def test_a_second_start_under_one_name_ends_the_first(shell: Shell) -> None:
    first = shell("sleep 1000")
    second = shell("sleep 1000")
    assert not first.alive()
    assert second.alive()


def test_a_port_that_is_taken_is_not_given_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) not in (0, port)
    assert free_port(port) == port
