"""What a person would write with Celery alone: a task for one item, and one for a chunk. Loaded by the workers."""

from __future__ import annotations

from celery import shared_task

from benchmarks.work import noop


@shared_task(name="bench.one")  # type: ignore[untyped-decorator]
def one(x: int) -> int:
    return noop(x)


@shared_task(name="bench.many")  # type: ignore[untyped-decorator]
def many(start: int, stop: int) -> list[int]:
    return [noop(x) for x in range(start, stop)]
