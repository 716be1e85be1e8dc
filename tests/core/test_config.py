"""Secrets and URLs: generated, private, masked."""

from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from manifold import config, errors
from manifold.errors import ConfigError, ManifoldError
from manifold.redaction import masked
from manifold.registry import ENGINES, REGISTRIES, STORES


def test_the_secret_is_made_once_and_only_its_owner_reads_it(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: config.keyring(), range(8)))
    assert len({ring.key(ring.current, "u") for ring in rings}) == 1
    assert stat.S_IMODE((home / "secret").stat().st_mode) == 0o600


def test_a_malformed_secret_is_refused_with_the_form_it_should_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", "nonsense:xyz")
    with pytest.raises(ConfigError, match="id:hex"):
        config.keyring()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@host/db",
        "redis://:hunter2@host:6379/0",
        "sql+postgresql://user:hunter2@host/db?sslmode=require",
        "s3://bucket?secret_key=hunter2&x=1",
        "celery://q?password=hunter2",
    ],
)
def test_secrets_in_urls_are_masked(url: str) -> None:
    assert "hunter2" not in masked(url)
    assert "***" in masked(url)


@pytest.mark.parametrize(("registry", "near"), [(ENGINES, "proceses://4"), (STORES, "fil:///x")])
def test_an_unknown_scheme_names_the_nearest_and_all(registry: object, near: str) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        registry.row(near)  # type: ignore[attr-defined]


def test_the_registries_are_sorted() -> None:
    for registry in REGISTRIES:
        assert list(registry.entries) == sorted(registry.entries)


def test_importing_manifold_loads_no_client_library() -> None:
    clients = (
        "airflow",
        "redis",
        "pandas",
        *{name for rows in REGISTRIES for row in rows.rows() for name in row.clients},
    )
    script = f"import sys, manifold; manifold.scatter; print([m for m in {clients} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _all_errors(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(below for one in kind.__subclasses__() for below in _all_errors(one))]


@pytest.mark.parametrize("kind", _all_errors(ManifoldError), ids=lambda kind: kind.__name__)
def test_every_error_crosses_processes_and_stands_in_the_tree(kind: type[Exception]) -> None:
    import pickle

    if kind.__module__ != "manifold.errors":
        return
    again = pickle.loads(pickle.dumps(kind("what happened")))
    assert type(again) is kind
    assert str(again) == "what happened"
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__


def test_what_an_error_carries_crosses_too() -> None:
    import pickle

    lost = errors.WorkerLost("gone")
    lost.position = 7
    assert pickle.loads(pickle.dumps(lost)).position == 7
    assert pickle.loads(pickle.dumps(errors.RetryItem("later", after=3.5))).after == 3.5
