"""The dashboards: as their generator writes them, of metrics that exist, with queries that a real run can answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.__main__ import FOLDER, files
from models import card as cards
from monitor import reference
from tests.monitoring.conftest import KEY, LASTING, Story
from tests.monitoring.programs import DEPLOY

BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
DOCUMENTED = set(re.findall(r"^\| `(tapewatch_\w+)` \| (\w+)", reference.pages()["metrics.md"], re.MULTILINE))
VARIABLES = {"key": f"{KEY}|{LASTING}|market", "__rate_interval": "1m", "__range": "1m", "datasource": "prometheus"}
METRIC = re.compile(r"\btapewatch_\w+")
RECORDED = re.compile(r"\btapewatch:[\w:]+")


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Any]:
    """(dashboard, where, query) of every panel, annotation and variable."""
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield pytest.param(target["expr"], id=f"{name}: {panel['title']} {target['refId']}")
        for annotation in board["annotations"]["list"]:
            yield pytest.param(annotation["expr"], id=f"{name}: annotation {annotation['name']}")


def variables() -> Iterator[Any]:
    for name, board in BOARDS.items():
        for one in board["templating"]["list"]:
            if one["type"] == "query":
                yield pytest.param(one["definition"], id=f"{name}: {one['name']}")


def filled(text: str) -> str:
    """With a value for each variable; those without one of their own stand for all."""
    return re.sub(r"\$(\w+)", lambda found: VARIABLES.get(found[1], ".*"), text)


@pytest.mark.parametrize("path", sorted(files()), ids=lambda path: path.name)
def test_the_files_are_what_the_generator_writes(path: Path) -> None:
    assert path.read_text() == files()[path], f"{path.name} is old; run: make docs"


def test_no_file_is_left_over() -> None:
    assert set(FOLDER.glob("*.json")) == set(files())


KAFKA = {
    "tapewatch_commit_age_seconds",
    "tapewatch_stage_partitions",
    "tapewatch_stage_input_partitions",
    "tapewatch_stage_gone_total",
    "tapewatch_stage_left_out_total",
    "tapewatch:stage_partitions:unattended",
}
"""Metrics of the Kafka engine, which the run here has not: tests/integration/test_kafka_stages.py asks for them."""


DRIFT = {"tapewatch_model_drift", "tapewatch_model_drift_threshold", "tapewatch_model_drift_learned_ratio"}
"""Metrics of the drift watch, which say nothing before the second day: tests/unit/test_drift_watch.py asks for them."""


RISK = {"tapewatch_risk_total", "tapewatch_adverse_documents_total"}
"""Metrics of adverse events, which a shipped model without that head has not; nor has it a confidence in them."""


def is_answered(expr: str) -> bool:
    """Whether the run here has what a query asks for."""
    asked = {*METRIC.findall(expr), *RECORDED.findall(expr)}
    of_risk = asked & RISK or 'head="risk"' in expr
    return not asked & (KAFKA | DRIFT) and not (of_risk and cards.read(cards.folder_of("default")).risk is None)


@pytest.mark.parametrize("expr", [one for one in queries() if is_answered(one.values[0])])
def test_every_query_of_every_panel_has_data(story: Story, expr: str) -> None:
    query = filled(expr)
    now = story.prometheus.api("query", query=query, time=story.ended)["result"]
    assert [one for one in now if one["value"][1] != "NaN"], f"nothing for {query}"
    over = story.prometheus.api("query_range", query=query, start=story.began, end=story.ended, step=5)["result"]
    assert sum(value != "NaN" for one in over for _, value in one["values"]) > 1, f"nothing over time for {query}"


@pytest.mark.parametrize("definition", list(variables()))
def test_every_variable_has_values(story: Story, definition: str) -> None:
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", filled(definition))
    assert found is not None
    series = story.prometheus.api("series", **{"match[]": found[1], "start": story.began, "end": story.ended})
    assert {one[found[2]] for one in series if found[2] in one}


def test_metrics_shown_and_metrics_documented_are_the_same() -> None:
    names = {name for name, _ in DOCUMENTED}
    parts = {
        f"{name}{end}": name
        for name, kind in DOCUMENTED
        if kind == "histogram"
        for end in ("_bucket", "_sum", "_count")
    }
    recorded = {rule["record"]: rule["expr"] for rule in _rules("recording.yml")}
    shown: set[str] = set()
    for query in queries():
        expressions = [query.values[0]] + [recorded[name] for name in RECORDED.findall(query.values[0])]
        shown |= {parts.get(name, name) for text in expressions for name in METRIC.findall(text)}
    assert shown - names == set(), "shown, but no metric of tapewatch"
    assert names - shown == set(), (
        "documented, but on no dashboard: add a panel to deploy/grafana/boards, then make docs"
    )


def test_every_panel_says_what_it_shows_and_when_to_worry() -> None:
    for board in BOARDS.values():
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in panels(board):
            assert len(panel["description"]) > 15, panel["title"]
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults["unit"], panel["title"]
            assert panel["type"] != "stat" or defaults["thresholds"]["steps"][0]["value"] is None
            assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        thresholds = [p for p in panels(board) if len(p["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1]
        assert len(thresholds) >= 3, board["title"]


def test_panels_of_a_dashboard_do_not_lie_upon_each_other() -> None:
    for board in BOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, (board["title"], panel["title"])
            taken |= cells


def test_dashboards_lead_to_each_other_and_to_the_alert() -> None:
    uids = {board["uid"] for board in BOARDS.values()}
    assert "tapewatch" in uids, "alerts link to /d/tapewatch"
    for board in BOARDS.values():
        assert any(one["type"] == "dashboards" and one["tags"] == ["tapewatch"] for one in board["links"])
        assert "tapewatch" in board["tags"]
        named = re.findall(r"/d/(tapewatch[\w-]*)", json.dumps(board))
        assert set(named) <= uids
    newsroom = json.dumps(BOARDS["newsroom"])
    assert "/alerts/latest?key=" in newsroom
    assert {one["name"] for one in BOARDS["newsroom"]["templating"]["list"]} >= {"watchlist", "key"}


def test_what_is_provisioned_is_there() -> None:
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/tapewatch.yml").read_text())["providers"][0]
    assert provider["options"]["path"] == "/etc/grafana/dashboards" and provider["allowUiUpdates"] is False
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    interval = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert [one["type"] for one in sources if one.get("isDefault")] == ["prometheus"]
    assert sources[0]["jsonData"]["timeInterval"] == interval


def _rules(name: str) -> list[dict[str, str]]:
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules" / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]
