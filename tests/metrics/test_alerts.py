"""The rules of deploy/prometheus, read and tested by Prometheus' own tool."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from tests.metrics.servers import DEPLOY, ROOT, promtool

FOLDER = DEPLOY / "prometheus"
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
MAPPINGS = yaml.safe_load((FOLDER / "statsd-mapping.yml").read_text())["mappings"]


def metrics_in(expression: str) -> set[str]:
    """The metrics of ours that an expression names, without the suffixes of a histogram."""
    names = re.findall(r"\bmanifold_[a-z_]+", expression)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def documented() -> set[str]:
    text = (ROOT / "docs" / "monitoring.md").read_text()
    return set(re.findall(r"^\| `(manifold_[a-z_]+)` \|", text, re.MULTILINE))


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", str(FOLDER / "prometheus.yml"))
    assert f"{len(RULES)} rules found" in promtool("check", "rules", str(FOLDER / "alerts.yml"))


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(FOLDER / "alerts_test.yml"))
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    fired = [one["alertname"] for test in tests for one in test["alert_rule_test"] if one.get("exp_alerts")]
    silent = [one["alertname"] for test in tests for one in test["alert_rule_test"] if not one.get("exp_alerts")]
    assert set(fired) == {rule["alert"] for rule in RULES}
    assert {"ManifoldWorkerLost", "ManifoldScatterStalled", "ManifoldManyItemsFail", "ManifoldLedgerSlow"} <= {*silent}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_that_there_are_and_is_documented(rule: dict[str, str]) -> None:
    assert metrics_in(rule["expr"]) <= documented()
    assert f"`{rule['alert']}`" in (ROOT / "docs" / "monitoring.md").read_text()


def test_the_names_of_airflows_metrics_are_those_of_its_own_list() -> None:
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations
    listed = Path(spec.submodule_search_locations[0], "_shared", "observability", "metrics", "metrics_template.yaml")
    known = [one["legacy_name"] for one in yaml.safe_load(listed.read_text())["metrics"]]
    shapes = {re.sub(r"\{[a-z_]+\}", "*", name) for name in known}
    for mapping in MAPPINGS:
        assert mapping["match"].removeprefix("airflow.") in shapes
