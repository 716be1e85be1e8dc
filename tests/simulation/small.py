"""The core with small constants: what takes a million items in production is crossed by thirty here.

Each seed draws its own sizes. `CROSSINGS` says which edges a world has gone over, so that a test can prove that the
seeds it runs go over all of them; a constant that is renamed or goes away makes every seed fail, and is seen.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

from manifold import policy
from manifold.coordinator import budget, chunks, dispatch, planner, receipts, wiring
from manifold.ledger import commit, gc, queries
from manifold.protocol import envelope
from manifold.results import walk
from manifold.worker import capture, packing, process, run

verify = import_module("manifold.ledger.verify")  # whose name the package gives to a function
SIZES: dict[str, tuple[tuple[tuple[Any, str], ...], tuple[int, ...]]] = {
    "rows in a page": (((wiring, "_PAGE"), (walk, "_PAGE"), (verify, "PAGE")), (1, 2, 3, 7)),
    "failures in a receipt": (((packing, "_RECEIPT_FAILURES"),), (0, 1, 2, 400)),
    "ids in a statement": (((commit, "_IDS_AT_ONCE"), (gc, "_IDS_AT_ONCE")), (1, 2)),
    "items read over at once": (((planner, "_SKIP"),), (1, 2, 5)),
    "items in a chunk": (((chunks, "MAX_CHUNK"), (queries, "MAX_CHUNK"), (budget, "MAX_CHUNK")), (8, 16)),
    "jobs that a process remembers": (((process, "_JOBS_KEPT"),), (1, 2)),
    "scatters that a process remembers": (((process, "_SCATTERS_KEPT"),), (1, 1000)),
    "bytes of a job that travels along": (((dispatch, "_SMALL_JOB"),), (0, 256 * 1024)),
    "bytes worth compressing": (((envelope, "_WORTH_COMPRESSING"),), (64, 4096)),
    "bytes tried before compressing": (((envelope, "_TRIAL"),), (64, 1024)),
    "items done before a share counts": (((policy, "_EARLY"),), (5, 15)),
    "bytes of a line": (((capture, "_LINE"),), (8, 2_000)),
}
"""What it is, where it stands, and the values to draw from."""
DEFAULTS = (("chunks", "limit"), ("merged", "page"), ("failures", "limit"))
"""Keywords of the ledger's readers whose default is a page."""
CROSSINGS = (
    "a second page of chunks",
    "a second page of the merged view",
    "a second page of failures",
    "a second page of results",
    "a second page of the proof",
    "a receipt without all its failures",
    "a second statement for ids",
    "a second statement for ids of gc",
    "a committed row read over in parts",
    "a chunk of the largest size",
    "a job that a process had forgotten",
    "a job that came by the store",
    "a compressed payload",
    "a line that was cut",
)

REACHED = {
    "edited": (
        "a change that was told",
        "a change that was refused",
        "a change for which it began from scratch",
    ),
    "async": ("an item that awaits is interrupted",),
    "timeout": ("an alarm interrupts an item", "a process is ended over an item that does not end"),
    "another": ("a worker waits for the store, and it comes back",),
}
"""What the seeds of a shape come to, by its name."""


@contextmanager
def constants(rng: random.Random) -> Iterator[Counter[str]]:
    """The core with small constants; counts the edges that are crossed within."""
    crossed: Counter[str] = Counter()
    with ExitStack() as stack:
        for places, values in SIZES.values():
            value = rng.choice(values)
            for module, name in places:
                stack.enter_context(mock.patch.object(module, name, value))
        page = rng.choice((1, 2, 3, 7))
        for name, keyword in DEFAULTS:
            stack.enter_context(mock.patch.dict(getattr(queries.Reader, name).__kwdefaults__, {keyword: page}))
        for owner, name, around in _WATCHED:
            stack.enter_context(mock.patch.object(owner, name, around(getattr(owner, name), crossed)))
        yield crossed


# -- what is watched -------------------------------------------------------------------------------------------------

Around = Callable[[Callable[..., Any], Counter[str]], Callable[..., Any]]


def _watch(what: str, holds: Callable[..., bool]) -> Around:
    """Counts `what` where `holds(result, *arguments)`."""

    def around(original: Callable[..., Any], crossed: Counter[str]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            result = original(*args, **options)
            crossed[what] += bool(holds(result, *args, **options))
            return result

        return watched

    return around


def _later_failures(found: list[Any], _self: Any, _uid: str, *, after: int = -1, **options: Any) -> bool:
    return bool(found) and after >= 0 and "limit" not in options


def _forgotten(original: Callable[..., Any], crossed: Counter[str]) -> Callable[..., Any]:
    def loaded(self: process.Process, digest: str, load: Callable[[], Any]) -> Any:
        known = self.__dict__.setdefault("known", set())
        crossed["a job that a process had forgotten"] += digest in known and digest not in self._jobs
        found = original(self, digest, load)
        if found is not None:
            known.add(digest)
        return found

    return loaded


def _before(what: str, holds: Callable[..., bool]) -> Around:
    """As `_watch`, but looks at the arguments before the call."""

    def around(original: Callable[..., Any], crossed: Counter[str]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            crossed[what] += bool(holds(*args, **options))
            return original(*args, **options)

        return watched

    return around


_WATCHED: tuple[tuple[Any, str, Around], ...] = (
    (
        queries,
        "base_chunks",
        _watch("a second page of chunks", lambda rows, _conn, _uid, after, *_: rows and after > 0),
    ),
    (
        queries,
        "merged_page",
        _watch("a second page of the merged view", lambda rows, _conn, uid, after, **_: rows and after > 0),
    ),
    (
        verify,
        "merged_page",
        _watch("a second page of the proof", lambda rows, _conn, _uid, after, *_: rows and after >= 0),
    ),
    (queries.Reader, "failures", _watch("a second page of failures", _later_failures)),
    (walk.Account, "page", _watch("a second page of results", lambda page, *_: page.begin > 0)),
    (
        receipts.Receipts,
        "complete",
        _before("a receipt without all its failures", lambda _self, receipt, _blobs: receipt.failures_cut),
    ),
    (commit, "batches", _before("a second statement for ids", lambda ids: len(ids) > commit._IDS_AT_ONCE)),
    (gc, "_states", _before("a second statement for ids of gc", lambda _conn, ids: len(ids) > gc._IDS_AT_ONCE)),
    (
        planner.Planner,
        "_read_over",
        _before("a committed row read over in parts", lambda self, row: row.stop - self.frontier > planner._SKIP),
    ),
    (chunks.Sizer, "size", _watch("a chunk of the largest size", lambda size, *_: size >= vars(chunks)["MAX_CHUNK"])),
    (process.Process, "loaded", _forgotten),
    (run, "_kept_job", _watch("a job that came by the store", lambda blob, *_: blob is not None)),
    (envelope, "_compressed", _watch("a compressed payload", lambda packed, _payload: packed is not None)),
    (
        capture.Lines,
        "_add",
        _before("a line that was cut", lambda _self, _pos, _level, text: len(text) > capture._LINE),
    ),
)
