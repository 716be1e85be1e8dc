"""`manifold demo`: start the whole stack, send the flights through it, show the answer, stay until Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import manifold
from manifold.demo import reach
from manifold.demo.environment import Place
from manifold.demo.flights import DAG, flights
from manifold.demo.process import StartError, end_left_over
from manifold.demo.screen import Screen
from manifold.demo.signals import interrupting
from manifold.demo.stack import Stack
from manifold.errors import ConfigError, ManifoldError


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
        place = _place(root)
        with interrupting(), _alone(place), Stack(place, screen) as stack:
            _tell_address(stack, screen)
            _ready(stack, screen)
            answered = flights(stack, place.out, screen)
            if answered and not once:
                _stay(stack, screen)
    except ManifoldError as exc:
        screen.say(f"\n{exc}")
        return 1
    except KeyboardInterrupt:
        return 0 if answered and not once else 130
    return 0 if answered else 1


def clean(root: Path | None = None) -> None:
    """End what a demo left running, and delete what of its state lies outside of the checkout."""
    place = _place(root)
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


def _stay(stack: Stack, screen: Screen) -> None:
    _tell_address(stack, screen)
    screen.say("Ctrl-C ends it all.")
    while True:
        stack.watch()
        time.sleep(1)


def _place(root: Path | None) -> Place:
    root = (root or Path(manifold.__file__).parents[2]).absolute()
    if not (root / "dags" / f"{DAG}.py").exists():
        raise ConfigError(f"{root} has no dags/{DAG}.py: the demo runs from a checkout of the project, by `make demo`")
    return Place(state=root / ".manifold", dags=root / "dags", plugins=root / "plugins")


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Hold the state for this process; raises StartError where another demo holds it."""
    place.state.mkdir(parents=True, exist_ok=True)
    # Others may pass through, so that PostgreSQL's user reaches its data, and may list nothing.
    place.state.chmod(0o711)
    with (place.state / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StartError(f"a demo already runs from here (process {file.read()}): end it first") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
