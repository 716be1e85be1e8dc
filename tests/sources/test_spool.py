"""One-shot iterables kept in a file."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manifold.errors import ConfigError
from manifold.sources.spool import spool


def _numbers(taken: list[int]) -> Iterator[dict[str, Any]]:
    for n in range(100):
        taken.append(n)
        yield {"n": n, "text": "ü\udc80\n", "x": float("nan") if n == 50 else n / 3, "deep": [None, {"k": True}]}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_a_generator_gave_can_be_read_again_and_again(tmp_path: Path, name: str) -> None:
    source = spool(_numbers([]), tmp_path / name)
    expected = [repr(item) for item in _numbers([])]
    for start in (0, 0, 40):
        assert [repr(item) for item in source.read(start)] == expected[start:]
    data = (tmp_path / name).read_bytes()
    assert (gzip.decompress(data) if name.endswith(".gz") else data).count(b"\n") == 100


def test_a_spool_that_is_there_is_used_only_where_that_is_said(tmp_path: Path) -> None:
    first = spool(iter([1, 2]), tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match="reuse=True"):
        spool(iter([3]), tmp_path / "a.jsonl")
    taken: list[int] = []
    again = spool(_numbers(taken), tmp_path / "a.jsonl", reuse=True)
    assert list(again.read()) == [1, 2]
    assert taken == []
    assert again.fingerprint() == first.fingerprint()


@pytest.mark.parametrize("item", [(1, 2), {1: 2}, dt.date(2026, 1, 1), b"x", {"a": {1, 2}}, {"deep": [(1,)]}], ids=repr)
def test_an_item_that_would_come_back_as_another_is_refused_and_nothing_is_left(tmp_path: Path, item: Any) -> None:
    with pytest.raises(ConfigError, match="item 1"):
        spool(iter([0, item]), tmp_path / "a.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_generator_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def breaks() -> Iterator[int]:
        yield 1
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        spool(breaks(), tmp_path / "a.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_path_without_the_right_name_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.jsonl"):
        spool(iter([1]), tmp_path / "a.txt")
    with pytest.raises(ConfigError, match="no folder"):
        spool(iter([1]), tmp_path / "none" / "a.jsonl")
