"""Chunks cover exactly what is not committed, whatever the layout; a loss is judged by the rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold.coordinator.chunks import Chunk, Sizer
from manifold.coordinator.losses import Losses
from manifold.coordinator.planner import Planner, missing
from manifold.errors import ItemsChanged, WorkerLost
from manifold.protocol.records import MAX_CHUNK, ChunkRow, WorkerInfo
from manifold.sources import as_source
from manifold.token_bucket import TokenBucket

cuts = st.lists(st.integers(0, 200), unique=True).map(sorted)


def row(start: int, stop: int) -> ChunkRow:
    values: dict[str, Any] = dict.fromkeys(ChunkRow.__struct_fields__)
    return ChunkRow(**values | {"uid": "u", "layer": 0, "start": start, "stop": stop})


def committed(points: list[int]) -> list[tuple[int, int]]:
    return list(zip(points[::2], points[1::2], strict=False))


def planned(planner: Planner, size: int) -> Iterator[Chunk]:
    while (chunk := planner.next(size)) is not None:
        yield chunk


@given(cuts, st.integers(1, 50), st.booleans())
def test_chunks_cover_exactly_what_is_not_committed(points: list[int], size: int, sliceable: bool) -> None:
    rows = committed(points)
    items: Any = range(200) if sliceable else _Again(200)
    source = as_source(items)
    source.pin(None)
    planner = Planner(source, iter([row(low, high) for low, high in rows]))
    seen = [
        (pos, item)
        for chunk in planned(planner, size)
        for pos, item in zip(range(chunk.start, chunk.stop), chunk.items, strict=True)
    ]
    assert seen == [(pos, pos) for pos in range(200) if not any(low <= pos < high for low, high in rows)]
    assert planner.ended_at == 200


@given(cuts, st.integers(0, 200), st.integers(0, 200))
def test_missing_is_the_complement(points: list[int], start: int, stop: int) -> None:
    rows = committed(points)
    found = {pos for low, high in missing(start, stop, rows) for pos in range(low, high)}
    assert found == {pos for pos in range(start, stop) if not any(low <= pos < high for low, high in rows)}


def test_an_input_shorter_than_what_is_committed_is_found() -> None:
    source = as_source(_Again(10))
    source.pin(None)
    planner = Planner(source, iter([row(0, 20)]), check=True)
    with pytest.raises(ItemsChanged, match="10 items"):
        planner.next(5)


@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.integers(1, 30)).map(lambda one: (one[0], min(100, sum(one)))), max_size=6
    )
)
def test_struck_ranges_are_sent_in_pieces_and_still_covered(strikes: list[tuple[int, int]]) -> None:
    source = as_source(range(100))
    source.pin(None)
    chunks = list(planned(Planner(source, iter([]), strikes=strikes), 40))
    assert [pos for chunk in chunks for pos in range(chunk.start, chunk.stop)] == list(range(100))
    for chunk in chunks:
        for low, high in strikes:
            if low < chunk.start < high:
                assert chunk.stop <= high or (chunk.stop - chunk.start) <= 40


def test_a_chunk_is_cut_around_the_item_that_was_at_work() -> None:
    chunk = Chunk(10, 20, range(100, 110))
    assert [(one.start, one.stop, list(one.items)) for one in chunk.split(3)] == [
        (10, 13, [100, 101, 102]),
        (13, 14, [103]),
        (14, 17, [104, 105, 106]),
        (17, 20, [107, 108, 109]),
    ]
    assert [(one.start, one.stop) for one in chunk.split(None)] == [(10, 15), (15, 20)]


def lost(worker: str, **known: Any) -> WorkerLost:
    exc = WorkerLost("gone")
    exc.worker, exc.started, exc.died = worker, True, True
    for name, value in known.items():
        setattr(exc, name, value)
    return exc


FOUR = [WorkerInfo(f"h:{pid}", "h", pid) for pid in (1, 2, 3, 4)]


def test_two_deaths_cut_a_chunk_and_two_more_alone_make_it_poison() -> None:
    losses, chunk = Losses(), Chunk(0, 3, range(3))
    first = losses.judge(chunk, lost("h:1", position=1), 0.0, FOUR)
    assert (first.again, first.strike) == ([chunk], True)
    second = losses.judge(chunk, lost("h:2", position=1), 100.0, FOUR)
    assert [(one.start, one.stop) for one in second.again] == [(0, 1), (1, 2), (2, 3)]
    alone = second.again[1]
    assert losses.judge(alone, lost("h:3", position=0), 200.0, FOUR).again == [alone]
    assert losses.judge(alone, lost("h:4", position=0), 300.0, FOUR).condemned == [alone]


def test_a_drained_redelivered_or_unstarted_chunk_is_nobodys_fault() -> None:
    losses, chunk = Losses(), Chunk(0, 1, range(1))
    for known in ({"died": False}, {"started": False, "died": False}):
        for at in range(5):
            verdict = losses.judge(chunk, lost("h:1", **known), float(at), FOUR)
            assert verdict.again == [chunk]
            assert not verdict.strike


def test_a_host_that_is_lost_whole_is_no_items_fault() -> None:
    losses, chunks = Losses(), [Chunk(pos, pos + 1, range(pos, pos + 1)) for pos in range(4)]
    for at, chunk in enumerate(chunks):
        losses.judge(chunk, lost(f"h:{at + 1}"), at * 0.1, FOUR)
    assert [chunk.strikes for chunk in chunks] == [0, 0, 0, 0]


def away(*names: str, node: str = "") -> list[WorkerInfo]:
    """Workers that do not report any more."""
    return [WorkerInfo(name, name.partition(":")[0], 1, silence=12.0, alive=False, node=node) for name in names]


ELSEWHERE = [WorkerInfo("other:1", "other", 1, node="celery@other")]


def test_spot_hosts_lost_one_after_the_other_are_no_strike_against_a_long_item() -> None:
    losses, chunk = Losses(), Chunk(7, 8, range(7, 8))
    for at in range(5):  # each has one slot, or one that is busy: no mass loss is to be seen
        verdict = losses.judge(chunk, lost(f"spot{at}:1"), at * 3600.0, [*away(f"spot{at}:1"), *ELSEWHERE])
        assert (verdict.again, verdict.condemned, verdict.strike) == ([chunk], [], False)
    assert chunk.strikes == 0


def test_a_host_of_which_not_even_a_name_is_known_any_more_is_lost_whole_too() -> None:
    chunk = Chunk(7, 8, range(7, 8))
    assert not Losses().judge(chunk, lost("spot:1"), 0.0, ELSEWHERE).strike


def test_a_celery_worker_that_is_lost_with_its_children_is_no_strike_though_another_lives_on_its_host() -> None:
    chunk, gone = Chunk(7, 8, range(7, 8)), away("h:11", "h:12", node="celery@first")
    second = WorkerInfo("h:21", "h", 21, node="celery@second")
    assert not Losses().judge(chunk, lost("h:11"), 0.0, [*gone, second]).strike
    # Whereas a child whose worker lives died alone.
    alive = WorkerInfo("h:12", "h", 12, node="celery@first")
    assert Losses().judge(chunk, lost("h:11"), 0.0, [*gone[:1], alive, second]).strike


def test_a_death_that_was_witnessed_is_a_strike_also_of_the_only_worker_of_a_host() -> None:
    chunk = Chunk(7, 8, range(7, 8))
    assert Losses().judge(chunk, lost("h:1", witnessed=True), 0.0, away("h:1")).strike


def test_an_item_that_takes_every_host_with_it_is_found_in_the_end() -> None:
    losses, chunk, taken = Losses(), Chunk(7, 8, range(7, 8)), 0
    while not losses.judge(chunk, lost(f"spot{taken}:1"), taken * 60.0, ELSEWHERE).condemned:
        taken += 1
    assert 8 <= taken <= 10


def test_one_poison_item_that_kills_every_worker_is_not_taken_for_a_lost_host() -> None:
    losses, chunk = Losses(), Chunk(0, 1, range(1))
    losses.judge(chunk, lost("h:1"), 0.0, FOUR[1:2])
    assert losses.judge(chunk, lost("h:2"), 0.1, FOUR[2:3]).condemned == [chunk]


def test_two_poison_items_side_by_side_are_excused_for_a_while_only() -> None:
    losses, ends = Losses(), 0
    waiting = [Chunk(0, 1, range(1)), Chunk(1, 2, range(1))]
    for pid in range(40):
        if waiting:
            chunk = waiting.pop(0)
            verdict = losses.judge(chunk, lost(f"h:{pid}"), pid * 0.1, [])
            waiting += verdict.again
            ends += len(verdict.condemned)
    assert ends == 2


def test_an_item_past_its_timeout_is_condemned_at_once_and_its_neighbours_run_again() -> None:
    verdict = Losses().judge(Chunk(0, 5, range(5)), lost("h:1", overdue=True, position=2), 0.0, FOUR)
    assert [(one.start, one.stop) for one in verdict.condemned] == [(2, 3)]
    assert [(one.start, one.stop) for one in verdict.again] == [(0, 2), (3, 4), (4, 5)]
    first = Losses().judge(Chunk(0, 5, range(5)), lost("h:1", overdue=True, position=0), 0.0, FOUR)
    assert [(one.start, one.stop) for one in first.condemned] == [(0, 1)]


def test_chunks_grow_to_a_second_of_work_and_shrink_towards_the_end() -> None:
    sizer = Sizer(None, 1, 1 << 20)
    assert sizer.size(None, 4) == 1
    sizer.measured(1, 0.01)
    assert sizer.size(None, 4) == 16
    sizer.measured(16, 0.16)
    assert sizer.size(None, 4) == 100
    assert sizer.size(80, 4) == 10
    assert Sizer(7, 1, 1 << 20).size(1000, 4) == 7


def test_chunks_are_bounded_by_bytes_and_by_the_ledgers_limit() -> None:
    sizer = Sizer(None, 1, 1000)
    sizer.packed(1, 400)
    sizer.measured(1, 1e-9)
    assert sizer.size(None, 1) == 2
    fast = Sizer(None, 1, 1 << 30)
    for size in (1, 16, 256, 4096, 65_536):
        fast.measured(size, 1e-9)
    assert fast.size(None, 1) == MAX_CHUNK


@given(st.floats(1, 1000), st.lists(st.tuples(st.floats(0.001, 0.5), st.integers(1, 5)), max_size=200))
def test_tokens_never_exceed_the_rate(rate: float, steps: list[tuple[float, int]]) -> None:
    bucket, now, granted = TokenBucket(rate, 0.0), 0.0, 0
    for wait, items in steps:
        now += wait
        if bucket.take(items, now):
            granted += items
        assert granted <= rate * now + 1e-6


class _Again:
    """Can be iterated again and again, and does not say how long it is."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize("per_second", [0.5, 3, 100, 12_345])
def test_a_rate_is_used_to_the_full(per_second: float, slots: int) -> None:
    rate, now, granted = TokenBucket(per_second, 0.0), 0.0, 0
    while now < 60:
        size = rate.most(slots) or 0
        if rate.take(size, now):
            granted += size
        else:
            now += max(0.005, rate.wait(size))
    assert 0.95 * 60 * per_second <= granted <= 60 * per_second + (rate.most(slots) or 0)
