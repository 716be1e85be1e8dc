"""What must hold after every transaction, and how it may come to be so; by other code than the ledger's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from manifold.errors import WireError
from manifold.protocol import envelope, outcome
from manifold.protocol.records import TERMINAL, ChunkRow
from tests.simulation.jobs import Jobs
from tests.simulation.ledger import Book
from tests.simulation.model import Model, Ran, letters
from tests.simulation.store import Shelf
from tests.simulation.tables import Tables
from tests.simulation.world import World

Scatter = dict[str, Any]


class Checks:
    """Looks at the ledger and the store after each transaction; the first thing that is wrong ends the seed."""

    def __init__(self, world: World, models: dict[str, Model], shelf: Shelf, *, fails_over: bool) -> None:
        self.book = Book(world, self.look, self._epochs_now, fails_over=fails_over)
        self.now = Tables()
        self.makers: dict[str, str] = {}  # uid → who made it
        self.begun: dict[tuple[str, int], dict[int, int]] = {}  # uid, epoch → what was failed when it began
        self.epochs: dict[tuple[str, str], int] = {}  # uid, who → the epoch that it has
        self.inputs: dict[str, Sequence[object]] = {}  # who → the items of its try, where they may not differ
        self.chosen: dict[str, frozenset[int] | None] = {}  # who → which failed items it was asked to run again
        self.jobs = Jobs(world)
        self.failovers = 0
        self.owners: dict[str, str] = {}  # owner token → who
        self.withdrawn: set[str] = set()  # uids of which chunks have gone
        self.written: set[str] = set()  # attempts that were ever in the ledger: gc takes old ones, whoever stands still
        self.failed: dict[tuple[str, int], Tables] = {}  # uid, epoch → the ledger when the scatter was called failed
        self._world = world
        self._models = models
        self._shelf = shelf
        shelf.on_delete = self._deleting

    def look(self, who: str) -> None:
        """`who` has written: everything is as it must be, and came to be so in a way that it may."""
        before, self.now = self.now, Tables.read(self.book.engine)
        self.written |= self.now.attempts.keys()
        for uid, scatter in self.now.scatters.items():
            old = before.scatters.get(uid)
            if old is None:
                self.makers[uid] = who
            if old is None or scatter["epoch"] > old["epoch"]:
                self.epochs[uid, who] = scatter["epoch"]
            if scatter["owner_token"] is not None:
                self.owners.setdefault(scatter["owner_token"], who)
            if scatter["epoch"] > (old["epoch"] if old is not None else 0):
                self._begins(uid)
            if scatter["state"] == "failed" and (old is None or old["state"] == "running"):
                self.failed[uid, scatter["epoch"]] = self.now
            rows = self.now.of(uid)
            for wrong in (
                *self._base(scatter, rows),
                *self._layers(uid, rows),
                *self._numbers(scatter, rows),
                *self._open(scatter),
                *self._came(before.scatters.get(uid), scatter, who),
                *self._fenced(before, scatter, who),
                *self.jobs.look(old, scatter, who),
            ):
                self._world.fail(f"scatter {uid}, after {who} wrote: {wrong}")
        for wrong in (*self._attempts(before, who), *self._chunks(before), *self._names(), *self._counted(before)):
            self._world.fail(f"after {who} wrote: {wrong}")

    def _model(self, uid: str) -> Model:
        """What the items of a scatter do."""
        return self._models[self.now.scatters[uid]["name"]]

    def fail_over(self, *, keeps_acquires: bool = False) -> None:
        """The database loses its last commits. What they did may be done again; what they allowed has happened."""
        lost = self.book.fail_over(keeps_acquires=keeps_acquires)
        if not lost:
            return
        self._world.log(f"the database fails over, and loses {lost}")
        self.failovers += 1
        before, self.now = self.now, Tables.read(self.book.engine)
        for model in self._models.values():
            model.interrupted(range(model.positions))
        self._shelf.lost |= self._shelf.deleted  # the ledger has forgotten that these executions lost
        self.withdrawn |= before.scatters.keys()

    def _epochs_now(self) -> dict[str, int]:
        return {uid: scatter["epoch"] for uid, scatter in self.now.scatters.items()}

    def _begins(self, uid: str) -> None:
        """A coordinator takes the scatter: what has not succeeded and was not skipped runs, once."""
        failed = self.now.failed[uid]
        done = {pos for row in self.now.of(uid) if not row.layer for pos in range(row.start, row.stop)} - failed.keys()
        model = self._model(uid)
        model.excuses.update(pos for pos in range(model.positions) if pos not in done)

    def sending(self, attempt: str) -> None:
        """Rule 3: an attempt is in the ledger before it is sent."""
        if attempt not in self.written:
            self._world.fail(f"attempt {attempt} is sent and not written down")

    def _deleting(self, who: str, key: str) -> None:
        self._world.log(f"{who} deletes {key.rpartition('/')[2]}")
        committed = any(key in (row.blob_key, row.fail_key) for row in self.now.chunks.values())
        if committed and self.failovers:  # who deletes may have looked before the failover
            self._shelf.lost.add(key)
        elif committed:
            self._world.fail(f"{who} deletes {key}, which is committed")

    # -- what holds at any moment ------------------------------------------------------------------------------------

    def _base(self, scatter: Scatter, rows: list[ChunkRow]) -> Iterator[str]:
        base, at = [row for row in rows if row.layer == 0], 0
        for row in base:
            if row.start < at:
                yield f"I1: [{row.start}, {row.stop}) overlaps the chunk before it"
            at = row.stop
        if scatter["total"] is not None and at > scatter["total"]:
            yield f"a chunk reaches to {at}, past the {scatter['total']} items"
        covered = sum(row.stop - row.start for row in base)
        if scatter["state"] == "succeeded" and covered != scatter["total"]:
            yield f"I2: it succeeded with {scatter['total']} items, and {covered} have an outcome"

    def _layers(self, uid: str, rows: list[ChunkRow]) -> Iterator[str]:
        failed: dict[int, int] = {}
        spans = [(row.start, row.stop) for row in rows if row.layer == 0]
        for row in rows:
            yield from self._row(row)
            if row.layer and not any(start <= row.start and row.stop <= stop for start, stop in spans):
                yield f"I4: the re-run [{row.start}, {row.stop}) lies inside no chunk"
            for pos, letter in enumerate(letters(row), row.start):
                if row.layer and letter != outcome.UNTOUCHED and failed.pop(pos, None) is None:
                    yield f"I4: a re-run touches item {pos}, which had not failed"
                if letter == outcome.FAILED:
                    failed[pos] = row.layer
        if failed != self.now.failed[uid]:
            yield f"I3: the failure rows are {self.now.failed[uid]}, and {failed} are failed"

    def _row(self, row: ChunkRow) -> Iterator[str]:
        told, where = letters(row), f"[{row.start}, {row.stop}) in layer {row.layer}"
        counts = (told.count(outcome.OK), told.count(outcome.FAILED), told.count(outcome.SKIPPED))
        if counts != (row.n_ok, row.n_failed, row.n_skipped) or (row.layer == 0 and outcome.UNTOUCHED in told):
            yield f"I3: {where} counts otherwise than its outcome"
        if (row.blob_key is None) != (row.n_ok == 0) or (row.fail_key is None) != (row.n_failed == 0):
            yield f"I5: {where} has a key too many or too few"
        for key in (row.blob_key, row.fail_key):
            if key is not None and key not in self._shelf.blobs and key not in self._shelf.lost:
                yield f"the committed key {key} is not in the store"

    def _numbers(self, scatter: Scatter, rows: list[ChunkRow]) -> Iterator[str]:
        sums = (sum(row.n_ok for row in rows), sum(row.n_skipped for row in rows), len(self.now.failed[scatter["uid"]]))
        if sums != (scatter["n_ok"], scatter["n_skipped"], scatter["n_failed"]):
            yield f"I3: its counters are not the sums of its chunks, {sums} ok, skipped and failed"
        seqs = [row.seq for row in rows]
        if len(set(seqs)) < len(seqs) or max(seqs, default=0) > scatter["seq"]:
            yield "I6: its sequence numbers are wrong"
        for row in rows:
            if row.epoch > scatter["epoch"] or row.layer not in (0, row.epoch):
                yield f"I6: [{row.start}, {row.stop}) in layer {row.layer} is of epoch {row.epoch}"
            if self.now.attempts.get(row.attempt, {}).get("state") != "won":
                yield f"I6: the attempt of [{row.start}, {row.stop}) did not win"

    def _open(self, scatter: Scatter) -> Iterator[str]:
        for one in self.now.attempts.values():
            if one["uid"] == scatter["uid"] and one["state"] == "open":
                if scatter["state"] in TERMINAL:
                    yield f"I6: it is {scatter['state']}, and attempt {one['id']} is open"
                if one["layer"] not in (0, scatter["epoch"]):
                    yield f"a re-run of epoch {one['layer']} is open in epoch {scatter['epoch']}"

    def _names(self) -> Iterator[str]:
        living = [one["name"] for one in self.now.scatters.values() if one["state"] != "replaced"]
        if len(set(living)) < len(living):
            yield f"two living scatters have one name: {sorted(living)}"

    def _counted(self, before: Tables) -> Iterator[str]:
        for (engine, name), value in before.counted.items():
            now = self.now.counted.get((engine, name), 0.0)
            if now < value - 1e-6:
                yield f"the metric {name} of {engine} went down, from {value} to {now}"

    # -- how it may come to be so ------------------------------------------------------------------------------------

    def _came(self, old: Scatter | None, new: Scatter, who: str) -> Iterator[str]:  # noqa: C901 - a list of rules
        if old is None:
            return
        if new["epoch"] < old["epoch"] or new["seq"] < old["seq"]:
            yield "its epoch or number went back"
        if old["state"] == "replaced" != new["state"]:
            yield "it was replaced, and lives again"
        if old["state"] == "running" and new["state"] == "replaced":
            unowned = (old["lease_until"] or 0.0) < self.book.now()  # gc takes what has no coordinator
            newer = [one["gen"] for one in self.now.scatters.values() if one["name"] == new["name"]]
            if max(newer) == new["gen"] and not (unowned and who.startswith("gc")):
                yield "it was running, and is gone"
        if old["total"] is not None and new["total"] != old["total"]:
            yield f"it had {old['total']} items, and has {new['total']}"
        if new["epoch"] > old["epoch"]:
            self.begun[new["uid"], new["epoch"]] = dict(self.now.failed[new["uid"]])
            yield from self._taken_over(old, new)
        elif old["owner_token"] != new["owner_token"] is not None or (
            old["state"] in TERMINAL and new["state"] == "running"
        ):
            yield f"{new['owner']} owns it in the epoch of {old['owner']}"
        if new["state"] == "succeeded" != old["state"]:
            suspects = [row for row in self.now.of(new["uid"]) if row.suspect_at is not None]
            if suspects:
                yield f"it succeeded, and {len(suspects)} chunks are suspect"

    def _fenced(self, before: Tables, new: Scatter, who: str) -> Iterator[str]:
        """Whoever was taken over changes nothing; committing what its workers did is another matter."""
        old = before.scatters.get(new["uid"])
        mine = self.epochs.get((new["uid"], who))
        if old is None or mine is None or self.owners.get(old["owner_token"]) in (None, who):
            return
        if self.owners.get(new["owner_token"]) == who and new["epoch"] > old["epoch"]:
            return  # it takes over in its turn
        for name in ("state", "owner_token", "total", "fn_key", "message"):
            if old[name] != new[name]:
                yield f"it was taken over, and changes {name} from {old[name]} to {new[name]}"
        if any(row.uid == new["uid"] and place not in self.now.chunks for place, row in before.chunks.items()):
            yield "it was taken over, and withdraws chunks"

    def _taken_over(self, old: Scatter, new: Scatter) -> Iterator[str]:
        alive = old["owner"] is not None and old["lease_until"] >= self.book.now()
        later = new["owner_key"] == old["owner_key"] is not None and new["claim_no"] > old["claim_no"]
        if alive and not later and new["owner"] is not None:  # else it is given up, past an epoch that was lost
            yield f"{new['owner']} took it from {old['owner']}, which lives"

    def _attempts(self, before: Tables, who: str) -> Iterator[str]:
        for id_, old in before.attempts.items():
            new = self.now.attempts.get(id_)
            if new is None or new["state"] == old["state"]:
                continue
            if new["state"] == "void":
                self._lost_race(new)
            if old["state"] != "open":
                yield f"attempt {id_} was {old['state']}, and is {new['state']}"
            if who.startswith("gc") and new["epoch"] == self.now.scatters[new["uid"]]["epoch"]:
                yield f"attempt {id_} is at work, and is given up"

    def _lost_race(self, attempt: dict[str, Any]) -> None:
        """Where others committed some of its items first, the rest has to run once more."""
        start, stop = attempt["start"], attempt["stop"]
        rows = (row for row in self.now.of(attempt["uid"]) if row.layer == attempt["layer"])
        if any(row.start < stop and start < row.stop and row.attempt != attempt["id"] for row in rows):
            self._model(attempt["uid"]).excuses.update(range(start, stop))

    def _chunks(self, before: Tables) -> Iterator[str]:
        for place, old in before.chunks.items():
            new = self.now.chunks.get(place)
            if new is None or new.attempt != old.attempt:
                self.withdrawn.add(old.uid)
                self._model(old.uid).excuses.update(range(old.start, old.stop))  # they have no outcome any more
                if not self._may_go(old, before):
                    yield f"the chunk [{old.start}, {old.stop}) of layer {old.layer} is gone"
            elif msgspec.structs.replace(new, suspect_at=None) != msgspec.structs.replace(old, suspect_at=None):
                yield f"the chunk [{old.start}, {old.stop}) of layer {old.layer} was rewritten"
        for place, new in self.now.chunks.items():
            known = before.chunks.get(place)
            if known is None or known.attempt != new.attempt:
                yield from self._committed(new)
                if new.layer:
                    yield from self._asked(new, before.kinds[new.uid])

    def _asked(self, row: ChunkRow, kinds: dict[int, str]) -> Iterator[str]:
        """A re-run touches only what its try was asked to run again; `kinds` are the errors of what was failed."""
        requests = self.now.redrives.get((row.uid, row.epoch))
        who = self.owners.get(self.now.scatters[row.uid]["owner_token"], "")
        if requests is None:
            chosen = self.chosen.get(who)
        elif all(request.keys() & {"positions", "fingerprints"} for request in requests):
            named = {kind for request in requests for kind in request.get("fingerprints", ())}
            some = {pos for request in requests for pos in request.get("positions", ())}
            chosen = frozenset(some | {pos for pos, kind in kinds.items() if kind in named})
        else:
            chosen = None
        if chosen is not None:
            touched = enumerate(letters(row), row.start)
            for pos in (pos for pos, letter in touched if letter != outcome.UNTOUCHED and pos not in chosen):
                yield f"item {pos} is run again in epoch {row.epoch}, in which only {sorted(chosen)} were to be"

    def _timed_out(self, row: ChunkRow, ran: list[Ran]) -> Iterator[str]:
        """Items that were interrupted have failed by that, and no others have."""
        for pos, kind in self.now.errors[row.uid].items():
            late = {pos in one.late for one in ran if pos in one.items}
            here = row.start <= pos < row.stop and self.now.failed[row.uid][pos] == row.layer
            if here and len(late) == 1 and kind.endswith("ItemTimeout") != late.pop():
                yield f"item {pos} has failed by {kind}, and that it took too long is another matter"

    def _may_go(self, old: ChunkRow, before: Tables) -> bool:
        """Its bytes are lost, or those of the chunk below it; its try had another input; or all of it was retired."""
        scatter = self.now.scatters[old.uid]
        below = [row for row in before.of(old.uid) if row.layer == 0 and row.start <= old.start < row.stop]
        lost = any(key in self._shelf.lost for row in (old, *below) for key in (row.blob_key, row.fail_key))
        return lost or scatter["state"] == "replaced" or old.epoch == scatter["epoch"]

    def _committed(self, row: ChunkRow) -> Iterator[str]:
        """A new row says what one execution of its attempt really did, with the items that the scatter began with."""
        self._world.log(
            f"committed [{row.start}, {row.stop}) of {row.attempt}, layer {row.layer}, epoch {row.epoch}: "
            f"{row.outcome or 'all ok'}"
        )
        for key, digest in ((row.blob_key, row.blob_digest), (row.fail_key, row.fail_digest)):
            if key in self._shelf.blobs and key not in self._shelf.lost:
                try:
                    if envelope.sealed_digest(self._shelf.blobs[key]) != digest:
                        yield f"{key} is committed with another digest"
                except WireError as exc:
                    yield f"{key} is committed and not readable: {exc}"
        model = self._model(row.uid)
        ran = [one for one in model.ran(row) if one.agrees(row)]
        if not ran:
            if row.outcome != "f1" or (model.died_alone[row.start] < 2 and not model.overdue[row.start]):
                yield f"no execution of {row.attempt} was [{row.start}, {row.stop}) {row.outcome or 'all ok'}"
            return
        mine = self.jobs.given(self.owners.get(self.now.scatters[row.uid]["owner_token"], ""))
        if mine is not None and not self.failovers and all(one.given != mine for one in ran):
            yield f"[{row.start}, {row.stop}) ran with {ran[0].given}, and is committed by who gives {mine}"
        yield from self._timed_out(row, ran)
        known = self.inputs.get(self.makers[row.uid])
        for pos, (_, _, item) in ran[0].items.items():
            if known is not None and (pos >= len(known) or known[pos] != item):
                yield f"{item!r} is committed at {pos}, and is not of the input that the scatter began with"
