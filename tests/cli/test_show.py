"""`ls`, `show` and `watch`: what the ledger has, and how an ID finds its scatter."""

from __future__ import annotations

import json
import threading
import time

import msgspec
import pytest

import manifold
from manifold import views
from manifold.cli import shapes
from manifold.ledger import Ledger, NewScatter, Owner, scatter_name
from manifold.ledger.rows import TryRow
from manifold.web import models
from tests.cli.conftest import Cli, said
from tests.ledger import made as rows
from tests.shared import ByReference

GATED = {"scatter_id": "gated", "monitors": [], "chunk_size": 1}


def made(book: Ledger, name: str, *, uid: str | None = None) -> str:
    """The uid of a scatter that nobody has run yet."""
    new = NewScatter(
        name=name,
        engine="threads://1",
        source_kind="range",
        store_url="",
        store_uuid="s",
        key_id="k",
        fn_name="mod.f",
        total=10,
    )
    return book.create(msgspec.structs.replace(new, uid=uid) if uid else new).uid


def test_an_empty_ledger_says_so(cli: Cli) -> None:
    assert "is empty" in cli("ls").stdout
    assert said(cli("ls", "--json"), shapes.Listing).scatters == []


def test_ls_lists_the_newest_first_and_chooses(cli: Cli, book: Ledger, pages: str) -> None:
    later = made(book, "later")
    listed = said(cli("ls", "--json"), shapes.Listing).scatters
    assert [one.name for one in listed] == ["later", pages]
    assert (listed[1].succeeded, listed[1].failed, listed[1].percent) == (80, 20, 100.0)
    assert [one.scatter for one in said(cli("ls", "--state", "stopped", "--json"), shapes.Listing).scatters] == [later]
    assert [one.name for one in said(cli("ls", "--name", "age", "--json"), shapes.Listing).scatters] == [pages]
    assert len(said(cli("ls", "--limit", "1", "--json"), shapes.Listing).scatters) == 1
    table = cli("ls").stdout
    assert "later" in table
    assert "stopped" in table
    assert "100 %" in table


def test_what_a_fresh_start_replaced_is_listed_only_when_asked_for(cli: Cli, work: str) -> None:
    again = ("run", f"{work}:half", "--items", "range:10", "--engine", "threads://1", "--id", "a", "--json")
    first, second = (said(cli(*again, "--fresh"), shapes.Ran).scatter for _ in range(2))
    assert [one.scatter for one in said(cli("ls", "--json"), shapes.Listing).scatters] == [second]
    replaced = said(cli("ls", "--state", "replaced", "--json"), shapes.Listing).scatters
    assert [one.scatter for one in replaced] == [first]
    assert said(cli("show", first, "--json"), shapes.Shown).state == "replaced"
    assert said(cli("show", "a", "--json"), shapes.Shown).scatter == second


def test_show_tells_counts_errors_times_and_workers(cli: Cli, pages: str) -> None:
    shown = said(cli("show", pages, "--json"), shapes.Shown)
    assert (shown.state, shown.total, shown.succeeded, shown.failed) == ("succeeded", 100, 80, 20)
    assert sorted((kind.type, kind.count) for kind in shown.errors) == [("KeyError", 10), ("ValueError", 10)]
    assert "ValueError: no " in next(kind.traceback for kind in shown.errors if kind.type == "ValueError")
    assert shown.item_seconds is not None
    assert 0 <= shown.item_seconds.p50 <= shown.item_seconds.p90 <= shown.item_seconds.p99
    assert shown.rate is not None
    assert shown.rate > 0
    assert shown.seconds_left is None
    assert sum(worker.items for worker in shown.workers) == 100
    assert shown.policy["chunk_size"] == 25
    assert (shown.task, shown.control_requests, shown.paused_by, shown.chunks_suspect) == (None, [], None, 0)
    text = cli("show", pages).stdout
    assert "100 (100 % done): 80 succeeded, 20 failed, 0 skipped, 0 without outcome" in text
    assert "ValueError" in text
    assert "half below" in text


def test_an_airflow_task_is_found_by_its_names(cli: Cli, book: Ledger) -> None:
    name = scatter_name("dag", "manual__2026-11-20T10:00:00+00:00", "group.task", -1)
    uid = made(book, name)
    book.acquire(uid, Owner.here("airflow", claim_key=name, claim_no=1))
    for asked in ("dag/manual__2026-11-20T10:00:00+00:00/group.task", name, f"{name.removesuffix('/-1')}/-1"):
        shown = said(cli("show", asked, "--json"), shapes.Shown)
        assert shown.scatter == uid
        assert shown.task == ["dag", "manual__2026-11-20T10:00:00+00:00", "group.task", -1]
    assert cli("show", "dag/another/group.task").exit_code == 3


RUNS = ("manual__2026-11-25T10:00:00+00:00", "a b", "week/47", "50%", "50%25", "größe", "x%2Fy")


@pytest.mark.parametrize("run", RUNS)
def test_names_are_shown_as_people_write_them_and_both_forms_are_taken(cli: Cli, book: Ledger, run: str) -> None:
    quoted, indexed = scatter_name("etl", run, "fetch", -1), scatter_name("etl", run, "fetch", 3)
    uid, mapped = made(book, quoted), made(book, indexed)
    shown = f"etl/{run}/fetch"
    assert f"{shown} ({uid})" in cli("show", uid).stdout.replace("\n", "")
    for name in (shown, quoted, quoted.removesuffix("/-1")):
        assert said(cli("show", name, "--json"), shapes.Shown).scatter == uid
        assert uid in {one.scatter for one in said(cli("ls", "--name", name, "--json"), shapes.Listing).scatters}
    for name in (f"{shown}/3", f"{shown}[3]", indexed):
        assert said(cli("show", name, "--json"), shapes.Shown).scatter == mapped
    assert shown in cli("ls").stdout.replace("\n", "")


def test_a_name_that_means_several_is_refused_with_all_of_them(cli: Cli, book: Ledger) -> None:
    names = (scatter_name("etl", "a", "3", 7), scatter_name("etl", "a/3", "7", -1))
    uids = {made(book, name) for name in names}
    refused = cli("show", "etl/a/3/7")
    assert refused.exit_code == 2
    assert "means several scatters" in refused.stderr
    for uid in uids:
        assert uid in refused.stderr.replace("\n", "")
        assert said(cli("show", uid, "--json"), shapes.Shown).scatter == uid


def test_a_uid_may_be_cut_as_long_as_it_is_unique(cli: Cli, book: Ledger) -> None:
    one, two = made(book, "one", uid="abcd" + "0" * 28), made(book, "two", uid="abcd" + "1" * 28)
    assert said(cli("show", "abcd0", "--json"), shapes.Shown).scatter == one
    assert said(cli("show", two, "--json"), shapes.Shown).scatter == two
    both = cli("show", "abcd")
    assert both.exit_code == 2
    assert "abcd is the beginning of several" in both.stderr
    assert cli("show", "abc").exit_code == 3


def test_a_name_wins_over_the_beginning_of_a_uid(cli: Cli, book: Ledger) -> None:
    made(book, "one", uid="beef" + "0" * 28)
    named = made(book, "beef")
    assert said(cli("show", "beef", "--json"), shapes.Shown).scatter == named


def test_an_id_that_is_near_one_is_told_so(cli: Cli, pages: str) -> None:
    result = cli("show", "pagse")
    assert result.exit_code == 3
    assert f"Did you mean {pages}?" in result.stderr


def test_text_of_items_is_shown_as_it_is(cli: Cli, book: Ledger) -> None:
    made(book, "[red]name[/]")
    assert "[red]name[/]" in cli("ls").stdout
    assert "[red]name[/]" in cli("show", "[red]name[/]").stdout


def test_watch_follows_a_scatter_to_its_end(cli: Cli, book: Ledger) -> None:
    go = threading.Event()
    with ByReference(lambda x: go.wait(60) and x, 1) as (executor, fn):
        running = threading.Thread(target=manifold.scatter, args=(fn, range(3)), kwargs=GATED | {"engine": executor})
        running.start()
        while book.find("gated") is None and running.is_alive():
            time.sleep(0.01)
        threading.Timer(0.5, go.set).start()
        watched = cli("watch", "gated", "--every", "0.1", "--json")
        running.join()
    assert watched.exit_code == 0, watched.output
    looks = [msgspec.json.decode(line, type=shapes.Shown) for line in watched.stdout.splitlines()]
    assert (looks[0].state, looks[-1].state, looks[-1].succeeded) == ("running", "succeeded", 3)
    assert list(json.loads(watched.stdout.splitlines()[0])) == list(shapes.Shown.__struct_fields__)


@pytest.mark.parametrize(("tolerate", "code"), [("20", 0), ("0", 1)])
def test_watch_ends_with_how_the_scatter_ended(cli: Cli, work: str, tolerate: str, code: int) -> None:
    run = ("run", f"{work}:picky", "--items", "range:100", "--engine", "threads://1", "--id", "it")
    assert cli(*run, "--option", f"tolerate={tolerate}").exit_code == code
    watched = cli("watch", "it")
    assert watched.exit_code == code
    (line,) = watched.stdout.splitlines()
    assert "?" not in line


def test_an_estimate_of_the_items_is_told_as_one(cli: Cli, book: Ledger) -> None:
    claim = rows.claimed(book, "lines")
    rows.done(claim, 0, "oof")
    claim.describe(expected=12)
    (one,) = said(cli("ls", "--json"), shapes.Listing).scatters
    assert (one.total, one.percent, one.expected) == (None, None, 12)
    line = cli("ls").stdout
    assert "about 25 %" in line
    assert "about 12" in line
    assert (
        "about 12 (about 25 % done): 2 succeeded, 1 failed, 0 skipped, about 9 without outcome"
        in cli("show", "lines").stdout
    )
    claim.set_total(3)
    (one,) = said(cli("ls", "--json"), shapes.Listing).scatters
    assert (one.total, one.percent, one.expected) == (3, 100.0, None)


def test_command_line_and_page_show_the_same_of_a_try() -> None:
    row = TryRow(3, "me", "a/b", 2, 3, "host", 1, "continue", "goes on", 1.0, 2.0, "error", "no broker", 5, 1)
    shown = views.try_(row)
    assert set(shown) == set(shapes.Try.__struct_fields__) == set(models.Try.model_fields)
    assert msgspec.to_builtins(shapes.Try(**shown)) == models.Try(**shown).model_dump() == shown
    plain = views.try_(msgspec.structs.replace(row, claim_no=0, claims=0))
    assert (plain["number"], plain["numbers"]) == (None, None)
