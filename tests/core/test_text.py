"""Text of users is not always UTF-8, and may hold NUL: it is kept in a visible form and stops nothing."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

import manifold
import manifold.errors
from manifold.cli.app import app
from manifold.ledger import Ledger, verify
from manifold.protocol import envelope
from manifold.protocol.digests import item_digest
from manifold.protocol.task import Answer
from manifold.sources import lines
from manifold.text import storable, visible
from tests.shared import ByReference

ODD = "caf\udce9\0.csv"
SHOWN = "caf\\udce9\\x00.csv"


class Odd:
    """An item whose repr, digest and key are no UTF-8."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"{ODD}{self.number}"


class ResultingInOdd(str):
    """A subclass of str, as an exception's __str__ may return."""


def _raise(x: Any) -> Any:
    kind = type("OddError", (Exception,), {"__module__": ODD})
    kind.__qualname__ = ODD
    raise kind(ODD)


def _raise_with_cause(x: Any) -> Any:
    try:
        raise OSError(ODD)
    except OSError as exc:
        raise FileNotFoundError(ResultingInOdd(ODD)) from exc


def _print(x: Any) -> Any:
    print(ODD)
    logging.getLogger(ODD).warning("%s", ODD)
    return ODD


def test_what_every_database_takes_is_left_alone_and_the_rest_is_seen() -> None:
    assert storable("Grüße, 🙂\n") == "Grüße, 🙂\n"
    assert storable(ODD) == SHOWN
    assert type(storable(ResultingInOdd("plain"))) is str


def test_a_message_of_the_protocol_can_always_be_encoded() -> None:
    answer = Answer(refused=ODD, blobs={ODD: b"\xff\0"})
    assert msgspec.msgpack.decode(envelope.encode(answer), type=Answer) == Answer(
        refused=SHOWN, blobs={SHOWN: b"\xff\0"}
    )


@pytest.mark.parametrize("fn", [_raise, _raise_with_cause])
@pytest.mark.parametrize("item", [1, ODD, Odd(1)], ids=["plain", "text", "object"])
def test_an_error_that_is_no_utf8_is_that_items_failure_alone(fn: Any, item: Any, ledger: Ledger) -> None:
    def some(x: Any) -> Any:
        return fn(x) if x is not None else 7

    options: dict[str, Any] = {"tolerate": 1, "key": lambda x: ODD, "scatter_id": ODD, "ledger": ledger}
    with ByReference(some) as (engine, proxy):
        results = manifold.scatter(proxy, [None, item, None], engine=engine, **options)
        assert list(results) == [7, 7]
        (failed,) = results.failures()
        assert SHOWN in failed.message
        assert failed.key == SHOWN
        assert SHOWN in failed.traceback
        assert verify(ledger, results.uid) == []
        again = manifold.scatter(proxy, [None, item, None], engine=engine, **options)
        assert again.uid == results.uid, "the same name is found again"
    found = ledger.find(ODD)
    assert found is not None
    assert found.name == SHOWN
    assert ledger.find(SHOWN) == found


def test_lines_that_are_no_utf8_are_kept_beside_the_item(ledger: Ledger) -> None:
    results = manifold.scatter(_print, range(3), engine="threads://1", keep_logs=True, ledger=ledger)
    assert list(results) == [ODD] * 3
    texts = [line.text for line in results.logs()]
    assert len(texts) == 6
    assert set(texts) == {SHOWN, f"{SHOWN}: {SHOWN}"}


def test_a_whole_failed_sidecar_of_such_text_comes_back(ledger: Ledger) -> None:
    results = manifold.scatter(_raise, range(900), engine="threads://1", chunk_size=450, tolerate="100%", ledger=ledger)
    assert {failed.message for failed in results.failures()} == {SHOWN}


def test_a_set_up_that_fails_with_such_text_is_told(ledger: Ledger) -> None:
    def factory() -> Any:
        raise OSError(ODD)

    consts = {"client": manifold.per_worker(factory)}
    with pytest.raises(manifold.ManifoldError) as raised:
        manifold.scatter(lambda x, client: x, [1], engine="processes://1", consts=consts, ledger=ledger)
    assert "caf" in str(raised.value)


def test_control_requests_and_their_authors_may_hold_any_text(ledger: Ledger) -> None:
    results = manifold.scatter(abs, [1], engine="threads://1", ledger=ledger)
    ledger.control(results.uid, "redrive", {"fingerprints": [ODD]}, ODD)
    (control,) = ledger.pending_controls(results.uid)
    assert control.by_whom == SHOWN


def test_files_with_such_names_are_read_and_told_apart(tmp_path: Path, ledger: Ledger) -> None:
    for name, content in ((b"caf\xe9.txt", "a\nb\n"), (b"caf\xea.txt", "c\nd\n")):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text(content)
    results = manifold.scatter(
        str.upper, lines(f"{tmp_path}/*.txt"), engine="threads://1", ledger=ledger, scatter_id="files"
    )
    assert list(results) == ["A", "B", "C", "D"]
    one = manifold.scatter(
        str.upper, lines(f"{tmp_path}/caf\udce9.txt"), engine="threads://1", ledger=ledger, scatter_id="one"
    )
    assert list(one) == ["A", "B"]
    assert item_digest(["caf\udce9"]) != item_digest(["caf\udcea"])
    assert item_digest(["caf\udce9"]) not in (None, item_digest(["caf\\udce9"]))


def test_results_that_hold_such_text_can_be_exported_as_json(tmp_path: Path) -> None:
    results = manifold.scatter(lambda x: {"name": ODD}, range(2), engine="threads://1")
    assert results.to_jsonl(tmp_path / "out.jsonl") == 2
    assert [json.loads(line)["name"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [ODD] * 2


def test_the_command_line_shows_such_text() -> None:
    manifold.scatter(_raise, range(2), engine="threads://1", tolerate=2, key=lambda x: ODD, scatter_id=ODD)
    for command in (["ls"], ["ls", "--json"], ["show", SHOWN], ["failed", SHOWN], ["failed", SHOWN, "--json"]):
        answer = CliRunner().invoke(app, command)
        assert answer.exit_code == 0, (command, answer.output)
        assert "caf\\" in answer.output


def test_errors_and_the_page_say_such_text_in_a_form_that_can_be_sent() -> None:
    from manifold.web.quarantine import plain

    assert str(manifold.errors.EngineError(ODD)) == SHOWN
    assert visible("caf\udce9") == "caf\\udce9"
    assert plain(envelope.dumps({ODD: [ODD, 1]})) == {SHOWN: [SHOWN, 1]}
