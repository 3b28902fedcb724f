"""Laws of the poll plan: floors, caps, jitter, Retry-After, hours to leave alone, and when a feed counts as frozen."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.schedule import (
    BACKOFF_FROM,
    BACKOFF_TO,
    DEFAULT_INTERVAL,
    LONGEST_ASKED,
    RETRY_AFTER_TO,
    SHORTEST,
    SHORTEST_ASKED,
    STALE_FACTOR,
    STALE_FLOOR,
    STALE_UNKNOWN,
    Asked,
    Health,
    interval_of,
    is_frozen,
    max_age,
    next_poll,
    note_failure,
    note_success,
    retry_after,
)

NOW = 1_790_000_000.0
HOUR = 3_600.0
A_FIFTH, A_TWENTIETH = 1.2, 1.05

seconds = st.floats(0.0, 1e7)
intervals = st.floats(SHORTEST, 1e5)
draws = st.floats(0.0, 1.0, exclude_max=True)
nows = st.floats(1e9, 4e9)
wishes = st.none() | seconds
asked = st.builds(
    Asked,
    ttl=wishes,
    max_age=wishes,
    skip_hours=st.lists(st.integers(0, 23), unique=True).map(lambda hours: tuple(sorted(hours))),
)


def wait(interval: float, *, streak: int = 0, after: float | None = None, draw: float = 0.0, now: float = NOW) -> float:
    return next_poll(now, interval, streak=streak, retry_after=after, skip_hours=(), draw=draw) - now


# -- how often --------------------------------------------------------------------------------------------


@given(asked, st.none() | st.floats(-10.0, 1e6))
def test_a_feeds_wish_stays_between_floor_and_cap_and_an_explicit_interval_wins(
    wish: Asked, explicit: float | None
) -> None:
    interval = interval_of(explicit, wish)
    if explicit is not None:
        assert interval == max(SHORTEST, explicit)
    elif wish.ttl or wish.max_age:
        assert SHORTEST_ASKED <= interval <= LONGEST_ASKED
        assert interval >= min(LONGEST_ASKED, max(wish.ttl or 0.0, wish.max_age or 0.0))
    else:
        assert interval == DEFAULT_INTERVAL


def test_zero_is_no_wish() -> None:
    assert interval_of(None, Asked(ttl=0.0, max_age=0.0)) == DEFAULT_INTERVAL
    assert interval_of(None, Asked(ttl=1_800.0, max_age=0.0)) == 1_800.0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("max-age=900", 900.0),
        ("public, MAX-AGE = 60, must-revalidate", 60.0),
        ("no-cache, max-age=0", 0.0),
        ("no-store", None),
        ("max-age=soon", None),
        ("max-age=-5", None),
        ("s-maxage=900", None),
        ("", None),
    ],
)
def test_cache_control(header: str, expected: float | None) -> None:
    assert max_age({"cache-control": header}) == expected


# -- when next --------------------------------------------------------------------------------------------


@given(nows, intervals, st.integers(0, 500), st.none() | st.floats(0.0, 1e12), draws)
def test_never_sooner_than_the_interval_nor_later_than_cap_and_jitter(
    now: float, interval: float, streak: int, after: float | None, draw: float
) -> None:
    got = wait(interval, streak=streak, after=after, draw=draw, now=now)
    slack = 1e-5  # of adding to a moment of ten digits
    assert got >= interval - slack
    longest = max(interval, BACKOFF_TO if streak else interval) * (A_FIFTH if streak else A_TWENTIETH)
    assert got <= max(longest, min(after or 0.0, RETRY_AFTER_TO)) + slack


@given(intervals, st.integers(1, 60), draws, draws)
def test_backoff_never_shrinks_doubles_until_its_cap_and_jitter_stays_a_fifth(
    interval: float, streak: int, draw: float, other: float
) -> None:
    this, following = wait(interval, streak=streak), wait(interval, streak=streak + 1)
    assert following >= this
    assert following == pytest.approx(max(interval, min(2 * this, BACKOFF_TO)), rel=1e-6)
    low, high = sorted((wait(interval, streak=streak, draw=draw), wait(interval, streak=streak, draw=other)))
    assert this - 1e-5 <= low <= high <= this * A_FIFTH + 1e-5


def test_backoff_of_a_quick_feed_by_hand() -> None:
    assert [round(wait(1.0, streak=n)) for n in range(1, 14)] == [
        2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600,
    ]  # fmt: skip
    assert wait(1.0, streak=1) >= BACKOFF_FROM
    assert [round(wait(300.0, streak=n)) for n in range(1, 7)] == [300, 600, 1200, 2400, 3600, 3600]
    assert wait(7_200.0, streak=9) == 7_200.0, "a cap below the interval must not make a failing feed quicker"
    assert wait(300.0, streak=3, draw=0.5) == pytest.approx(1_320.0)


def test_a_healthy_quick_feed_keeps_time_and_a_slow_one_spreads() -> None:
    assert wait(5.0, draw=0.99) == 5.0
    assert wait(60.0, draw=0.99) == pytest.approx(62.97)


# -- Retry-After ------------------------------------------------------------------------------------------


def test_retry_after_lengthens_is_clamped_and_never_shortens() -> None:
    assert wait(60.0, streak=1, after=7_000.0) == 7_000.0
    assert wait(60.0, streak=1, after=1e9) == RETRY_AFTER_TO
    assert wait(60.0, streak=1, after=0.0) == 60.0
    assert wait(60.0, streak=8, after=10.0) == BACKOFF_TO


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 40, 999_999_999.0),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True), 0.0),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999999", None),
        ("²", None),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_or_left(value: str, expected: float | None) -> None:
    assert retry_after({"retry-after": value}, NOW) == expected


@given(st.text() | st.text("0123456789 :,+-GMTJanMon²٣", max_size=60))
def test_no_header_breaks_the_plan(value: str) -> None:
    found = retry_after({"retry-after": value}, NOW)
    assert found is None or found >= 0.0
    age = max_age({"cache-control": f"max-age={value}"})
    assert age is None or age >= 0.0


# -- hours to leave alone ---------------------------------------------------------------------------------


@given(nows, intervals, asked, draws)
def test_no_healthy_poll_falls_into_an_hour_to_leave_alone(
    now: float, interval: float, wish: Asked, draw: float
) -> None:
    hours = wish.skip_hours
    due = next_poll(now, interval, streak=0, retry_after=None, skip_hours=hours, draw=draw)
    plain = next_poll(now, interval, streak=0, retry_after=None, skip_hours=(), draw=draw)
    assert plain <= due <= plain + 24 * HOUR
    if len(hours) < 24:
        assert datetime.fromtimestamp(due, UTC).hour not in hours
    if due != plain:
        assert datetime.fromtimestamp(plain, UTC).hour in hours
    failing = next_poll(now, interval, streak=1, retry_after=None, skip_hours=hours, draw=draw)
    assert failing == next_poll(now, interval, streak=1, retry_after=None, skip_hours=(), draw=draw)


def test_skipped_hours_end_at_the_full_hour() -> None:
    evening = datetime(2026, 9, 21, 21, 50, tzinfo=UTC).timestamp()
    due = next_poll(evening, 900.0, streak=0, retry_after=None, skip_hours=(22, 23, 0), draw=0.0)
    assert datetime.fromtimestamp(due, UTC) == datetime(2026, 9, 22, 1, 0, tzinfo=UTC)


# -- health -----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(1.0, 1e5), st.none() | st.integers(0, 50)), max_size=40))
def test_health_is_the_sum_of_what_happened(polls: list[tuple[float, int | None]]) -> None:
    health, now, streak, items, success, fresh = Health(), NOW, 0, 0, None, None
    gaps: list[float] = []
    for pause, new in polls:
        now += pause
        if new is None:
            health, streak = note_failure(health), streak + 1
            continue
        health, streak, items, success = note_success(health, now, new), 0, items + new, now
        if new:
            gaps += [now - fresh] if fresh is not None else []
            fresh = now
    assert (health.streak, health.items, health.last_success, health.last_new) == (streak, items, success, fresh)
    assert (health.usual is None) == (not gaps)
    if health.usual is not None:
        assert min(gaps) - 1e-6 <= health.usual <= max(gaps) + 1e-6


def test_frozen_is_silence_beyond_the_feeds_own_habit_while_it_answers() -> None:
    health = Health()
    for n in range(5):
        health = note_success(health, NOW + n * 2 * HOUR, 1)
    last = NOW + 8 * HOUR
    limit = STALE_FACTOR * 2 * HOUR
    assert not is_frozen(note_success(health, last + limit, 0), 300.0)
    assert is_frozen(note_success(health, last + limit + 1.0, 0), 300.0)
    assert not is_frozen(health, 300.0), "nobody asked since: a machine that was off for days knows nothing"
    assert not is_frozen(note_success(note_success(health, last + 9 * limit, 0), last + 9 * limit + 1, 3), 300.0)


def test_frozen_has_a_floor_and_without_a_habit_a_day() -> None:
    busy = note_success(note_success(Health(), NOW, 5), NOW + 60.0, 5)
    assert not is_frozen(note_success(busy, NOW + 60.0 + STALE_FLOOR, 0), 60.0)
    assert is_frozen(note_success(busy, NOW + 61.0 + STALE_FLOOR, 0), 60.0)
    for brought in (0, 5):
        once = note_success(Health(), NOW, brought)
        assert not is_frozen(note_success(once, NOW + STALE_UNKNOWN, 0), 60.0)
        assert is_frozen(note_success(once, NOW + STALE_UNKNOWN + 1.0, 0), 60.0)
    assert not is_frozen(note_success(busy, NOW + 9 * HOUR, 0), HOUR), "ten of its own intervals at least"
