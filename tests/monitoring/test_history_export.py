"""``export openmetrics``: a real promtool loads it, and a real Prometheus answers with the numbers of the read model."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.gauges import combined
from tests.daemon_bench import ACME, Daemon, Receiver, request, wait_for
from tests.debian import need
from tests.monitoring.programs import Prometheus

DAY = 86_400.0
BLOCK = 1_800.0
BETWEEN = 150.0
KEY = "entity:acme-corp"
SAYS = (
    "opens a depot",
    "shares slump on weak demand",
    "renews its lease",
    "is sued over mounting losses",
    "hosts a regatta",
)


@dataclass
class Bare(Prometheus):
    """Scrapes nothing: it knows what was loaded, however old."""

    def command(self) -> list[str]:
        (self.folder / "empty.yml").write_text("{}")
        return [
            "prometheus",
            f"--config.file={self.folder / 'empty.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            "--storage.tsdb.retention.time=10y",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]


@dataclass
class Loaded:
    """What was exported and loaded, and what the read model says of it."""

    prometheus: Bare
    text: str
    daily: str
    stopped: str
    live: dict[str, set[frozenset[str]]]
    """Metric to the sets of label names that a scrape has."""
    points: list[dict[str, Any]]
    alerts: list[dict[str, Any]]
    until: float
    summary: dict[str, Any] = field(default_factory=dict)

    def ask(self, query: str, start: float, end: float, step: float = 300.0) -> dict[float, float]:
        """The one series that a range query finds, as time to value. Asked between two samples: at the end of the five
        minutes for which Prometheus looks back, its versions differ."""
        start, end = start + BETWEEN, end + BETWEEN
        result = self.prometheus.api("query_range", query=query, start=start, end=end, step=step)["result"]
        assert len(result) <= 1, (query, result)
        return {float(at) - BETWEEN: float(value) for at, value in result[0]["values"]} if result else {}


def told(folder: Path, now: float) -> Path:
    """Four days of news and posts about one company, an hour or two between them."""
    chance, at, lines = random.Random(7), now - 4 * DAY, []
    while at < now - 2 * 3_600:
        published = datetime.fromtimestamp(at, UTC).isoformat()
        number = len(lines)
        entry = {"id": f"n{number}", "title": f"Acme {chance.choice(SAYS)} {number}", "published": published}
        lines.append(json.dumps(entry | {"class": chance.choice(("news", "social"))}))
        at += chance.uniform(600, 6_000)
    path = folder / "history.jsonl"
    path.write_text("\n".join(lines))
    return path


def export(daemon: Daemon, out: Path, until: float, *options: str) -> dict[str, Any]:
    moment = datetime.fromtimestamp(until, UTC).isoformat()
    done = daemon.cli("export", "openmetrics", "--out", str(out), "--until", moment, *options)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    need("promtool", "prometheus")
    folder, now = tmp_path_factory.mktemp("history"), time.time()
    with Receiver() as receiver:
        daemon = Daemon(folder / "daemon", ACME + receiver.channel("desk", "/desk"))
        done = daemon.cli("backfill", str(told(folder, now)))
        assert done.returncode == 0, done.stderr
        with daemon:
            daemon.ring()
            wait_for(lambda: [a for a in daemon.get("alerts")["alerts"] if a["key"] == KEY], "alert")
            wait_for(lambda: daemon.idle() and daemon.metric("tapewatch_spike_score", key=KEY), "rest")
            until = time.time() + 60.0
            summary = export(daemon, folder / "running.om", until)
            scrape = request(f"{daemon.url}/metrics")[2].decode()
            points = daemon.get(f"series?key={KEY}")["series"]
            alerts = daemon.get(f"alerts?key={KEY}")["alerts"]
            daily = export(daemon, folder / "days", until, "--daily")
            assert daemon.stop() == 0
        export(daemon, folder / "stopped.om", until)
    assert daily == summary
    live: dict[str, set[frozenset[str]]] = {}
    for family in text_string_to_metric_families(scrape):
        live[family.name] = {frozenset(sample.labels) for sample in family.samples}
    for file in sorted((folder / "days").glob("*.om")):
        command = [
            "promtool",
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "-q",
            str(file),
            str(folder / "prom" / "data"),
        ]
        (folder / "prom").mkdir(exist_ok=True)
        blocks = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert blocks.returncode == 0, blocks.stderr
    with Bare(folder / "prom") as prometheus:
        text, stopped = (folder / "running.om").read_text(), (folder / "stopped.om").read_text()
        days = "".join(file.read_text() for file in sorted((folder / "days").glob("*.om")))
        yield Loaded(prometheus, text, days, stopped, live, points, alerts, until, summary)


def samples(text: str) -> list[str]:
    return sorted(line for line in text.splitlines() if not line.startswith("#"))


def test_a_stopped_daemon_and_files_a_day_tell_the_same(loaded: Loaded) -> None:
    print(loaded.summary)
    assert len(samples(loaded.text)) == loaded.summary["samples"] == len(set(samples(loaded.text)))
    assert samples(loaded.daily) == samples(loaded.text)
    assert loaded.stopped == loaded.text
    assert loaded.text.endswith("# EOF\n")


def test_names_and_labels_are_those_of_a_scrape(loaded: Loaded) -> None:
    exported: dict[str, set[frozenset[str]]] = {}
    for family in text_string_to_metric_families(loaded.text):
        exported[family.name] = {frozenset(sample.labels) - {"job"} for sample in family.samples}
    assert len(exported) == 9, "a family is missing or empty"
    for name, labels in exported.items():
        assert labels == loaded.live[name], name


@pytest.mark.parametrize(
    ("metric", "figure"),
    [
        ("tapewatch_negative_stories", "bad"),
        ("tapewatch_negative_stories_expected", "expected"),
        ("tapewatch_negative_stories_expected_low", "expected_low"),
        ("tapewatch_negative_stories_expected_high", "expected_high"),
        ("tapewatch_baseline_span_seconds", "baseline_span"),
    ],
)
@pytest.mark.parametrize("class_", ["news", "social"])
def test_a_range_query_gives_every_block(loaded: Loaded, metric: str, figure: str, class_: str) -> None:
    blocks = {seconds(point["start"]): point[figure] for point in loaded.points if point["class"] == class_}
    closed = {start: value for start, value in blocks.items() if start + BLOCK <= loaded.until}
    query = f'{metric}{{key="{KEY}",class="{class_}",job="tapewatch"}}'
    first = min(closed)
    found = loaded.ask(query, first, max(closed) + BLOCK - 300)
    print(f"{query}: {len(closed)} blocks, {len(found)} samples")
    assert len(closed) > 30 and found == {
        start + 300 * number: value for start, value in closed.items() for number in range(6)
    }


def test_a_keys_score_joins_its_classes(loaded: Loaded) -> None:
    scores: dict[str, float] = {}
    expected, threshold = {}, {}
    for point in loaded.points:
        start = seconds(point["start"])
        scores[point["class"]] = point["score"]
        expected[start], threshold[start] = combined(scores), point["threshold"]
    now = datetime.now(UTC).timestamp()
    last = max(start for start in expected if start + BLOCK < now)
    for query, wanted in (
        (f'tapewatch_spike_score{{key="{KEY}"}}', expected),
        (f'tapewatch_spike_threshold{{key="{KEY}"}}', threshold),
    ):
        found = loaded.ask(query, min(wanted), last, step=BLOCK)
        assert found == {start: value for start, value in wanted.items() if start <= last}
    assert max(expected.values()) > min(threshold.values()), "nothing rang"


def test_sentiment_has_a_history(loaded: Loaded) -> None:
    found = loaded.ask(f'tapewatch_sentiment_index{{key="{KEY}"}}', loaded.until - 4.1 * DAY, loaded.until)
    assert len(found) > 100 and all(-1.0 <= value <= 1.0 for value in found.values())
    assert len(set(found.values())) > 30 and min(found) < loaded.until - 3.9 * DAY


def test_an_alert_fires_from_its_time_on(loaded: Loaded) -> None:
    alert, severity = loaded.alerts[0], loaded.alerts[0]["severity"]
    query, since = f'tapewatch_alert_firing{{key="{KEY}",severity="{severity}"}}', seconds(alert["at"])
    found = loaded.ask(query, loaded.until - 600 - BETWEEN, loaded.until - BETWEEN, step=1.0)
    seen = [at + BETWEEN for at in found]
    print(f"{query}: {len(seen)} seconds from {min(seen)}; told at {alert['at']}")
    assert set(found.values()) == {1.0} and len(seen) > 30 and 0 <= min(seen) - since <= 1.0


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--since", "yesterday"], 2, "--since"),
        (["--label", "no label"], 2, "--label 'no label'"),
        (["--since", "2090-01-01"], 1, "holds nothing"),
        (["--out", "/proc/nowhere/x.om"], 2, "/proc/nowhere"),
    ],
)
def test_what_can_not_be_exported_is_said(tmp_path: Path, options: list[str], code: int, says: str) -> None:
    daemon = Daemon(tmp_path / "d", ACME)
    if "2090-01-01" in options or "/proc/nowhere/x.om" in options:
        lone = tmp_path / "one.jsonl"
        lone.write_text('{"title": "Acme opens a depot", "published": "2026-01-01T00:00:00Z"}')
        assert daemon.cli("backfill", str(lone)).returncode == 0
    else:
        missing = daemon.cli("export", "openmetrics", "--out", str(tmp_path / "x.om"))
        assert missing.returncode == 2 and "no read model" in missing.stderr
    done = daemon.cli("export", "openmetrics", "--out", str(tmp_path / "x.om"), *options)
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.glob("x.om*"))
