"""The run that every demo shows: real flights through a stack that is up, whoever started it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from manifold.demo.api import Api
from manifold.demo.follow import Watched, follow, scatter_of
from manifold.demo.process import StartError
from manifold.demo.screen import Screen
from manifold.demo.show import show_account, show_answer
from manifold.ledger import open_ledger

DAG = "flight_delays"
ANSWER = "947a8419a9fa4ab56438d19f3089dae58b63aa53d66e8558840bd4accd6f3472"
"""SHA-256 of the file that a right run writes; tests/dags compares that file with DuckDB's answer."""


class Running(Watched, Protocol):
    """A stack that is up: `url` is what a person opens, `ledger_url` where its ledger is read."""

    url: str
    ledger_url: str


def flights(stack: Running, out: Path, screen: Screen) -> bool:
    """Trigger the DAG and follow it to its end; whether the answer is the right one and the account closes.

    Args:
        out: the folder that the DAG writes to, as seen from here.
    """
    answer = out / f"{DAG}.csv"
    answer.unlink(missing_ok=True)
    run_id = stack.api.trigger(DAG)
    screen.say(f"DAG run:  {stack.url}/dags/{DAG}/runs/{run_id}")
    ledger = open_ledger(stack.ledger_url)
    try:
        state = follow(stack, ledger, DAG, run_id, screen)
        if state != "success":
            for task_id, log in stack.api.failed_tasks(DAG, run_id).items():
                screen.say(f"\nThe task {task_id} failed. The end of its log:\n" + "\n".join(log.splitlines()[-25:]))
        answered = state == "success" and show_answer(answer, screen) and _right(answer, screen)
        closes = show_account(ledger, scatter_of(ledger, DAG, run_id), screen)
    finally:
        ledger.close()
    return answered and closes


def missing(api: Api, dag_id: str) -> list[str]:
    """What is still to come before that DAG can be triggered; raises StartError where its file has errors."""
    for file, trace in api.import_errors().items():
        if file.startswith(dag_id):
            raise StartError(f"the DAG file {file} has an error:\n{trace}")
    return [] if api.knows(dag_id) else [f"DAG {dag_id}"]


def _right(answer: Path, screen: Screen) -> bool:
    if hashlib.sha256(answer.read_bytes()).hexdigest() == ANSWER:
        return True
    screen.say(f"\n{answer} is not what these flights add up to. Was dags/{DAG}.py changed?")
    return False
