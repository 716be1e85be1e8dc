"""The whole demo, for real: the stack that `make demo` starts, run from a checkout in a temporary folder."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from manifold.demo import reach
from manifold.demo.api import Api
from tests.demo.waiting import in_sessions, until

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("default_ports_taken")]


class Demo:
    """`python -m manifold.demo` as a process; `lines` is what it has said so far."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        self.lines: list[str] = []
        self._sessions: set[int] = set()
        command = [sys.executable, "-m", "manifold.demo", "--root", str(root), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            self._sessions |= set(self.pids().values())

    def pids(self) -> dict[str, int]:
        """Each process that is on record."""
        found = {}
        for record in (self.root / ".manifold" / "processes").glob("*.json"):
            with suppress(FileNotFoundError):
                found[record.stem] = json.loads(record.read_text())["pid"]
        return found

    def wait_for_line(self, fits: Callable[[str], bool]) -> str:
        until(lambda: any(map(fits, self.lines)) or self.process.poll() is not None, "that line", seconds=300)
        found = [line for line in self.lines if fits(line)]
        assert found, self.said()
        return found[0]

    def end(self) -> int:
        status = self.process.wait(timeout=400)
        self._reader.join()
        if self.process.stdout:
            self.process.stdout.close()
        return status

    def left_running(self) -> list[int]:
        return in_sessions(self._sessions)

    def said(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A checkout, as far as the demo uses it, below a folder with a space."""
    root = tmp_path / "check out"
    for folder in ("dags", "plugins"):
        shutil.copytree(Path(__file__).parents[2] / folder, root / folder)
    yield root
    reach.remove(root / ".manifold" / "postgres")


@pytest.fixture
def start(root: Path) -> Iterator[Callable[..., Demo]]:
    demos = []

    def begin(*options: str) -> Demo:
        demos.append(Demo(root, *options))
        return demos[-1]

    yield begin
    for demo in demos:
        if demo.process.poll() is None:
            demo.process.terminate()
        demo.end()


@pytest.fixture
def default_ports_taken() -> Iterator[None]:
    """Somebody listens on the ports that the demo would take."""
    sockets = [socket.socket() for _ in range(3)]
    for one, port in zip(sockets, (8080, 5432, 6379), strict=True):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # taken already, which will do
            one.bind(("127.0.0.1", port))
            one.listen()
    yield
    for one in sockets:
        one.close()


def test_the_answer_is_right_although_a_worker_is_killed(root: Path, start: Callable[..., Demo]) -> None:
    demo = start("--once")
    address = demo.wait_for_line(lambda line: line.startswith("Airflow:"))
    assert not address.endswith(":8080")
    demo.wait_for_line(lambda line: " items, " in line)
    worker = psutil.Process(demo.pids()["worker1"])
    for process in [worker, *worker.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    assert demo.end() == 0, demo.said()
    account = "336,776 succeeded, 0 failed, 0 skipped, 0 without outcome; of 336,776 items"
    assert account in demo.said()
    with (root / ".manifold" / "out" / "flight_delays.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 35
    assert sum(int(row["flights"]) for row in rows) == 336_776
    assert sum(int(row["cancelled"]) for row in rows) == 8_255
    assert demo.left_running() == []
    assert not (root / ".manifold" / "env").exists()
    assert "ERROR" not in demo.said()


def running_log(demo: Demo) -> list[str]:
    """What the api-server complains of in the log of a task that scatters, while it runs."""
    address = demo.wait_for_line(lambda line: line.startswith("Airflow:"))
    password = demo.wait_for_line(lambda line: line.startswith("password:"))
    url, password = (line.partition(":")[2].strip() for line in (address, password))
    api = Api(url, "admin", password)
    tasks = "/api/v2/dags/flight_delays/dagRuns/~/taskInstances"
    task: dict[str, str] = {}

    api.trigger("flight_delays")  # also where a run of the demo that was killed seems to go on

    def runs() -> bool:
        if not api.unfinished("flight_delays"):
            api.trigger("flight_delays")
        task.update(*api._call("GET", f"{tasks}?state=running&task_id=delay&limit=1")["task_instances"])
        return bool(task)

    until(runs, "a task that scatters", seconds=600)
    run = quote(task["dag_run_id"], safe="")
    lines = api._log(f"{tasks.replace('~', run)}/delay/logs/{task['try_number']}").splitlines()
    return [line for line in lines if "served logs" in line or "secret_key" in line]


def listed(demo: Demo) -> list[str]:
    """The names that `manifold ls` shows in a shell that has read the file which the demo speaks of."""
    command = demo.wait_for_line(lambda line: line.strip().startswith("or: source ")).partition("or: ")[2]
    told = subprocess.run(
        ["bash", "-eu", "-c", f"{command} --json"], capture_output=True, text=True, timeout=100, check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stderr == "", "no command warns of what nobody has asked for"
    return [scatter["name"] for scatter in json.loads(told.stdout)["scatters"]]


def test_after_kill_9_the_next_start_cleans_up_and_ctrl_c_ends_it_all(root: Path, start: Callable[..., Demo]) -> None:
    first = start()
    password = first.wait_for_line(lambda line: line.startswith("password:"))
    first.process.kill()
    first.end()
    second = start()
    # Its databases are the ones that were kept, or its passwords would not fit.
    assert second.wait_for_line(lambda line: line.startswith("password:")) == password
    assert first.left_running() == []
    assert running_log(second) == []
    assert any(name.startswith("flight_delays/") for name in listed(second))
    third = start()
    assert third.end() == 1
    assert "a demo already runs from here" in third.said()
    second.process.send_signal(signal.SIGINT)
    assert second.end() == 130, second.said()
    assert second.left_running() == []
    logs = {path.stem for path in (root / ".manifold" / "logs").iterdir()}
    assert logs >= {"api-server", "dag-processor", "postgres", "redis", "scheduler", "triggerer", "worker1", "worker2"}
    readable = [path for path in (root / ".manifold").glob("*/*") if path.stat().st_mode & 0o077]
    assert readable == []
