"""Hooks inside items, as the page on them shows: HTTP and SQL, on Celery workers and on processes of this host."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import psycopg2
import pytest
import redis

import manifold
from manifold import per_worker
from manifold.abc import Engine
from manifold.demo.postgres import PostgresServer
from manifold.engines.open import open_engine
from manifold.policy import Policy
from manifold.protocol import secrets
from manifold.protocol.by_value import by_value
from manifold.results.results import Results
from tests.celery.brokers import Deployment, serves
from tests.docs.markdown import ROOT, blocks

PASSWORD = "hunter2/hunter2-of-crm"
NEEDLES = [PASSWORD, "hunter2", "pw-of-warehouse", "eu-west-nowhere", "pat-of-crm"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The DAG file of the page, as a module that no worker has."""
    (text,) = (one.text for one in blocks(ROOT / "docs" / "airflow-in-items.md") if one.how == "file hooks_dag.py")
    file = tmp_path_factory.mktemp("page") / "hooks_dag.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location("hooks_dag", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["hooks_dag"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with by_value([file.parent]):
        yield module
    del sys.modules["hooks_dag"]


class Crm(BaseHTTPRequestHandler):
    """A service of customers; the one with number 13 is missing."""

    wanted = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    keys: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        number = re.fullmatch(r"/customers/(\d+)\?region=eu-west-nowhere", self.path)
        allowed = self.headers["Authorization"] == self.wanted
        self.send_response(401 if not allowed else 404 if number is None or number[1] == "13" else 200)
        self.end_headers()
        if allowed and number is not None:
            self.keys.append(self.headers["Idempotency-Key"])
            self.wfile.write(json.dumps({"number": int(number[1]), "name": f"N. {number[1]}"}).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A web service and a database, and the connections that lead there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Crm)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with PostgresServer(tmp_path_factory.mktemp("warehouse") / "postgres", settings={"fsync": "off"}) as database:
        database.create_database("warehouse", "pw-of-warehouse")
        crm = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_port, "login": "me"}
        yield {
            "AIRFLOW_CONN_CRM": json.dumps(crm | {"password": PASSWORD, "extra": {"pat": "pat-of-crm"}}),
            "AIRFLOW_CONN_WAREHOUSE": f"postgres://warehouse:pw-of-warehouse@127.0.0.1:{database.port}/warehouse",
            "AIRFLOW_VAR_REGION": "eu-west-nowhere",
        }
    server.shutdown()
    server.server_close()


@pytest.fixture
def only_given(given: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is named comes from a task, say: no environment has it."""

    def from_task(policy: Policy) -> secrets.Secrets:
        names = [*map(secrets.conn_name, policy.connections), *map(secrets.var_name, policy.variables)]
        found = {name: given[name] for name in names}
        return secrets.Secrets(found, sorted(set(secrets.hidden_of(found))))

    monkeypatch.setattr("manifold.api.from_environment", from_task)
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))


def tell(n: int) -> str:
    """Tells all that it was given."""
    from airflow.sdk import BaseHook

    crm = BaseHook.get_connection("crm")
    print(crm.password, crm.get_uri(), crm.extra)
    raise ConnectionError(f"{n}: {crm.password!r} {crm.as_json()} {crm.extra_dejson}")


def run(page: ModuleType, engine: Engine, given: dict[str, str]) -> Results:
    """What the page shows, and a function that tells what it must not."""
    options: dict[str, Any] = {"engine": engine, "chunk_size": 5}
    customers = manifold.scatter(
        page.fetch.function, range(1, 41), connections=["crm"], variables=["region"], tolerate=1, **options
    )
    assert [row["number"] for row in customers] == [n for n in range(1, 41) if n != 13]
    assert {f"{customers.uid}-{n}" for n in range(40)} <= set(Crm.keys)
    consts = {"into": per_worker(page.table), "day": "2026-11-27"}
    with closing(psycopg2.connect(given["AIRFLOW_CONN_WAREHOUSE"].replace("postgres:", "postgresql:"))) as database:
        database.autocommit = True
        with database.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS customer")
            cursor.execute("CREATE TABLE customer (number INT PRIMARY KEY, name TEXT, day DATE)")
            written = manifold.scatter(
                page.write.function, customers, connections=["warehouse"], consts=consts, **options
            )
            cursor.execute("SELECT count(*), min(name), min(day)::text FROM customer")
            assert cursor.fetchone() == (39, "N. 1", "2026-11-27")
    assert len(written) == 39
    told: Results = manifold.scatter(tell, range(4), connections=["crm"], tolerate=4, keep_logs=True, **options)
    return told


def clean(where: str, text: str) -> None:
    for needle in NEEDLES:
        at = text.find(needle)
        assert at < 0, f"{where} has a secret: …{text[max(0, at - 200) : at]}<{needle}>…"


def unpacked(text: str, depth: int = 4) -> Iterator[str]:
    """A text, and all that stands in it as base64."""
    yield text
    for packed in re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", text) if depth else ():
        with suppress(binascii.Error):
            yield from unpacked(base64.b64decode(packed + "=" * (-len(packed) % 4)).decode("latin-1"), depth - 1)


def nothing_told(results: Results, folder: Path) -> None:
    failures = list(results.failures())
    assert len(failures) == 4
    assert all("***" in str(one.message) for one in failures)
    clean("a failure", "".join(f"{one.message} {one.traceback}" for one in failures))
    lines = [line.text for line in results.logs()]
    assert len(lines) == 4
    clean("a line", "".join(lines))
    for file in folder.rglob("*"):
        if file.is_file():
            clean(str(file), file.read_bytes().decode("latin-1"))


@pytest.mark.usefixtures("only_given")
def test_hooks_work_on_processes_and_what_they_were_given_is_told_nowhere(
    page: ModuleType, given: dict[str, str], tmp_path: Path
) -> None:
    with open_engine("processes://2") as engine:
        nothing_told(run(page, engine, given), tmp_path / "home")


@pytest.mark.usefixtures("only_given")
def test_hooks_work_on_celery_and_what_they_were_given_is_told_nowhere_nor_read_at_the_broker(
    broker: Deployment, page: ModuleType, given: dict[str, str], tmp_path: Path
) -> None:
    store = {"MANIFOLD_STORE": (tmp_path / "home" / "store").as_uri()}
    spied: list[str] = []
    with broker.worker("hooks", "hooks", more=store), broker.engine("hooks") as engine, spying(broker, spied):
        nothing_told(run(page, serves(engine, 2), given), tmp_path / "home")
    if broker.kind == "redis":
        assert len(spied) > 20
    for command in spied:
        for text in unpacked(command):
            clean("the broker", text)
    clean("the worker's log", (broker.folder / "hooks.log").read_text())


def spying(broker: Deployment, spied: list[str]) -> Any:
    """Within it, each command that the broker gets is noted."""
    return _Spy(broker.server.url(), spied) if broker.kind == "redis" else nullcontext()


class _Spy:
    def __init__(self, url: str, spied: list[str]) -> None:
        self._client, self._spied = redis.Redis.from_url(url), spied
        self._over = threading.Event()

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._listen)
        self._monitor: Any = self._client.monitor().__enter__()  # type: ignore[no-untyped-call]
        self._thread.start()

    def _listen(self) -> None:
        for command in self._monitor.listen():
            self._spied.append(str(command["command"]))
            if self._over.is_set():
                return

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._client.ping()  # the last command that it hears
        self._thread.join()
        self._monitor.__exit__(None, None, None)
        self._client.close()
