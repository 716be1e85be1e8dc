"""`manifold hub` and `manifold worker` as services start them: nothing but the environment holds the URL."""

from __future__ import annotations

import signal
from pathlib import Path
from secrets import token_urlsafe

import psutil
import pytest

from manifold.config import new_secret
from manifold.demo.process import Child, free_port
from manifold.engines.open import open_engine
from manifold.errors import EngineError
from manifold.testing.engines import SLOW, until
from tests.remote.fleet import STARTING, Fleet, command


def answers(url: str) -> bool:
    try:
        open_engine(url).shutdown()
    except EngineError:
        return False
    return True


def test_a_url_in_the_environment_is_taken_and_stands_in_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password, alive = token_urlsafe(16), tmp_path / "alive"
    url = f"tcp://:{password}@127.0.0.1:{free_port()}"
    for name, value in (("SECRET", new_secret()), ("HOME", str(tmp_path / "home")), ("ENGINE_URL", url)):
        monkeypatch.setenv(f"MANIFOLD_{name}", value)
    started: list[Child] = []
    try:
        for words in (["hub"], ["worker", "--slots", "1", "--drain-seconds", "5", "--health-file", str(alive)]):
            log = tmp_path / f"{words[0]}.log"
            started.append(Child.start(words[0], command(*words), records=tmp_path / "records", log=log))
        until(lambda: answers(url), "the hub answers", STARTING)
        with Fleet(url, tmp_path).engine() as engine:
            assert engine.submit(pow, 2, 5).result(SLOW) == 32
            for child in started:
                processes = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
                assert not [one for one in processes if password in " ".join(one.cmdline())]
            until(alive.exists, "the health file is touched")
        psutil.Process(started[1].pid).send_signal(signal.SIGTERM)
        until(lambda: not started[1].alive(), "the worker has drained")
        assert password not in (tmp_path / "hub.log").read_text() + (tmp_path / "worker.log").read_text()
    finally:
        for child in reversed(started):
            child.stop()
