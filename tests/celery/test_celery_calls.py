"""When a call counts as lost, message by message, beat by beat."""

from __future__ import annotations

from concurrent.futures import Future
from itertools import pairwise

import pytest

from manifold.coordinator.chunks import Chunk
from manifold.coordinator.losses import Losses
from manifold.engines.celery import messages as ms
from manifold.engines.celery.calls import InFlight, Loss, Sent
from manifold.engines.celery.nodes import Nodes
from manifold.errors import WorkerLost

RUNS = "host:7"


def sent(flight: InFlight, *names: str, probe: bool = False) -> None:
    for name in names:
        flight.add(Sent(name, Future(), probe=probe))
        flight.sent(name)


def listen(flight: InFlight, beats: int, *meanwhile: ms.Running | ms.Serving) -> list[Loss]:
    """So many beats of listening, in each of which these messages come; the losses, each once."""
    losses: dict[str, Loss] = {}
    for _ in range(beats):
        for message in meanwhile:
            flight.heard(message)
        losses |= {loss.call.id: loss for loss in flight.tick()}
    return list(losses.values())


def serving(*held: str, node: str = "w1", leaving: bool = False) -> ms.Serving:
    return ms.Serving(node, "host", 1, ["q"], [7], 1, 0, list(held), leaving)


@pytest.fixture
def flight() -> InFlight:
    return InFlight(silence=10.0)


def test_a_call_that_beats_is_never_lost(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Started("a", RUNS))
    assert not listen(flight, 1000, ms.Running(RUNS, {"a": 3}))


def test_a_silent_process_has_died_at_its_last_position(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Started("a", RUNS))
    flight.heard(ms.Running(RUNS, {"a": 3}))
    assert not listen(flight, 10)
    (loss,) = listen(flight, 1)
    error = loss.error()
    assert (error.started, error.died, error.position, error.worker) == (True, True, 3, RUNS)


def test_time_does_not_pass_while_nobody_listens(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Started("a", RUNS))
    assert flight.now == 0.0
    assert not flight.tick(), "however long the broker was gone, one echo is one beat"


def test_the_main_process_speaks_for_a_child_that_is_too_busy(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Started("a", RUNS))
    assert not listen(flight, 100, serving("a"))
    (loss,) = listen(flight, 12, serving())
    assert loss.error().died


def test_a_process_that_was_told_to_stop_has_not_died(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Running(RUNS, {"a": 3}, draining=True))
    (loss,) = listen(flight, 12)
    assert (loss.error().started, loss.error().died) == (True, False)


def test_a_call_whose_main_process_was_leaving_has_not_died(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Started("a", RUNS))
    flight.heard(serving("a", leaving=True))
    (loss,) = listen(flight, 12)
    assert (loss.error().started, loss.error().died) == (True, False)


def test_what_a_broken_connection_may_have_swallowed_is_nobodys_death(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Started("a", RUNS))
    flight.disturb()
    (loss,) = listen(flight, 12)
    assert (loss.error().started, loss.error().died) == (True, False)


def test_a_second_delivery_speaks_against_a_silent_process(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Started("a", RUNS))
    flight.heard(ms.Redelivered("a"))
    (loss,) = listen(flight, 3)
    assert (loss.error().started, loss.error().died) == (True, True)


def test_a_second_delivery_does_not_count_against_a_process_that_speaks(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Started("a", RUNS))
    flight.heard(ms.Redelivered("a"))
    flight.heard(ms.Running(RUNS, {"a": 1}))
    assert not listen(flight, 9)


def test_a_second_delivery_of_a_call_that_nobody_began_is_no_death(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(ms.Redelivered("a"))
    (loss,) = listen(flight, 3)
    assert (loss.error().started, loss.error().died, loss.error().worker) == (False, False, None)


def test_a_call_fetched_by_a_worker_that_vanished_was_never_started(flight: InFlight) -> None:
    sent(flight, "a")
    flight.heard(serving("a"))
    (loss,) = listen(flight, 12, serving(node="w2"))
    assert (loss.error().started, loss.error().died) == (False, False)


def test_waiting_alone_is_never_a_loss(flight: InFlight) -> None:
    sent(flight, "a", "b")
    assert not listen(flight, 10_000)


def test_a_call_that_a_later_one_overtook_is_lost(flight: InFlight) -> None:
    sent(flight, "a", "b", "c")
    assert not listen(flight, 5, ms.Running(RUNS, {"b": 0}))
    (loss,) = listen(flight, 3, ms.Running(RUNS, {"b": 0}))
    assert loss.call.id == "a", "and c, sent after b, waits"
    assert not loss.error().started


def test_news_that_comes_late_clears_a_call_that_was_overtaken(flight: InFlight) -> None:
    sent(flight, "a", "b")
    assert not listen(flight, 3, ms.Running(RUNS, {"b": 0}))
    flight.heard(serving("a"))
    assert not listen(flight, 100, ms.Running(RUNS, {"b": 0}), serving("a"))


def test_a_call_that_ended_counts_as_overtaking_too(flight: InFlight) -> None:
    sent(flight, "a", "b")
    flight.heard(ms.Started("b", RUNS))
    assert flight.remove("b") is not None
    (loss,) = listen(flight, 8)
    assert loss.call.id == "a"


def test_a_call_ends_only_once(flight: InFlight) -> None:
    sent(flight, "a")
    assert flight.remove("a") is not None
    assert flight.remove("a") is None
    flight.heard(ms.Started("a", RUNS))
    assert not listen(flight, 20)


def test_probes_follow_a_call_that_waits_ever_less_often(flight: InFlight) -> None:
    sent(flight, "a")
    asked = [beat for beat in range(1, 400) if not flight.tick() and flight.wants_probe()]
    assert asked[0] == 11
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses == sorted(pauses)
    assert len(asked) <= 8


def test_a_probe_alone_asks_for_no_other(flight: InFlight) -> None:
    sent(flight, "p", probe=True)
    listen(flight, 100)
    assert not flight.wants_probe()
    assert flight.idle(), "nobody waits for a probe"


def test_after_a_broken_connection_probes_start_anew(flight: InFlight) -> None:
    sent(flight, "a")
    for _ in range(100):
        flight.tick()
        flight.wants_probe()
    flight.disturb()
    assert not flight.wants_probe()
    listen(flight, 11)
    assert flight.wants_probe()


@pytest.mark.parametrize("step", [0, 1])
def test_a_pod_that_starts_again_under_its_old_name_was_lost_whole(step: int) -> None:
    nodes, losses, chunk, now = Nodes("q"), Losses(), Chunk(0, 1, range(1)), 0.0

    def judged(pid: int, *, witnessed: bool = False) -> bool:
        gone = WorkerLost("it was silent")
        gone.worker, gone.started, gone.died, gone.witnessed = f"pod-0:{pid}", True, True, witnessed
        return losses.judge(chunk, gone, now, nodes.workers(now, [])).strike

    for life in range(4):  # it is back before anybody notices its silence, perhaps with the same ids of processes
        pids = [7 + life * step]
        nodes.heard(ms.Serving("celery@pod-0", "pod-0", 1, ["q"], pids, 1, 0, [], life=str(life)), now)
        assert nodes.slots(now) == 1, "of the one that lives"
        assert life == 0 or not judged(7 + (life - 1) * step)
        now += 12.0
    nodes.heard(ms.Serving("celery@pod-0", "pod-0", 1, ["q"], [9], 1, 0, [], life="3"), now)
    assert judged(99, witnessed=True), "its main process says so"
