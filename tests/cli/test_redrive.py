"""`manifold redrive` of plain Python's scatters: items from the quarantine, code from the store, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

import manifold
from manifold.cli import shapes
from manifold.cli.app import app
from manifold.ledger import Ledger, Owner
from tests.cli.conftest import Cli, said


def test_a_dry_run_only_counts(cli: Cli, pages: str, book: Ledger) -> None:
    before = book.scatters()
    done = said(cli("redrive", pages, "--dry-run", "--json"), shapes.Redriven)
    assert (done.where, done.dry_run, done.items, done.chunks_lost, done.result) == ("here", True, 20, 0, None)
    assert "would run again, here: 20 failed items" in cli("redrive", pages, "--dry-run").stdout
    assert book.scatters() == before


def test_failed_items_run_again_by_the_code_of_the_store(
    cli: Cli, work: str, pages: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / f"{work}.py").unlink()
    monkeypatch.delitem(__import__("sys").modules, work)
    done = said(cli("redrive", pages, "--json"), shapes.Redriven)
    assert done.result is not None
    assert (done.result.succeeded, done.result.failed, done.result.tries) == (80, 20, 2)


def test_failed_items_run_again_by_a_fixed_function(cli: Cli, work: str, pages: str, book: Ledger) -> None:
    result = cli("redrive", pages, "--function", f"{work}:fixed", "--engine", "threads://1")
    assert result.exit_code == 0, result.output
    row = book.find(pages)
    assert row is not None
    assert (row.state, row.n_ok, row.n_failed) == ("succeeded", 100, 0)
    values = list(manifold.Results.of(row, book))
    assert values == [-x if x % 10 in (3, 7) else x for x in range(100)]
    assert cli("verify", pages, "--deep").exit_code == 0
    assert "there is nothing to run again" in cli("redrive", pages).stdout


def test_only_one_kind_of_error_runs_again(cli: Cli, work: str, pages: str, book: Ledger) -> None:
    done = said(
        cli("redrive", pages, "--only-error", "KeyError", "--function", f"{work}:fixed", "--json"), shapes.Redriven
    )
    assert done.items == 10
    assert done.result is not None
    assert (done.result.succeeded, done.result.failed) == (90, 10)
    assert [kind.type for kind in book.kinds(done.scatter)] == ["ValueError"]


def test_options_of_the_first_try_hold_on(cli: Cli, work: str, pages: str, book: Ledger) -> None:
    before = book.scatters()[0].policy
    assert cli("redrive", pages, "--function", f"{work}:fixed").exit_code == 0
    assert book.scatters()[0].policy == before | {"on_code_changed": "warn"}


def test_a_redrive_that_fails_again_ends_in_code_1(cli: Cli, work: str) -> None:
    run = ("run", f"{work}:picky", "--items", "range:8", "--engine", "threads://1", "--id", "strict")
    assert cli(*run, "--option", "tolerate=1").exit_code == 1
    row = said(cli("show", "strict", "--json"), shapes.Shown)
    assert row.without_outcome == 0
    done = said(cli("redrive", "strict", "--json"), shapes.Redriven, code=1)
    assert done.result is not None
    assert (done.result.state, done.result.failed) == ("failed", 2)


def cut(cli: Cli, work: str) -> shapes.Shown:
    """A scatter that ended early: some items failed, many never ran."""
    run = ("run", f"{work}:picky", "--items", "range:100", "--engine", "threads://1", "--id", "cut")
    assert cli(*run, "--option", "chunk_size=10").exit_code == 1
    shown = said(cli("show", "cut", "--json"), shapes.Shown)
    assert shown.failed
    assert shown.without_outcome
    return shown


def test_a_redrive_of_a_scatter_that_ended_early_runs_the_failed_items_and_nothing_else(cli: Cli, work: str) -> None:
    before = cut(cli, work)
    promised = said(cli("redrive", "cut", "--dry-run", "--json"), shapes.Redriven)
    assert (promised.what, promised.items, promised.missing) == ("failed", before.failed, 0)
    done = said(cli("redrive", "cut", "--function", f"{work}:fixed", "--json"), shapes.Redriven)
    assert done.result is not None
    assert done.result.succeeded == before.succeeded + before.failed
    assert (done.result.failed, done.result.without_outcome) == (0, before.without_outcome)
    assert done.result.state == "cancelled"
    assert f"{before.without_outcome} items never ran. `manifold continue" in (done.result.message or "")
    shown = said(cli("show", "cut", "--json"), shapes.Shown)
    assert next((one.mode, one.ending, one.items) for one in shown.history) == ("redrive", "cancelled", before.failed)
    refused = cli("redrive", "cut", "--lost")
    assert refused.exit_code == 2
    assert "manifold continue" in refused.stderr


def test_what_is_run_again_is_what_was_promised(cli: Cli, work: str) -> None:
    before = cut(cli, work)
    continued = said(cli("continue", "cut", "--dry-run", "--json"), shapes.Redriven)
    assert (continued.what, continued.items, continued.missing) == ("missing", before.failed, before.without_outcome)
    assert (
        f"{before.without_outcome} items that never ran, and {before.failed} failed item"
        in cli("continue", "cut", "--dry-run").stdout
    )
    restarted = said(cli("restart", "cut", "--dry-run", "--json"), shapes.Redriven)
    assert (restarted.what, restarted.items + (restarted.missing or 0)) == ("everything", 100)
    assert "everything, 100 items" in cli("restart", "cut", "--dry-run").stdout


def test_a_restart_runs_everything_as_a_new_scatter(cli: Cli, work: str, book: Ledger) -> None:
    before = cut(cli, work)
    refused = cli("restart", "cut", "--function", f"{work}:fixed")
    assert refused.exit_code == 2
    assert "everything is to run, so cut needs its input (it was a range): say --items" in refused.stderr
    again = ("restart", "cut", "--function", f"{work}:fixed", "--items", "range:100", "--json")
    done = said(cli(*again), shapes.Redriven)
    assert done.result is not None
    assert (done.result.state, done.result.succeeded, done.result.tries) == ("succeeded", 100, 1)
    assert done.result.scatter != before.scatter
    assert book.scatter(before.scatter).state == "replaced"


def test_items_that_never_ran_need_the_input(cli: Cli, work: str) -> None:
    cut(cli, work)
    fixed = ("continue", "cut", "--function", f"{work}:fixed")
    refused = cli(*fixed)
    assert refused.exit_code == 2
    assert "items never ran, so cut needs its input (it was a range): say --items" in refused.stderr
    changed = cli(*fixed, "--items", "range:99")
    assert changed.exit_code == 1
    assert "the input has changed since the first try" in changed.stderr
    done = said(cli(*fixed, "--items", "range:100", "--json"), shapes.Redriven)
    assert done.result is not None
    assert (done.result.state, done.result.succeeded) == ("succeeded", 100)


def test_files_need_not_be_named_again(cli: Cli, work: str, tmp_path: Path) -> None:
    (tmp_path / "numbers.jsonl").write_text("\n".join(map(str, range(100))))
    run = ("run", f"{work}:picky", "--items", str(tmp_path / "*.jsonl"), "--engine", "threads://1", "--id", "cut")
    assert cli(*run, "--option", "chunk_size=10").exit_code == 1
    done = said(cli("continue", "cut", "--function", f"{work}:fixed", "--json"), shapes.Redriven)
    assert done.result is not None
    assert (done.result.succeeded, done.result.without_outcome) == (100, 0)


def test_lost_results_are_found_and_made_again(cli: Cli, work: str, pages: str, home: Path, book: Ledger) -> None:
    sorted((home / "store").rglob("*.r"))[0].unlink()
    result = cli("redrive", pages, "--lost")
    assert result.exit_code == 2
    assert "results are lost, so pages needs its input" in result.stderr
    done = said(cli("redrive", pages, "--lost", "--items", "range:100", "--json"), shapes.Redriven)
    assert (done.items, done.chunks_lost) == (0, 1)
    row = book.find(pages)
    assert row is not None
    assert (row.n_ok, row.n_failed) == (80, 20)
    assert cli("verify", pages, "--deep").exit_code == 0
    assert "there is nothing to run again" in cli("redrive", pages, "--lost").stdout


def test_lost_results_of_a_redrive_come_from_the_quarantine(cli: Cli, work: str, pages: str, home: Path) -> None:
    before = set((home / "store").rglob("*.r"))
    fixed = ("redrive", pages, "--function", f"{work}:fixed")
    assert cli(*fixed).exit_code == 0
    for blob in set((home / "store").rglob("*.r")) - before:
        blob.unlink()
    done = said(cli(*fixed, "--lost", "--json"), shapes.Redriven)
    assert done.chunks_lost > 0
    assert done.result is not None
    assert (done.result.succeeded, done.result.failed) == (100, 0)
    assert cli("verify", pages, "--deep").exit_code == 0


def test_a_scatter_that_somebody_is_at_work_on_is_left_alone(cli: Cli, pages: str, book: Ledger) -> None:
    claim = book.acquire(book.scatters()[0].uid, Owner.here("somebody"))
    result = cli("redrive", pages)
    assert result.exit_code == 5
    assert "pages is being run by somebody" in result.stderr
    claim.release()


def test_an_executor_of_the_programs_own_needs_an_engine(cli: Cli) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        manifold.scatter(float, ["1", "x"], engine=executor, scatter_id="own", tolerate=1, monitors=[])
    result = cli("redrive", "own")
    assert result.exit_code == 2
    assert "say --engine" in result.stderr
    assert cli("redrive", "own", "--engine", "threads://1").exit_code == 0


def test_results_in_memory_cannot_be_redriven(cli: Cli) -> None:
    manifold.scatter(
        float, ["1", "x"], engine="threads://1", store="memory://", scatter_id="gone", tolerate=1, monitors=[]
    )
    result = cli("redrive", "gone")
    assert result.exit_code == 2
    assert "in the memory of the process that ran it" in result.stderr


def test_the_commands_that_run_items_again_have_the_same_options() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    given = {name: {one.name: one.opts for one in commands[name].params} for name in ("redrive", "continue", "restart")}
    assert given["continue"] == given["restart"]
    assert {"dry_run", "function", "items", "engine", "api_url", "as_json", "scatter_id"} == set(given["continue"])
    assert {name: given["redrive"][name] for name in given["continue"]} == given["continue"]
    assert set(given["redrive"]) - set(given["continue"]) == {"only_error", "lost"}
