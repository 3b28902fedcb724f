"""Events about the daemon itself, from the trouble to a receiver that verifies them, on their own route."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from models.classifier import FakeClassifier, Prediction
from models.measures import VERSION
from models.predictions import Mentions
from pipelines.clock import ManualClock
from pipelines.documents import Reading, encode, iso
from pipelines.streams.base import READINGS, Output
from tests.daemon_bench import ACME, Feed, Hook, Receiver, request
from tests.inside_bench import Inside, inside

ROUTES = (
    '[[routes]]\ntypes = ["ops.*"]\nchannels = ["ops"]\n[[routes]]\ntypes = ["alert.*"]\nchannels = ["desk"]\n'
    '[engine]\ndrain = "2s"\n[detection]\nmin_open = "1s"\n'
)
HOUR = 3_600.0


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def feed() -> Iterator[Feed]:
    with Feed() as one:
        yield one


def settings(hooks: Receiver, feed: Feed | None = None) -> str:
    source = feed.source("wire", interval="60s") if feed is not None else ""
    return ACME + hooks.channel("ops", "/ops") + hooks.channel("desk", "/desk") + source + ROUTES


def told(hooks: Receiver, kind: str) -> list[Hook]:
    return hooks.at("/ops", kind)


def alerts_total(kind: str) -> float:
    return sum(
        REGISTRY.get_sample_value("tapewatch_alerts_total", {"rule": "operations", "severity": level, "type": kind})
        or 0.0
        for level in ("info", "warning", "error", "critical")
    )


async def heard(daemon: Inside, hooks: Receiver, kind: str, number: int = 1, step: float = 5.0) -> dict:
    found = await daemon.until(lambda: told(hooks, kind)[number - 1 :], f"{kind} #{number}", step)
    return found[0].body["data"]


async def test_a_dead_feed_and_its_return(tmp_path: Path, hooks: Receiver, feed: Feed) -> None:
    async with inside(tmp_path, settings(hooks, feed)) as daemon:
        await daemon.until(lambda: feed.polls >= 2, "second poll", 5.0)
        feed.status = 503
        stale = await heard(daemon, hooks, "ops.source_stale")
        assert stale["subject"] == "wire" and stale["severity"] == "warning"
        assert "HTTP 503" in stale["summary"] and stale["details"]["state"] == "down"
        assert daemon.daemon.status()["coverage"] == {"expected": 1, "healthy": 0, "unread": 0}
        await daemon.pass_time(2 * HOUR, 60.0)
        assert len(told(hooks, "ops.source_stale")) == 1, "one trouble is told once"
        feed.status = 200
        back = await heard(daemon, hooks, "ops.source_recovered", step=60.0)
        assert back["dedupe_key"] == stale["dedupe_key"] and back["id"] != stale["id"]
        assert "back" in back["summary"]
        # Again, and told again.
        feed.status = 500
        await heard(daemon, hooks, "ops.source_stale", 2, 30.0)
    print(f"polls {feed.polls}, told {[hook.type for hook in hooks.hooks]}")
    assert hooks.at("/desk") == [], "operational events stay on their route"


async def test_a_frozen_feed_and_its_return(tmp_path: Path, hooks: Receiver, feed: Feed) -> None:
    """It answers, but brings nothing new: no failure to see, and still blind."""
    async with inside(tmp_path, settings(hooks, feed)) as daemon:
        for number in range(4):
            feed.titles.append((f"Depot number {number} opens in the harbour", daemon.clock.time()))
            await daemon.pass_time(600, 20.0, idle=True)
        assert feed.polls > 10 and told(hooks, "ops") == []
        stale = await heard(daemon, hooks, "ops.source_stale", step=300.0)
        assert stale["details"]["state"] == "stale" and "nothing new" in stale["summary"]
        assert feed.polls > 10
        feed.titles.append(("Depot number five opens after all", daemon.clock.time()))
        await heard(daemon, hooks, "ops.source_recovered", step=60.0)
    assert hooks.at("/desk") == []


async def test_a_feed_that_is_gone_for_good_is_told(tmp_path: Path, hooks: Receiver, feed: Feed) -> None:
    async with inside(tmp_path, settings(hooks, feed)) as daemon:
        await daemon.until(lambda: feed.polls >= 2, "second poll", 5.0)
        feed.status = 410
        stale = await heard(daemon, hooks, "ops.source_stale")
        assert "410" in stale["summary"] and stale["details"]["state"] == "stopped"
        polls = feed.polls
        await daemon.pass_time(HOUR, 60.0)
        assert feed.polls == polls


async def test_a_restart_neither_repeats_nor_forgets_a_dead_feed(tmp_path: Path, hooks: Receiver, feed: Feed) -> None:
    clock = ManualClock(time.time())
    async with inside(tmp_path, settings(hooks, feed), clock=clock) as daemon:
        await daemon.until(lambda: feed.polls >= 2, "second poll", 5.0)
        feed.status = 503
        await heard(daemon, hooks, "ops.source_stale")
    async with inside(tmp_path, settings(hooks, feed), clock=clock) as daemon:
        before = feed.polls
        await daemon.until(lambda: feed.polls > before, "poll after the restart", 5.0)
        await daemon.pass_time(300, 5.0)
        assert len(told(hooks, "ops.source_stale")) == 1, "told again only because the daemon was started"
        assert told(hooks, "ops.source_recovered") == []
    feed.status = 200
    async with inside(tmp_path, settings(hooks, feed), clock=clock) as daemon:
        await heard(daemon, hooks, "ops.source_recovered")
        await daemon.pass_time(300, 5.0)
    # The clock leaps: on a busy machine a stage may seem behind, which is another story.
    assert [hook.type for hook in told(hooks, "ops.source")] == ["ops.source_stale", "ops.source_recovered"]


async def test_a_source_that_left_the_settings_is_no_missing_one(tmp_path: Path, hooks: Receiver, feed: Feed) -> None:
    clock = ManualClock(time.time())
    feed.status = 503
    async with inside(tmp_path, settings(hooks, feed), clock=clock) as daemon:
        await heard(daemon, hooks, "ops.source_stale")
    async with inside(tmp_path, settings(hooks), clock=clock) as daemon:
        await daemon.ring()
        alert = (await daemon.until(lambda: hooks.at("/desk", "alert.firing"), "alert"))[0].body["data"]
        assert alert["coverage"]["stale"] == [] and not alert["coverage"]["degraded"], alert["coverage"]
        assert (await asyncio.to_thread(request, f"{daemon.web.address}/api/v1/sources"))[2] == b'{"sources":[]}'


async def test_a_feed_that_was_not_read_yet_is_neither_well_nor_missing(
    tmp_path: Path, hooks: Receiver, feed: Feed
) -> None:
    def up() -> float | None:
        return REGISTRY.get_sample_value("tapewatch_source_up", {"source": "wire"})

    feed.gate.clear()
    async with inside(tmp_path, settings(hooks, feed)) as daemon:
        await daemon.until(lambda: feed.polls, "first poll")
        await daemon.ring()
        cover = (await daemon.until(lambda: hooks.at("/desk", "alert.firing"), "alert"))[0].body["data"]["coverage"]
        assert (cover["sources_healthy"], cover["sources_expected"], cover["unread"]) == (0, 1, ["wire"])
        assert cover["stale"] == [] and not cover["degraded"], cover
        assert daemon.daemon.status()["coverage"] == {"expected": 1, "healthy": 0, "unread": 1} and up() == 0.0
        await daemon.until(daemon.daemon.read_model.sources, "source in the view")
        (row,) = json.loads((await asyncio.to_thread(request, f"{daemon.web.address}/api/v1/sources"))[2])["sources"]
        assert row["unread"] and row["last_success"] is None and row["reason"] is None
        await daemon.pass_time(90.0, 5.0)
        assert told(hooks, "ops.source") == [], "nothing is known against it"
        feed.gate.set()
        read = {"expected": 1, "healthy": 1, "unread": 0}
        await daemon.until(lambda: daemon.daemon.status()["coverage"] == read and up() == 1.0, "first success")
        await daemon.until(lambda: not daemon.daemon.read_model.sources()[0]["unread"], "success in the view")


class Gated(FakeClassifier):
    """Judges nothing while the gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.held = 0

    def predict(
        self, texts: Sequence[str], mentions: Mentions | None = None, *, story: bool = False
    ) -> list[Prediction]:
        self.held += not self.gate.is_set()
        self.gate.wait(60)
        return super().predict(texts, mentions, story=story)


async def test_a_stage_that_stays_behind_is_told_once(tmp_path: Path, hooks: Receiver) -> None:
    model = Gated()
    async with inside(tmp_path, settings(hooks), classifier=model) as daemon:
        try:
            model.gate.clear()
            await daemon.push({"title": "Depot number one opens in the harbour"})
            lag = await heard(daemon, hooks, "ops.pipeline_lag", step=1.0)
            assert lag["subject"] == "score" and lag["details"]["seconds"] >= 60 and lag["details"]["records"] >= 1
            assert model.held >= 1, "nothing was held up: the test proved nothing"
            await daemon.pass_time(600, 5.0)
            assert len(told(hooks, "ops.pipeline_lag")) == 1
        finally:
            model.gate.set()
        await daemon.until(lambda: not any(n for _, n in daemon.daemon.engine.lag().values()), "catching up")
        await daemon.pass_time(10)
        model.gate.clear()
        try:
            await daemon.push({"title": "Depot number two opens in the harbour"})
            await heard(daemon, hooks, "ops.pipeline_lag", 2, 1.0)
        finally:
            model.gate.set()
    assert hooks.at("/desk") == []


async def test_a_receiver_that_is_gone_disables_its_channel_and_the_other_one_is_told(
    tmp_path: Path, hooks: Receiver
) -> None:
    hooks.answers["/desk"] = 410
    async with inside(tmp_path, settings(hooks)) as daemon:
        await daemon.ring()
        disabled = await heard(daemon, hooks, "ops.channel_disabled")
        assert disabled["subject"] == "desk" and disabled["severity"] == "error" and "410" in disabled["summary"]
        asked = len(hooks.at("/desk"))
        assert asked >= 1
        hooks.answers["/desk"] = 204
        await daemon.pass_time(600, 10.0, idle=True)
        assert len(hooks.at("/desk")) == asked, "a disabled channel is not tried again by itself"
        assert len(told(hooks, "ops.channel_disabled")) == 1
        failed = daemon.daemon.read_model.deliveries("failed")
        assert failed and {one["channel"] for one in failed} == {"desk"}
        # A stage may seem behind besides: the clock leaps, and on a busy machine it is.
        settled = await daemon.until(
            lambda: [one for one in daemon.daemon.read_model.deliveries("delivered") if one["key"] != "score"],
            "record of what was told",
        )
        assert [(one["key"], one["summary"]) for one in settled] == [("desk", disabled["summary"])]
        await daemon.daemon.operators.command("retry_delivery", failed[0]["id"])
        again = await daemon.until(lambda: hooks.at("/desk")[asked:], "retry")
        assert again[0].id == failed[0]["event"]
    # The clock leaps: on a busy machine a stage may seem behind, which is another story.
    assert {hook.type for hook in hooks.at("/ops")} - {"ops.pipeline_lag"} == {"ops.channel_disabled"}


def readings(day: float, texts: tuple[int, int]) -> list[Output]:
    """Of a day of so many texts in the model's language and in others."""
    reading = Reading(at=iso(day), model="m@1", bins=VERSION, counts={"news": {"language": list(texts)}})
    return [Output(READINGS, reading.model, encode(reading))]


async def test_a_stream_that_changed_is_told_once_and_that_it_is_as_before(tmp_path: Path, hooks: Receiver) -> None:
    clock, days = ManualClock(time.time()), 0

    async def pass_days(daemon: Inside, count: int, *texts: tuple[int, int]) -> None:
        nonlocal days
        for day in range(days, days + count):
            await daemon.daemon.engine.append(readings(clock.time() + day * 24 * HOUR, texts[day % len(texts)]))
        days += count
        await daemon.daemon.engine.drained()

    calm = ((980, 20), (970, 30), (985, 15))
    async with inside(tmp_path, settings(hooks), clock=clock) as daemon:
        await pass_days(daemon, 34, *calm)
        found = json.loads((await asyncio.to_thread(request, f"{daemon.web.address}/api/v1/drift"))[2])["drift"]
        assert found[0]["blocks_learned"] == 28 and found[0]["rings_since"] == {}
        await pass_days(daemon, 3, (500, 500))
        rings = await heard(daemon, hooks, "ops.model_drift")
        assert rings["subject"] == "news/stream" and "language" in rings["summary"], rings
    async with inside(tmp_path, settings(hooks), clock=clock) as daemon:
        found = json.loads((await asyncio.to_thread(request, f"{daemon.web.address}/api/v1/drift"))[2])["drift"]
        assert list(found[0]["rings_since"]) == ["stream"], "a restart forgets nothing"
        await pass_days(daemon, 14, *calm)
        over = await heard(daemon, hooks, "ops.model_drift_resolved")
        assert over["dedupe_key"] == rings["dedupe_key"]
    assert [hook.type for hook in told(hooks, "ops.model")] == ["ops.model_drift", "ops.model_drift_resolved"]
    assert hooks.at("/desk") == []


async def test_without_routes_operational_events_go_to_log_and_metrics_alone(
    tmp_path: Path, hooks: Receiver, feed: Feed
) -> None:
    before = alerts_total("ops.source_stale")
    feed.status = 404
    text = ACME + hooks.channel("desk", "/desk") + feed.source("wire", interval="60s") + '[engine]\ndrain = "2s"\n'
    async with inside(tmp_path, text) as daemon:
        await daemon.until(lambda: alerts_total("ops.source_stale") > before, "count of it", 5.0)
        await daemon.ring()
        await daemon.until(lambda: hooks.at("/desk", "alert.firing"), "alert")
        operations = await daemon.until(daemon.daemon.read_model.operations, "event on the page")
        assert [one["type"] for one in operations] == ["ops.source_stale"] and operations[0]["channels"] == []
    assert {hook.type.split(".")[0] for hook in hooks.hooks} == {"alert"}


async def test_an_alert_resolves_where_it_rang_although_its_watch_list_is_gone(tmp_path: Path, hooks: Receiver) -> None:
    async with inside(tmp_path, settings(hooks)) as daemon:
        await daemon.ring()
        fired = await daemon.until(lambda: hooks.at("/desk", "alert.firing"), "alert")
        episodes = {hook.body["data"]["episode"]["id"] for hook in fired}
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace(ACME, ACME.replace("Acme", "Borealis").replace("mine", "metals")))
        assert await daemon.daemon.reload() == ["watchlists"]
        await daemon.until(lambda: hooks.at("/desk", "alert.resolved"), "end of it", 600.0)
        await daemon.until(
            lambda: {h.body["data"]["episode"]["id"] for h in hooks.at("/desk", "alert.resolved")} >= episodes,
            "end of all",
            600.0,
        )
