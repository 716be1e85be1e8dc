"""`make env`: secrets of a deployment's own, which nobody else can read and nothing overwrites."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from manifold import config
from manifold.deploy import env

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / ".env.example").read_text()


def parsed(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """What `make env` runs, as a script of an interpreter that sees no installed package."""
    path = tmp_path / ".env"
    script = ROOT / "include" / "manifold" / "deploy" / "env.py"
    # The file's mode is asked for, not left over from the umask.
    subprocess.run([sys.executable, "-I", "-S", script, path], check=True, capture_output=True, umask=0)
    return path


def test_every_secret_is_fresh_and_its_own(written: Path) -> None:
    asked = [name for name, value in parsed(EXAMPLE).items() if value.startswith("<")]
    made = [parsed(written.read_text())[name] for name in asked]
    assert len(asked) > 15
    assert len({*made}) == len(made)
    assert all(len(value) >= 16 and "<" not in value for value in made)
    again = parsed(env.filled(EXAMPLE))
    assert not {*made} & {again[name] for name in asked}


def test_only_its_owner_can_read_it(written: Path) -> None:
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_secrets_are_of_the_kind_that_their_readers_take(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = parsed(written.read_text())
    Fernet(values["AIRFLOW_FERNET_KEY"])
    monkeypatch.setenv("MANIFOLD_SECRET", values["MANIFOLD_SECRET"])
    assert config.keyring().current == values["MANIFOLD_SECRET"].partition(":")[0]
    assert all(re.fullmatch(r"[\w-]+", value) for name, value in values.items() if name.endswith("_PASSWORD"))


def test_what_is_there_is_never_changed_and_what_is_new_is_added(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nPOSTGRES_PASSWORD=chosen\nOTHER=kept")
    assert "added to" in env.write(path, "POSTGRES_PASSWORD=<password>\nWEB_PORT=8080\nFLOWER_PASSWORD=<login>\n")
    text = path.read_text()
    assert text.startswith("# mine\nPOSTGRES_PASSWORD=chosen\nOTHER=kept\n")
    assert parsed(text)["WEB_PORT"] == "8080"
    assert len(parsed(text)["FLOWER_PASSWORD"]) == 16
    assert "nothing was changed" in env.write(path, "POSTGRES_PASSWORD=<password>\nWEB_PORT=8080\n")
    assert path.read_text() == text


def test_every_variable_of_the_compose_files_is_described_in_the_example() -> None:
    # Of who builds the image, takes it from a registry, or has several hosts; unset is their usual state.
    unset = {"IMAGE_BASE", "IMAGE_PULL", "HOSTS_BIND", "MAIN_HOST", "TLS_FOLDER"}
    files = [ROOT / "docker-compose.yml", *(ROOT / "deploy").glob("compose.*.yml")]
    used = {name for file in files for name in re.findall(r"(?<!\$)\$\{([A-Z_]+)", file.read_text())}
    assert used - unset == {*parsed(EXAMPLE)} - {"COMPOSE_PROFILES"}
