"""`manifold run`: any items, any function of the working folder, and an account at the end."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manifold.cli import out, shapes
from tests.cli.conftest import Cli, said


def test_a_range_runs_and_is_accounted_for(cli: Cli, work: str) -> None:
    ran = said(
        cli("run", f"{work}:half", "--items", "range:1000", "--engine", "threads://2", "--id", "halves", "--json"),
        shapes.Ran,
    )
    assert (ran.name, ran.state, ran.total, ran.succeeded, ran.without_outcome) == (
        "halves",
        "succeeded",
        1000,
        1000,
        0,
    )
    assert (ran.percent, ran.coordinator, ran.message, ran.errors, ran.value) == (100.0, None, None, [], None)


def test_a_module_of_the_working_folder_travels_to_worker_processes(cli: Cli, work: str) -> None:
    ran = said(cli("run", f"{work}:half", "--items", "range:10", "--engine", "processes://1", "--json"), shapes.Ran)
    assert ran.succeeded == 10


def test_the_same_id_runs_only_what_is_missing(cli: Cli, work: str, pages: str) -> None:
    again = ("run", f"{work}:half", "--items", "range:100", "--engine", "threads://2", "--id", pages, "--json")
    ran = said(cli(*again), shapes.Ran)
    assert (ran.succeeded, ran.failed, ran.tries) == (100, 0, 2)
    fresh = said(cli(*again, "--fresh"), shapes.Ran)
    assert fresh.scatter != ran.scatter
    assert fresh.tries == 1


def test_too_many_failures_are_accounted_for_and_end_in_code_1(cli: Cli, work: str) -> None:
    result = cli(
        *("run", f"{work}:picky", "--items", "range:100", "--engine", "threads://1", "--id", "strict", "--json"),
        *("--option", "chunk_size=100"),
    )
    ran = said(result, shapes.Ran, code=1)
    assert ran.state == "failed"
    assert ran.errors[0].type in ("ValueError", "KeyError")
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["words.txt", "words.txt.gz", "lines:words.log"])
def test_text_files_are_read_by_line(cli: Cli, tmp_path: Path, name: str) -> None:
    text = b"one\ntwo\nthree\n"
    path = tmp_path / name.removeprefix("lines:")
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    result = cli("run", "builtins:len", "--items", name, "--engine", "threads://1", "--out", "lengths.jsonl")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "lengths.jsonl").read_text() == "3\n3\n5\n"
    assert "written to lengths.jsonl: 3 results" in result.stdout


def test_records_are_read_by_their_suffix(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("name,age\nAda,36\nAlan,41\n")
    result = cli("run", "builtins:dict", "--items", "*.csv", "--engine", "threads://1", "--out", "people.jsonl")
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in (tmp_path / "people.jsonl").read_text().splitlines()]
    assert told == [{"name": "Ada", "age": "36"}, {"name": "Alan", "age": "41"}]


def test_stdin_is_an_item_a_line(cli: Cli) -> None:
    result = cli("run", "builtins:len", "--items", "-", "--engine", "threads://1", "--json", input="a\nbb\n")
    assert said(result, shapes.Ran).succeeded == 2


def test_a_fold_tells_its_value(cli: Cli, work: str) -> None:
    result = cli(
        *("run", f"{work}:half", "--items", "range:5:50:5", "--engine", "threads://1", "--json"),
        *("--option", f"reduce={work}:add", "--option", "initial=0.5"),
    )
    assert said(result, shapes.Ran).value == sum(range(5, 50, 5)) / 2 + 0.5


def test_results_as_parquet(cli: Cli, work: str, tmp_path: Path) -> None:
    from pyarrow import parquet

    ran = said(
        cli("run", f"{work}:half", "--items", "range:4", "--engine", "threads://1", "--out", "r.parquet", "--json"),
        shapes.Ran,
    )
    assert (ran.out, ran.written) == ("r.parquet", 4)
    assert parquet.read_table(tmp_path / "r.parquet").to_pydict() == {"value": [0.0, 0.5, 1.0, 1.5]}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere:f", "--items", "range:3"], "there is no module 'nowhere'"),
        (["math", "--items", "range:3"], "not of the form MODULE:FUNCTION"),
        (["math:nothing", "--items", "range:3"], "has no attribute 'nothing'"),
        (["math:pi", "--items", "range:3"], "is a float, not a function"),
        (["math:sqrt", "--items", "range:many"], "is not a range such as range:1000000"),
        (["math:sqrt", "--items", "items.xyz"], "no file matches"),
        (["math:sqrt", "--items", "range:3", "--engine", "nope://3"], "no engine has the scheme"),
        (["math:sqrt", "--items", "range:3", "--option", "chunk_size"], "not of the form name=value"),
        (["math:sqrt", "--items", "range:3", "--option", "chunk_size=0"], "chunk_size=0 must be"),
        (["math:sqrt", "--items", "range:3", "--option", "tolerate=abc"], "tolerate='abc' is neither"),
        (["math:sqrt", "--items", "range:3", "--option", "chunksize=5"], "unknown option chunksize"),
        (["math:sqrt", "--items", "range:3", "--option", "engine=threads://1"], "say --engine instead"),
        (["math:sqrt", "--items", "range:3", "--out", "roots.csv"], "must end in .jsonl, .jsonl.gz, .parquet or .pq"),
        (["math:sqrt", "--items", "range:3", "--out", "nowhere/roots.jsonl"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_used_is_said_and_ends_in_code_2(cli: Cli, words: list[str], told: str) -> None:
    result = cli("run", *words)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_module_that_fails_to_import_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken_module.py").write_text("1 / 0")
    result = cli("run", "broken_module:f", "--items", "range:3")
    assert result.exit_code == 2
    assert "importing broken_module raises ZeroDivisionError" in result.stderr


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"mean": float("nan"), "most": float("inf")}, {"mean": None, "most": None}),
        ({("EWR", "AA"): 3}, "{('EWR', 'AA'): 3}"),
        ({"paths": ["caf\udce9"]}, {"paths": ["caf\udce9"]}),
        ({"left": 2 + 1j}, {"left": "(2+1j)"}),
    ],
)
def test_a_value_that_json_does_not_have_is_told_all_the_same(
    capsys: pytest.CaptureFixture[str], value: dict[Any, Any], told: object
) -> None:
    shape = shapes.Asked(scatter="s", name="n", verb="set", value=value, coordinator=None, done=True)
    out.say_json(shape)
    text = capsys.readouterr().out
    assert json.loads(text, parse_constant=pytest.fail) == msgspec.structs.asdict(shape) | {"value": told}
    assert text.isascii()
