"""The manifests of deploy/kubernetes: complete, consistent with each other, and with what the commands take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from manifold.cli.app import app
from manifold.engines._remote.mailboxes import MOST_OF_ALL

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
NEEDED = {
    "Deployment": ("apps/v1", {"replicas", "selector", "template", "strategy"}),
    "Service": ("v1", {"selector", "ports"}),
    "NetworkPolicy": ("networking.k8s.io/v1", {"podSelector", "policyTypes", "ingress", "egress"}),
}
PROBE = {"tcpSocket", "exec", "periodSeconds", "timeoutSeconds", "failureThreshold"}
_MIB = 1024 * 1024


def objects() -> Iterator[dict[str, Any]]:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert {*listed} == {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    for name in listed:
        yield from yaml.safe_load_all((FOLDER / name).read_text())


OBJECTS = {(one["kind"], one["metadata"]["name"]): one for one in objects()}
DEPLOYMENTS = [one for (kind, _), one in OBJECTS.items() if kind == "Deployment"]
POLICIES = [one for (kind, _), one in OBJECTS.items() if kind == "NetworkPolicy"]


def labels(deployment: dict[str, Any]) -> dict[str, str]:
    return dict(deployment["spec"]["template"]["metadata"]["labels"])


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)


def named(one: dict[str, Any]) -> str:
    return f"{one['kind']} {one['metadata']['name']}"


def selects(selector: dict[str, Any], deployment: dict[str, Any]) -> bool:
    wanted: dict[str, str] = selector["matchLabels"]
    return wanted.items() <= labels(deployment).items()


def test_there_are_workers_a_hub_and_a_policy_for_each() -> None:
    assert OBJECTS.keys() == {
        *((kind, name) for kind in ("Deployment", "NetworkPolicy") for name in ("manifold-hub", "manifold-worker")),
        ("Service", "manifold-hub"),
    }


@pytest.mark.parametrize("one", OBJECTS.values(), ids=named)
def test_each_object_has_what_its_kind_must_have(one: dict[str, Any]) -> None:
    version, fields = NEEDED[one["kind"]]
    assert one["apiVersion"] == version
    assert one["spec"].keys() == fields
    assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "manifold"


@pytest.mark.parametrize("one", DEPLOYMENTS, ids=named)
def test_a_deployment_selects_its_own_pods(one: dict[str, Any]) -> None:
    assert selects(one["spec"]["selector"], one)
    assert [other for other in DEPLOYMENTS if selects(one["spec"]["selector"], other)] == [one]


@pytest.mark.parametrize("one", DEPLOYMENTS, ids=named)
def test_a_pod_has_no_right_that_it_does_not_need(one: dict[str, Any]) -> None:
    pod, inside = one["spec"]["template"]["spec"], container(one)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    rights = inside["securityContext"]
    assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert {mount["name"] for mount in inside["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert "memory" in inside["resources"]["limits"]


@pytest.mark.parametrize("one", DEPLOYMENTS, ids=named)
def test_secrets_come_by_reference_and_in_no_command_line(one: dict[str, Any]) -> None:
    referred = {}
    for variable in container(one)["env"]:
        assert len(variable.keys() & {"value", "valueFrom"}) == 1
        if "valueFrom" in variable:
            referred[variable["name"]] = variable["valueFrom"]["secretKeyRef"]
            assert referred[variable["name"]].keys() == {"name", "key"}
    needed = {"MANIFOLD_ENGINE_URL"} | ({"MANIFOLD_STORE", "MANIFOLD_SECRET"} if "worker" in named(one) else set())
    assert referred.keys() == needed
    assert "://" not in " ".join(container(one)["command"])


@pytest.mark.parametrize("one", DEPLOYMENTS, ids=named)
def test_its_command_is_one_of_ours(one: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANIFOLD_ENGINE_URL", "tcp://:PASSWORD@manifold-hub:7000")
    program, name, *words = container(one)["command"]
    assert program == "manifold"
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert commands[name].make_context(name, list(words)).params["url"].startswith("tcp://")


@pytest.mark.parametrize("one", DEPLOYMENTS, ids=named)
def test_its_probes_are_complete(one: dict[str, Any]) -> None:
    inside = container(one)
    ports = {port["name"] for port in inside.get("ports", ())}
    for name in ("startupProbe", "livenessProbe"):
        probe = inside[name]
        assert probe.keys() <= PROBE
        assert len(probe.keys() & {"tcpSocket", "exec"}) == 1
        assert probe.get("tcpSocket", {"port": None})["port"] in ports | {None}


def test_a_worker_drains_at_a_sigterm_and_is_alive_by_its_health_file() -> None:
    one = OBJECTS["Deployment", "manifold-worker"]
    pod, inside = one["spec"]["template"]["spec"], container(one)
    words = inside["command"]
    drain = int(words[words.index("--drain-seconds") + 1])
    assert pod["terminationGracePeriodSeconds"] >= 1.5 * drain
    assert "lifecycle" not in inside
    file = words[words.index("--health-file") + 1]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert file in inside[name]["exec"]["command"][-1]
    assert any(Path(file).is_relative_to(mount["mountPath"]) for mount in inside["volumeMounts"])


def test_a_hub_is_one_and_has_room_for_its_mailboxes() -> None:
    one = OBJECTS["Deployment", "manifold-hub"]
    assert (one["spec"]["replicas"], one["spec"]["strategy"]) == (1, {"type": "Recreate"})
    limit = container(one)["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Gi")) * 1024 * _MIB >= 2 * MOST_OF_ALL


def test_the_service_leads_to_the_port_that_the_hub_listens_at() -> None:
    service, hub = OBJECTS["Service", "manifold-hub"]["spec"], OBJECTS["Deployment", "manifold-hub"]
    assert service["selector"].items() <= labels(hub).items()
    (port,) = service["ports"]
    assert port["targetPort"] in {named["name"] for named in container(hub)["ports"]}
    assert port["port"] == container(hub)["ports"][0]["containerPort"]


def test_the_policies_let_workers_reach_the_hub_and_nobody_reach_workers() -> None:
    hub, worker = OBJECTS["Deployment", "manifold-hub"], OBJECTS["Deployment", "manifold-worker"]
    to_hub, to_worker = (OBJECTS["NetworkPolicy", name]["spec"] for name in ("manifold-hub", "manifold-worker"))
    assert selects(to_hub["podSelector"], hub)
    assert selects(to_worker["podSelector"], worker)
    assert all({*policy["spec"]["policyTypes"]} == {"Ingress", "Egress"} for policy in POLICIES)
    (rule,) = to_hub["ingress"]
    assert selects(rule["from"][0]["podSelector"], worker)
    assert (to_hub["egress"], to_worker["ingress"]) == ([], [])
    first = to_worker["egress"][0]
    assert selects(first["to"][0]["podSelector"], hub)
    assert first["ports"] == rule["ports"]
