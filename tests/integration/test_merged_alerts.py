"""A story about a company bursts at many keys of a running daemon: its desk hears of it once."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_bench import BAD_NEWS, Daemon, Receiver, request, wait_for

WATCHED = """
[[watchlists]]
name = "mine"
entities = [{ name = "Acme Corp", aliases = ["Acme"] }, { name = "Borealis Foundries" }]
[[routes]]
keys = ["market"]
channels = ["macro"]
[[routes]]
channels = ["desk"]
"""


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_an_event_is_told_once_and_a_kill_changes_nothing(tmp_path: Path, hooks: Receiver) -> None:
    settings = WATCHED + hooks.channel("desk", "/desk") + hooks.channel("macro", "/macro")
    with Daemon(tmp_path / "d", settings) as daemon:
        daemon.ring()
        burning = wait_for(
            lambda: len(found := daemon.get("alerts?merged=true&status=firing")["alerts"]) > 2 and found, "bursts"
        )
        wait_for(lambda: hooks.at("/macro", "alert"), "word to those whom the market's route names")
        wait_for(daemon.idle, "rest")
        (shown,) = daemon.get("alerts?status=firing")["alerts"]
        assert shown["key"] == "entity:acme-corp" and shown["merged_into"] is None
        assert {one["merged_into"] for one in burning if one["key"] != shown["key"]} == {shown["alert"]}
        assert {hook.body["data"]["subject"]["key"] for hook in hooks.at("/desk", "alert")} == {"entity:acme-corp"}
        assert len(hooks.at("/desk", "alert.firing")) == 1
        told = hooks.at("/macro", "alert")[0].body["data"]
        assert told["subject"]["key"] == "entity:acme-corp" and "market" in {
            one["key"] for one in told["merged"]["keys"]
        }
        # A dashboard knows the market alone: it leads to the alert that tells of it.
        with urllib.request.urlopen(f"{daemon.url}/alerts/latest?key=market", timeout=30) as page:
            assert page.url == f"{daemon.url}/alerts/{shown['alert']}"
        assert daemon.metric("tapewatch_alerts_merged_total") >= 2

        before = len(hooks.hooks)
        assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
        daemon.start()
        daemon.push({"title": f"{BAD_NEWS[0]} again", "publisher": "Paper 99"})
        wait_for(daemon.idle, "rest")
        assert [alert["key"] for alert in daemon.get("alerts?status=firing")["alerts"]] == ["entity:acme-corp"]
        assert {hook.id for hook in hooks.hooks[before:] if hook.type == "alert.firing"} <= {
            hook.id for hook in hooks.hooks[:before]
        }
        assert json.loads(request(f"{daemon.url}/api/v1/alerts?merged=perhaps")[2])["status"] == 400
