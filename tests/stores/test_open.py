"""Which URL opens which store, and what is said of one that opens none."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifold.errors import ConfigError, MissingExtra, StoreError
from manifold.stores import open_store, store_behind
from manifold.stores.file import FileStore
from manifold.stores.fsspec import FsspecStore
from manifold.stores.memory import MemoryStore
from manifold.stores.patient import PatientStore
from manifold.stores.sql import SqlStore


def test_without_a_url_it_is_the_deployments_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_STORE", f"file://{tmp_path}/ours")
    open_store().put("k", b"v")
    assert (tmp_path / "ours" / "k").read_bytes() == b"v"


def test_without_any_setting_it_lies_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MANIFOLD_STORE", raising=False)
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path))
    open_store().put("k", b"v")
    assert (tmp_path / "store" / "k").read_bytes() == b"v"


def test_a_scatters_store_whose_password_nobody_kept_is_the_deployments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANIFOLD_STORE", f"file://{tmp_path}/ours")
    for recorded in ("", "sql+postgresql://somebody:***@host/blobs"):
        store = store_behind(recorded)
        assert isinstance(store, PatientStore)
        assert isinstance(store.store, FileStore)
        assert store.store.root == tmp_path / "ours"
    in_memory = store_behind("memory://")
    assert isinstance(in_memory, PatientStore)
    assert isinstance(in_memory.store, MemoryStore)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryStore),
        ("memory://some_name-1", MemoryStore),
        ("file:///tmp/x", FileStore),
        ("fsspec+memory://x", FsspecStore),
        ("sql+sqlite:///{tmp}/b.db", SqlStore),
    ],
)
def test_the_scheme_chooses_the_adapter(url: str, kind: type, tmp_path: Path) -> None:
    store = open_store(url.format(tmp=tmp_path))
    assert type(store) is kind
    store.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("blobs", "neither a URL"),
        ("nope://x", "Known: file://"),
        ("fiel:///x", "did you mean file://"),
        ("memory://a/b", "memory://NAME"),
        ("fsspec+file:///x", "file:///…"),
        ("local:///x", "file:///…"),
        ("sql://x", "sql\\+postgresql://"),
        ("sql+mysql://u:secret@h/d", "PostgreSQL and SQLite"),
        ("sql+nonsense://u:secret@h/d", "PostgreSQL and SQLite"),
        ("sql+sqlite://", "four slashes"),
        ("sql+sqlite:///relative.db", "four slashes"),
    ],
)
def test_a_url_that_opens_nothing_is_answered_with_what_would_do(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_missing_client_is_named_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(MissingExtra, match="pip install s3fs"):
        open_store("s3://bucket/folder")


def test_a_database_that_does_not_answer_is_a_store_error_without_the_password() -> None:
    with pytest.raises(StoreError) as caught:
        open_store("sql+postgresql://someone:hunter2@127.0.0.1:1/nothing")
    assert "127.0.0.1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_memory_of_another_name_is_another_store() -> None:
    open_store("memory://one").put("k", b"v")
    assert list(open_store("memory://two").keys()) == []
    open_store("memory://one").delete("k")
