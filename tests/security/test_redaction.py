"""What a scatter was given is not shown, however it is quoted or cut, and cannot be read where it travels."""

from __future__ import annotations

import html
import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

import manifold
from manifold import redaction
from manifold.abc import Monitor
from manifold.config import keyring
from manifold.coordinator import start
from manifold.engines.threads import ThreadsEngine
from manifold.errors import ConfigError, WireError
from manifold.events import Event, Notice
from manifold.policy import Policy
from manifold.protocol import envelope, secrets
from manifold.worker import capture, error_report

SECRET = 'pä/ss "w0rd" & \\more\n'.strip() + "\tend"
LONG = "".join(chr(97 + n % 26) for n in range(0, 40_000, 7))


@pytest.fixture(params=[SECRET, LONG], ids=["odd", "long"])
def text(request: pytest.FixtureRequest) -> Iterator[str]:
    with closing(redaction.hide([request.param])):
        yield request.param


def shows(secret: str, told: str) -> bool:
    """Some part of the secret stands in a text."""
    return any(secret[n : n + 8] in told for n in range(len(secret) - 8))


@pytest.mark.parametrize(
    "written",
    [str, repr, json.dumps, quote, lambda s: json.dumps(s, ensure_ascii=False), lambda s: quote(s, safe="")],
    ids=["plain", "repr", "json", "quoted", "json in unicode", "quoted whole"],
)
def test_a_hidden_text_is_masked_however_it_is_written(written: Any, text: str) -> None:
    assert redaction.mask(f"<{written(text)}>") in ("<***>", '<"***">', "<'***'>")


def test_a_hidden_text_is_masked_before_a_text_is_shortened(text: str) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "x" * 90 + text + "x" * 90

    for item in (text, [text], {"pw": text}, "x" * 90 + text + "x" * 10_000, Odd(), ("y" * 9000) + text):
        assert not shows(text, error_report.shown(item))
    error = ValueError("x" * 290 + text)
    record, trace = error_report.failure(error, pos=0, attempts=1, item=0, key="k" * 190 + text, digest=None)
    for shown in (record.message, record.key, trace):
        assert shown is not None
        assert not shows(text, shown)


def test_a_hidden_text_at_the_edge_of_a_printed_line_is_masked_whole(text: str) -> None:
    lines = capture.Lines(lambda: 0, 10)
    lines.add("info", "x" * (capture._LINE - 5) + text)
    for part in ("y" * 1990, text, "z" * 1990):
        lines.write("stdout", part)
    assert lines.close()
    for line in lines.kept:
        assert not shows(text, line.text)
        assert len(line.text) <= capture._LINE


def test_what_two_hide_stays_hidden_until_both_are_done() -> None:
    first, second = redaction.hide(["hunter2hunter2"]), redaction.hide(["hunter2hunter2"])
    first.close()
    first.close()
    assert redaction.mask("hunter2hunter2") == "***"
    second.close()
    assert redaction.mask("hunter2hunter2") == "hunter2hunter2"


@pytest.mark.parametrize("value", ["prod", "1", "12345678", "2026-11-27", "True", "None", "airflow", "  x  "])
def test_what_stands_everywhere_is_no_secret(value: str) -> None:
    assert list(redaction.secrets_in({"x": [value]})) == []


def test_the_secrets_of_a_value_are_found_in_what_holds_them() -> None:
    value = {"a": ["hunter2"], "b": '{"token": "s3cr3t-t", "n": 1}', "c": ("redis://me:pass-word@host", b"in bytes")}
    found = set(redaction.secrets_in(value))
    assert {"hunter2", "s3cr3t-t", "pass-word", "in bytes"} <= found


# What travels


def test_an_encrypted_message_is_read_with_the_secret_alone_and_is_the_same_each_time() -> None:
    header = envelope.Header(kind="function", uid="u", key_id=keyring().current, encrypted=True)
    for payload in (b"hunter2hunter2", b"hunter2hunter2" * 1000):
        sealed = envelope.seal(keyring(), header, payload)
        assert b"hunter2" not in sealed
        assert sealed == envelope.seal(keyring(), header, payload)
        assert envelope.unseal(keyring(), sealed, "function", uid="u")[1] == payload
        other = envelope.seal(
            keyring(), envelope.Header(kind="function", uid="v", key_id=header.key_id, encrypted=True), payload
        )
        assert envelope.peek(other).digest != envelope.peek(sealed).digest


def test_connections_are_opened_by_the_job_that_names_them_alone() -> None:
    key_id = keyring().current
    message = secrets.sealed(keyring(), "u", key_id, secrets.Secrets({"AIRFLOW_CONN_A": "x://"}, ["hunter2"]))
    digest = envelope.sealed_digest(message)
    assert secrets.opened(keyring(), "u", digest, message).environment == {"AIRFLOW_CONN_A": "x://"}
    for uid, named in (("v", digest), ("u", "0" * 64)):
        with pytest.raises(WireError):
            secrets.opened(keyring(), uid, named, message)
    assert "x://" not in repr(secrets.Secrets({"AIRFLOW_CONN_A": "x://"}))


@pytest.mark.parametrize("names", [[1], [""], 5, ["crm", "CRM"]])
def test_names_of_connections_that_make_no_sense_are_refused(names: Any) -> None:
    with pytest.raises(ConfigError, match="connections"):
        Policy(connections=names)
    assert Policy.of({"connections": "crm"}).connections == ("crm",)


def test_a_store_with_a_password_stands_without_it_in_the_ledger() -> None:
    told = Policy(store="s3://me:hunter2@bucket", engine="x://me:hunter2@host").describe()
    assert "hunter2" not in str(told)
    assert told["store"] == "s3://me:***@bucket"


# In plain Python: what is given comes from the environment


class Spied(ThreadsEngine):
    """Keeps what is sent to workers."""

    def __init__(self, slots: int) -> None:
        super().__init__(slots)
        self.sent: list[bytes] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.sent += [arg for arg in args if isinstance(arg, bytes)]
        return super().submit(fn, *args, **kwargs)


CRM = (
    '{"conn_type": "http", "host": "crm", "login": "me", "password": "hunter2hunter2", "extra": {"pat": "s3cr3t-pat"}}'
)
NEEDLES = ["hunter2", "s3cr3t-pat"]


def test_what_a_function_is_given_is_seen_by_it_alone_and_kept_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path / "home"))
    seen: list[str | None] = []
    notices: list[str] = []

    class Looks(Monitor):
        def emit(self, event: Event) -> None:
            seen.append(os.environ.get("AIRFLOW_CONN_CRM"))
            if isinstance(event, Notice):
                notices.append(event.text)

    def use(n: int) -> int:
        crm = json.loads(os.environ["AIRFLOW_CONN_CRM"])
        assert "AIRFLOW_CONN_CRM" in {**os.environ}
        thread = threading.Thread(target=lambda: seen.append(os.environ.get("AIRFLOW_CONN_CRM")))
        thread.start()
        thread.join()
        print("I log in with", crm["password"])
        if n == 3:
            raise ConnectionError(f"no login as me with {crm['password']} and {crm['extra']}")
        return n

    engine = Spied(2)
    policy = {"tolerate": 1, "keep_logs": True, "chunk_size": 5, "connections": ["crm"]}
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_CRM", CRM)
        genuine = start.run

        def run(*args: Any, **kwargs: Any) -> Any:
            patch.delenv("AIRFLOW_CONN_CRM")  # what workers find is what they were given
            return genuine(*args, **kwargs)

        patch.setattr("manifold.api.run", run)
        results = manifold.scatter(use, range(40), engine=engine, monitors=[Looks()], **policy)
    engine.shutdown()
    assert len(results) == 39
    assert set(seen) == {None}, "neither the coordinator's thread nor other threads of the process saw it"
    (failure,) = results.failures()
    told = [failure.message, failure.traceback, *(line.text for line in results.logs()), *notices]
    assert "no login as me with *** and" in failure.message
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for needle in NEEDLES:
        assert needle not in "".join(told)
        assert needle.encode() not in kept, "in ledger or store"
        assert needle.encode() not in b"".join(engine.sent), "in a message"


BOTH = threading.Barrier(2)


def look(n: int) -> tuple[str | None, list[str]]:
    BOTH.wait(60)
    return os.environ.get("AIRFLOW_CONN_A"), sorted(name for name in os.environ if name.startswith("AIRFLOW_CONN_"))


def test_two_scatters_in_one_process_do_not_see_each_others_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path))
    monkeypatch.setattr(
        "manifold.api.from_environment",
        lambda policy: secrets.Secrets({f"AIRFLOW_CONN_{name.partition(':')[0]}": name for name in policy.connections}),
    )

    def one(name: str) -> set[Any]:
        connections = [f"A:{name}", f"{name}:x"]
        found = manifold.scatter(look, range(8), engine="threads://1", connections=connections, chunk_size=1)
        return {(value, tuple(names)) for value, names in found}

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(one, ["ONE", "TWO"])
    assert first == {("A:ONE", ("AIRFLOW_CONN_A", "AIRFLOW_CONN_ONE"))}
    assert second == {("A:TWO", ("AIRFLOW_CONN_A", "AIRFLOW_CONN_TWO"))}
    assert type(os.environ) is os._Environ, "nothing is left behind"


def test_a_connection_that_is_not_there_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_CRM", raising=False)
    with pytest.raises(ConfigError, match="AIRFLOW_CONN_NOWHERE"):
        manifold.scatter(abs, [1], engine="threads://1", connections=["nowhere"])


def test_a_value_that_does_not_close_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    from manifold.worker.perworker import PerWorker, close_per_worker

    class Client:
        def close(self) -> None:
            raise ConnectionError("hunter2hunter2 is not let go")

    made = PerWorker(Client, (), {})
    made.value()
    with closing(redaction.hide(["hunter2hunter2"])):
        close_per_worker()
    assert "*** is not let go" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("secret", ["hunter2&x='q\"<é>\\ /\n\t€😀z", "p@ss:w/rd#1", "a b+c%d", "plainly"])
def test_a_secret_is_found_however_it_is_quoted_and_quoted_again(secret: str) -> None:
    data = secret.encode()
    forms = [
        *(repr(secret), ascii(secret), repr(data), repr({"both": f"""{secret} "and" 'or'"""}), repr([repr(data)])),
        *(json.dumps(secret), json.dumps(json.dumps({"in": secret})), json.dumps(repr(data)), html.escape(secret)),
        *(quote(secret), quote(secret, ""), quote(secret, "!$&'()*+,;=:@"), quote_plus(secret)),
        json.dumps(secret).replace("/", "\\/"),
    ]
    with closing(redaction.hide([secret])):
        masked = [redaction.mask(f"it is {form}, and") for form in forms]
    assert [text for text in masked if "***" not in text] == []
    left = [part for part in ("hunter2", "w/rd", "rd#", "b+c", "c%d", "plain") if part in "".join(masked)]
    assert left == []
