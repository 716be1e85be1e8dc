"""Four engines side by side in the life of one scatter: one account, whoever ran which item where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from manifold.config import new_secret
from manifold.demo.process import Child, tail
from manifold.ledger import Ledger, open_ledger
from manifold.testing.engines import SLOW, until
from tests.remote.dask_cluster import dask_cluster
from tests.remote.fleet import command
from tests.remote.middles import fleet

BEGUN, CONTINUED, REDRIVEN = "amqp", "dask", "zeromq"
"""One scatter goes from engine to engine; its results are read on `threads://`."""

ITEMS, CHUNK = 400, 5
BROKEN = set(range(7, ITEMS, 50))  # fail until the file `fixed` is there

WORK = """
import os, time
from pathlib import Path

HERE = Path(os.environ["HISTORY"])

def job(item):
    with open(HERE / "executions", "a") as history:  # one write a line: lines of several processes do not mix
        broken = item % 50 == 7 and not (HERE / "fixed").exists()
        history.write(f"{os.environ['SCHEME']} {item} {'failed' if broken else 'ok'}\\n")
    time.sleep(0.02)
    if broken:
        raise ValueError(f"{item} is broken")
    return item * item
"""

READ = """
import manifold
from manifold.ledger import open_ledger
from manifold.results.results import Results

ledger = open_ledger()
squares = Results.of(ledger.find("life"), ledger)
roots = manifold.scatter(lambda square: int(square ** 0.5), squares, engine="threads://2", scatter_id="read")
print(list(squares) == [item * item for item in range(len(squares))])
print(list(roots) == list(range(len(squares))), len(roots))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the job, a deployment of its own, and the history of executions."""
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    monkeypatch.setenv("HISTORY", str(tmp_path))
    (tmp_path / "work.py").write_text(WORK)
    return tmp_path


@pytest.fixture
def urls(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Middles and workers of all three at once; each worker's items know which of them it serves."""
    with ExitStack() as stack:
        served = {}
        for scheme in (BEGUN, CONTINUED, REDRIVEN):
            monkeypatch.setenv("SCHEME", scheme)
            folder = place / scheme
            if scheme == "dask":
                served[scheme] = stack.enter_context(dask_cluster(folder)).url
            else:
                served[scheme] = stack.enter_context(fleet(scheme, folder)).url
        monkeypatch.delenv("SCHEME")
        yield served


def manifold(place: Path, *words: str) -> dict[str, Any]:
    """Run a command, and return what `--json` says."""
    env = os.environ | {"SCHEME": "nowhere"}
    run = [*command(*words), "--json"]
    ended = subprocess.run(run, cwd=place, env=env, capture_output=True, text=True, timeout=2 * SLOW, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def scatter(engine: str) -> list[str]:
    options = [word for one in ("tolerate=5%", f"chunk_size={CHUNK}") for word in ("--option", one)]
    return ["run", "work:job", "--items", f"range:{ITEMS}", "--id", "life", "--engine", engine, *options]


def history(place: Path) -> Counter[tuple[str, int, str]]:
    """How often each item was executed, by engine and outcome."""
    lines = [line.split() for line in (place / "executions").read_text().splitlines()]
    return Counter((scheme, int(item), outcome) for scheme, item, outcome in lines)


def done(ledger: Ledger) -> int:
    row = ledger.find("life")
    return row.done if row is not None else 0


def test_one_scatter_goes_from_engine_to_engine_and_has_one_account(place: Path, urls: dict[str, str]) -> None:
    # Begun, and its coordinator killed in the middle.
    ledger = open_ledger()
    env = os.environ | {"SCHEME": "nowhere"}
    words = command(*scatter(urls[BEGUN]))
    first = Child.start("run", words, log=place / "run.log", records=place / "records", env=env, cwd=place)
    until(lambda: done(ledger) >= ITEMS // 4 or not first.alive(), "a quarter is committed", SLOW)
    first.kill()
    by_first = done(ledger)
    assert ITEMS // 4 <= by_first < ITEMS, tail(first.log)

    # Continued elsewhere: what is missing runs there.
    ran = manifold(place, *scatter(urls[CONTINUED]))
    assert (ran["succeeded"], ran["failed"], ran["total"]) == (ITEMS - len(BROKEN), len(BROKEN), ITEMS)

    # Redriven on a third engine, once what broke them is fixed.
    (place / "fixed").touch()
    redriven = manifold(place, "redrive", "life", "--engine", urls[REDRIVEN])
    assert redriven["items"] == len(BROKEN)
    assert (redriven["result"]["succeeded"], redriven["result"]["failed"]) == (ITEMS, 0)

    # Read by another process, on its threads.
    read = subprocess.run([sys.executable, "-c", READ], cwd=place, capture_output=True, text=True, timeout=SLOW)
    assert read.stdout.split() == ["True", "True", str(ITEMS)], read.stderr

    _one_account(place, ledger, by_first)


def _one_account(place: Path, ledger: Ledger, by_first: int) -> None:
    """The ledger, the store and the workers' own history tell the same."""
    assert manifold(place, "verify", "--deep")["ok"]
    row = ledger.find("life")
    assert row is not None
    assert (row.total, row.n_ok, row.n_failed, row.n_skipped, row.epoch) == (ITEMS, ITEMS, 0, 0, 3)
    counted: Counter[int] = Counter()
    for merged in ledger.merged(row.uid):
        for chunk in (merged.base, *merged.overlays):
            counted[chunk.epoch] += chunk.n_ok + chunk.n_failed
    assert counted[1] == by_first, "what was committed before the kill stays"
    executions = history(place)
    for item in range(ITEMS):
        outcomes = {(scheme, outcome) for scheme, of, outcome in executions if of == item}
        if item in BROKEN:
            assert (REDRIVEN, "ok") in outcomes
            assert outcomes <= {(BEGUN, "failed"), (CONTINUED, "failed"), (REDRIVEN, "ok")}
            assert executions[REDRIVEN, item, "ok"] == 1
        else:
            assert outcomes
            assert outcomes <= {(BEGUN, "ok"), (CONTINUED, "ok")}
            assert executions[CONTINUED, item, "ok"] <= 1
    on = {scheme: sum(1 for of in executions if of[0] == scheme) for scheme in (BEGUN, CONTINUED, REDRIVEN)}
    assert on[BEGUN] >= by_first
    assert on[CONTINUED] >= ITEMS - by_first - len(BROKEN)
    assert on[REDRIVEN] == len(BROKEN)
