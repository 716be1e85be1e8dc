"""Children that an item forks: they end as they would anywhere, and nothing of the worker lives on in them."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.worker import beat

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

ENGINES = pytest.mark.parametrize("engine", ["processes://1", "processes://1?start=spawn", "threads://2"])
FORK = multiprocessing.get_context("fork")


def square(x: int) -> int:
    return x * x


def pooled(x: int) -> list[int]:
    with FORK.Pool(2) as pool:
        return pool.map(square, range(x))


def executed(x: int) -> list[int]:
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        return list(pool.map(square, range(x)))


@ENGINES
@pytest.mark.parametrize("fn", [pooled, executed])
def test_a_pool_of_processes_in_an_item_works_and_ends(engine: str, fn: Any) -> None:
    results = manifold.scatter(fn, [3] * 8, engine=engine, chunk_size=4)
    assert list(results) == [[0, 1, 4]] * 8


def terminated(x: int) -> tuple[int, int | None, int]:
    """End a child by SIGTERM as soon as it is forked, when no code of its own has run yet."""
    child = FORK.Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    return x, child.exitcode, os.getpid()


@ENGINES
def test_a_terminated_child_ends_and_the_worker_does_not_drain(engine: str) -> None:
    results = manifold.scatter(terminated, range(20), engine=engine, chunk_size=10)
    (pid,) = {pid for _, _, pid in results}
    assert list(results) == [(x, -signal.SIGTERM, pid) for x in range(20)]


class Cleaned(Exception):
    """Raised in a child."""


def left(x: int, how: str, folder: str) -> int:
    """Fork a child that leaves in one of many ways; its exit status."""
    Path(folder, f"{x}.{os.getpid()}").touch()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        _leave(how)
    finally:
        Path(folder, f"{x}.finally").touch()
    return 12345


def _leave(how: str) -> None:
    if how == "raises":
        raise Cleaned
    if how == "skips":
        raise manifold.SkipItem
    if how == "interrupts":
        raise KeyboardInterrupt
    if how != "returns":
        sys.exit(None if how == "None" else int(how) if how.isdigit() else how)


WAYS = {"0": 0, "None": 0, "3": 3, "a text": 1, "returns": 0, "raises": 1, "skips": 1, "interrupts": 1}


@pytest.mark.parametrize("engine", ["processes://1", "threads://2"])
@pytest.mark.parametrize(("how", "status"), WAYS.items(), ids=list(WAYS))
def test_a_forked_child_leaves_with_its_own_status_and_is_no_outcome(
    engine: str, how: str, status: int, folder: Path
) -> None:
    consts = {"how": how, "folder": str(folder)}
    results = manifold.scatter(left, range(3), engine=engine, consts=consts, chunk_size=3, item_retries=2)
    assert list(results) == [status] * 3
    assert len([name for name in os.listdir(folder) if name.endswith("finally")]) == 3
    assert len(os.listdir(folder)) == 6, "no child ran an item of the chunk's rest"


@pytest.mark.parametrize("engine", ["processes://1", "threads://1"])
@pytest.mark.parametrize(("how", "status"), WAYS.items(), ids=list(WAYS))
def test_nor_is_one_that_a_coroutine_forks(engine: str, how: str, status: int, folder: Path) -> None:
    async def fn(x: int) -> int:
        await asyncio.sleep(0)
        status = left(x, how, str(folder))
        await asyncio.sleep(0)  # in which a child of other items' loop would run them
        return status

    results = manifold.scatter(fn, range(6), engine=engine, chunk_size=6, async_concurrency=3)
    assert list(results) == [status] * 6
    assert len([name for name in os.listdir(folder) if name.endswith("finally")]) == 6
    assert len(os.listdir(folder)) == 12


def handlers() -> dict[str, Any]:
    """What a child has of its parent."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD)
    links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return {
        "signals": [signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler) for number in numbers],
        "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "calls": beat.snapshot(),
        "draining": beat.draining(),
        "sockets": [str(link) for link in links if link.is_symlink() and "socket" in str(os.readlink(link))],
        "stdout": type(sys.stdout).__module__,
    }


def inherited(x: int) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=FORK) as pool:
        return pool.submit(handlers).result()


@pytest.mark.parametrize("engine", ["processes://1", "processes://1?start=spawn"])
def test_nothing_of_the_worker_is_in_a_child(engine: str) -> None:
    (found,) = manifold.scatter(inherited, [1], engine=engine, item_timeout=60)
    assert found == {
        "signals": [True] * 4,
        "blocked": [],
        "timer": (0.0, 0.0),
        "calls": [],
        "draining": False,
        "sockets": [],
        "stdout": "_io",
    }


def test_a_handler_of_the_items_own_is_inherited_as_anywhere() -> None:
    def fn(x: int) -> int:
        before = signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert list(manifold.scatter(fn, range(2), engine="processes://1")) == [7, 7]


def test_a_program_that_an_item_starts_takes_ctrl_c() -> None:
    def fn(x: int) -> int:
        program = subprocess.Popen(["sleep", "60"])
        program.send_signal(signal.SIGINT)
        return program.wait()

    assert list(manifold.scatter(fn, [1], engine="processes://1")) == [-signal.SIGINT]


def test_a_preexec_function_does_not_disturb_the_worker() -> None:
    def fn(x: int) -> str:
        done = subprocess.run(["echo", str(x)], preexec_fn=os.setsid, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert list(manifold.scatter(fn, range(5), engine="processes://1", chunk_size=5)) == list("01234")


def test_a_child_that_outlives_its_worker_does_not_hide_that_it_died(tmp_path: Path) -> None:
    def fn(x: int, folder: str) -> int:
        if x == 3 and not (mark := Path(folder, "died")).exists():
            mark.touch()
            child = os.fork()
            if not child:
                time.sleep(60)
                os._exit(0)
            Path(folder, "child").write_text(str(child))
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    began = time.monotonic()
    try:
        results = manifold.scatter(fn, range(6), engine="processes://1", consts={"folder": str(tmp_path)})
        assert list(results) == list(range(6))
        assert time.monotonic() - began < 55, "it was noticed before the child ended"
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


class Connection:
    """Says in a file when it is closed, and by whom."""

    def __init__(self, path: str) -> None:
        self.path = path

    def close(self) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_child_does_not_close_what_the_worker_has_open(kind: str, tmp_path: Path) -> None:
    def fn(x: int, db: Connection) -> int:
        child = os.fork()
        if not child:
            sys.exit(0)
        os.waitpid(child, 0)
        pooled(2)
        return os.getpid()

    async def later(x: int, db: Connection) -> int:
        return fn(x, db)

    path = tmp_path / "closed"
    consts = {"db": manifold.per_worker(Connection, str(path))}
    (pid,) = set(manifold.scatter(fn if kind == "sync" else later, range(3), engine="processes://1", consts=consts))
    assert path.read_text().splitlines() == [str(pid)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with nothing in it."""
    empty = tmp_path / "folder"
    empty.mkdir()
    return empty


@pytest.fixture(autouse=True)
def no_children_left() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()
