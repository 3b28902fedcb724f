"""The shipped Prometheus settings: checked by its own tools, and fed by a real run of the daemon."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from tests.debian import need
from tests.monitoring.conftest import Story
from tests.monitoring.programs import DEPLOY

FOLDER = DEPLOY / "prometheus"
SELECTOR = re.compile(r"\b((?:tapewatch[:_]|process_)[\w:]+|up)\b(\{[^}]*\})?")
RUNBOOK = (DEPLOY.parent / "docs" / "operations.md").read_text()


def rules(kind: str) -> list[dict[str, str]]:
    files = [yaml.safe_load(path.read_text()) for path in sorted((FOLDER / "rules").glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"] if kind in rule]


@pytest.mark.parametrize("command", ["check config prometheus.yml", "test rules tests/alerts.yml"])
def test_prometheus_own_tools_find_no_fault(command: str) -> None:
    need("promtool")
    done = subprocess.run(["promtool", *command.split()], cwd=FOLDER, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


def test_every_alert_is_tested_both_ways_and_has_its_section_in_the_runbook() -> None:
    tests = yaml.safe_load((FOLDER / "tests" / "alerts.yml").read_text())["tests"]
    asked = [(one["alertname"], bool(one.get("exp_alerts"))) for test in tests for one in test["alert_rule_test"]]
    names = [rule["alert"] for rule in rules("alert")]
    assert len(set(names)) == len(names)
    for name in names:
        assert (name, True) in asked, f"no test sees {name} fire"
        assert name == "TapewatchWatchdog" or (name, False) in asked, f"no test sees {name} keep still"
        assert f"\n### {name}\n" in RUNBOOK, f"docs/operations.md has no section {name}"
    for rule in rules("alert"):
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_prometheus_scrapes_the_daemon_and_tells_alertmanager(story: Story) -> None:
    health = {(target["labels"]["job"], target["health"]) for target in story.targets}
    assert health == {("tapewatch", "up"), ("prometheus", "up"), ("alertmanager", "up")}, story.targets
    assert story.from_prometheus[0]["labels"]["severity"] == "none"


def test_every_rule_is_evaluated_without_error(story: Story) -> None:
    assert {rule["name"] for rule in story.rules} == {
        *(rule["alert"] for rule in rules("alert")), *(rule["record"] for rule in rules("record")),
    }  # fmt: skip
    assert [rule for rule in story.rules if rule["health"] != "ok"] == []


ON_KAFKA = {"tapewatch:stage_partitions:unattended", "TapewatchStageUnattended", "TapewatchRecordsGone"}
"""Rules about the Kafka engine, which the run here has not: tests/integration/test_kafka_stages.py has its metrics."""


@pytest.mark.parametrize("rule", [name for rule in rules("record") if (name := rule["record"]) not in ON_KAFKA])
def test_every_recording_rule_has_data(story: Story, rule: str) -> None:
    assert data(story, rule), f"{rule} recorded nothing in a run of {story.ended - story.began:.0f} s"


AFTER_WEEKS = {"TapewatchModelDrift"}
"""Alerts whose metrics a run of minutes has not: tests/unit/test_drift_watch.py asks for them."""


@pytest.mark.parametrize(
    "rule",
    [rule for rule in rules("alert") if rule["alert"] not in AFTER_WEEKS | ON_KAFKA],
    ids=lambda rule: str(rule["alert"]),
)
def test_every_alert_rule_is_fed(story: Story, rule: dict[str, str]) -> None:
    selectors = {"".join(found) for found in SELECTOR.findall(rule["expr"])}
    assert selectors or rule["expr"] == "vector(1)"
    for selector in selectors:
        assert data(story, selector), f"{rule['alert']} asks for {selector}, which a real run does not have"


def data(story: Story, query: str) -> list[float]:
    """The values of an instant query at the end of the run."""
    result = story.prometheus.api("query", query=query, time=story.ended)["result"]
    return [float(one["value"][1]) for one in result if one["value"][1] != "NaN"]
