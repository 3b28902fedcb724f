"""What /metrics says of the watched keys: per class, after a restart, and after a key left the watch-lists."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from pipelines.clock import ManualClock
from tests.daemon_bench import ACME, BAD_NEWS, Daemon, request, wait_for
from tests.inside_bench import Inside, inside

KEY = "entity:acme-corp"

SHOWN = 10
"""Metrics of a key that has had evidence."""


def samples(url: str, key: str = KEY) -> dict[str, dict[str, float]]:
    """Metric to class or severity ("" where it has neither) to value, of one key."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(request(f"{url}/metrics")[2].decode()):
        for sample in family.samples:
            if sample.labels.get("key") == key:
                kind = sample.labels.get("class") or sample.labels.get("severity") or ""
                found.setdefault(sample.name.removeprefix("tapewatch_"), {})[kind] = sample.value
    return found


async def test_classes_do_not_overwrite_each_other_and_a_key_that_left_takes_its_series_along(tmp_path: Path) -> None:
    async with inside(tmp_path, ACME, clock=ManualClock(time.time())) as daemon:
        await daemon.push(*({"title": title, "publisher": f"P{n}"} for n, title in enumerate(BAD_NEWS)))
        await daemon.push(
            *(
                {"title": f"my {title} lol", "class": "social", "author": f"a{n}"}
                for n, title in enumerate(BAD_NEWS[:3])
            )
        )

        async def shown(inner: Inside) -> dict[str, dict[str, float]]:
            return await asyncio.to_thread(samples, inner.web.address)

        for _ in range(400):
            seen = await shown(daemon)
            if {"news", "social"} <= set(seen.get("negative_stories", {})) and seen["alert_firing"].get("warning"):
                break
            await daemon.pass_time(0.5, 0.5)
        assert seen["negative_stories"]["news"] > seen["negative_stories"]["social"] > 0
        for name in ("expected", "expected_low", "expected_high"):
            assert set(seen[f"negative_stories_{name}"]) == {"news", "social"}
        assert seen["spike_score"][""] >= seen["spike_threshold"][""], "it fires, so its score must be above"
        assert seen["watched_key_info"] == {"": 1.0}
        daemon.config.write_text(daemon.config.read_text().replace("Acme", "Borealis"))
        assert await daemon.daemon.reload() == ["watchlists"]
        assert await shown(daemon) == {}
        assert (await asyncio.to_thread(samples, daemon.web.address, "entity:borealis-corp"))["watched_key_info"]


def test_a_restart_shows_what_fires_although_nothing_happens(tmp_path: Path) -> None:
    with Daemon(tmp_path / "daemon", ACME) as daemon:
        daemon.ring()
        firing = wait_for(lambda: samples(daemon.url).get("alert_firing", {}), "alert in the metrics")
        assert any(firing.values())
        wait_for(lambda: len(samples(daemon.url)) == SHOWN, "all of them")
        wait_for(daemon.idle, "quiet")
        before = samples(daemon.url)
        assert daemon.stop() == 0
        daemon.start()
        assert samples(daemon.url) == before
        severity = next(severity for severity, fires in before["alert_firing"].items() if fires)
        assert daemon.metric("tapewatch_alerts_firing", severity=severity) >= 1
        assert daemon.metric("tapewatch_ready") == 1
        assert (
            daemon.metric("tapewatch_model_info", device="cpu") + daemon.metric("tapewatch_model_info", device="cuda")
            == 1
        )
        alert = daemon.get(f"alerts?key={KEY}")["alerts"][0]["alert"]
        with urllib.request.urlopen(f"{daemon.url}/alerts/latest?key={KEY}", timeout=10) as page:
            assert page.url == f"{daemon.url}/alerts/{alert}" and page.status == 200
        assert request(f"{daemon.url}/alerts/latest?key=entity:nobody")[0] == 404
