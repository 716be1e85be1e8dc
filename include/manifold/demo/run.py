"""`manifold demo`: start the whole stack, send the flights through it, show the answer, stay until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manifold.demo import access, reach
from manifold.demo.environment import Place
from manifold.demo.flights import DAG, flights
from manifold.demo.process import StartError, end_left_over
from manifold.demo.screen import Screen
from manifold.demo.signals import interrupting
from manifold.demo.stack import Stack
from manifold.errors import ManifoldError


def main(*, once: bool = False, root: Path | None = None) -> int:
    """Run the demo; the exit status: 0 if the answer came and every item has an outcome, 1 if not, 130 if cut short.

    Args:
        once: end after the answer, instead of at Ctrl-C.
        root: the checkout, whose `dags/` and `plugins/` are run and whose `.manifold/` keeps the state.
    """
    os.umask(0o077)  # whatever the stack writes is its user's alone
    screen = Screen()
    answered = False
    try:
        place = access.checkout(root)
        with interrupting(), _alone(place), Stack(place, screen) as stack:
            _tell_address(stack, screen)
            _tell_commands(place, screen)
            _ready(stack, screen)
            answered = flights(stack, place.out, screen)
            if answered and not once:
                _stay(stack, place, screen)
    except ManifoldError as exc:
        screen.say(f"\n{exc}")
        return 1
    except KeyboardInterrupt:
        return 0 if answered and not once else 130
    return 0 if answered else 1


def clean(root: Path | None = None) -> None:
    """End what a demo left running, and delete what of its state lies outside of the checkout."""
    place = access.checkout(root)
    with _alone(place):
        end_left_over(place.records)
        reach.remove(place.state / "postgres")


def _ready(stack: Stack, screen: Screen) -> None:
    """Return once the DAG can be triggered and nothing of an earlier start runs any more."""
    stack.wait_for(DAG)
    for run_id in stack.api.unfinished(DAG):
        screen.say(f"run {run_id} of an earlier start is given up")
        stack.api.give_up(DAG, run_id)


def _tell_address(stack: Stack, screen: Screen) -> None:
    screen.say(f"\nAirflow:  {stack.url}\nuser:     admin\npassword: {stack.secrets.admin}")


def _tell_commands(place: Place, screen: Screen) -> None:
    """Say how to talk to the stack from another terminal."""
    screen.say(
        f"commands: {access.command()} --demo ls\n      or: source {shlex.quote(str(place.variables))}; manifold ls"
    )


def _stay(stack: Stack, place: Place, screen: Screen) -> None:
    _tell_address(stack, screen)
    _tell_commands(place, screen)
    screen.say("Ctrl-C ends it all.")
    while True:
        stack.watch()
        time.sleep(1)


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Hold the state for this process; raises StartError where another demo holds it."""
    place.state.mkdir(parents=True, exist_ok=True)
    # Others may pass through, so that PostgreSQL's user reaches its data, and may list nothing.
    place.state.chmod(0o711)
    with place.lock.open("a+") as file:
        if not access.hold(file):
            file.seek(0)
            raise StartError(f"a demo already runs from here (process {file.read()}): end it first")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
