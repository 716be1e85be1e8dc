"""Secrets that are drawn: every reader of them takes every one that can be drawn."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from cryptography.fernet import Fernet
from kombu.utils.url import url_to_parts
from sqlalchemy import make_url

from manifold.demo.secrets import Secrets
from manifold.deploy import env, init

ROOT = Path(__file__).parents[2]
DRAWS = [*(env.login() for _ in range(3000)), *(env.password() for _ in range(3000))]
KEYS = [env.fernet_key() for _ in range(3000)]


def by_command_line(value: str) -> str | None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("-p", "--password")
    return str(parser.parse_args(["--password", value]).password)


def by_yaml(value: str) -> object:
    return yaml.safe_load(f"password: {value}\nlist: [{value}]\n")["password"]


READERS: dict[str, Callable[[str], object]] = {
    "a command line": by_command_line,
    "a shell": lambda value: shlex.split(f"PASSWORD={value}")[0].partition("=")[2],
    "YAML": by_yaml,
    "a URL": lambda value: urlsplit(f"amqp://airflow:{value}@rabbitmq:5672//").password,
    "SQLAlchemy": lambda value: make_url(f"postgresql+psycopg2://airflow:{value}@postgres/airflow").password,
    "kombu": lambda value: url_to_parts(f"redis://:{value}@127.0.0.1:6379/0").password,
}


@pytest.mark.parametrize("reader", READERS)
def test_each_reader_takes_every_password(reader: str) -> None:
    misread = [value for value in DRAWS if READERS[reader](value) != value]
    assert not misread, misread[:3]


def test_passwords_are_as_long_as_their_kind_and_all_different() -> None:
    assert {len(value) for value in DRAWS} == {16, 43}
    assert len({*DRAWS}) == len(DRAWS)
    # All letters and digits are used: fewer of them would make the same length weaker.
    assert len({*"".join(DRAWS)}) == 62


def test_fernet_takes_every_key_and_a_command_line_too() -> None:
    assert len({*KEYS}) == len(KEYS)
    for key in KEYS:
        assert by_command_line(key) == key
        Fernet(key)


def test_a_file_of_them_is_read_by_a_shell_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("".join(f"P{at}={value}\n" for at, value in enumerate(DRAWS + KEYS)))
    script = 'set -a; . "$1"; set +a; env -0'
    said = subprocess.run(["bash", "-c", script, "bash", path], capture_output=True, check=True, env={}).stdout
    read = dict(line.split("=", 1) for line in said.decode().split("\0") if line)
    assert [read[f"P{at}"] for at in range(len(DRAWS + KEYS))] == DRAWS + KEYS


def test_the_demo_draws_by_the_same_rule() -> None:
    values = [getattr(drawn, name) for drawn in (Secrets() for _ in range(200)) for name in Secrets.__slots__]
    assert all(value[0].isalpha() for value in values)


@pytest.mark.parametrize("chosen", ["-Pstarts-with-a-hyphen", "--role=Viewer", "a b", "with=equals"])
def test_init_takes_an_admin_password_of_any_kind(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setenv("AIRFLOW_ADMIN_PASSWORD", chosen)
    monkeypatch.setattr(init, "airflow", lambda *words: commands.append(words))
    init.login()
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("-p", "--password")
    assert len(commands) == 2
    assert {parser.parse_known_args(words)[0].password for words in commands} == {chosen}


def test_where_the_deployment_does_not_start_make_shows_why(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/sh\n"
        'case "$2" in\n'
        "up) echo \"service 'init' didn't complete successfully: exit 2\" >&2; exit 1 ;;\n"
        'logs) echo "error: of $*" ;;\n'
        "esac\n"
    )
    docker.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["make", "--no-print-directory", "up"],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "the last lines of init" in done.stderr
    assert "error: of compose logs" in done.stderr
    assert done.stderr.index("exit 2") < done.stderr.index("error: of compose logs")
