"""A real Alertmanager and the production daemon: an alert fires, repeats, survives a kill undoubled, rises, resolves."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from monitor.demo.stories import COMPANY_CRISIS, TOPIC_CRISIS
from tests.daemon_bench import BAD_NEWS, Daemon, Receiver, wait_for
from tests.debian import need
from tests.integration.monitoring_bench import Alertmanager

KEY = "entity:halvorne-motors"
RESEND = 1.0
AHEAD = 5 * RESEND
SETTINGS = (
    '[detection]\nmin_open = "1s"\n'
    '[[watchlists]]\nname = "cars"\nentities = [{ name = "Halvorne Motors", aliases = ["Halvorne"] }]\n'
    '[web]\nexternal_url = "https://tapewatch.example"\n'
)
TITLES = [
    *COMPANY_CRISIS,
    *(title.replace("Acme", "Halvorne") for title in BAD_NEWS),
    *(f"Halvorne Motors: {title}" for title in TOPIC_CRISIS),
]
"""Many, since the end of a large burst is certain sooner."""


@dataclass
class Story:
    """What was seen while it happened."""

    fired: dict[str, Any] = field(default_factory=dict)
    amtool: str = ""
    held: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    killed_at: float = 0.0
    after_kill: list[dict[str, Any]] = field(default_factory=list)
    told_before_rise: list[tuple[str, str]] = field(default_factory=list)
    after_rise: list[dict[str, Any]] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    amtool_at_the_end: str = ""
    test: str = ""
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    told_again: float = 0.0


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    need("prometheus-alertmanager", "amtool")
    folder = tmp_path_factory.mktemp("alertmanager")
    with Receiver() as receiver, Alertmanager(folder / "am", receiver=receiver) as there:
        channel = f'[[channels]]\nkind = "alertmanager"\nname = "am"\nurl = "{there.url}"\nresend = "{RESEND:g}s"\n'
        channel += 'labels = { environment = "test" }\n'
        with Daemon(folder / "daemon", channel + SETTINGS) as daemon:
            yield play(daemon, there)


def play(daemon: Daemon, there: Alertmanager) -> Story:
    seen = Story()
    push(daemon, TITLES[:8])
    seen.fired = wait_for(lambda: there.alerts(key=KEY), "alert in Alertmanager")[0]
    seen.amtool = there.amtool("alert", "query", f"key={KEY}", "-o", "extended")
    assert daemon.cli("channels", "test", "am").returncode == 0
    seen.test = there.amtool("alert", "query", "alertname=TapewatchPing")
    until = time.time() + AHEAD + 2.0
    while time.time() < until:
        seen.held += [(time.time(), alert) for alert in there.alerts(key=KEY)]
        time.sleep(0.25)
    daemon.stop(signal.SIGKILL)
    seen.killed_at = time.time()
    daemon.start()
    wait_for(lambda: told_again(daemon) >= 2, "telling again after the kill")
    seen.after_kill = there.alerts()
    seen.told_before_rise = there.notified(key=KEY)
    push(daemon, TITLES[8:])
    wait_for(lambda: [a for a in there.alerts(key=KEY) if a["labels"]["severity"] == "critical"], "critical alert")
    wait_for(lambda: len(there.alerts(key=KEY)) == 1, "end of the milder one", AHEAD - 1.0)
    seen.after_rise = there.alerts(key=KEY)
    wait_for(lambda: not there.alerts(key=KEY), "end of the alert", 90.0)
    wait_for(lambda: there.notified(key=KEY)[-1][0] == "resolved", "notification of the end")
    seen.told, seen.amtool_at_the_end = there.notified(key=KEY), there.amtool("alert", "query")
    seen.told_again = told_again(daemon)
    seen.deliveries = daemon.get("deliveries")["deliveries"]
    for alert in daemon.get("alerts")["alerts"]:
        seen.attempts += len(daemon.get(f"alerts/{alert['alert']}")["attempts"])
    return seen


def push(daemon: Daemon, titles: list[str]) -> None:
    daemon.push(*({"title": title, "publisher": f"Paper {number % 9}"} for number, title in enumerate(titles)))


def told_again(daemon: Daemon) -> float:
    return daemon.metric("tapewatch_deliveries_total", channel="am", outcome="told_again")


def test_it_fires_under_labels_that_are_its_identity(story: Story) -> None:
    labels, annotations = story.fired["labels"], story.fired["annotations"]
    assert labels == {
        "alertname": "TapewatchBurst", "rule": "burst", "key": KEY, "name": "Halvorne Motors", "severity": "warning",
        "watchlist": "cars", "environment": "test",
    }  # fmt: skip
    assert "Halvorne Motors" in annotations["summary"] and int(annotations["stories"]) >= 2
    assert any(title in annotations["description"] for title in TITLES[:8])
    assert story.fired["generatorURL"] == f"https://tapewatch.example/alerts/{annotations['episode_id']}"
    assert story.fired["status"]["state"] == "active"


def test_amtool_shows_it(story: Story) -> None:
    assert f'key="{KEY}"' in story.amtool and "TapewatchBurst" in story.amtool and "active" in story.amtool
    assert KEY not in story.amtool_at_the_end
    assert "Test of channel am" in story.test


def test_it_is_told_again_before_it_would_end(story: Story) -> None:
    (first, start), (last, end) = story.held[0], story.held[-1]
    print(f"held for {last - first:.1f} s with an end {AHEAD:.0f} s ahead, told again {story.told_again:.0f} times")
    assert last - first > AHEAD, "it was not watched for long enough to prove that it was told again"
    assert end["endsAt"] > start["endsAt"]
    assert {alert["fingerprint"] for _, alert in story.held} == {story.fired["fingerprint"]}
    assert story.told_again > 0


def test_alertmanager_repeats_it(story: Story) -> None:
    assert story.told_before_rise.count(("firing", "warning")) >= 3


def test_a_killed_daemon_neither_doubles_nor_ends_it(story: Story) -> None:
    mine = [alert for alert in story.after_kill if alert["labels"].get("key") == KEY]
    assert [alert["fingerprint"] for alert in mine] == [story.fired["fingerprint"]]
    assert mine[0]["startsAt"] == story.fired["startsAt"]
    assert len({json.dumps(alert["labels"], sort_keys=True) for alert in story.after_kill}) == len(story.after_kill)
    assert {status for status, _ in story.told_before_rise} == {"firing"}, "the kill was heard of"


def test_a_rise_in_severity_ends_the_milder_alert(story: Story) -> None:
    assert [alert["labels"]["severity"] for alert in story.after_rise] == ["critical"]
    assert story.after_rise[0]["startsAt"] == story.fired["startsAt"], "the same episode"


def test_it_resolves_and_stays_resolved(story: Story) -> None:
    statuses = [status for status, severity in story.told if severity == "critical"]
    assert statuses[0] == "firing" and statuses[-1] == "resolved"
    assert statuses == sorted(statuses), "it fired again after it had ended"


def test_the_outbox_knows_what_stands_and_few_attempts_are_recorded(story: Story) -> None:
    order = story.fired["annotations"]["dedupe_key"]
    states = {(one["type"], one["state"]) for one in story.deliveries if one["order"] == order}
    print(f"{len(story.deliveries)} deliveries, {story.attempts} attempts recorded, {story.told_again:.0f} told again")
    assert states == {("alert.firing", "delivered"), ("alert.updated", "delivered"), ("alert.resolved", "standing")}
    # One for each delivery, and one more for what stood when the daemon was started again.
    assert story.attempts <= 2 * len(story.deliveries)
    assert story.told_again > story.attempts
