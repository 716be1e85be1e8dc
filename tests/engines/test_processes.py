"""What `processes://` promises beyond the contract of every engine."""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from manifold.abc import Engine
from manifold.engines.open import open_engine
from manifold.errors import ConfigError, EngineError, WorkerLost
from manifold.testing import calls
from manifold.testing.engines import SLOW, began, let_go, until
from manifold.worker import beat

HOLD_THE_LOCK = "import re; re.match('(a+)+$', 'a' * 60 + 'b')"
"""A statement that neither returns in this century nor lets another thread of its interpreter run."""


@pytest.fixture
def engine() -> Iterator[Engine]:
    with open_engine("processes://2") as engine:
        yield engine


def processes_of(engine: Engine) -> list[psutil.Process]:
    """The fork server and its workers."""
    until(lambda: len(engine.workers()) >= 2, "both workers are started")
    server = psutil.Process(engine.workers()[0].pid).parent()
    assert server is not None
    return [server, *server.children()]


def run_script(folder: Path, text: str, *, wait: bool = True) -> subprocess.Popen[str]:
    path = folder / "script.py"
    path.write_text(text)
    process = subprocess.Popen(
        [sys.executable, str(path)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if wait:
        process.wait(SLOW)
    return process


def output(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with process.stdout:
        return process.stdout.read()


# The coordinator's end


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_no_worker_outlives_a_coordinator_that_is_killed(tmp_path: Path, start: str) -> None:
    script = f"""
from manifold.engines.open import open_engine
def busy():
    import os, pathlib
    pathlib.Path({str(tmp_path)!r}, f"{{os.getpid()}}.pid").touch()
    {HOLD_THE_LOCK}
engine = open_engine("processes://2?start={start}")
engine.submit(busy)
engine.submit(busy).result()
"""
    coordinator = run_script(tmp_path, script, wait=False)
    until(lambda: len(list(tmp_path.glob("*.pid"))) == 2, "both workers are busy in C")
    family = psutil.Process(coordinator.pid).children(recursive=True)
    assert len(family) >= 3, "two workers and the fork server"
    coordinator.kill()
    _, alive = psutil.wait_procs(family, timeout=SLOW)
    assert not alive
    output(coordinator)
    coordinator.wait()


def test_an_engine_that_nobody_holds_ends_its_workers() -> None:
    engine = open_engine("processes://2")
    future = engine.submit(calls.echo, 3)
    family = processes_of(engine)
    del engine
    gc.collect()
    assert future.result(SLOW) == 3
    _, alive = psutil.wait_procs(family, timeout=SLOW)
    assert not alive


def test_exit_handlers_of_workers_run_at_shutdown(engine: Engine, tmp_path: Path) -> None:
    def leave_a_mark() -> None:
        import atexit

        atexit.register(Path(tmp_path, "left").touch)

    engine.submit(leave_a_mark).result(SLOW)
    engine.shutdown()
    assert (tmp_path / "left").exists()


# The coordinator's program


def test_a_script_without_a_guard_is_not_run_again_by_workers(tmp_path: Path) -> None:
    script = """
print("once")
from manifold.engines.open import open_engine
class Pair:
    def __init__(self, one, two): self.one, self.two = one, two
class Odd(Exception):
    pass
def double(pair):
    if pair.one % 2: raise Odd(pair.one)
    return Pair(pair.one * 2, pair.two)
with open_engine("processes://2") as engine:
    back = engine.submit(double, Pair(2, "x")).result()
    print(type(back) is Pair, back.one, back.two)
    print(isinstance(engine.submit(double, Pair(3, "x")).exception(), Odd))
"""
    process = run_script(tmp_path, script)
    assert output(process).split("\n") == ["once", "True 4 x", "True", ""]
    assert process.returncode == 0


def test_workers_import_what_the_coordinator_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside_the_script.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with open_engine("processes://1") as engine:
        assert engine.submit(lambda: __import__("beside_the_script").answer()).result(SLOW) == 42


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_workers_see_the_coordinators_arguments(start: str) -> None:
    with open_engine("processes://1", start=start) as engine:
        assert engine.submit(_arguments).result(SLOW) == sys.argv


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
def test_workers_are_no_forks_of_the_coordinator(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imported_only_here", sys)
    read, write = os.pipe()
    with os.fdopen(read), os.fdopen(write), open_engine("processes://1", start=start) as engine:
        with pytest.raises(OSError, match="Bad file descriptor"):
            engine.submit(_same_pipe, write, os.fstat(write).st_ino).result(SLOW)
        assert engine.submit(_imported, "imported_only_here").result(SLOW) is False


def _same_pipe(descriptor: int, inode: int) -> None:
    if os.fstat(descriptor).st_ino != inode:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _arguments() -> list[str]:
    return sys.argv


def _imported(module: str) -> bool:
    return module in sys.modules


# Deaths


def test_a_worker_killed_while_it_sends_harms_nobody_else(engine: Engine) -> None:
    errors = []
    for delay in (0.05, 0.1, 0.2, 0.4):  # the result takes about half a second to cross
        sending = engine.submit(bytes, 500_000_000)
        time.sleep(delay)
        for worker in engine.workers():
            if worker.alive and worker.holding:
                os.kill(worker.pid, signal.SIGKILL)
        errors.append(sending.exception(SLOW))
        assert engine.submit(calls.echo, 1).result(SLOW) == 1
    assert any(isinstance(error, WorkerLost) for error in errors)


def test_the_fork_servers_death_loses_what_ran_and_the_engine_goes_on(engine: Engine, tmp_path: Path) -> None:
    held = engine.submit(calls.hold, str(tmp_path), "held")
    until(lambda: began(tmp_path, "held"), "the call begins")
    processes_of(engine)[0].kill()
    assert isinstance(held.exception(SLOW), WorkerLost)
    assert engine.submit(calls.echo, 1).result(SLOW) == 1
    assert engine.slots() == 2


def test_a_worker_that_exits_is_lost_with_its_status_named(engine: Engine) -> None:
    error = engine.submit(os._exit, 3).exception(SLOW)
    assert isinstance(error, WorkerLost)
    assert (error.started, error.died) == (True, True)
    assert "exit status 3" in str(error)


def test_a_call_behind_a_dead_one_runs_elsewhere(tmp_path: Path) -> None:
    with open_engine("processes://1") as engine:
        first = engine.submit(calls.hold, str(tmp_path), "first")
        behind = engine.submit(calls.echo, "behind")
        until(lambda: began(tmp_path, "first"), "the first call begins")
        os.kill(int(began(tmp_path, "first")), signal.SIGKILL)
        assert isinstance(first.exception(SLOW), WorkerLost)
        assert behind.result(SLOW) == "behind"


def test_killing_a_call_is_no_unannounced_death(engine: Engine, tmp_path: Path) -> None:
    future = engine.submit(calls.hold, str(tmp_path), "hopeless")
    until(lambda: began(tmp_path, "hopeless"), "the call begins")
    engine.kill(future)
    error = future.exception(SLOW)
    assert isinstance(error, WorkerLost)
    assert (error.started, error.died) == (True, False)


def test_a_dead_worker_is_listed_for_a_while(engine: Engine) -> None:
    pid = engine.submit(calls.pid).result(SLOW)
    os.kill(pid, signal.SIGKILL)
    until(lambda: [one.alive for one in engine.workers() if one.pid == pid] == [False], "it is listed as dead")


def test_workers_that_never_come_up_break_the_engine_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    with open_engine("processes://2") as engine:
        error = engine.submit(calls.echo, 1).exception(SLOW)
        assert isinstance(error, EngineError)
        assert not isinstance(error, WorkerLost)
        assert engine.slots() == 0
        assert engine.check() == str(error)
        assert isinstance(engine.submit(calls.echo, 2).exception(SLOW), EngineError)
    assert "No module named" in capfd.readouterr().err


# Announced ends


def test_sigterm_stops_the_call_early_and_keeps_its_result(engine: Engine, tmp_path: Path) -> None:
    future = engine.submit(calls.hold, str(tmp_path), "held")
    until(lambda: began(tmp_path, "held"), "the call begins")
    pid = int(began(tmp_path, "held"))
    os.kill(pid, signal.SIGTERM)
    assert future.result(SLOW) == pid, "what was done until then is returned"
    until(lambda: not psutil.pid_exists(pid), "the worker ends")
    assert {engine.submit(calls.pid).result(SLOW) for _ in range(10)}.isdisjoint({pid})


def test_a_kill_after_sigterm_is_no_unannounced_death(engine: Engine, tmp_path: Path) -> None:
    future = engine.submit(_ignore_the_drain, str(tmp_path))
    until(lambda: began(tmp_path, "deaf"), "the call begins")
    pid = int(began(tmp_path, "deaf"))
    os.kill(pid, signal.SIGTERM)
    until(lambda: (tmp_path / "drained").exists(), "it has heard the signal")
    os.kill(pid, signal.SIGKILL)
    error = future.exception(SLOW)
    assert isinstance(error, WorkerLost)
    assert (error.started, error.died) == (True, False)


def _ignore_the_drain(folder: str) -> None:
    beat.current().stop = Path(folder, "drained").touch
    Path(folder, "deaf.began").write_text(str(os.getpid()))
    time.sleep(calls.PATIENCE)


def test_an_interrupt_from_the_keyboard_is_not_for_workers(engine: Engine, tmp_path: Path) -> None:
    future = engine.submit(calls.hold, str(tmp_path), "held")
    until(lambda: began(tmp_path, "held"), "the call begins")
    for process in processes_of(engine):
        process.send_signal(signal.SIGINT)
    let_go(tmp_path)
    assert isinstance(future.result(SLOW), int)


# Items that do not yield to their timeout


@pytest.mark.parametrize("body", ["import time; time.sleep(60)", HOLD_THE_LOCK])
def test_an_overdue_item_ends_its_worker_and_is_named(engine: Engine, body: str) -> None:
    future = engine.submit(_overdue, 0.3, body)
    bystander = engine.submit(calls.echo, 1)
    error = future.exception(SLOW)
    assert isinstance(error, WorkerLost)
    assert (error.overdue, error.position) == (True, 5)
    assert bystander.result(SLOW) == 1


def _overdue(timeout: float, body: str) -> None:
    call = beat.current()
    end = time.monotonic() + timeout
    call.position, call.deadline = (lambda: 5), (lambda: end)
    time.sleep(0.2)  # a few beats, as between the start of a chunk and the item that hangs
    exec(body, {})


# URLs


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("processes://0", "processes://4"),
        ("processes://-1", "processes://4"),
        ("processes://abc", "processes://4"),
        ("processes://4/path", "processes://4"),
        ("processes://4?workers=3", "it has: start"),
        ("processes://4?start=fork", "forkserver, spawn"),
        ("threads://0", "threads://4"),
        ("threads://2?start=spawn", "has none"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_with_what_to_write(url: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        open_engine(url)


def test_without_a_number_there_is_a_worker_per_cpu() -> None:
    with open_engine("processes://") as engine:
        assert engine.slots() == len(os.sched_getaffinity(0))


def test_spawned_workers_meet_the_same_calls() -> None:
    with open_engine("processes://2?start=spawn") as engine:
        assert [engine.submit(pow, n, 2).result(SLOW) for n in range(5)] == [0, 1, 4, 9, 16]
