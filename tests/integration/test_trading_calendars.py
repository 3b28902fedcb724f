"""Trading calendars over weeks: what they are worth on the days that they know of, and that both engines and any cut of
the log make the same of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from alerts.baseline import MONDAY, WEEK
from benchmarks.holidays import measure
from pipelines.clock import ManualClock
from pipelines.documents import SeriesPoint, decode, epoch
from pipelines.streams.base import ALERTS, PROFILES, SERIES, Output
from pipelines.streams.embedded import EmbeddedEngine
from tests.stream_bench import DAY, HOUR, NAMES, T0, Played, Tape, Told, bites, stages, watermark

CLOSED = [(T0 - 9 * HOUR, T0 + 63 * HOUR), (T0 + 20 * DAY + 15 * HOUR, T0 + 21 * DAY + 15 * HOUR)]
"""Tokyo's three days from the 21st of September 2026, and the 12th of October."""


def test_a_holiday_is_expected_and_bends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty weeks, with Thanksgiving, the days around Christmas and New Year's."""
    known, unknown = (measure(4, 20, "XNYS", known=known) for known in (True, False))
    kinds = ("closed", "after an early close", "first open day", "weekday later")
    with capsys.disabled():
        for kind in kinds:
            print(f"\n{kind}: with the calendar {known[kind]}, without {unknown[kind]}", end="")
    ratios = {kind: (known[kind]["expected_over_true"], unknown[kind]["expected_over_true"]) for kind in kinds}
    assert ratios["closed"][0] < 1.6 and ratios["closed"][1] > 3
    assert ratios["after an early close"][0] < ratios["after an early close"][1] / 1.5
    for kind in ("first open day", "weekday later"):
        assert ratios[kind][1] < ratios[kind][0] < 1.1
    assert known["closed"]["alarms"] == 0
    assert all(known[kind]["alarms"] <= unknown[kind]["alarms"] for kind in kinds)


def log(seed: int) -> Iterator[tuple[float, Output]]:
    """Four weeks of three companies: eight to eighteen o'clock in Tokyo, a fifth of it on weekends and holidays."""
    tape, passed = Tape(seed), T0
    told: Sequence[Told] = sorted(
        one for name in NAMES[:3] for one in tape.poisson(T0, T0 + 4 * WEEK, 40, "wire", name)
    )
    for story in told:
        hour = int((story.at + 9 * HOUR - MONDAY) % WEEK // HOUR)
        quiet = hour >= 120 or any(first <= story.at < end for first, end in CLOSED)
        if not 8 <= hour % 24 < 18 or (quiet and tape.rng.random() > 0.2):
            continue
        while passed + HOUR <= story.at:
            passed += HOUR
            yield passed, watermark(passed)
        yield story.fetched, story.output()


def test_neither_cuts_nor_the_engine_change_a_byte(tmp_path: Path) -> None:
    def outcome(cut: int, calendar: str | None) -> tuple[list[bytes], ...]:
        engine = Played(budget=3.0, calendar=calendar).play(log(5), cut).engine
        return tuple([record.value for record in engine.records(topic)] for topic in (PROFILES, ALERTS, SERIES))

    known, unknown = outcome(5_000, "XTKS"), outcome(5_000, None)
    assert outcome(7, "XTKS") == known
    assert len(known[0]) > 15 and known[0] != unknown[0] and len(known[1]) > 5

    def expected(series: list[bytes], name: str) -> float:
        """On the holiday that falls into the learned weeks, of the blocks that had news."""
        points = (decode(SeriesPoint, value) for value in series)
        first, end = CLOSED[1]
        return sum(one.expected for one in points if one.key == name and first <= epoch(one.start) < end)

    for key in ("entity:acme", "list:mine"):
        assert 0 < expected(known[2], key) < expected(unknown[2], key) / 2
    assert 0 < expected(known[2], "market") == pytest.approx(expected(unknown[2], "market"), rel=0.35)

    async def embedded() -> tuple[list[bytes], ...]:
        clock = ManualClock(T0)
        engine = EmbeddedEngine(tmp_path / "store.db", clock=clock, batch=61)
        await engine.start(stages(clock, budget=3.0, calendar="XTKS"))
        for bite in bites(log(5), 5_000):
            clock.set(bite[0][0])
            await engine.append([output for _, output in bite])
            await asyncio.wait_for(engine.drained(), 120)
        found = [
            await engine.ask(lambda store, t=topic: store.read([t], 0, 100_000)) for topic in (PROFILES, ALERTS, SERIES)
        ]
        await engine.stop()
        return tuple([record.value for record in records] for records in found)

    assert asyncio.run(embedded()) == known
