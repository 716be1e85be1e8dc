"""A scatter with recognisable secrets everywhere, and everything that can go wrong: no secret is ever shown or kept."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import fsspec
import psutil
import pytest
from typer.testing import CliRunner

from manifold.cli.app import app
from manifold.demo.postgres import PostgresServer
from manifold.redaction import masked
from manifold.sources.files import FilesSource
from tests.servers import CuttableRedis

SECRET = "feedfacecafebeef" * 4
PASSWORDS = {
    "ledger": "ledgerPW-recognise1",
    "store": "storePW-recognise2",
    "broker": "brokerPW-recognise3",
    "source": "sourcePW-recognise4",
    "odd": "odd/PW#recognise5",
}
NEEDLES = [SECRET, *PASSWORDS.values(), *(quote(one, safe="") for one in PASSWORDS.values()), "recognise"]

SCRIPT = """
import logging, os, sys
logging.basicConfig(level=logging.DEBUG)
import manifold
from manifold.sources import records

def work(row):
    print("my environment:", dict(os.environ))
    if row["n"] == "3":
        raise ConnectionError("cannot log in to " + os.environ["MANIFOLD_LEDGER"])
    return int(row["n"]) * 2

source = records(sys.argv[1] if len(sys.argv) > 1 else os.environ["SOURCE"], format="csv")
results = manifold.scatter(work, source, engine=os.environ["ENGINE"], scatter_id="secretive",
                           tolerate=1, keep_logs=True)
print(results, list(results), [f.message for f in results.failures()], [f.traceback for f in results.failures()])
print([line for line in results.logs()])
"""


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("databases") / "postgres", settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture
def urls(databases: PostgresServer) -> dict[str, str]:
    """A ledger and a store, each with a role and a password of its own."""
    ledger = databases.create_database("ledger", PASSWORDS["ledger"]).replace("+psycopg2", "")
    store = databases.create_database("store", PASSWORDS["store"])
    return {"MANIFOLD_LEDGER": ledger, "MANIFOLD_STORE": f"sql+{store}"}


class Told:
    """What programs and commands say, each searched for secrets."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._caplog = caplog
        home = {"MANIFOLD_SECRET": f"k1:{SECRET}", "MANIFOLD_HOME": str(folder / "home")}
        self._env = {**home, "MANIFOLD_DEBUG": "1", **env}
        caplog.set_level(logging.DEBUG)

    def run(self, *command: str, env: Mapping[str, str]) -> str:
        """What a program said, on both streams; its command lines and its children's are watched, too."""
        process = subprocess.Popen(
            command,
            env={**os.environ, **self._env, **env},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watch = threading.Thread(target=_watch_command_lines, args=(process.pid, seen := set[str]()))
        watch.start()
        told = process.communicate(timeout=200)[0]
        watch.join()
        clean("what it printed", told)
        assert len(seen) > 0
        clean("its command lines", "\n".join(seen))
        return told

    def manifold(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """What a command said, with tracebacks and all that was logged meanwhile."""
        self._caplog.clear()
        result = CliRunner().invoke(app, list(words), env={**self._env, **(env or {})})
        clean(f"what {words} printed", result.output)
        clean(f"what {words} logged", self._caplog.text)
        assert isinstance(result.exception, SystemExit | None), result.exc_info
        return result.output


def _watch_command_lines(pid: int, seen: set[str]) -> None:
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))
            try:
                root.wait(0.1)
            except psutil.TimeoutExpired:
                continue


def clean(where: str, text: str) -> None:
    for needle in NEEDLES:
        at = text.find(needle)
        assert at < 0, f"{where} has a secret: …{text[max(0, at - 200) : at]}<{needle[:4]}…>"


def everything_in(url: str) -> str:
    """All rows of all tables of a database."""
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    found = []
    with engine.connect() as connection:
        for table in sa.inspect(engine).get_table_names():
            for row in connection.exec_driver_sql(f'SELECT * FROM "{table}"'):
                found += [
                    bytes(cell).decode(errors="replace") if isinstance(cell, (bytes, memoryview)) else str(cell)
                    for cell in row
                ]
    engine.dispose()
    return "\n".join(found)


def test_a_scatter_tells_and_keeps_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, urls: dict[str, str]
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "items.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(50)))
    told = Told(tmp_path, caplog, urls)
    assert told.manifold("db", "migrate")
    for engine in ("threads://2", "processes://2"):
        said = told.run(sys.executable, "script.py", env={"ENGINE": engine, "SOURCE": str(tmp_path / "items.csv")})
        assert "<Results of " in said
        assert "***" in said, "what the items printed was masked, not lost"
    for words in (["show"], ["failed"], ["verify", "--deep"], ["failed", "--export", str(tmp_path / "failed.jsonl")]):
        for form in ([], ["--json"]):
            assert told.manifold(words[0], "secretive", *words[1:], *form)
    for words in (["doctor"], ["doctor", "--json"], ["ls", "--json"], ["engines", "threads://2"], ["gc", "--dry-run"]):
        assert told.manifold(*words)
    clean("the export", (tmp_path / "failed.jsonl").read_text())
    clean("the ledger", everything_in(urls["MANIFOLD_LEDGER"].replace("postgresql", "postgresql+psycopg2")))
    clean("the store", everything_in(urls["MANIFOLD_STORE"].removeprefix("sql+")))


@pytest.mark.parametrize(
    "broken",
    ["unreachable ledger", "wrong password", "unreachable store", "unquoted password", "secret as id", "bad secret"],
)
def test_what_goes_wrong_is_said_without_secrets(
    broken: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    databases: PostgresServer,
    urls: dict[str, str],
) -> None:
    nowhere = f"postgresql://u:{PASSWORDS['ledger']}@127.0.0.1:1/db"
    wrong = f"postgresql://ledger:wrong-recognise@127.0.0.1:{databases.port}/ledger"
    env = {
        "unreachable ledger": {"MANIFOLD_LEDGER": nowhere},
        "wrong password": {"MANIFOLD_LEDGER": wrong},
        "unreachable store": {"MANIFOLD_STORE": f"sql+{nowhere}"},
        "unquoted password": {"MANIFOLD_LEDGER": f"postgresql://u:{PASSWORDS['odd']}@127.0.0.1:1/db"},
        "secret as id": {"MANIFOLD_SECRET": f"{SECRET}:{SECRET}"},
        "bad secret": {"MANIFOLD_SECRET": f"k1:{SECRET}x"},
    }[broken]
    told = Told(tmp_path, caplog, urls)
    for command in (["doctor"], ["doctor", "--json"], ["db", "check"]):
        assert told.manifold(*command, env=env)


def test_an_unreachable_broker_is_named_without_its_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, urls: dict[str, str]
) -> None:
    told, password = Told(tmp_path, caplog, urls), PASSWORDS["broker"]
    airflow = {"AIRFLOW_HOME": str(tmp_path / "airflow"), "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"}
    with CuttableRedis(tmp_path / "redis") as server:
        brokers = (
            f"redis://:{password}@127.0.0.1:1/0",
            f"amqp://me:{password}@127.0.0.1:1//",
            f"redis://:{password}@127.0.0.1:{server.port}/0",  # there, with another password
        )
        for broker in brokers:
            command = (sys.executable, "-m", "manifold.cli", "engines", "celery://q")
            assert "127.0.0.1" in told.run(*command, env={**airflow, "AIRFLOW__CELERY__BROKER_URL": broker})


def test_the_ledger_keeps_the_names_of_input_files_without_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"https://me:{PASSWORDS['source']}@host/items.csv"

    class Files:
        def invalidate_cache(self) -> None: ...

        def info(self, path: str) -> dict[str, object]:
            return {"name": path, "size": 3, "type": "file", "ETag": "1"}

    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda path, **_: (Files(), path))
    source = FilesSource(url, None, "utf-8")
    pinned = source.pin(None)
    clean("the pin", repr(pinned))
    clean("the source's repr", repr(source))
    assert FilesSource(url, None, "utf-8").pin(pinned) == pinned, "it is found again"
    assert source.changes() is None
    monkeypatch.setattr(Files, "info", lambda self, path: {"name": path, "size": 4, "type": "file", "ETag": "2"})
    source.pin(pinned)
    clean("what changed", str(source.changes()))
    assert "items.csv" in str(source.changes())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:recognise@host/db",
        "postgresql://user:pass/recognise@host/db",
        "postgresql://user:pass#recognise@host/db",
        "postgresql://user:pass?recognise@host/db",
        "postgresql://user:[recognise@host/db",
        "postgresql://user:re@cognise:recognise@host/db",
        "https://recognise@host/x",
        "s3://bucket?passphrase=recognise",
        "s3://bucket?x=1&auth=recognise",
        "db+postgresql://user:recognise@host/db?sslpassword=recognise",
    ],
)
def test_a_masked_url_shows_no_password_however_badly_it_is_written(url: str) -> None:
    clean("the masked URL", masked(url))
    assert "***" in masked(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a@b/*.csv",
        "http://host:8080/a@b",
        "http://[::1]:80/a@b",
        "sqlite:////x/y@z.db",
        "processes://4",
        "x@y",
    ],
)
def test_a_url_without_a_secret_is_shown_as_it_is(url: str) -> None:
    assert masked(url) == url
