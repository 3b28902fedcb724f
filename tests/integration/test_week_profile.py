"""The week's profile over eight weeks of a tape with busy hours: learned daily, adopted on time, and worth it."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from alerts.baseline import MONDAY, WEEK, Profile
from alerts.week import BlockSummary, week_shape
from models.classifier import FakeClassifier
from monitor.app import assemble
from monitor.replay import player as replay
from monitor.settings import load
from pipelines.clock import ManualClock
from pipelines.documents import Candidate, decode
from pipelines.held import Profiles
from pipelines.sources.base import RawItem
from pipelines.streams.base import ALERTS, CANDIDATES, PROFILES, Output
from pipelines.streams.embedded import EmbeddedEngine
from tests.stream_bench import DAY, HOUR, NAMES, T0, Played, Tape, Told, bites, stages, watermark

A_DAY = 12.0
"""Stories of each company on a usual day; 15 % are bad."""


def _shape() -> list[float]:
    """A working day's hump around two o'clock, quiet weekends; mean 1, from Monday on."""
    raw = [
        0.25 + 3.0 * math.exp(-(((hour - 14) / 3.5) ** 2)) if day < 5 else 0.2 for day in range(7) for hour in range(24)
    ]
    return [value / statistics.mean(raw) for value in raw]


TRUTH = _shape()


def busy(at: float) -> float:
    return TRUTH[int((at - MONDAY) % WEEK // HOUR)]


def stories(seed: int, weeks: int, names: Sequence[str] = NAMES) -> list[Told]:
    tape, most = Tape(seed), max(TRUTH)
    told = [one for name in names for one in tape.poisson(T0, T0 + weeks * WEEK, A_DAY * most, "wire", name)]
    return sorted(one for one in told if tape.rng.random() < busy(one.at) / most)


def log(told: Sequence[Told]) -> Iterator[tuple[float, Output]]:
    passed = T0
    for story in told:
        while passed + HOUR <= story.at:
            passed += HOUR
            yield passed, watermark(passed)
        yield story.fetched, story.output()


def test_it_is_learned_daily_and_spares_the_busy_hours(capsys: pytest.CaptureFixture[str]) -> None:
    tape = stories(1, 8)
    learned, flat = (Played(budget=1.0, notify=notify).play(log(tape)) for notify in (True, False))
    profiles = [decode(Profile, record.value) for record in learned.engine.records(PROFILES)]
    fits = [statistics.correlation(profile.hours, TRUTH) for profile in profiles]
    heights = [max(profile.hours) / max(TRUTH) for profile in profiles]
    a_day = [profile.prior["news"] * DAY for profile in profiles]
    alarms = []
    for played in (learned, flat):
        candidates = (decode(Candidate, record.value).event for record in played.engine.records(CANDIDATES))
        firing = [e for e in candidates if e.kind == "firing" and e.key.startswith("entity:") and e.at > T0 + 5 * WEEK]
        alarms.append((len(firing), sum(busy(event.at) > 1.5 for event in firing)))
    with capsys.disabled():
        print(
            f"\n{len(tape)} stories, {len(profiles)} profiles; correlation with the true hours {fits[0]:.3f} at first, "
            f"{fits[-1]:.3f} at last, peak {heights[0]:.2f} and {heights[-1]:.2f} of the true one; prior "
            f"{Profile().prior['news'] * DAY:.3f} -> {a_day[0]:.2f} -> {a_day[-1]:.2f} bad stories a day (true: 1.8); "
            f"alarms in three weeks at B = 1, all and at busy hours: learned {alarms[0]}, flat {alarms[1]}"
        )
    assert [profile.version for profile in profiles] == list(range(1, len(profiles) + 1))
    days = [(profile.effective_from - T0) / DAY for profile in profiles]
    assert days == list(range(int(days[0]), 8 * 7 + 1)) and 8 <= days[0] <= 9, "one a day, from midnight on"
    assert fits[0] > 0.9 and fits[-1] > 0.98 and 0.8 < heights[-1] < 1.1
    assert 1.3 < a_day[-1] < 2.0
    kept: Profiles | None = learned.engine.state("aggregate").table("profiles").get("all")
    assert kept is not None and kept.versions == profiles[-3:], "the aggregate stage has the latest"
    assert alarms[1][1] >= 10, "a flat week rings at busy hours: otherwise the test proved nothing"
    assert alarms[0][1] <= alarms[1][1] / 2 and alarms[0][0] <= alarms[1][0] / 2


def test_neither_cuts_nor_the_engine_change_a_byte(tmp_path: Path) -> None:
    tape = stories(2, 5, NAMES[:4])

    def outcome(cut: int) -> tuple[list[bytes], list[bytes]]:
        engine = Played(budget=3.0).play(log(tape), cut).engine
        return [r.value for r in engine.records(PROFILES)], [r.value for r in engine.records(ALERTS)]

    profiles, alerts = outcome(5_000)
    assert len(profiles) > 20 and len(alerts) > 20
    assert outcome(3) == (profiles, alerts)
    assert outcome(100) == (profiles, alerts)

    async def embedded() -> tuple[list[bytes], list[bytes]]:
        clock = ManualClock(T0)
        engine = EmbeddedEngine(tmp_path / "store.db", clock=clock, batch=61)
        await engine.start(stages(clock, budget=3.0))
        for bite in bites(log(tape), 5_000):
            clock.set(bite[0][0])
            await engine.append([output for _, output in bite])
            await asyncio.wait_for(engine.drained(), 120)
        found = [await engine.ask(lambda store, t=topic: store.read([t], 0, 10_000)) for topic in (PROFILES, ALERTS)]
        await engine.stop()
        return [r.value for r in found[0]], [r.value for r in found[1]]

    assert asyncio.run(embedded()) == (profiles, alerts)


def test_replay_learns_on_the_documents_time_whatever_is_handed_on_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entities = ", ".join(f'{{ name = "{name} Corp", aliases = ["{name}"] }}' for name in NAMES[:3])
    config = tmp_path / "tapewatch.toml"
    config.write_text(
        f'[detection]\nfalse_alarms_per_key_month = 2\n[[watchlists]]\nname = "mine"\nentities = [{entities}]\n'
    )
    settings = load(config, {})
    items = [
        RawItem(guid=f"g{s.number}", title=s.title, published=s.at, fetched=s.at, publisher=f"p{s.number % 5}")
        for s in stories(3, 4, NAMES[:3])
    ]

    def play(chunk: int) -> tuple[list[bytes], list[Profile]]:
        monkeypatch.setattr(replay, "CHUNK", chunk)
        model = FakeClassifier()
        player = replay.Player(settings, assemble(settings, model.topics, model.risks), model, None)
        alerts = [*player.play(player.documents(items, None, None)), *player.finish(None)]
        return [bytes(alert.body) for alert in alerts], player.profiles

    bodies, profiles = play(256)
    assert len(bodies) > 10 and len(profiles) >= 19
    assert all(T0 + 7 * DAY < profile.effective_from < T0 + 5 * WEEK for profile in profiles), "of the tape's own time"
    assert statistics.correlation(profiles[-1].hours, TRUTH) > 0.9
    assert play(7) == (bodies, profiles)


def test_a_companys_pairs_with_topics_hold_its_documents_again_and_are_not_learned_from(tmp_path: Path) -> None:
    model = FakeClassifier()
    told = stories(5, 3, NAMES[:3])

    def profiles(topics: str) -> list[Profile]:
        entities = ", ".join(f'{{ name = "{name} Corp", aliases = ["{name}"] }}' for name in NAMES[:3])
        config = tmp_path / "tapewatch.toml"
        config.write_text(f'[[watchlists]]\nname = "mine"\nentities = [{entities}]\n{topics}')
        player = replay.Player(load(config, {}), assemble(load(config, {}), model.topics, model.risks), model, None)
        items = [
            RawItem(guid=f"g{s.number}", title=f"{s.title}: earnings", published=s.at, fetched=s.at, publisher="p")
            for s in told
        ]
        for _ in player.play(player.documents(items, None, None)):
            pass
        return player.profiles

    alone = profiles("")
    assert len(alone) >= 10
    assert profiles('topics = ["Earnings"]\n') == alone


def test_one_crisis_does_not_make_a_busy_hour() -> None:
    rng = Tape(4).rng
    usual = [
        BlockSummary(f"k{key}", "news", MONDAY + block * 1_800.0, 0.1, 1.0)
        for key in range(20)
        for block in range(28 * 48)
        if rng.random() < 0.1
    ]
    noon = MONDAY + DAY + 12 * HOUR
    crisis = [BlockSummary("k0", "news", noon + 7 * DAY + part, 200.0, 200.0) for part in (0.0, 1_800.0)]
    shape = week_shape([*usual, *crisis], 28 * DAY)
    assert max(shape) < 1.5 and math.isclose(statistics.mean(shape), 1.0, rel_tol=1e-3)
