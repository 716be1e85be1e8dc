"""A scatter of 100 million items in 100,000 chunks, in PostgreSQL: the page counts, and never reads it all."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from manifold.ledger import Claim, Ledger, open_ledger
from manifold.web import deployment
from manifold.web.cache import remembered
from tests.ledger import made
from tests.web.conftest import API, Login, TestClient, airflow_scatter, get

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]

CHUNKS, SIZE = 100_000, 1000
FAILED = 20_000
VIEWS = ("", "/rate", "/map", "/timeline", "/errors", "/failures")
PATIENCE = 1.0
"""Seconds that a view may take at its best here: five times what is promised, for a machine that others use, too."""

ATTEMPTS = """
INSERT INTO attempt (id, uid, layer, start, stop, epoch, state, started, died, why, sent_at)
SELECT md5(n::text), :uid, 0, n * :size, (n + 1) * :size, 1, 'won', false, false, 'first', :now - 3600 + n * 0.036
FROM generate_series(0, :chunks - 1) n
"""
COMMITTED = """
INSERT INTO chunk (uid, layer, start, stop, seq, epoch, attempt, n_ok, n_failed, n_skipped, outcome, blob_bytes, worker,
                   seconds, committed_at)
SELECT :uid, 0, n * :size, (n + 1) * :size, n + 1, 1, md5(n::text), :size - (n % 5 = 0)::int, (n % 5 = 0)::int, 0,
       CASE WHEN n % 5 = 0 THEN 'f1o' || (:size - 1) END, 0, 'worker ' || n % 40, 0.5 + random(),
       :now - 3600 + n * 0.036
FROM generate_series(0, :chunks - 1) n
"""
FAILURES = """
INSERT INTO failure (uid, pos, layer, epoch, fingerprint, type, message, attempts, worker)
SELECT :uid, n * 5 * :size, 0, 1, 'kind ' || n % 7, 'ValueError', 'no ' || n, 1, 'worker ' || n % 40
FROM generate_series(0, :chunks / 5 - 1) n
"""
KINDS = """
INSERT INTO error_kind (uid, fingerprint, type, message, traceback)
SELECT :uid, 'kind ' || n, 'ValueError', 'no ' || n, 'Traceback' FROM generate_series(0, 6) n
"""
WORKERS = """
INSERT INTO worker (uid, worker, host, pid, last_seen, holding, items, chunks)
SELECT :uid, 'worker ' || n, 'host', n, :now, '[]', 0, 0 FROM generate_series(0, 39) n
"""
COUNTERS = """
UPDATE scatter SET n_ok = :chunks * :size - :failed, n_failed = :failed, seq = :chunks, created_at = :now - 3600
WHERE uid = :uid
"""


@pytest.fixture
def large(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Claim]:
    """Such a scatter, with its last chunks on the way."""
    monkeypatch.setenv("MANIFOLD_LEDGER", postgres_url)
    deployment.close()
    remembered.clear()
    ledger = open_ledger(postgres_url, migrate=True)
    claim = airflow_scatter(ledger, total=CHUNKS * SIZE + 50_000)
    fill(ledger, claim.uid)
    made.sent(claim, CHUNKS * SIZE, CHUNKS * SIZE + 5000)
    yield claim
    ledger.close()
    deployment.close()


def fill(ledger: Ledger, uid: str) -> None:
    values = {"uid": uid, "size": SIZE, "chunks": CHUNKS, "failed": FAILED, "now": ledger.time()}
    engine = ledger.database.engine
    with engine.begin() as conn:
        for statement in (ATTEMPTS, COMMITTED, FAILURES, KINDS, WORKERS, COUNTERS):
            conn.execute(text(statement), values)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM ANALYZE"))  # as the server does by itself, some time after


def seconds(client: TestClient, path: str, times: int = 3) -> float:
    """The best of some calls, each of which counts anew."""
    taken = []
    for _ in range(times):
        remembered.clear()
        began = time.perf_counter()
        get(client, path)
        taken.append(time.perf_counter() - began)
    return min(taken)


def test_every_view_of_100_million_items_is_counted_by_the_database(
    login: Login, large: Claim, capsys: pytest.CaptureFixture[str]
) -> None:
    client = login("admin")
    told = get(client, f"/scatters/{large.uid}")
    assert told["counts"] | {"total_is_estimate": False} == {
        "succeeded": CHUNKS * SIZE - FAILED,
        "failed": FAILED,
        "skipped": 0,
        "running": 5000,
        "pending": 45_000,
        "total": CHUNKS * SIZE + 50_000,
        "total_is_estimate": False,
    }
    cells = get(client, f"/scatters/{large.uid}/map")["cells"]
    assert len(cells) == 400
    for name in ("succeeded", "failed", "skipped", "running", "pending"):
        assert sum(one[name] for one in cells) == told["counts"][name]
    points = get(client, f"/scatters/{large.uid}/rate")["points"]
    assert sum(one["items"] for one in points) == CHUNKS * SIZE
    taken = {view: seconds(client, f"/scatters/{large.uid}{view}") for view in VIEWS} | {
        "the list": seconds(client, "/scatters")
    }
    with capsys.disabled():
        print("\n" + "\n".join(f"{name or 'the scatter':12} {1000 * took:6.0f} ms" for name, took in taken.items()))
    assert max(taken.values()) < PATIENCE, taken


def test_a_poll_of_it_costs_next_to_nothing(login: Login, large: Claim) -> None:
    client = login("admin")
    url = f"{API}/scatters/{large.uid}"
    etag = client.get(url).headers["etag"]
    began = time.perf_counter()
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 304
    unchanged = time.perf_counter() - began
    assert unchanged < seconds(client, f"/scatters/{large.uid}/map")
