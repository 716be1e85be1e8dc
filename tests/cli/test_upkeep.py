"""`engines`, `gc`, `db` and `doctor`: what keeps a deployment fit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from manifold import config
from manifold.cli import checks, context, shapes
from manifold.ledger import Ledger, open_ledger
from manifold.ledger.tables import scatter
from manifold.stores import open_store
from tests.cli.conftest import Cli, said


def test_engines_that_are_named_are_asked(cli: Cli) -> None:
    found = said(cli("engines", "threads://3", "processes://1", "--json"), shapes.Engines).engines
    assert [(one.url, one.reachable, one.slots, one.trouble) for one in found] == [
        ("threads://3", True, 3, None),
        ("processes://1", True, 1, None),
    ]
    assert found[0].workers[0].pid == os.getpid()
    assert len(found[1].workers) == 1, "processes have come up by then"
    assert "threads://3" in cli("engines", "threads://3").stdout


def test_engines_of_the_ledger_are_known(cli: Cli, pages: str) -> None:
    found = said(cli("engines", "--json"), shapes.Engines).engines
    assert [one.name for one in found] == ["processes://", "threads://2"]


@pytest.mark.parametrize(
    ("name", "told"),
    [("nope://user:secret@host", "no engine has the scheme"), ("no_such_connection", "neither a URL")],
)
def test_an_engine_that_cannot_be_used_ends_in_code_4(cli: Cli, name: str, told: str) -> None:
    result = cli("engines", name, "--json")
    (found,) = said(result, shapes.Engines, code=4).engines
    assert (found.reachable, found.slots) == (False, 0)
    assert told in (found.trouble or "")
    assert "secret" not in result.output


def test_engines_are_listed_without_a_ledger(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_LEDGER", "mysql://host/db")
    result = cli("engines", "--json")
    assert [one.name for one in said(result, shapes.Engines).engines] == ["processes://"]
    assert "without the ledger's engines: the ledger rests in PostgreSQL or SQLite" in result.stderr


def test_gc_removes_what_no_chunk_names(cli: Cli, book: Ledger, pages: str) -> None:
    store = open_store()
    key = f"{book.uuid}/{book.scatters()[0].uid}/{0:016x}-{9:016x}.{'a' * 32}.{'b' * 16}.r"
    store.put(key, b"left over")
    for words in (("gc", "--dry-run"), ("gc",)):
        swept = said(cli(*words, "--json"), shapes.Swept)
        assert [(one.name, one.blobs, one.whole) for one in swept.collected] == [(pages, 1, False)]
    assert key not in set(store.keys())
    assert "deleted: 0 blobs of 0 scatters" in cli("gc").stdout
    assert cli("verify", pages, "--deep").exit_code == 0


def test_gc_removes_old_scatters_whole(cli: Cli, pages: str, home: Path) -> None:
    kept = said(cli("gc", "--older-than", "1d", "--json"), shapes.Swept)
    assert kept.collected == []
    assert "would be deleted" in cli("gc", "--older-than", "0s", "--dry-run").stdout
    swept = said(cli("gc", "--older-than", "0s", "--json"), shapes.Swept)
    assert [(one.name, one.whole) for one in swept.collected] == [(pages, True)]
    assert not list((home / "store").rglob("*.r"))
    assert cli("show", pages).exit_code == 3


@pytest.mark.parametrize(
    ("away", "why"),
    [
        ("file:///nowhere/at/all", "this is not the store that the scatter wrote to"),
        ("nope://bucket", "no store has the scheme of 'nope://bucket'"),
    ],
)
def test_gc_leaves_a_scatter_alone_whose_store_is_elsewhere(
    cli: Cli, book: Ledger, pages: str, away: str, why: str
) -> None:
    book.database.write(lambda conn: conn.execute(update(scatter).values(store_url=away)))
    result = cli("gc", "--older-than", "0s", "--json")
    swept = said(result, shapes.Swept)
    assert swept.collected == []
    assert why in swept.skipped[0].why
    assert "left as it is: pages" in cli("gc", "--older-than", "0s").stderr
    assert cli("show", pages).exit_code == 0


@pytest.mark.parametrize("age", ["30", "3y", "-1d", ""])
def test_an_age_that_is_none_ends_in_code_2(cli: Cli, age: str) -> None:
    result = cli("gc", "--older-than", age)
    assert result.exit_code == 2
    assert "not a duration such as 30d" in result.stderr


def test_tables_are_checked_and_made(cli: Cli, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    monkeypatch.setenv("MANIFOLD_LEDGER", postgres_url)
    before = said(cli("db", "check", "--json"), shapes.Schema, code=1)
    assert (before.ok, before.was) == (False, 0)
    missing = cli("ls")
    assert missing.exit_code == 4
    assert "run `manifold db migrate`" in missing.stderr
    made = said(cli("db", "migrate", "--json"), shapes.Schema)
    assert (made.ok, made.was) == (True, 0)
    assert "already" in cli("db", "migrate").stdout
    after = said(cli("db", "check", "--json"), shapes.Schema)
    assert (after.ok, after.was) == (True, made.version)
    assert cli("ls").exit_code == 0
    assert "@127.0.0.1" in made.ledger
    assert "***" in made.ledger


def test_a_ledger_that_does_not_answer_ends_in_code_4(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_PATIENCE", 0.2)
    monkeypatch.setenv("MANIFOLD_LEDGER", "postgresql://me:secret@127.0.0.1:1/db")
    for words in (["ls"], ["show", "x"], ["db", "check"], ["gc"], ["run", "math:sqrt", "--items", "range:3"]):
        result = cli(*words)
        assert result.exit_code == 4, result.output
        assert "could not be used for" in result.stderr
        assert "secret" not in result.output


def test_doctor_finds_a_sound_deployment_sound(cli: Cli, home: Path) -> None:
    examined = said(cli("doctor", "--engine", "processes://1", "--engine", "threads://1", "--json"), shapes.Examined)
    assert [one.name for one in examined.checks] == [
        *("versions", "settings", "ledger", "secret", "store"),
        *("engine processes://1", "engine threads://1"),
    ]
    assert {one.state for one in examined.checks} == {"ok"}
    assert not list((home / "store").rglob("manifold-doctor/*"))
    text = cli("doctor", "--engine", "threads://1").stdout
    assert "nothing is broken" in text


def test_doctor_sends_a_call_to_the_default_engine(cli: Cli) -> None:
    examined = said(cli("doctor", "--json"), shapes.Examined)
    assert examined.checks[-1].name == "engine processes://"
    assert "a call came back" in examined.checks[-1].found


def broken(cli: Cli, *words: str) -> dict[str, str]:
    """What doctor says is broken, and how it says to fix it."""
    result = cli("doctor", "--engine", "threads://1", *words, "--json")
    examined = said(result, shapes.Examined, code=1)
    assert not examined.ok
    return {one.name: one.fix or "" for one in examined.checks if one.state == "broken"}


def test_doctor_names_a_secret_that_cannot_be_used(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", "k1:nothex")
    assert "must read id:hex" in broken(cli)["secret"]
    monkeypatch.setenv("MANIFOLD_SECRET", "k1:00ff")
    assert "at least 16 bytes" in broken(cli)["secret"]


def test_doctor_names_a_secret_that_others_can_read(cli: Cli, home: Path) -> None:
    config.keyring()
    (home / "secret").chmod(0o644)
    (fix,) = broken(cli).values()
    assert fix.endswith(f"chmod 600 {home / 'secret'}")


def test_doctor_names_a_ledger_and_a_store_that_cannot_be_used(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_LEDGER", "mysql://me:hush@host/db")
    monkeypatch.setenv("MANIFOLD_STORE", "nope://bucket")
    found = broken(cli)
    assert set(found) == {"ledger", "store"}
    assert "PostgreSQL or SQLite" in found["ledger"]
    assert "hush" not in cli("doctor", "--engine", "threads://1").output


def test_doctor_names_tables_that_are_missing(cli: Cli, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    monkeypatch.setenv("MANIFOLD_LEDGER", postgres_url)
    assert "manifold db migrate" in broken(cli)["ledger"]


def test_doctor_names_an_engine_that_nobody_answers_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(key: str) -> dict[str, Any]:
        import time

        time.sleep(0.5)
        return {}

    monkeypatch.setattr(checks, "_SECONDS", 0.05)
    monkeypatch.setattr(checks, "seen_by_worker", silent)
    assert "no worker has run a call within 0.05 s" in broken(cli)["engine threads://1"]


def test_doctor_names_workers_with_another_store(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(key: str) -> dict[str, Any]:
        return {"host": "far", "pid": 1, "version": "0", "trouble": f"the store /else has no {key}"}

    monkeypatch.setattr(checks, "seen_by_worker", elsewhere)
    found = broken(cli, "--engine", "processes://1")
    assert "workers and coordinators need one store" in found["engine processes://1"]


def test_a_new_secret_is_good_and_never_the_same(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (
        cli("doctor", "--new-secret").stdout.strip(),
        said(cli("doctor", "--new-secret", "--json"), shapes.NewSecret),
    )
    assert one != two.secret
    monkeypatch.setenv("MANIFOLD_SECRET", one)
    assert config.keyring().current == one.partition(":")[0]


def test_the_schema_that_is_found_is_told_apart(home: Path) -> None:
    ledger = open_ledger()
    ledger.close()
    with context.answering(config.ledger_url()) as database:
        from manifold.ledger import schema

        assert schema.found_version(database) == schema.version()
