"""Passwords that a DAG gives a function, by template or by connection: nobody who only looks ever reads one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.variable import Variable
from airflow.models.xcom import XComModel
from airflow.sdk import DAG, Param
from airflow.utils.session import create_session
from sqlalchemy import delete, select
from typer.testing import CliRunner

from manifold import per_worker
from manifold.airflow import templates
from manifold.airflow.decorator import scatter
from manifold.cli.app import app
from manifold.ledger import Ledger, open_ledger
from manifold.results.results import Results

from .runs import run

pytestmark = [
    pytest.mark.usefixtures("airflow_db", "made"),
    # The loop of `dags test` starts an api-server in this process, whose packages warn about one another.
    pytest.mark.filterwarnings("default"),
]

NEEDLES = ["hunter2", "s3cr3t", "pat-of-crm", "tok-of-var", "par-of-run", "eu-west-nowhere"]
"""What none may read. The connections and variables below are made of them."""


@pytest.fixture
def made(airflow_db: Path) -> Iterator[None]:
    """A connection and variables, made in Airflow, of which the environment knows nothing."""
    extra = json.dumps({"pat": "pat-of-crm/1", "n": 1})
    crm = Connection("crm", "http", host="crm.example", login="me", password="hunter2/hunter2", extra=extra)
    crm.port = 8080
    variables = {"region": "eu-west-nowhere", "creds": json.dumps({"tok": "tok-of-var-1"}), "mode": "fast"}
    with create_session() as session:
        session.add(crm)
        for key, value in variables.items():
            session.add(Variable(key, value))  # type: ignore[no-untyped-call]
    yield
    with create_session() as session:
        session.execute(delete(Connection).where(Connection.conn_id == "crm"))
        session.execute(delete(Variable))


@pytest.fixture
def ledger(airflow_db: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{airflow_db}/manifold/ledger.db")
    yield opened
    opened.close()


def a_dag(name: str, engine: str, **options: Any) -> DAG:
    params = {"key": Param("par-of-run-1", type="string"), "mode": "slow"}
    defaults = {"engine": engine, "retry_delay": timedelta(0), "retries": 0, "keep_logs": True} | options
    return DAG(name, schedule=None, default_args=defaults, params=params)


def clean(where: str, text: str) -> None:
    for needle in NEEDLES:
        at = text.find(needle)
        assert at < 0, f"{where} has a secret: …{text[max(0, at - 200) : at]}<{needle}>…"


def clean_everywhere(home: Path, uid: str, tmp_path: Path) -> None:
    """Whatever a viewer reaches, and what stands in ledger, store and Airflow's own tables."""
    database = sqlite3.connect(home / "manifold" / "ledger.db")
    clean("the ledger", "\n".join(map(str, database.iterdump())))
    database.close()
    for file in (home / "manifold" / "store").rglob("*"):
        if file.is_file():
            clean(f"the store's {file.name}", file.read_bytes().decode(errors="replace"))
    for words in (["show", uid], ["show", uid, "--json"], ["failed", uid], ["failed", uid, "--json"], ["ls", "--json"]):
        clean(" ".join(words), CliRunner().invoke(app, words).output)
    exported = tmp_path / "failed.jsonl"
    assert CliRunner().invoke(app, ["failed", uid, "--export", str(exported)]).exit_code == 0
    clean("the export", exported.read_text())
    with create_session() as session:
        for row in session.scalars(select(XComModel)):
            clean("XCom", str(row.value))
        for fields in session.scalars(select(RenderedTaskInstanceFields)):
            clean("the rendered fields", str(fields.rendered_fields))


@scatter
def log_in(n: int, pw: str, creds: dict[str, Any], header: list[str], day: str, mode: str) -> int:
    print("pw", pw, creds, header, "on", day)
    if n % 2:
        raise ConnectionError(f"{mode} on {day}: {pw!r} {creds['tok']} {json.dumps(creds)} {header[0].split()[1]}")
    return n


@pytest.mark.parametrize("engine", ["threads://2", "processes://2"])
def test_what_came_from_a_template_is_masked_wherever_it_is_told(
    engine: str, ledger: Ledger, airflow_db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_dag(f"templates_{engine[:4]}", engine, tolerate="100%") as dag:
        log_in.override(key=lambda n: f"key {n}").partial(
            pw="{{ conn.crm.password }}",
            creds={"tok": "{{ var.json.creds.tok }}", "more": ("{{ conn.crm.extra_dejson.pat }}",)},
            header=["Bearer {{ params.key }}"],
            day="{{ ds }}",
            mode="{{ params.mode }}",
        ).over(n=range(8))
    done = run(dag)
    results = done.output("log_in")
    clean("what was printed", capsys.readouterr().out)
    failures = list(results.failures())
    assert len(failures) == 4
    day = str(done.dagrun.run_after.date())
    assert failures[0].message.startswith(f"slow on {day}: '***' *** "), "dates and short words are shown"
    told = [f"{one.message} {one.traceback} {one.key}" for one in failures]
    clean("a failure", "".join(told))
    clean("the lines", "".join(line.text for line in results.logs()))
    clean_everywhere(airflow_db, results.uid, tmp_path)


def test_a_set_up_that_fails_tells_no_secret(airflow_db: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def connect() -> Any:
        from airflow.sdk import BaseHook

        crm = BaseHook.get_connection("crm")
        raise ConnectionError(f"no login with {crm.password} and {crm.extra_dejson}")

    @scatter(connections=["crm"])
    def use(n: int, client: Any) -> int:
        return n

    with a_dag("set_up", "processes://1") as dag:
        use.partial(client=per_worker(connect)).over(n=range(3))
    done = run(dag)
    assert done.state("use") == "failed"
    said = capsys.readouterr().out
    assert "no login with *** and" in said
    clean("what was printed", said)
    database = sqlite3.connect(airflow_db / "manifold" / "ledger.db")
    clean("the ledger", "\n".join(map(str, database.iterdump())))
    database.close()


# What a function is given


@scatter(connections=["crm"], variables=["region", "mode"])
def ask(n: int) -> list[Any]:
    from airflow.sdk import BaseHook, Variable

    crm, region = BaseHook.get_connection("crm"), Variable.get("region")
    print("as", crm.login, crm.password, crm.get_uri(), region)
    if n == 3:
        raise ConnectionError(f"{crm.login} has no access with {crm.password}, {crm.extra}, {region}")
    assert crm.password is not None
    return [crm.host, crm.port, crm.password[::-1], crm.extra_dejson["pat"][::-1], region[::-1], Variable.get("mode")]


@pytest.mark.parametrize("engine", ["threads://2", "processes://2"])
def test_hooks_find_the_connections_and_variables_that_a_function_was_given(
    engine: str, ledger: Ledger, airflow_db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_dag(f"given_{engine[:4]}", engine, tolerate=1) as dag:
        ask.over(n=range(6))
    done = run(dag)
    results: Results = done.output("ask")
    assert list(results) == [
        ["crm.example", 8080, "2retnuh/2retnuh", "1/mrc-fo-tap", "erehwon-tsew-ue", "fast"]
    ] * 5  # fmt: skip
    clean("what was printed", capsys.readouterr().out)
    (failure,) = results.failures()
    assert failure.message.startswith("me has no access with ***")
    clean("the failure", f"{failure.message} {failure.traceback}")
    clean("the lines", "".join(line.text for line in results.logs()))
    clean_everywhere(airflow_db, results.uid, tmp_path)


def test_a_connection_that_does_not_exist_ends_the_task_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with a_dag("nowhere", "threads://1") as dag:
        ask.override(task_id="ask", connections=["no_{{ params.mode }}"]).over(n=[1])
    done = run(dag)
    assert done.state("ask") == "failed"
    said = capsys.readouterr().out
    assert "connections=['no_slow']" in said
    assert "Airflow has no connection of that name" in said


@scatter(tolerate="100%")
def lost(n: int) -> Any:
    from airflow.sdk import BaseHook, Variable, get_current_context

    asked: list[Any] = [
        lambda: BaseHook.get_connection("crm"),
        lambda: Variable.get("region"),
        get_current_context,
        lambda: Variable.set("x", "y"),
    ]
    return asked[n]()


def test_what_a_worker_has_not_is_refused_with_the_line_to_add() -> None:
    with a_dag("lost", "processes://1") as dag:
        lost.over(n=range(4))
    messages = [str(one.message) for one in run(dag).output("lost").failures()]
    conn, var, context, write = messages
    assert '@task.scatter(connections=["crm"])' in conn
    assert '@task.scatter(variables=["region"])' in var
    assert '.partial(ds="{{ ds }}"' in context
    assert "Return the value" in write


# Which values of templates are hidden


@pytest.mark.parametrize(
    ("template", "rendered", "hidden"),
    [
        ("{{ conn.crm.password }}", "hunter2", ["hunter2"]),
        ("Bearer {{ var.value.tok }}", "Bearer abcdef", ["abcdef"]),
        ("{{ ds }}:{{ params.key }}", "2026-11-27:abcdef", ["abcdef"]),
        ("{% if x %}{{ conn.a.password }}{% endif %}!", "hunter2!", ["hunter2!"]),
        ("{{ run_id }}", "manual__2026", []),
        ("{{ data_interval_end | ds }}", "2026-11-27", []),
        ("{{ params.n }}", "123456", []),
        ("{{ params.mode }}", "prod", []),
        ("{{ var.json.creds }}", {"tok": "abcdef"}, ["abcdef"]),
        ("{{ var.value.creds }}", '{"tok": "abcdef"}', ["abcdef", '{"tok": "abcdef"}']),
    ],
)
def test_values_of_templates_are_hidden_but_for_the_runs_own_dates_and_names(
    template: str, rendered: Any, hidden: list[str]
) -> None:
    assert sorted(templates.hidden_of(template, rendered)) == sorted(hidden)


def test_templates_in_the_arguments_of_a_factory_are_rendered_and_masked(
    airflow_db: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def connect(password: str, *, more: dict[str, Any]) -> list[Any]:
        return [password, more["pat"]]

    @scatter(tolerate=1)
    def use(n: int, client: list[Any]) -> list[str]:
        if n:
            raise ConnectionError(f"no login with {client}")
        return [text[::-1] for text in client]

    with a_dag("factory", "processes://1") as dag:
        client = per_worker(connect, "{{ conn.crm.password }}", more={"pat": "{{ conn.crm.extra_dejson.pat }}"})
        use.partial(client=client).over(n=range(2))
    results = run(dag).output("use")
    assert list(results) == [["2retnuh/2retnuh", "1/mrc-fo-tap"]]
    assert [one.message for one in results.failures()] == ["no login with ['***', '***']"]
    clean("what was printed", capsys.readouterr().out)
    clean_everywhere(airflow_db, results.uid, tmp_path)
