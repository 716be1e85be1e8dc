"""How a database comes to have the ledger's tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text, update

from manifold.errors import LedgerError, SchemaError
from manifold.ledger import Ledger, gauges, open_ledger, schema
from manifold.ledger.connection import connect
from manifold.ledger.tables import meta, metadata, pin, scatter_try, tally
from manifold.policy import Tolerance
from tests.ledger.made import claimed, done, new, owner, sound


def test_an_empty_database_is_refused_until_it_is_migrated(ledger_url: str) -> None:
    engine = connect(ledger_url)
    with pytest.raises(SchemaError, match="manifold db migrate"):
        schema.check(engine)
    with pytest.raises(SchemaError, match="manifold db migrate"):
        open_ledger(ledger_url, migrate=False)
    assert inspect(engine).get_table_names() == []
    assert schema.migrate(engine) == 0
    assert sorted(inspect(engine).get_table_names()) == sorted(metadata.tables)
    assert len(schema.check(engine)) == 32
    engine.dispose()


def test_migrating_again_changes_nothing(ledger: Ledger) -> None:
    done(claimed(ledger), 0, "oof")
    assert schema.migrate(ledger.database.engine) == schema.version()
    assert schema.check(ledger.database.engine) == ledger.uuid
    assert len(ledger.scatters()) == 1


def test_each_ledger_has_an_id_of_its_own(tmp_path: Path) -> None:
    ledgers = [open_ledger(f"sqlite:///{tmp_path / name}") for name in ("a.db", "b.db")]
    assert ledgers[0].uuid != ledgers[1].uuid
    assert open_ledger(f"sqlite:///{tmp_path / 'a.db'}").uuid == ledgers[0].uuid


def test_many_that_migrate_at_once_make_one_ledger(ledger_url: str) -> None:
    engines = [connect(ledger_url) for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        assert sorted(pool.map(schema.migrate, engines)).count(0) == 1
    assert len({schema.check(engine) for engine in engines}) == 1
    for engine in engines:
        engine.dispose()


def test_tables_of_a_newer_version_are_left_alone(ledger: Ledger) -> None:
    with ledger.database.engine.begin() as conn:
        conn.execute(update(meta).where(meta.c.name == "version").values(value=str(schema.version() + 1)))
    for act in (schema.check, schema.migrate):
        with pytest.raises(SchemaError, match="newer than this code's"):
            act(ledger.database.engine)


def test_an_upgrade_runs_once_and_keeps_what_is_there(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claimed(ledger)
    done(claim, 0, "oof")
    ran: list[str] = []

    def add_a_column(conn: Connection) -> None:
        ran.append(conn.dialect.name)
        conn.execute(text("ALTER TABLE scatter ADD COLUMN added INTEGER"))

    before = schema.version()
    monkeypatch.setattr(schema, "UPGRADES", (*schema.UPGRADES, add_a_column))
    with pytest.raises(SchemaError, match=f"version {before}, not {before + 1}"):
        schema.check(ledger.database.engine)
    assert schema.migrate(ledger.database.engine) == before
    assert schema.migrate(ledger.database.engine) == before + 1
    assert len(ran) == 1
    assert schema.check(ledger.database.engine) == ledger.uuid
    sound(ledger)


def _back_to_2(conn: Connection) -> None:
    """Make of the present tables what version 2 had."""
    pin.drop(conn)
    scatter_try.drop(conn)
    conn.execute(text("ALTER TABLE attempt DROP COLUMN adopted"))
    conn.execute(text("ALTER TABLE worker DROP COLUMN done"))
    conn.execute(text("ALTER TABLE scatter DROP COLUMN system"))
    conn.execute(text("ALTER TABLE scatter ADD COLUMN source_pin JSON DEFAULT '{}' NOT NULL"))
    conn.execute(update(meta).where(meta.c.name == "version").values(value="2"))


def test_an_upgrade_moves_pins_to_a_table_of_their_own_and_drops_those_of_replaced_scatters(ledger: Ledger) -> None:
    claim = claimed(ledger, source_pin={"files": ["a", "b"]})
    old = claimed(ledger, "old")
    old.fresh(new("old"))
    with ledger.database.engine.begin() as conn:
        _back_to_2(conn)
        for uid, files in ((claim.uid, '{"files": ["a", "b"]}'), (old.uid, '{"files": ["c"]}')):
            conn.execute(text("UPDATE scatter SET source_pin = :files WHERE uid = :uid"), {"files": files, "uid": uid})
    assert schema.migrate(ledger.database.engine) == 2
    assert ledger.pin(claim.uid) == {"files": ["a", "b"]}
    assert ledger.pin(old.uid) == {}
    assert ledger.tries(claim.uid) == []
    assert "source_pin" not in {column["name"] for column in inspect(ledger.database.engine).get_columns("scatter")}
    claim.release()
    again = ledger.acquire(claim.uid, owner(2))
    assert [one.epoch for one in ledger.tries(again.uid)] == [2]
    sound(ledger)


def test_a_ledger_of_the_first_version_is_upgraded_and_works(ledger: Ledger) -> None:
    claim = claimed(ledger)
    done(claim, 0, "oof")
    with ledger.database.engine.begin() as conn:  # as the first version left it
        _back_to_2(conn)
        tally.drop(conn)
        conn.execute(update(meta).where(meta.c.name == "version").values(value="1"))
    with pytest.raises(SchemaError, match="version 1, not 3"):
        schema.check(ledger.database.engine)
    assert schema.migrate(ledger.database.engine) == 1
    claim.set_total(3)
    claim.commit(tallies={"items:succeeded": 2})
    assert claim.finish(Tolerance.parse(1), {"items:succeeded": 2, "items:failed": 1}).state == "succeeded"
    assert gauges.read(ledger).tallies == {
        ("processes://2", "items:succeeded"): 2,
        ("processes://2", "items:failed"): 1,
    }
    sound(ledger)


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_half_way(conn: Connection) -> None:
        conn.execute(text("ALTER TABLE scatter ADD COLUMN added INTEGER"))
        conn.execute(text("SELECT no_such_column FROM scatter"))

    with monkeypatch.context() as patch:
        patch.setattr(schema, "UPGRADES", (*schema.UPGRADES, fail_half_way))
        with pytest.raises(LedgerError):
            schema.migrate(ledger.database.engine)
    assert schema.check(ledger.database.engine) == ledger.uuid
    assert "added" not in {column["name"] for column in inspect(ledger.database.engine).get_columns("scatter")}


def test_sqlite_is_made_on_the_spot_and_postgresql_only_on_demand(postgres_url: str, tmp_path: Path) -> None:
    assert open_ledger(f"sqlite:///{tmp_path / 'l.db'}").scatters() == []
    with pytest.raises(SchemaError):
        open_ledger(postgres_url)
    open_ledger(postgres_url, migrate=True).close()
    open_ledger(postgres_url).close()


def test_without_a_url_it_is_the_deployments_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_LEDGER", f"sqlite:///{tmp_path / 'of-the-deployment.db'}")
    assert open_ledger().url.endswith("of-the-deployment.db")


def test_a_coordinator_needs_no_right_to_change_tables(postgres_url: str) -> None:
    owner = open_ledger(postgres_url, migrate=True)
    name = f"clerk_{owner.uuid}"
    with owner.database.engine.begin() as conn:
        conn.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'"))
        conn.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"))
    url = owner.database.engine.url.set(username=name, password="secret").render_as_string(hide_password=False)
    clerk = open_ledger(url)
    claim = claimed(clerk)
    claim.withdraw(done(claim, 0, "ofs"))
    claim.fresh(new()).end("cancelled", "enough")
    sound(clerk)
    clerk.close()
    with owner.database.engine.begin() as conn:
        conn.execute(text(f"DROP OWNED BY {name}"))
        conn.execute(text(f"DROP ROLE {name}"))
    owner.close()
