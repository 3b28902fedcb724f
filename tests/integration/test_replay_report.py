"""What a replay's report and figures say: what would have been sent, what was missed, what other settings change."""

from __future__ import annotations

import asyncio
import html
import json
import math
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.replay.curve import BUDGETS, Rang
from monitor.replay.figures import Span, rated
from monitor.replay.labels import Label
from pipelines.documents import epoch
from tests.daemon_bench import SECRET
from tests.replay_bench import CONFIG, CRISIS, day, documents, labels, replay, tape
from tests.stream_bench import DAY, T0


def test_figures_have_intervals_and_what_is_missed_has_evidence(folder: Path) -> None:
    stories = sorted(tape(), key=lambda one: one.at)
    rows = (
        f"Acme Corp,{datetime.fromtimestamp(CRISIS, UTC).isoformat()},a crisis,",
        f"Borealis,{day(T0 + 29 * DAY)},nobody wrote of it,true",
        f"Borealis,{day(T0 + 15 * DAY)},looked into,false",
        f"Acme,{day(T0 + 18 * DAY)},perhaps,unsure",
        f"Unheard Of,{day(T0 + 12 * DAY)},not watched,",
        f"Acme Corp,{day(T0 - 90 * DAY)},before the tape,",
    )
    summary = replay(folder, documents(folder, stories), events=labels(folder, *rows))
    report = json.loads((folder / "out" / "report.json").read_bytes())
    assert (summary["events_known"], summary["events_counted"], summary["events_found"]) == (4, 2, 1)
    assert summary["recall"] == 0.5 and summary["recall_interval"] == [0.0945, 0.9055]
    states = {event["what"]: event["state"] for event in report["events"]}
    assert states == {
        "a crisis": "found",
        "nobody wrote of it": "missed",
        "not watched": "unwatched",
        "before the tape": "outside",
    }
    missed = next(event for event in report["events"] if event["state"] == "missed")
    assert missed["nearest"]["score"] < missed["nearest"]["threshold"] and missed["stories"]
    assert all("Borealis" in story["headline"] for story in missed["stories"])
    assert 0.0 < summary["delay_days"] < 0.2
    rate, (low, high) = summary["judged_alerts_per_key_month"], summary["judged_alerts_per_key_month_interval"]
    assert low < rate < high and rate == pytest.approx(summary["judged_alerts"] / 2 / summary["months"], rel=0.01)
    counts = [point["judged_bursts"] for point in summary["curve"]]
    assert [point["budget"] for point in summary["curve"]] == list(BUDGETS) and counts == sorted(counts)
    said = " ".join(summary["notes"])
    for words in ("'Unheard Of'", "no watched key", "'Acme Corp'", "outside of the time", "1 events are marked unsure"):
        assert words in said
    unmatched = [alert for alert in report["alerts"] if alert["matches"] is False]
    assert all(alert["stories"] for alert in unmatched)
    acme = next(key for key in report["keys"] if key["key"] == "entity:acme-corp")
    place = report["columns"].index("bad")
    assert sum(row[place] for row in acme["stretches"]) > 15 * 0.8
    assert summary["speed"]["documents_per_second_without_scoring"] >= summary["speed"]["documents_per_second"] > 0


def test_precision_is_told_of_all_alerts_and_of_those_that_labels_speak_of() -> None:
    said = [("acme", 10, True), ("acme", 30, False), ("borealis", 20, False), ("borealis", 40, True)]
    known = [Label(key, T0 + at * DAY, happened=so, keys=frozenset({key})) for key, at, so in said]
    times = [("acme", 10.5), ("acme", 12.9), ("acme", 20), ("acme", 30), ("borealis", 19.1), ("borealis", 23.1)]
    rang = [Rang(key, T0 + at * DAY, f"{key} {at}") for key, at in times]
    told = rated(known, rang, {"acme", "borealis"}, Span(T0, T0 + 50 * DAY, 7 * DAY), told=True)
    assert (told["events_found"], told["judged_alerts"], told["judged_false"]) == (1, 6, 2)
    assert (told["precision_lower_bound"], told["precision_labelled"]) == (round(2 / 6, 4), 0.5)


def test_the_report_lists_every_alert_with_its_evidence(folder: Path) -> None:
    """Also those that an event explains, and those of keys that events don't speak of."""
    events = labels(folder, f"Acme Corp,{datetime.fromtimestamp(CRISIS, UTC).isoformat()},a crisis,")
    replay(folder, documents(folder, tape()), events=events)
    report = json.loads((folder / "out" / "report.json").read_bytes())
    page = (folder / "out" / "report.html").read_text()
    told = [one for one in report["alerts"] if one["sent"]]
    assert told and all(html.escape(one["summary"]) in page.partition("Timelines")[2] for one in told)
    assert page.count("<details>") == len(told)


def test_everything_that_is_drawn_can_be_seen(folder: Path) -> None:
    """A line without a style has no colour."""
    replay(folder, documents(folder, tape()))
    page = (folder / "out" / "report.html").read_text()
    style = page.partition("<style>")[2].partition("</style>")[0]
    drawn = {kind for _, kinds in re.findall(r'<(line|polyline|rect) class="([^"]+)"', page) for kind in kinds.split()}
    assert drawn and all(re.search(rf"\.{kind}\b", style) for kind in drawn), drawn


CHANNEL = f"[[channels]]\nkind = 'webhook'\nname = 'desk'\nurl = 'https://desk.example/hook'\nsecret = '{SECRET}'\n"


def sent(folder: Path, out: str = "out") -> list[tuple[str, str, str]]:
    """Type, time and key of the bodies that a replay would have sent."""
    lines = [json.loads(line) for line in (folder / out / "alerts.jsonl").read_text().splitlines()]
    return [(one["type"], one["timestamp"], one["data"]["subject"]["key"]) for one in lines]


def of_acme(found: dict[str, Any]) -> dict[str, Any]:
    """The alert about the crisis, of a report."""
    (only,) = (one for one in found["alerts"] if one["key"] == "entity:acme-corp")
    return dict(only)


def test_a_silence_is_judged_at_the_moment_of_each_alert(folder: Path) -> None:
    """The documents between which it ends are handed on at once."""
    path = documents(folder, sorted(tape(), key=lambda one: one.at))
    assert replay(folder, path, out="loud")["alerts"] == 1
    (firing,) = (one for one in sent(folder, "loud") if one[0] == "alert.firing")
    for name, off in (("before", -1.0), ("after", 1.0)):
        until = datetime.fromtimestamp(epoch(firing[1]) + off, UTC).isoformat()
        (folder / "tapewatch.toml").write_text(CONFIG + f"[[silences]]\nkeys = ['*']\nuntil = '{until}'\n")
        replay(folder, path, out=name)
    assert sent(folder, "before") == sent(folder, "loud")
    later = [one for one in sent(folder, "loud") if one != firing and one[0] == "alert.updated"]
    assert firing not in sent(folder, "after")
    hushed = of_acme(json.loads((folder / "after" / "report.json").read_bytes()))
    assert (hushed["at"], hushed["sent"]) == (firing[1], later[0][1] if later else None)
    assert hushed["sent"] is not None or hushed["why"] == "silence settings-1"


def test_what_nobody_is_told_of_is_marked_and_counts_nowhere(folder: Path) -> None:
    stories = sorted(tape(), key=lambda one: one.at)
    path, events = documents(folder, stories), labels(folder, f"Acme Corp,{day(CRISIS)},a crisis,")
    told = replay(folder, path, events=events)
    assert (told["alerts"], told["judged_alerts"], told["events_found"]) == (1, 1, 1)
    assert told["by_rule"] == {"burst": 1} and told["by_key"] == {"entity:acme-corp": 1}
    routed = "[[routes]]\nkeys = ['entity:borealis-corp']\nchannels = ['desk']\n"
    (folder / "tapewatch.toml").write_text(CONFIG + CHANNEL + routed)
    summary = replay(folder, path, events=events)
    report = json.loads((folder / "out" / "report.json").read_bytes())
    assert sent(folder) == []
    assert (summary["alerts"], summary["judged_alerts"], summary["events_found"]) == (0, 0, 0)
    assert summary["bursts"] == told["bursts"] > 0 and summary["bursts_alone"]["events_found"] == 1
    assert sum(summary["told_to_nobody"].values()) == len(report["alerts"])
    unsent = of_acme(report)
    assert (unsent["sent"], unsent["why"], unsent["matches"]) == (None, "no route names a channel for it", None)
    assert "1 alerts are told to nobody: no route names a channel for it" in summary["notes"]
    page = (folder / "out" / "report.html").read_text()
    assert "Told to nobody" in page and "no route names a channel for it" in page
    assert f"{summary['bursts_alone']['judged_bursts']} bursts and 1 events found, where 0 alerts found 0" in page
    (folder / "all.toml").write_text(CONFIG + CHANNEL)
    replay(folder, path, compare=folder / "all.toml")
    compared = json.loads((folder / "out" / "report.json").read_bytes())["compare"]
    assert compared["settings"] == ["routes: 1 entries less, 0 more"]
    (change,) = compared["changes"]
    assert (change["kind"], change["at"], change["other_at"]) == ("moves", unsent["at"], unsent["at"])
    assert change["why"] == "rings by itself; before: told to nobody: no route names a channel for it"


def test_a_burst_in_another_alert_is_found_through_it_and_counts_once(folder: Path) -> None:
    stories = sorted(tape(), key=lambda one: one.at)
    moment = datetime.fromtimestamp(CRISIS, UTC).isoformat()
    events = labels(folder, f"market,{moment},a shock,", f"Acme Corp,{moment},a crisis,")
    path = documents(folder, stories)
    summary = replay(folder, path, events=events)
    report = json.loads((folder / "out" / "report.json").read_bytes())
    assert summary["bursts"] > 1 and summary["bursts"] == len(report["alerts"])
    assert (summary["alerts"], summary["entity_alerts"], summary["judged_alerts"]) == (1, 1, 1)
    assert (summary["events_found"], summary["precision_lower_bound"]) == (2, 1.0)
    assert summary["told_to_nobody"] == {"part of another alert": summary["bursts"] - 1}
    acme = of_acme(report)
    events_of = {event["what"]: event for event in report["events"]}
    assert events_of["a shock"]["through"] == acme["key"] and events_of["a crisis"]["through"] is None
    assert {event["alert"] for event in report["events"]} == {acme["id"]}
    market = next(one for one in report["alerts"] if one["key"] == "market")
    assert (market["sent"], market["merged_into"], market["why"]) == (None, acme["id"], "part of another alert")
    page = (folder / "out" / "report.html").read_text()
    assert ", as part of entity:acme-corp" in page and "part of another alert: Acme Corp" in page
    # Who doesn't watch the company hears of the market, which is told as a part of the company's alert elsewhere.
    (folder / "other.toml").write_text(CONFIG.replace("Acme", "Cygnus"))
    replay(folder, path, compare=folder / "other.toml")
    changes = json.loads((folder / "out" / "report.json").read_bytes())["compare"]["changes"]
    assert {change["kind"] for change in changes if change["key"] == acme["key"]} == {"vanishes"}
    moved = [change for change in changes if change["kind"] == "moves"]
    assert moved and {one["why"] for one in moved} == {"rings by itself; before: part of Acme Corp (entity:acme-corp)"}


def test_two_settings_are_compared_by_the_term_that_changed(folder: Path) -> None:
    stories = sorted(tape(), key=lambda one: one.at)
    path = documents(folder, stories)
    stricter = CONFIG.replace("month = 0.2", "month = 0.001").replace("Borealis", "Cygnus")
    (folder / "tapewatch.toml").write_text(CONFIG.replace("month = 0.2", "month = 3"))
    (folder / "other.toml").write_text(stricter)
    replay(folder, path, compare=folder / "other.toml")
    report = json.loads((folder / "out" / "report.json").read_bytes())
    found = report["compare"]
    assert "detection.false_alarms_per_key_month: 3.0 to 0.001" in found["settings"]
    assert "watchlists: 1 entries less, 1 more" in found["settings"]
    told = sum(alert["sent"] is not None for alert in report["alerts"])
    after = sum(change["why"].startswith("rings by itself") for change in found["changes"])
    assert found["same"] + found["moves"] - after + found["vanishes"] == told > 0
    theirs = {"entity:borealis-corp", "list:mine"}  # the list has other stories without Borealis
    changes = {change["kind"]: change for change in found["changes"] if change["key"] not in theirs}
    assert changes["vanishes"]["why"].startswith("threshold: "), changes
    low, high = changes["vanishes"]["terms"]["threshold"]
    assert (low, high) == pytest.approx((math.log1p(1 / 3), math.log1p(1_000)), abs=0.01)
    assert changes["vanishes"]["terms"]["score"][1] < high
    lost = [change for change in found["changes"] if change["key"] == "entity:borealis-corp"]
    assert lost and all(change["why"] == "not watched any more" for change in lost)
    turned = folder / "tapewatch.toml"
    (folder / "first.toml").write_text(turned.read_text())
    turned.write_text(stricter)
    replay(folder, path, out="turned", compare=folder / "first.toml")
    back = json.loads((folder / "turned" / "report.json").read_bytes())["compare"]
    assert (back["same"], back["appears"], back["vanishes"]) == (found["same"], found["vanishes"], found["appears"])
    assert "watched only now" in {change["why"] for change in back["changes"]}
    assert "With " in (folder / "out" / "report.html").read_text()
    rule = "[[rules]]\nkind = 'flash'\nname = 'ruin'\nphrases = ['fraud']\nprobability = 0.8\npublishers = 1\n"
    (folder / "ruled.toml").write_text(stricter + rule)
    replay(folder, path, out="ruled", compare=folder / "ruled.toml")
    ruled = json.loads((folder / "ruled" / "report.json").read_bytes())["compare"]
    assert ruled["settings"] == ["rules: 0 entries less, 1 more"] and ruled["appears"] == len(ruled["changes"]) > 0
    assert {change["why"] for change in ruled["changes"]} == {"rule ruin: new"}
    replay(folder, path, out="same", compare=folder / "tapewatch.toml")
    assert json.loads((folder / "same" / "report.json").read_bytes())["compare"]["changes"] == []


CHROMIUM = shutil.which("chromium")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="apt-get install chromium")
async def test_the_report_needs_nothing_and_runs_nothing(folder: Path) -> None:
    from playwright.async_api import async_playwright

    stories = sorted(tape(), key=lambda one: one.at)
    for one in stories:
        if one.at >= CRISIS - DAY:
            one.title += " <script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    hostile = f"Borealis,{day(T0 + 29 * DAY)},<img src=x onerror=alert(1)>,"
    await asyncio.to_thread(replay, folder, documents(folder, stories), events=labels(folder, hostile))
    wanted: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        backs = set()
        for scheme in ("light", "dark"):
            page = await browser.new_page(color_scheme=scheme, viewport={"width": 1000, "height": 800})  # type: ignore[arg-type]
            page.on("console", lambda message: wanted.append(message.text))
            page.on("request", lambda request: wanted.append(request.url))
            await page.goto((folder / "out" / "report.html").as_uri())
            assert (await page.title()).startswith("Replay, 2026-")
            assert await page.locator("svg[role=img]").count() >= 4
            assert await page.locator("script, img, link").count() == 0
            backs.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
            first = page.locator("details").first
            await first.locator("summary").click()
            assert "<script>" in await first.locator(".stories").inner_text()
            fits = "document.documentElement.scrollWidth <= window.innerWidth"
            assert await page.evaluate(fits), "nothing hangs out of the page"
            await page.close()
        await browser.close()
    assert len(backs) == 2, "light and dark"
    assert {one for one in wanted if not one.startswith("file:")} == set()
