"""Airflow finds the decorator, the connection types, the options and the ledger's manager without being told."""

from __future__ import annotations

import json
from importlib import resources
from importlib.metadata import entry_points, version
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk import task
from airflow.sdk.configuration import conf

from manifold.airflow import hooks, provider
from manifold.airflow.configuration import OPTIONS
from manifold.airflow.decorator import scatter


@pytest.fixture(scope="module")
def manager() -> ProvidersManager:
    return ProvidersManager()  # type: ignore[no-untyped-call]


def test_the_provider_info_is_what_the_schema_allows() -> None:
    schema = json.loads(resources.files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(provider.get_provider_info(), schema)


def test_the_entry_point_names_it() -> None:
    (found,) = [one for one in entry_points(group="apache_airflow_provider") if one.value.startswith("manifold.")]
    assert found.load() is provider.get_provider_info


def test_airflow_lists_the_provider(manager: ProvidersManager) -> None:
    assert manager.providers["airflow-manifold"].version == version("airflow-manifold")


def test_task_scatter_is_the_decorator() -> None:
    assert task.scatter is scatter


def test_every_hook_has_a_connection_type_and_every_connection_type_a_hook() -> None:
    told = {one["connection-type"]: one for one in provider.get_provider_info()["connection-types"]}
    assert set(told) == {hook.conn_type for hook in hooks.hooks()}
    for hook in hooks.hooks():
        assert told[hook.conn_type]["hook-class-name"] == f"{hook.__module__}.{hook.__qualname__}"
        assert told[hook.conn_type]["hook-name"] == hook.hook_name


def test_no_connection_type_is_one_of_a_provider_of_airflows() -> None:
    # Those of apache-airflow-providers-{grpc,redis,…} that could be schemes of ours; `redis_default` is there in many.
    theirs = {"aws", "cassandra", "grpc", "hdfs", "http", "kafka", "mongo", "neo4j", "redis", "spark", "sqs", "ssh"}
    assert not theirs & {hook.conn_type for hook in hooks.hooks()}


@pytest.mark.parametrize("hook", hooks.hooks())
def test_airflow_makes_each_hook_from_its_connection_type(
    hook: type[hooks.UrlHook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", f'{{"conn_type": "{hook.conn_type}", "host": "x"}}')
    assert isinstance(hook.get_hook("mine"), hook)


def test_the_connection_forms_are_known_to_the_api_server(manager: ProvidersManager) -> None:
    manager.initialize_providers_hooks()
    for hook in hooks.hooks():
        assert hook.conn_type in manager.field_behaviours


def test_the_options_are_in_airflows_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MANIFOLD__DEFAULT_ENGINE", "threads://3")
    assert conf.get("manifold", "default_engine") == "threads://3"
    described: dict[str, Any] = provider.get_provider_info()["config"]["manifold"]["options"]
    assert set(described) == {*OPTIONS, "default_engine"}
    assert all(described[option]["sensitive"] for option in OPTIONS)


def test_the_ledgers_manager_is_found_by_airflow_db_migrate(manager: ProvidersManager) -> None:
    assert "manifold.airflow.db.ManifoldDBManager" in manager.db_managers
