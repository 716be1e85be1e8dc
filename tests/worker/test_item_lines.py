"""What items print and log stands beside them; their streams are whole; nothing of it is left in the caller."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import faulthandler
import io
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import manifold
from manifold.errors import TooManyFailures
from manifold.worker import capture, streams
from tests.shared import ByReference

ASYNC = {"engine": "threads://2", "chunk_size": 10, "keep_logs": True, "async_concurrency": 10}


def by_item(results: manifold.Results) -> dict[int, list[str]]:
    lines: dict[int, list[str]] = defaultdict(list)
    for line in results.logs():
        lines[line.pos].append(line.text)
    return lines


def test_the_lines_of_async_items_stand_beside_them() -> None:
    async def fn(x: int) -> int:
        print(f"{x} begins")
        await asyncio.sleep(0.001 * (x * 7 % 10))
        logging.getLogger("mine").warning("%d goes on", x)
        await asyncio.sleep(0.001 * (x * 3 % 10))
        warnings.warn(f"{x} ends", UserWarning, stacklevel=1)
        sys.stderr.write(f"{x} is over\n")
        return x

    # In a process of its own, for pytest catches warnings in this one.
    results = manifold.scatter(fn, range(40), **ASYNC | {"engine": "processes://1"})
    lines = by_item(results)
    for x in range(40):
        said = " ".join(lines[x])
        assert all(text in said for text in (f"{x} begins", f"mine: {x} goes on", f"{x} ends", f"{x} is over"))
        assert not any(text.startswith(f"{y} ") for y in range(40) if y != x for text in lines[x])
    assert [line.pos for line in results.logs()] == sorted(line.pos for line in results.logs())


def test_so_do_those_of_what_an_async_item_starts() -> None:
    async def said(x: int, what: str) -> None:
        await asyncio.sleep(0.002)
        print(f"{x} {what}")

    async def fn(x: int) -> int:
        await asyncio.gather(said(x, "gathered"), asyncio.to_thread(print, f"{x} threaded"))
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.call_later(0.001, print, f"{x} called")
        loop.call_later(0.002, done.set)
        await done.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(said(x, "grouped"))
        print(x, end=" ")
        await asyncio.sleep(0.003)
        print("in two parts")
        return x

    lines = by_item(manifold.scatter(fn, range(20), **ASYNC))
    wanted = ("gathered", "threaded", "called", "grouped", "in two parts")
    for x in range(20):
        assert sorted(lines[x]) == sorted(f"{x} {what}" for what in wanted)


def test_the_lines_of_a_context_that_outlives_its_item_stay_with_that_item() -> None:
    pool = ThreadPoolExecutor(1)
    gate, said = threading.Event(), threading.Event()

    def late() -> None:
        print("0 at once")
        gate.wait(30)
        print("0 late")
        said.set()

    def fn(x: int) -> int:
        if x == 0:
            pool.submit(contextvars.copy_context().run, late)
            time.sleep(0.05)
        if x == 5:
            gate.set()
            said.wait(30)
        print(f"{x} itself")
        return x

    with ByReference(fn, 1) as (executor, proxy):
        results = manifold.scatter(proxy, range(6), engine=executor, chunk_size=6, keep_logs=True)
        lines = by_item(results)
    pool.shutdown()
    assert lines[0] == ["0 at once", "0 itself", "0 late"]
    assert lines[5] == ["5 itself"]


def test_a_plain_threads_lines_stand_beside_no_item(capsys: pytest.CaptureFixture[str]) -> None:
    def fn(x: int) -> int:
        thread = threading.Thread(target=print, args=(f"thread of {x}",))
        thread.start()
        thread.join()
        return x

    with ByReference(fn, 1) as (executor, proxy):
        results = manifold.scatter(proxy, range(3), engine=executor, keep_logs=True)
        assert list(results.logs()) == []
    assert capsys.readouterr().out.splitlines() == ["thread of 0", "thread of 1", "thread of 2"]


def test_a_line_that_an_item_leaves_unfinished_is_its_own() -> None:
    def fn(x: int) -> int:
        print(f"{x} begins", end="")
        return x

    lines = by_item(manifold.scatter(fn, range(4), engine="threads://1", chunk_size=4, keep_logs=True))
    assert lines == {x: [f"{x} begins"] for x in range(4)}


def test_a_log_call_with_a_wrong_format_fails_no_item() -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no text")

    def fn(x: int) -> int:
        logging.getLogger().error("%d", "x")
        logging.getLogger("other").warning("%s", Odd())
        logging.getLogger().error("right: %d", x)
        return x

    # In a process of its own, for pytest's handler of this one raises.
    results = manifold.scatter(fn, range(2), engine="processes://1", chunk_size=2, keep_logs=True)
    assert list(results) == [0, 1]
    lines = by_item(results)
    for x in range(2):
        assert lines[x].count("--- Logging error ---") == 2
        assert f"root: right: {x}" in lines[x]


def use_streams(x: int) -> list[Any]:
    """Do with the streams what programs do with them."""
    out, err = sys.stdout, sys.stderr
    for stream in (out, err):
        assert stream.writable()
        assert not stream.readable()
        assert not stream.seekable()
        assert not stream.isatty()
        assert not stream.closed
        assert isinstance(stream.encoding, str)
        assert isinstance(stream.errors, str)
        assert isinstance(stream.fileno(), int)
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        with contextlib.suppress(TypeError):
            stream.write(b"bytes")  # type: ignore[arg-type]
            raise AssertionError("a text stream takes no bytes")
    os.close(os.dup(out.fileno()))
    subprocess.run([sys.executable, "-c", ""], stdout=sys.stdout, stderr=sys.stderr, check=True)
    enabled = faulthandler.is_enabled()
    faulthandler.enable()
    if not enabled:
        faulthandler.disable()
    out.buffer.write("é by ".encode()[:1])
    out.buffer.write("é by ".encode()[1:])
    out.buffer.flush()
    out.write("text\n")
    wrapper = io.TextIOWrapper(out.buffer, encoding="utf-8", write_through=True)
    wrapper.write("wrapped\n")
    del wrapper
    with contextlib.redirect_stdout(io.StringIO()) as text:
        print("redirected")
    out.writelines(["one\n", "two\n"])
    print("three", file=sys.stdout, flush=True)
    sys.stdout.close()
    print("four")
    return [text.getvalue(), x]


@pytest.mark.parametrize("engine", ["threads://1", "processes://1"])
def test_an_items_streams_are_whole_text_streams(engine: str) -> None:
    results = manifold.scatter(use_streams, range(2), engine=engine, keep_logs=True)
    assert list(results) == [["redirected\n", 0], ["redirected\n", 1]]
    wanted = ["é by text", "wrapped", "one", "two", "three", "four"]
    assert by_item(results) == {0: wanted, 1: wanted}


class Bare:
    """A stream with next to nothing, as Celery puts it in the place of sys.stdout."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("real", [Bare(), None], ids=["bare", "none"])
def test_they_are_so_whatever_they_stand_for(real: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", real)
    monkeypatch.setattr(sys, "stderr", real)
    lines = capture.Lines(lambda: 0, 100)
    with capture.capturing(lines):
        assert isinstance(sys.stdout, streams.Stream)
        kept = sys.stdout
        assert use_streams(0)[1] == 0
    assert sys.stdout is real
    kept.write("later")
    kept.buffer.write(b", and bytes")
    assert real is None or real.text == "later, and bytes"
    assert [line.text for line in lines.close()] == ["é by text", "wrapped", "one", "two", "three", "four"]


def state() -> tuple[Any, ...]:
    root = logging.getLogger()
    return sys.stdout, sys.stderr, root.level, list(root.handlers), logging.lastResort, warnings.showwarning


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_a_scatter_leaves_no_trace_in_its_caller(error: type[BaseException] | None) -> None:
    def fn(x: int) -> int:
        print("said")
        logging.getLogger("mine").warning("logged")
        if error is not None:
            raise error("no")
        return x

    before = state()
    with contextlib.nullcontext() if error is None else pytest.raises(TooManyFailures):
        manifold.scatter(fn, range(20), engine="threads://3", chunk_size=2)
    assert state() == before


def test_nor_do_two_at_once_in_two_threads(capsys: pytest.CaptureFixture[str]) -> None:
    inside, over = threading.Barrier(2), threading.Event()

    def long(x: int) -> int:
        inside.wait(60)
        over.wait(60)
        print("said by an item")
        return x

    before = state()
    with ByReference(long, 1) as (executor, proxy):
        scatter = threading.Thread(target=manifold.scatter, args=(proxy, [1]), kwargs={"engine": executor})
        scatter.start()
        inside.wait(60)
        assert list(manifold.scatter(lambda x: x, range(5), engine="threads://2")) == list(range(5))
        print("said by the caller")
        over.set()
        scatter.join(60)
    assert state() == before
    assert "said by the caller" in capsys.readouterr().out


_SCRIPT = """
import logging, sys, threading
import manifold
out, err = sys.stdout, sys.stderr
inside, over = threading.Event(), threading.Event()
manifold.scatter(len, ["a", "bb"], engine="threads://2")
assert (sys.stdout, sys.stderr) == (out, err), (sys.stdout, sys.stderr)
assert logging.getLogger().handlers == []
logging.getLogger("mine").info("too low")
logging.getLogger("mine").warning("by the last resort")
from manifold.worker import capture
with capture.capturing(capture.Lines(lambda: 0, 10)):
    other = threading.Thread(target=logging.getLogger("mine").warning, args=("of another thread",))
    other.start(), other.join()
    logging.getLogger("mine").warning("of an item")
logging.basicConfig(level=logging.INFO, format="configured: %(message)s")
logging.getLogger("mine").info("after")
"""


def test_the_callers_logging_works_as_it_did() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if "by the last" in line or "of an" in line or "confi" in line]
    assert lines == ["by the last resort", "of another thread", "configured: after"]


def test_a_stream_put_back_after_a_scatter_is_no_trap(capsys: pytest.CaptureFixture[str]) -> None:
    real = sys.stdout
    with capture.capturing(capture.Lines(lambda: 0, 10)):
        ours = sys.stdout
    sys.stdout = ours  # as the end of a `redirect_stdout` of another thread does that began within
    try:
        print("still printed")
        with capture.capturing(capture.Lines(lambda: 0, 10)):
            print("captured")
        assert sys.stdout is real
    finally:
        sys.stdout = real
    assert capsys.readouterr().out == "still printed\n"
