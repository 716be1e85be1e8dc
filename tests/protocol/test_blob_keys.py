"""The forms of keys: what older versions have put into stores is found by them, so they never change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import manifold
from manifold.errors import ConfigError
from manifold.protocol import blob_keys
from manifold.protocol.blob_keys import blob_of, checked, execution_of, function_digest, log_key, parsed, piece_key

SHA = "0123456789abcdef" * 4
CHUNK = "led/sca/0000000000000064-00000000000000c8.att.non"
FUNCTION = "led/sca/function.7.0123456789abcdef0123456789abcdef"


def test_keys_have_the_forms_that_they_always_had() -> None:
    assert blob_keys.scatter_prefix("led", "sca") == "led/sca/"
    assert blob_keys.chunk_key("led", "sca", 100, 200, "att", "non", "r") == f"{CHUNK}.r"
    assert blob_keys.chunk_key("l", "s", 0, 2**64, "a", "n", "f") == "l/s/0000000000000000-10000000000000000.a.n.f"
    assert blob_keys.function_key("led", "sca", 7, SHA) == FUNCTION
    assert piece_key(f"{CHUNK}.r", 2) == f"{CHUNK}.r-2"
    assert blob_keys.marker_key("sto") == "manifold-store/sto"
    assert blob_keys.marker_key("sto").startswith(blob_keys.MARKERS)


def test_what_is_made_is_read_again() -> None:
    for kind in ("r", "f", "l"):
        key = f"{CHUNK}.{kind}"
        for match in map(parsed, (key, piece_key(key, 12))):
            assert match is not None
            assert match.groupdict() == {"attempt": "att", "nonce": "non", "kind": kind}
        assert execution_of(key) == execution_of(piece_key(key, 12)) == CHUNK
        assert blob_of(piece_key(key, 12)) == blob_of(key) == key
        assert log_key(key) == (f"{CHUNK}.l", "non")
    assert function_digest(FUNCTION) == SHA[:32]
    assert blob_of(piece_key(FUNCTION, 3)) == FUNCTION
    assert blob_keys.marked(blob_keys.marker_key("sto")) == "sto"


@pytest.mark.parametrize(
    "key",
    [
        FUNCTION,
        "manifold-store/sto",
        f"other/{CHUNK}.r",
        f"{CHUNK}",
        f"{CHUNK}.r.r",
        "led/sca/1-2.att.non.r",
        f"{CHUNK}.r-",
    ],
)
def test_a_key_of_another_form_is_no_chunks(key: str) -> None:
    assert parsed(key) is None


@pytest.mark.parametrize("key", [f"{CHUNK}.r", "led/sca/function.1", "manifold-store/sto", ""])
def test_a_key_of_another_form_names_no_function(key: str) -> None:
    assert function_digest(key) == ""


def test_the_longest_key_that_is_made_is_one_that_every_store_takes() -> None:
    ids = "f" * 32
    key = blob_keys.chunk_key(ids, ids, 2**63, 2**63, ids, "f" * 16, "r")
    assert checked(piece_key(key, 100_000))
    with pytest.raises(ConfigError, match="200 characters"):
        checked(key + "f" * 200)


def test_no_other_file_makes_or_reads_a_key() -> None:
    """Positions as digits, the words that keys begin with: each is written in one file."""
    forms = re.compile(r"""016x|"manifold-store|f"[^"]*/function\.|\.[rfl]["']""")
    root = Path(manifold.__file__).parent
    files = [path for path in root.rglob("*.py") if "testing" not in path.parts]
    found = {path.name for path in files if forms.search(path.read_text())}
    assert found == {"blob_keys.py"}
