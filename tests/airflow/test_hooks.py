"""Connections become URLs, and nothing of a password is lost or shown on the way."""

from __future__ import annotations

import pytest
from airflow.sdk import Connection

from manifold import config
from manifold.airflow import hooks
from manifold.airflow.configuration import register
from manifold.errors import ConfigError
from manifold.registry import ENGINES


def connection(kind: str, **fields: object) -> Connection:
    return Connection(conn_id="c", conn_type=kind, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hook", "given", "url"),
    [
        (hooks.CeleryHook, connection("celery", host="manifold"), "celery://manifold"),
        (hooks.CeleryHook, connection("celery", extra='{"queue": "manifold"}'), "celery://manifold"),
        (hooks.CeleryHook, connection("celery", host="q", extra='{"silence": 20}'), "celery://q?silence=20"),
        (hooks.CeleryHook, connection("celery"), "celery://"),
        (
            hooks.AmqpHook,
            connection("amqp", host="mq", port=5671, login="me", password="p@ss/w", schema="jobs"),
            "amqp://me:p%40ss%2Fw@mq:5671/jobs",
        ),
        (
            hooks.ManifoldRedisHook,
            connection("manifold_redis", host="r", password="p@ss", schema="1", extra='{"tls": "true"}'),
            "redis://:p%40ss@r/1?tls=true",
        ),
        (hooks.ProcessesHook, connection("processes", host="4"), "processes://4"),
        (hooks.ThreadsHook, connection("threads", host="8", extra='{"a": "b c"}'), "threads://8?a=b+c"),
        (
            hooks.LedgerHook,
            connection("manifold_ledger", host="db", port=5433, login="me", password="p@ss/w", schema="book"),
            "postgresql://me:p%40ss%2Fw@db:5433/book",
        ),
        (hooks.LedgerHook, connection("manifold_ledger", host="db"), "postgresql://db/manifold"),
        (hooks.StoreHook, connection("manifold_store", host="s3://bucket/folder"), "s3://bucket/folder"),
        (
            hooks.StoreHook,
            connection("manifold_store", host="sql+postgresql://db/blobs", login="me", password="x:y"),
            "sql+postgresql://me:x%3Ay@db/blobs",
        ),
    ],
)
def test_a_connection_becomes_the_url_that_the_core_opens(
    hook: type[hooks.UrlHook], given: Connection, url: str
) -> None:
    assert hook.url_from(given) == url


def test_a_connection_is_found_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CELERY_DEFAULT", "celery://manifold")
    assert hooks.connection_url("celery_default") == "celery://manifold"


def test_a_connection_to_a_hub_can_be_written_as_the_url_that_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MANIFOLD_HUB", "tcp://:aPassword1@hub:7000")
    assert hooks.connection_url("manifold_hub") == "tcp://:aPassword1@hub:7000"


def test_the_core_asks_airflow_for_a_name_that_is_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "resolvers", [])
    monkeypatch.setattr(config, "fillers", [])
    monkeypatch.setenv("AIRFLOW_CONN_POOL", "processes://3")
    register()
    register()
    assert config.resolve("pool") == "processes://3"
    assert len(config.resolvers) == 1


def test_an_unknown_connection_is_none_so_that_the_caller_can_say_what_it_is_for() -> None:
    assert hooks.connection_url("nobody_made_this") is None


def test_a_connection_of_another_kind_is_refused_with_the_kinds_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", "smtp://host")
    known = ", ".join([*(row.connection_type for row in ENGINES.rows()), "manifold_ledger", "manifold_store"])
    with pytest.raises(ConfigError, match=f"has the type 'smtp'; Manifold reads: {known}"):
        hooks.connection_url("mail")


def test_a_store_without_a_url_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a URL as its host"):
        hooks.StoreHook.url_from(connection("manifold_store", host="bucket"))


def test_the_test_button_says_what_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHELF", f'{{"conn_type": "manifold_store", "host": "file://{tmp_path}"}}')
    assert hooks.StoreHook("shelf").test_connection() == (True, f"file://{tmp_path} answers")


def test_the_test_button_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHELF", '{"conn_type": "manifold_store", "host": "nowhere"}')
    works, told = hooks.StoreHook("shelf").test_connection()
    assert not works
    assert "needs a URL" in told
