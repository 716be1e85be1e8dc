"""The code that says what became of each item of a chunk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifold.protocol import outcome

letters = st.text(alphabet="ofs.", max_size=400)


def test_the_code_is_the_one_of_the_documents() -> None:
    assert outcome.encode("o" * 120 + "f" + "ooo") == "o120f1o3"


def test_all_ok_needs_no_code() -> None:
    assert outcome.encode("ooo") is None
    assert outcome.encode("") is None
    assert outcome.decode(None, 3) == [("o", 3)]
    assert outcome.decode(None, 0) == []


@given(letters)
def test_decoding_gives_back_what_was_encoded(text: str) -> None:
    code = outcome.encode(text)
    assert "".join(letter * count for letter, count in outcome.decode(code, len(text))) == text


@given(letters)
def test_counts_and_positions_are_those_of_the_letters(text: str) -> None:
    code = outcome.encode(text)
    assert outcome.count(code, len(text)) == tuple(text.count(letter) for letter in "ofs.")
    failed = [10 + index for index, letter in enumerate(text) if letter in "f."]
    assert list(outcome.positions(code, 10, 10 + len(text), "f.")) == failed


@given(st.lists(st.tuples(st.sampled_from("ofs."), st.integers(0, 9))))
def test_joined_runs_are_the_code_of_their_letters(runs: list[tuple[str, int]]) -> None:
    assert outcome.join(runs) == outcome.encode("".join(letter * count for letter, count in runs))


def test_a_letter_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="x"):
        outcome.encode("oxo")


@pytest.mark.parametrize("code", ["o3f", "o3 f1", "f0o4", "o1o3", "o4", "", "x4", "o03f1", "-o3f1"])
def test_a_code_that_encode_would_not_write_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="outcome"):
        outcome.decode(code, 4)


def test_a_code_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="of 5 items"):
        outcome.decode("o3f1", 5)
