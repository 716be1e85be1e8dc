"""The units of deploy/systemd: what systemd makes of them, where it is there, and what they must say."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest
import typer

from manifold.cli.app import app

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
_SECONDS = ("TimeoutStopSec", "RestartSec")
# As systemd 252 knows them, for hosts without it.
KNOWN = {
    "Unit": {"Description", "Wants", "After"},
    "Service": {
        *("Type", "User", "Group", "Environment", "EnvironmentFile", "ExecStart", "Restart", "KillMode", "UMask"),
        *("RuntimeDirectory", "StateDirectory", "NoNewPrivileges", "CapabilityBoundingSet", "ProtectSystem"),
        *("ProtectHome", "ProtectControlGroups", "ProtectKernelModules", "ProtectKernelTunables", "PrivateDevices"),
        *(
            "PrivateTmp",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "RestrictSUIDSGID",
            "LimitNOFILE",
            "MemoryMax",
        ),
        *_SECONDS,
    },
    "Install": {"WantedBy"},
}


def read(path: Path) -> RawConfigParser:
    unit = RawConfigParser(strict=True, interpolation=None, comment_prefixes=("#",), delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    return unit


def command(unit: RawConfigParser) -> list[str]:
    """The words of ExecStart after the program, with an instance's name and options put in."""
    line = unit["Service"]["ExecStart"].replace("%t", "/run").replace("%i", "night").replace("$OPTIONS", "--slots 8")
    program, *words = shlex.split(line)
    assert program == "/opt/manifold/bin/manifold"
    return words


def test_there_is_a_unit_for_workers_and_one_for_a_hub() -> None:
    assert [path.name for path in UNITS] == ["manifold-hub.service", "manifold-worker@.service"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_each_section_and_key_is_one_of_systemds(path: Path) -> None:
    unit = read(path)
    assert unit.sections() == [*KNOWN]
    for section, known in KNOWN.items():
        assert set(unit[section]) <= known


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong_with_it(path: Path, tmp_path: Path) -> None:
    program = tmp_path / "manifold"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("/opt/manifold/bin/manifold", str(program)))
    if (analyze := shutil.which("systemd-analyze")) is None:
        assert copy.stat().st_size > 0  # the tests beside this one have parsed it
        return
    told = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    assert path.name not in told.stderr, told.stderr


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_its_command_is_one_of_ours_and_holds_no_url(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_ENGINE_URL", "tcp://:PASSWORD@hub.internal:7000")
    name, *words = command(read(path))
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    context = commands[name].make_context(name, words)
    assert context.params["url"] == "tcp://:PASSWORD@hub.internal:7000"
    assert "://" not in " ".join(words)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_it_runs_as_nobody_in_particular_and_comes_back(path: Path) -> None:
    service = read(path)["Service"]
    assert service["User"] == "manifold"
    assert (service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == ("yes", "")
    assert (service["ProtectSystem"], service["ProtectHome"]) == ("strict", "yes")
    assert service["Restart"] == "always"
    assert "EnvironmentFile" in service
    assert "MANIFOLD_SECRET" not in service["Environment"]


def test_a_worker_has_time_to_drain_and_only_its_supervisor_is_told() -> None:
    unit = read(ROOT / "deploy" / "systemd" / "manifold-worker@.service")
    words = command(unit)
    assert int(unit["Service"]["TimeoutStopSec"]) >= 1.5 * int(words[words.index("--drain-seconds") + 1])
    assert unit["Service"]["KillMode"] == "mixed"
    health = Path(words[words.index("--health-file") + 1])
    assert str(health.parent) == f"/run/{unit['Service']['RuntimeDirectory'].replace('%i', 'night')}"
