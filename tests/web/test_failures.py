"""The failed items on the page, with what the store has of them; no user's code runs to show them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold.ledger import Ledger, open_ledger
from manifold.protocol.envelope import dumps
from manifold.results.results import Results
from manifold.web import deployment, quarantine
from tests.web.conftest import API, TestClient, get

pytestmark = pytest.mark.filterwarnings("default")


class Odd:
    """An item that is not a plain value, and that notes in a file when somebody makes it again."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        Path(self.path).write_text("was made")

    def __repr__(self) -> str:
        return "Odd()"


def picky(item: Any) -> Any:
    if isinstance(item, Odd):
        raise TypeError("odd")
    print(f"looking at {item}")
    if item % 10 == 3:
        raise ValueError(f"no {item}")
    if item % 10 == 7:
        raise KeyError(item)
    return item


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A home with ledger and store, which the page reads."""
    for name in ("MANIFOLD_LEDGER", "MANIFOLD_STORE", "MANIFOLD_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    deployment.close()
    ledger = open_ledger()
    yield ledger
    ledger.close()
    deployment.close()


Scatter = Callable[..., Results]


@pytest.fixture
def scatter(home: Ledger) -> Scatter:
    def run(items: Any, **options: Any) -> Results:
        chosen = {"engine": "threads://2", "chunk_size": 10, "tolerate": "100%", "monitors": (), **options}
        return manifold.scatter(picky, items, ledger=home, **chosen)  # type: ignore[no-any-return]

    return run


@pytest.fixture
def admin(login: Callable[[str], TestClient], home: Ledger) -> TestClient:
    return login("admin")


def test_the_kinds_of_errors_come_with_traceback_and_samples(admin: TestClient, scatter: Scatter) -> None:
    uid = scatter(range(100)).uid
    told = get(admin, f"/scatters/{uid}/errors")
    assert {one["type"]: one["count"] for one in told["kinds"]} == {"ValueError": 10, "KeyError": 10}
    for kind in told["kinds"]:
        assert "in picky" in kind["traceback"]
        assert [one["pos"] for one in kind["samples"]] == ([3, 13, 23] if kind["type"] == "ValueError" else [7, 17, 27])
    assert told["more"] is False


def test_the_quarantine_is_paged_and_searched(admin: TestClient, scatter: Scatter) -> None:
    uid = scatter(range(100)).uid
    path = f"/scatters/{uid}/failures"
    positions, after = [], -1
    while after is not None:
        page = get(admin, path, after=after, limit=7)
        positions += [one["pos"] for one in page["failures"]]
        after = page["next"]
    assert positions == sorted([*range(3, 100, 10), *range(7, 100, 10)])
    kind = get(admin, path, limit=1)["failures"][0]["fingerprint"]
    assert len(get(admin, path, fingerprint=kind)["failures"]) == 10
    assert [one["pos"] for one in get(admin, path, search="no 43")["failures"]] == [43]
    assert [one["pos"] for one in get(admin, path, search="KEYERR")["failures"]] == [*range(7, 100, 10)]
    assert 57 in [one["pos"] for one in get(admin, path, search="57")["failures"]]
    assert get(admin, path, search="50%")["failures"] == []


@pytest.mark.parametrize("options", [{}, {"log_lines": 0, "keep_logs": True}])
def test_a_failed_item_shows_its_traceback_and_its_log_lines(
    admin: TestClient, scatter: Scatter, options: dict[str, Any]
) -> None:
    uid = scatter(range(20), **options).uid
    told = get(admin, f"/scatters/{uid}/failures/13")
    assert (told["type"], told["message"], told["note"]) == ("ValueError", "no 13", None)
    assert "ValueError: no 13" in told["traceback"]
    assert [one["text"] for one in told["lines"]] == ["looking at 13"]
    assert "is not failed" in get(admin, f"/scatters/{uid}/failures/14", 404)["detail"]


def test_where_no_lines_are_kept_the_page_says_how_to_keep_them(admin: TestClient, scatter: Scatter) -> None:
    uid = scatter(range(20), log_lines=0).uid
    told = get(admin, f"/scatters/{uid}/failures/13")
    assert told["lines"] == []
    assert "keep_logs=True" in told["note"]


def test_without_the_store_the_kinds_traceback_stands_in_and_nothing_is_marked(
    admin: TestClient, scatter: Scatter, home: Ledger, tmp_path: Path
) -> None:
    uid = scatter(range(20)).uid
    for blob in (tmp_path / "home" / "store").rglob("*.f"):
        blob.unlink()
    told = get(admin, f"/scatters/{uid}/failures/13")
    assert "ValueError: no " in told["traceback"]
    assert "cannot read" in told["note"]
    assert home.suspects(uid) == []


def test_a_sidecar_that_is_not_signed_by_us_is_not_read(admin: TestClient, scatter: Scatter, tmp_path: Path) -> None:
    uid = scatter(range(20)).uid
    for blob in (tmp_path / "home" / "store").rglob("*.f"):
        os.chmod(blob, 0o600)
        data = bytearray(blob.read_bytes())
        data[-1] ^= 1
        blob.write_bytes(data)
    assert "cannot read" in get(admin, f"/scatters/{uid}/failures/13")["note"]


def test_the_export_is_that_of_the_command_line(
    admin: TestClient, scatter: Scatter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from manifold.cli.app import app

    uid = scatter(range(100)).uid
    answer = admin.get(f"{API}/scatters/{uid}/failures.jsonl")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="failures-{uid}.jsonl"'
    path = tmp_path / "failed.jsonl"
    assert CliRunner().invoke(app, ["failed", uid, "--export", str(path)]).exit_code == 0
    assert answer.text == path.read_text()
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["value"] for line in lines] == [line["position"] for line in lines]
    one = lines[0]["fingerprint"]
    chosen = admin.get(f"{API}/scatters/{uid}/failures.jsonl", params={"fingerprint": one}).text
    assert [json.loads(line) for line in chosen.splitlines()] == [line for line in lines if line["fingerprint"] == one]


def test_an_item_that_is_no_plain_value_is_not_made_again(admin: TestClient, scatter: Scatter, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    uid = scatter([Odd(str(trace)), 1]).uid
    trace.unlink(missing_ok=True)
    (line,) = map(json.loads, admin.get(f"{API}/scatters/{uid}/failures.jsonl").text.splitlines())
    assert (line["value"], line["item"]) == (None, "Odd()")
    assert not trace.exists()


@pytest.mark.parametrize("value", [7, "x", None, [1, {"a": 2.5}], {"k": [True]}])
def test_plain_values_are_read(value: Any) -> None:
    assert quarantine.plain(dumps(value)) == value


def test_what_is_not_json_is_text_or_nothing() -> None:
    assert quarantine.plain(dumps(Decimal("1.50"))) == "1.50"
    assert quarantine.plain(dumps(print)) is None
    assert quarantine.plain(dumps(Odd("x"))) is None
    assert quarantine.plain(b"no pickle") is None
    assert quarantine.plain(None) is None


def test_the_results_of_a_process_that_is_gone_are_said_to_be(
    admin: TestClient, scatter: Scatter, home: Ledger
) -> None:
    uid = scatter(range(20), store="memory://").uid
    assert "memory of the process" in get(admin, f"/scatters/{uid}/failures/13")["note"]
    assert "memory of the process" in get(admin, f"/scatters/{uid}/failures.jsonl", 409)["detail"]
