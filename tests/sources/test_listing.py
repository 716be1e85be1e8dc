"""Which files a path names: links are followed, nothing that matches is left out without a word."""

from __future__ import annotations

import glob
import logging
import os
from pathlib import Path

import fsspec
import pytest

from manifold.errors import ConfigError, ItemsChanged
from manifold.sources import lines


def read(path: str | Path) -> list[str]:
    return list(lines(path).read())


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return path


def test_files_that_are_links_are_read_as_what_they_lead_to(tmp_path: Path) -> None:
    data = put(tmp_path / "..2026" / "a.txt", "a")
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "..data").symlink_to(data.parent)
    (tmp_path / "mounted" / "a.txt").symlink_to("..data/a.txt")  # as a config map is mounted
    put(tmp_path / "mounted" / "b.txt", "b")
    assert read(tmp_path / "mounted" / "*.txt") == ["a", "b"]
    (tmp_path / "mounted" / "b.txt").unlink()
    assert read(tmp_path / "mounted" / "*.txt") == ["a"]
    assert read(tmp_path / "mounted" / "a.txt") == ["a"]


def test_folders_that_are_links_are_entered(tmp_path: Path) -> None:
    put(tmp_path / "cache" / "one" / "a.txt", "a")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "day1").symlink_to(tmp_path / "cache" / "one")
    assert read(tmp_path / "in" / "*" / "*.txt") == ["a"]
    assert read(tmp_path / "in" / "**" / "*.txt") == ["a"]


def test_what_a_link_leads_to_is_pinned(tmp_path: Path) -> None:
    put(tmp_path / "old" / "a.txt", "old")
    put(tmp_path / "new" / "a.txt", "newer")
    link = tmp_path / "a.txt"
    link.symlink_to("old/a.txt")
    source = lines(tmp_path / "*.txt")
    source.pin(None)
    assert list(source.read()) == ["old"]
    link.unlink()
    link.symlink_to("new/a.txt")
    with pytest.raises(ItemsChanged, match=r"a\.txt"):
        list(source.read())


def test_a_link_to_nothing_is_an_error_that_names_it(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "a")
    (tmp_path / "b.txt").symlink_to("gone.txt")
    with pytest.raises(ConfigError, match=r"b\.txt is a link to nothing"):
        read(tmp_path / "*.txt")


def test_a_pipe_is_an_error_that_names_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match=r"a\.txt is neither a file nor a folder"):
        read(tmp_path / "*.txt")


@pytest.mark.parametrize(
    "pattern",
    [
        *("*.txt", "*", "**/*.txt", "*/*.txt", ".*.txt", ".hidden/*.txt", ".*/*.txt", "in/**/*.txt"),
        *("**/.*.txt", "**/.deep/*.txt", "in/.deep/**/*.txt", "[.a]*.txt", "?hidden.txt"),
    ],
)
@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_hidden_files_match_as_in_glob(tmp_path: Path, pattern: str, protocol: str) -> None:
    names = ["a.txt", ".hidden.txt", ".hidden/b.txt", "in/c.txt", "in/.d.txt", "in/.deep/e.txt", "in/.deep/f/g.txt"]
    for name in names:
        put(tmp_path / name, name)
    wanted = [name for name in sorted(glob.glob(pattern, root_dir=tmp_path, recursive=True)) if name.endswith(".txt")]
    where = f"{tmp_path}/{pattern}"
    if protocol == "memory":
        memory = fsspec.filesystem("memory")
        memory.put(str(tmp_path), str(tmp_path), recursive=True)
        where = f"memory://{where}"
    if not wanted:
        with pytest.raises(ConfigError, match="no file"):
            read(where)
    else:
        assert sorted(read(where)) == wanted


def test_a_pattern_that_matches_folders_too_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "a.txt", "a")
    put(tmp_path / "more" / "b.txt", "b")
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path / "*") == ["a"]
    assert f"matches the folder {tmp_path}/more too, whose files are not read" in caplog.text


def test_a_pattern_that_matches_folders_alone_says_what_to_write(tmp_path: Path) -> None:
    for day in ("day1", "day2"):
        put(tmp_path / day / "a.txt", day)
    with pytest.raises(ConfigError, match=r"matches 2 folders .*day1.*and no file.*write .*/\*/\*"):
        read(tmp_path / "*")
    assert read(tmp_path / "*" / "*") == ["day1", "day2"]
    with pytest.raises(ConfigError, match="no file matches"):
        read(tmp_path / "*.csv")


def test_a_file_that_may_not_be_read_is_no_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.txt", "a")

    def denied(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.info", denied)
    with pytest.raises(ConfigError, match="no right to"):
        read(tmp_path / "a.txt")


def test_lines_that_are_appended_while_the_file_is_read_are_no_items(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("".join(f"{n}\n" for n in range(100_000)))
    source, seen = lines(path), []
    source.pin(None)
    with pytest.raises(ItemsChanged, match=r"log\.txt has changed since the scatter began"):  # noqa: PT012
        for line in source.read():
            seen.append(line)
            if len(seen) == 10:
                with path.open("a") as file:
                    file.write("more\nhalf a li")
    assert seen == [str(n) for n in range(100_000)]


@pytest.mark.parametrize("change", ["cut", "written anew", "deleted"])
def test_a_file_that_changes_while_it_is_read_ends_this_try(tmp_path: Path, change: str) -> None:
    path = tmp_path / "data.txt"
    path.write_text("".join(f"{n}\n" for n in range(200_000)))
    source = lines(path)
    source.pin(None)
    read = source.read()
    next(read)
    if change == "cut":
        os.truncate(path, 300_000)
    elif change == "written anew":
        path.write_text("".join(f"{n + 1}\n" for n in range(200_000)))
    else:
        path.unlink()
    with pytest.raises(ItemsChanged, match=r"data\.txt"):
        list(read)


def test_damage_that_comes_of_a_change_is_told_as_the_change(tmp_path: Path) -> None:
    from manifold.sources import records

    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 1}\n' * 100_000)
    source = records(path)
    source.pin(None)
    read = source.read()
    next(read)
    path.write_text("<html>\n" * 130_000)
    with pytest.raises(ItemsChanged, match=r"data\.jsonl has changed"):
        list(read)
