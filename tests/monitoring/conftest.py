"""One run of the production daemon, watched by a real Prometheus and a real Alertmanager, for all tests here.

Its sources, channels and documents are chosen so that every metric has something to say. The daemon is stopped when
the run is over, Prometheus stays to be asked.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from monitor.demo.stories import COMPANY_CRISIS, TOPIC_CRISIS
from tests.daemon_bench import BAD_NEWS, Daemon, Feed, Receiver, free_port, wait_for
from tests.debian import need
from tests.monitoring.programs import Alertmanager, Prometheus

KEY = "entity:halvorne-motors"
LASTING = "entity:quillon-software"
"""It begins to ring when the first is over, and rings still when all is looked at."""
RESEND = 2.0
AHEAD = 5 * RESEND
"""Seconds that the daemon may be away; a start takes two, on a busy machine six."""
SETTINGS = (
    '[detection]\nmin_open = "1s"\n'
    '[[watchlists]]\nname = "cars"\nentities = ['
    '{ name = "Halvorne Motors", aliases = ["Halvorne"] }, { name = "Quillon Software", aliases = ["Quillon"] }]\n'
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

    prometheus: Prometheus
    began: float
    ended: float = 0.0
    fired: dict[str, Any] = field(default_factory=dict)
    amtool: str = ""
    test: str = ""
    held: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    killed_at: float = 0.0
    after_kill: list[dict[str, Any]] = field(default_factory=list)
    told_before_rise: list[tuple[str, str]] = field(default_factory=list)
    after_rise: list[dict[str, Any]] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    amtool_at_the_end: str = ""
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    told_again: float = 0.0
    rules: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    from_prometheus: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    need("prometheus", "prometheus-alertmanager", "amtool")
    folder = tmp_path_factory.mktemp("monitoring")
    port, there_port = free_port(), free_port()
    targets = {"tapewatch": f"127.0.0.1:{port}", "alertmanager": f"127.0.0.1:{there_port}"}
    prometheus = Prometheus(folder / "prometheus", targets=targets)
    with ExitStack() as stays:
        with Receiver() as receiver, Feed() as feed, Feed() as dead:
            dead.status, receiver.answers["/away"] = 503, 503
            feed.titles = [("Depot opens in the harbour", time.time()), ("Old news of the harbour", time.time() - 9e5)]
            sources = feed.source("wire") + dead.source("dead")
            with Alertmanager(folder / "alertmanager", there_port, receiver=receiver) as there:
                # After Alertmanager, which it tries again a minute after it found nobody.
                stays.enter_context(prometheus)
                seen = Story(prometheus, time.time())
                with Daemon(folder / "daemon", channels(receiver, there) + sources + SETTINGS, port) as daemon:
                    play(daemon, there, seen)
                    watch(there, seen)
                    assert daemon.stop() == 0
        yield seen


def channels(receiver: Receiver, there: Alertmanager) -> str:
    alertmanager = f'[[channels]]\nkind = "alertmanager"\nname = "am"\nurl = "{there.url}"\nresend = "{RESEND:g}s"\n'
    alertmanager += 'labels = { environment = "test" }\n'
    return alertmanager + receiver.channel("desk", "/desk") + receiver.channel("away", "/away")


def play(daemon: Daemon, there: Alertmanager, seen: Story) -> None:
    """A crisis from its first alert to its end, with a kill in between, and the beginning of another."""
    scraped(seen.prometheus)
    push(daemon, TITLES[:8])
    daemon.push({"title": "Der Vorstand von Halvorne tritt nach schweren Verlusten zurück, die Anleger sind entsetzt"})
    seen.fired = wait_for(lambda: there.alerts(key=KEY), "alert in Alertmanager")[0]
    seen.amtool = there.amtool("alert", "query", f"key={KEY}", "-o", "extended")
    assert daemon.cli("channels", "test", "am").returncode == 0
    seen.test = there.amtool("alert", "query", "alertname=TapewatchPing")
    until = time.time() + AHEAD + 1.5
    while time.time() < until:
        seen.held += [(time.time(), alert) for alert in there.alerts(key=KEY)]
        time.sleep(0.25)
    daemon.stop(signal.SIGKILL)
    seen.killed_at = time.time()
    daemon.start()
    wait_for(lambda: told_again(daemon) >= 2, "telling again after the kill")
    scraped(seen.prometheus)
    seen.after_kill = there.alerts(rule="burst")
    seen.told_before_rise = there.notified(key=KEY)
    push(daemon, TITLES[8:])
    wait_for(lambda: [a for a in there.alerts(key=KEY) if a["labels"]["severity"] == "critical"], "critical alert")
    wait_for(lambda: len(there.alerts(key=KEY)) == 1, "end of the milder one", AHEAD - 1.0)
    seen.after_rise = there.alerts(key=KEY)
    wait_for(lambda: not there.alerts(key=KEY), "end of the alert", 90.0)
    wait_for(lambda: there.notified(key=KEY)[-1][0] == "resolved", "notification of the end")
    seen.told, seen.amtool_at_the_end = there.notified(key=KEY), there.amtool("alert", "query")
    push(daemon, [title.replace("Acme", "Quillon") for title in BAD_NEWS])
    wait_for(lambda: there.alerts(key=LASTING), "another alert")
    seen.told_again = told_again(daemon)
    seen.deliveries = [one for one in daemon.get("deliveries")["deliveries"] if one["channel"] == "am"]
    for alert in daemon.get("alerts")["alerts"]:
        attempts = daemon.get(f"alerts/{alert['alert']}")["attempts"]
        seen.attempts += sum(attempt["channel"] == "am" for attempt in attempts)


def watch(there: Alertmanager, seen: Story) -> None:
    """What Prometheus makes of it, before it rests."""
    prometheus = seen.prometheus
    scraped(prometheus)
    seen.targets = prometheus.api("targets")["activeTargets"]
    seen.from_prometheus = wait_for(lambda: there.alerts(alertname="TapewatchWatchdog"), "alert of Prometheus")
    seen.rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    scraped(prometheus)  # and what was recorded of it
    seen.ended = time.time()
    time.sleep(0.1)  # Rules that go end their series at that moment, which must not be the one that is asked about.
    prometheus.rest()


def scraped(prometheus: Prometheus) -> None:
    """Waits until the daemon was scraped as it is now: a rate needs to have seen what was before."""
    now = time.time()
    query = f"timestamp(tapewatch_ready) > {now:.3f}"
    wait_for(lambda: prometheus.api("query", query=query)["result"], "scrape")


def push(daemon: Daemon, titles: list[str]) -> None:
    daemon.push(*({"title": title, "publisher": f"Paper {number % 9}"} for number, title in enumerate(titles)))


def told_again(daemon: Daemon) -> float:
    return daemon.metric("tapewatch_deliveries_total", channel="am", outcome="told_again")
