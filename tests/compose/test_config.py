"""What docker-compose.yml says, as Compose reads it. Needs the program, and no daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from manifold.cli.app import app
from manifold.engines._remote.place import check_url
from tests.compose.compose import Compose

pytestmark = pytest.mark.compose

PROFILES = ("demo", "hub", "monitoring", "logs", "flower", "dask")
ONE_SHOT = {"init", "demo", "kibana-init"}


@pytest.fixture(scope="module")
def services(compose: Compose) -> dict[str, dict[str, Any]]:
    return dict(compose.config(*PROFILES)["services"])


def test_it_refuses_to_start_without_secrets_and_says_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / ".env"
    empty.touch()
    told = Compose("manifold-test-none", empty).run("config", "--quiet", check=False)
    assert told.returncode != 0
    assert "run make env" in told.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_is_valid_by_itself(compose: Compose, profile: str) -> None:
    assert len(compose.config(profile)["services"]) > len(compose.config()["services"])


def test_only_the_web_port_is_published_and_only_on_this_machine(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert [*published] == ["api-server"]
    (port,) = published["api-server"]
    assert (port["host_ip"], port["target"]) == ("127.0.0.1", 8080)


def test_what_administrators_look_at_is_published_on_this_machine_only(env_file: Path) -> None:
    files = ("docker-compose.yml", "deploy/compose.ports.yml")
    services = Compose("manifold-test-ports", env_file, files=files).config(*PROFILES)["services"]
    published = {name: port["host_ip"] for name, service in services.items() for port in service.get("ports", ())}
    assert {*published} == {"api-server", "rabbitmq", "prometheus", "grafana", "kibana", "flower"}
    assert {*published.values()} == {"127.0.0.1"}


def test_each_service_is_limited_watched_and_started_again(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert int(service["mem_limit"]) > 0, name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name not in ONE_SHOT:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name


def test_what_is_ours_has_no_capability_and_a_read_only_root(services: dict[str, dict[str, Any]]) -> None:
    ours = {name: service for name, service in services.items() if service["image"] == "manifold:test"}
    assert len(ours) >= 8
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name


def test_a_chunk_worker_is_told_of_broker_and_store_and_of_nothing_else(
    services: dict[str, dict[str, Any]], secrets: dict[str, str]
) -> None:
    worker = services["manifold-worker"]
    assert [*worker["networks"]] == ["chunks"]
    assert not worker.get("volumes")
    told = " ".join(worker["environment"].values())
    known = {name for name, value in secrets.items() if len(value) >= 16 and value in told}
    assert known == {"RABBITMQ_CHUNKS_PASSWORD", "STORE_PASSWORD", "MANIFOLD_SECRET"}


def test_a_hub_has_its_password_alone_and_its_workers_no_other_way_to_it(
    services: dict[str, dict[str, Any]], secrets: dict[str, str]
) -> None:
    known = {
        name: {secret for secret, value in secrets.items() if len(value) >= 16 and value in told}
        for name in ("hub", "hub-worker")
        for told in [" ".join(services[name]["environment"].values())]
    }
    assert known["hub"] == {"HUB_PASSWORD"}
    assert known["hub-worker"] == {"HUB_PASSWORD", "STORE_PASSWORD", "MANIFOLD_SECRET"}
    assert {*services["hub"]["networks"]} == {"backend", "chunks"}
    assert [*services["hub-worker"]["networks"]] == ["chunks"]
    assert not any(services[name].get("volumes") for name in known)
    for name in known:
        assert not [word for word in services[name]["command"] if "://" in word]


def test_coordinators_and_hub_workers_meet_at_the_hub(services: dict[str, dict[str, Any]]) -> None:
    url = services["hub-worker"]["environment"]["MANIFOLD_ENGINE_URL"]
    assert services["worker"]["environment"]["AIRFLOW_CONN_MANIFOLD_HUB"] == url
    hub = services["hub"]["environment"]["MANIFOLD_ENGINE_URL"]
    assert hub == url.replace("@hub:", "@0.0.0.0:")
    assert check_url(url).host == "hub"


def test_the_commands_of_the_hub_and_its_workers_are_ones_of_ours(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name in ("hub", "hub-worker"):
        monkeypatch.setenv("MANIFOLD_ENGINE_URL", services[name]["environment"]["MANIFOLD_ENGINE_URL"])
        program, command, *words = services[name]["command"]
        assert program == "manifold"
        context = commands[command].make_context(command, list(words))
        drain = context.params.get("drain_seconds") or 0
        assert _seconds(services[name].get("stop_grace_period", "10s")) >= drain + 10


def test_a_dask_worker_is_told_of_the_store_and_a_dask_scheduler_of_nothing(
    services: dict[str, dict[str, Any]], secrets: dict[str, str]
) -> None:
    assert [*services["dask-scheduler"]["networks"]] == ["dask"]
    assert {*services["dask-worker"]["networks"]} == {"dask", "chunks"}
    told = " ".join(services["dask-worker"]["environment"].values())
    known = {name for name, value in secrets.items() if len(value) >= 16 and value in told}
    assert known == {"STORE_PASSWORD", "MANIFOLD_SECRET"}
    assert not services["dask-scheduler"].get("environment")


def test_the_networks_of_broker_databases_and_chunk_workers_lead_nowhere_else(compose: Compose) -> None:
    networks = compose.config(*PROFILES)["networks"]
    assert {name for name, network in networks.items() if network.get("internal")} == {
        "backend",
        "chunks",
        "dask",
        "logs",
    }


def test_no_worker_is_told_how_to_reach_airflows_metadata(
    services: dict[str, dict[str, Any]], secrets: dict[str, str]
) -> None:
    for name in ("worker", "manifold-worker", "hub-worker"):
        told = " ".join(services[name]["environment"].values())
        for secret in ("AIRFLOW_DB_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_JWT_SECRET", "LEDGER_OWNER_PASSWORD"):
            assert secrets[secret] not in told, f"{name} has {secret}"


def _seconds(text: str) -> int:
    minutes, _, rest = text.rpartition("m")
    return int(minutes or 0) * 60 + int(rest.removesuffix("s") or 0)
