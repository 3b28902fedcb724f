"""What a key can't see is taken from its exposure by the share it brings: laws of the ledger of outages."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.coverage import GRACE, MEMORY, SOURCES, Seeing, Sights, mark_of
from pipelines.documents import SourceRecord, iso
from pipelines.outages import KEPT, SILENCE, Outages

T0 = 1_790_000_000.0
DAY = 86_400.0


def record(
    source: str,
    at: float,
    *,
    up: bool,
    success: float | None = None,
    class_: str = "news",
    unread: bool = False,
    interval: float = 60.0,
) -> SourceRecord:
    return SourceRecord(
        source=source,
        class_=class_,
        state="up" if up else "down",
        reason=None if up else "HTTP 503",
        at=iso(at),
        last_success=None if success is None else iso(success),
        interval=interval,
        unread=unread,
    )


def told(*records: SourceRecord, seeing: Seeing | None = None) -> Seeing:
    seeing = seeing or Seeing()
    for one in records:
        seeing.note(one, seeing.applied + 1)
    return seeing


def fed(seeing: Seeing, shares: dict[str, float], at: float = T0) -> Sights:
    sights = Sights()
    seeing.look(sights, False, at)
    for source, weight in shares.items():
        seeing.feed(sights, mark_of(source), False, weight, 1.0, at)
    return sights


STATES = st.lists(st.tuples(st.integers(1, int(SILENCE)), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None)
@given(STATES, st.lists(st.integers(0, 40_000), max_size=10))
def test_blind_seconds_are_the_time_spent_down(steps: list[tuple[int, bool]], moments: list[int]) -> None:
    outages, at, down_since, truth = Outages(), T0, None, 0.0
    for seconds, down in steps:
        at += seconds
        if down_since is not None and not down:
            truth, down_since = truth + at - down_since, None
        elif down and down_since is None:
            down_since = at
        outages.tell(at, at if down else None)
    end = at + 100.0
    truth += end - down_since if down_since is not None else 0.0
    assert math.isclose(outages.seconds(end), truth, abs_tol=1e-3)
    assert len(outages.kept) <= KEPT
    sums = [outages.seconds(T0 + moment) for moment in sorted(moments)]
    assert sums == sorted(sums)


@settings(deadline=None)
@given(STATES, st.lists(st.integers(0, 40_000), max_size=30), st.floats(0.05, 0.95))
def test_a_key_loses_the_share_that_is_missing_however_often_it_looks(
    steps: list[tuple[int, bool]], looks: list[int], share: float
) -> None:
    seeing = told(record("a", T0, up=True), record("b", T0, up=True))
    sights = fed(seeing, {"a": 20 * share, "b": 20 * (1 - share)})
    other = fed(seeing, {"b": 20.0})
    waiting, at, before = sorted(T0 + look for look in looks), T0, 0.0
    for seconds, down in steps:
        at += seconds
        while waiting and waiting[0] < at:
            blind, _ = seeing.look(sights, False, waiting.pop(0))
            assert blind >= before
            before = blind
        told(record("a", at, up=not down), record("b", at, up=True), seeing=seeing)
    end = at + 50.0
    blind, _ = seeing.look(sights, False, end)
    assert math.isclose(blind, share * seeing.sources[mark_of("a")].outages.seconds(end), rel_tol=1e-6, abs_tol=1e-3)
    assert seeing.look(other, False, end)[0] == 0.0, "a key that never lived on it lost time"


@settings(deadline=None)
@given(STATES, st.integers(0, 39))
def test_noted_again_or_restored_from_bytes_it_is_the_same(steps: list[tuple[int, bool]], cut: int) -> None:
    seeing, twice, at = Seeing(), Seeing(), T0
    for number, (seconds, down) in enumerate(steps):
        at += seconds
        one = record("ab"[number % 2], at, up=not down, success=at - 30.0)
        seeing.note(one, number)
        twice.note(one, number)
        for again in range(max(0, number - 3), number + 1):
            twice.note(record("ab"[again % 2], at, up=bool(again % 3)), again)
        if number == cut:
            twice = msgspec.msgpack.decode(msgspec.msgpack.encode(twice), type=Seeing)
    assert msgspec.msgpack.encode(seeing) == msgspec.msgpack.encode(twice)


def test_an_outage_begins_when_the_source_was_last_read_but_takes_no_more_than_has_passed() -> None:
    seeing = told(record("a", T0, up=True), record("b", T0, up=True))
    sights = fed(seeing, {"a": 10.0})
    assert seeing.look(sights, False, T0 + 500)[0] == 0.0
    told(record("a", T0 + 600, up=False, success=T0 + 60), seeing=seeing)
    assert seeing.look(sights, False, T0 + 700)[0] == 200.0, "of 640 blind seconds the key had counted 440 as seen"
    fresh = fed(seeing, {}, T0 + 700)
    assert seeing.missing(fresh, T0 + 600, T0 + 700) == (0.0, 0.0), "without history it is its class that counts"


def test_a_backlog_ends_the_outage_where_it_begins() -> None:
    seeing = told(record("a", T0, up=True), record("a", T0 + 100, up=False), record("b", T0 + 100, up=True))
    sights = fed(seeing, {"a": 10.0})
    assert not seeing.bring(mark_of("a"), False, T0 + 50, T0 + 50), "fetched before the outage, judged after it began"
    assert seeing.bring(mark_of("a"), False, T0 + 3_000, T0 + 9_000)
    told(record("a", T0 + 9_001, up=True), seeing=seeing)
    assert not seeing.bring(mark_of("a"), False, T0 + 4_000, T0 + 9_000)
    assert seeing.look(sights, False, T0 + 3_000)[0] == 2_900.0
    assert seeing.look(sights, False, T0 + 20_000)[0] == 2_900.0


def test_what_came_live_before_a_crash_does_not_shorten_the_silence() -> None:
    seeing = told(record("a", T0, up=True))
    sights = fed(seeing, {"a": 10.0})
    told(record("a", T0 + 2 * DAY, up=True), seeing=seeing)  # nobody was reading for two days
    assert not seeing.bring(mark_of("a"), False, T0 + 5, T0 + 5)
    assert seeing.look(sights, False, T0 + 2 * DAY)[0] == 2 * DAY
    assert seeing.missing(sights, T0, T0 + 2 * DAY) == (1.0, 0.0)


def test_a_class_is_blind_when_all_its_living_sources_are() -> None:
    seeing = told(record("a", T0, up=True), record("b", T0, up=True), record("s", T0, up=True, class_="social"))
    done = SourceRecord(source="f", class_="news", state="stopped", at=iso(T0), interval=0.0)
    told(done, record("a", T0 + 10, up=False), seeing=seeing)
    assert seeing.missing(Sights(), T0 + 10, T0 + 60) == (0.0, 0.0)
    told(record("b", T0 + 40, up=False), seeing=seeing)
    assert seeing.missing(Sights(), T0 + 40, T0 + 60) == (1.0, 0.0)
    new = Sights()
    assert seeing.look(new, False, T0 + 60) == (20.0, 0.0)
    cover = seeing.coverage(fed(seeing, {"a": 9.0, "api": 1.0}, T0), T0 + 60, 0.0)
    assert (cover.sources_expected, cover.sources_healthy, cover.stale) == (3, 1, ("a", "b")), "a finished file counts"
    assert (cover.key_sources, cover.key_healthy, cover.key_stale, cover.key_seen) == (2, 1, ("a",), 0.1)
    assert seeing.keep({"b", "s"}) and not seeing.keep({"b", "s"})
    assert seeing.coverage(new, T0 + 60, 0.0).stale == ("b",)


@pytest.mark.parametrize(("interval", "grace"), [(1.0, GRACE), (300.0, 300.0)])
def test_an_unread_source_is_lost_after_its_interval_and_once_read_never_unread_again(
    interval: float, grace: float
) -> None:
    def cover(seeing: Seeing, at: float) -> tuple[int, int, tuple[str, ...], tuple[str, ...]]:
        found = seeing.coverage(Sights(), at, 0.0)
        return found.sources_expected, found.sources_healthy, found.unread, found.stale

    def unread(at: float) -> SourceRecord:
        return record("a", at, up=True, unread=True, interval=interval)

    seeing = told(unread(T0), unread(T0 + grace))
    assert cover(seeing, T0 + grace) == (1, 0, ("a",), ())
    assert seeing.missing(Sights(), T0, T0 + grace) == (0.0, 0.0)
    told(unread(T0 + grace + 1), seeing=seeing)
    assert cover(seeing, T0 + grace + 1) == (1, 0, (), ("a",))
    assert seeing.missing(Sights(), T0, T0 + grace + 1) == (1.0, 0.0), "since it is known, not since it is lost"
    told(record("a", T0 + grace + 2, up=True, success=T0 + grace + 2), unread(T0 + grace + 3), seeing=seeing)
    assert cover(seeing, T0 + grace + 3) == (1, 1, (), ())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1)), max_size=400))
def test_what_a_key_lives_on_is_bounded(items: list[tuple[int, float]]) -> None:
    seeing, sights = Seeing(), Sights()
    for number, (source, weight) in enumerate(items):
        seeing.look(sights, False, T0 + number)
        seeing.feed(sights, source, False, weight, 0.8, T0 + number)
    if sights.news is None:
        return
    assert len(sights.news.sources) == len(set(sights.news.sources)) <= SOURCES
    assert math.isclose(sights.news.total, sum(sights.news.items), abs_tol=1e-6)
    assert sights.news.total <= MEMORY and len(msgspec.msgpack.encode(sights)) < 400


def test_what_others_tell_as_well_is_not_lost() -> None:
    seeing = told(record("a", T0, up=True), record("b", T0, up=True))
    exclusive, reprinted = Sights(), Sights()
    for sights, novelty in ((exclusive, 1.0), (reprinted, 0.0)):
        for number in range(20):
            at = T0 + number
            seeing.look(sights, False, at)
            seeing.feed(sights, mark_of("a"), False, 1.0, 1.0, at)
            seeing.feed(sights, mark_of("b"), False, 1.0, novelty, at)
    told(record("a", T0 + 100, up=False), seeing=seeing)
    assert seeing.missing(exclusive, T0 + 100, T0 + 200) == (0.5, 0.0)
    assert seeing.missing(reprinted, T0 + 100, T0 + 200) == (0.0, 0.0)
    assert (seeing.look(exclusive, False, T0 + 200)[0], seeing.look(reprinted, False, T0 + 200)[0]) == (50.0, 0.0)
    told(record("b", T0 + 200, up=False), seeing=seeing)
    assert seeing.missing(reprinted, T0 + 200, T0 + 300) == (1.0, 0.0)


def test_after_a_week_what_is_left_is_the_usual() -> None:
    seeing = told(record("a", T0, up=True), record("b", T0, up=True))
    sights = fed(seeing, {"a": 9.0, "b": 1.0})
    told(record("a", T0 + 10, up=False), seeing=seeing)
    assert math.isclose(seeing.look(sights, False, T0 + 30 * DAY)[0], 0.9 * 7 * DAY)
    assert seeing.missing(sights, T0 + 8 * DAY, T0 + 9 * DAY) == (0.0, 0.0)
    assert seeing.coverage(sights, T0 + 9 * DAY, 0.0).key_stale == () and seeing.coverage(sights, 0.0, 0.0).stale == (
        "a",
    )


def test_who_takes_over_becomes_what_a_key_lives_on() -> None:
    seeing = told(record("a", T0, up=True), record("b", T0, up=True))
    sights = fed(seeing, {"a": 10.0})
    told(record("a", T0 + 10, up=False), seeing=seeing)
    shares = []
    for number in range(60):
        at = T0 + 20 + number
        seeing.look(sights, False, at)
        seeing.feed(sights, mark_of("b"), False, 1.0, 1.0, at)
        shares.append(seeing.missing(sights, at, at + 1)[0])
    assert shares[0] == 1.0 and shares == sorted(shares, reverse=True) and shares[-1] < 0.5
