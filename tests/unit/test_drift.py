"""The drift watch's statistic on simulated streams: stories in many copies, days with moods of their own, weekends."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from models.drift import BLOCKS, CHANCE, WEEK, Spread, effect, look, spread

TOPICS = np.array([9, 7, 3, 2, 8, 4, 4, 2, 14, 2, 1, 4, 6, 10, 5, 3, 6, 4, 5, 1], float)
SHARES: dict[str, Any] = {
    "sentiment": [0.3, 0.5, 0.2],
    "topic": TOPICS / TOPICS.sum(),
    "adverse": [0.75, 0.25],
    "confidence": [0.03, 0.07, 0.08, 0.1, 0.15, 0.12, 0.25, 0.2],
    "unknown": [0.97, 0.01, 0.01, 0.006, 0.004],
    "length": [0.04, 0.1, 0.2, 0.3, 0.2, 0.1, 0.06],
    "language": [0.98, 0.02],
    "story": [0.02, 0.08, 0.25, 0.35, 0.2, 0.1],
}
YEAR = 365


def stream(rng: np.random.Generator, shares: Any, days: int, a_day: float, *, moody: float = 0.15) -> Any:
    """Texts by day and bin: stories of two copies in the mean, moods of days (a standard deviation in log-shares), half
    of which is left on the next day, weekends with a quarter of the texts and a mix of their own."""
    bins = len(shares)
    base, weekend = np.log(np.asarray(shares)), rng.normal(0, moody, bins)
    mood = np.empty((days, bins))
    last = rng.normal(0, moody, bins)
    for day in range(days):
        last = 0.5 * last + 0.75**0.5 * rng.normal(0, moody, bins)
        mood[day] = last
    free = (np.arange(days) % 7 >= 5)[:, None]
    raw = np.exp(base + mood + free * weekend)
    stories = rng.poisson(np.where(free[:, 0], 0.3, 1.2) * a_day / 2 * np.exp(rng.normal(0, 0.2, days)))
    told = rng.multinomial(stories, raw / raw.sum(1, keepdims=True))
    return told + np.where(told > 0, rng.negative_binomial(np.maximum(told, 1), 0.5), 0)


def rings(days: Any, known: Spread) -> list[bool]:
    """Whether each day rings, by itself or as the last of a week."""
    found = []
    for last in range(1, len(days) + 1):
        windows = [days[last - 1 : last], days[last - WEEK : last]][: 2 if last >= WEEK else 1]
        looks = [look(window.tolist(), known.total, known) for window in windows]
        found.append(any(one.effect > one.limit for one in looks))
    return found


def independent(known: Spread) -> Spread:
    """What would be expected if the texts of a day knew nothing of one another."""
    usual = 2 / (9 * known.freedom)
    return known._replace(rho=0.0, mean=1 - usual, deviation=usual**0.5)


def episodes(rang: list[bool]) -> int:
    """Times that it began to ring."""
    return sum(now and not before for before, now in pairwise([False, *rang]))


@pytest.mark.parametrize(("a_day", "moody"), [(300, 0.15), (3_000, 0.3)])
def test_calm_streams_ring_less_than_the_budget(a_day: int, moody: float) -> None:
    rng, years = np.random.default_rng(5), 4
    rang, naive = dict.fromkeys(SHARES, 0), 0
    for name, shares in SHARES.items():
        for _ in range(years):
            days = stream(rng, shares, BLOCKS + YEAR, a_day, moody=moody)
            known = spread(days[:BLOCKS])
            rang[name] += episodes(rings(days[BLOCKS:], known))
            naive += sum(rings(days[BLOCKS : BLOCKS + 28], independent(known)))
    allowed = len(SHARES) * years * YEAR * 2 * CHANCE
    print(f"{a_day} texts a day, {years} years: {rang} rang, {allowed:.1f} allowed; independent: {naive} in 28")
    assert naive > 50 * allowed, "days hardly differ more than independent texts would: nothing is proved"
    assert sum(rang.values()) <= allowed + 3 * allowed**0.5


@pytest.mark.parametrize(
    ("name", "after", "within"),
    [
        ("language", [0.5, 0.5], 1),
        ("language", [0.85, 0.15], 4),
        ("unknown", [0.7, 0.05, 0.1, 0.1, 0.05], 1),
        ("length", [0.02, 0.05, 0.1, 0.15, 0.1, 0.2, 0.38], 3),
        ("topic", np.roll(TOPICS, 5) / TOPICS.sum(), 7),
        ("sentiment", [0.7, 0.2, 0.1], 8),
        ("story", [0.3, 0.3, 0.25, 0.1, 0.04, 0.01], 2),
    ],
)
def test_a_real_shift_is_found_within_days(name: str, after: Any, within: int) -> None:
    """Of 20 streams with a change at midnight 18 tell it in so many days; their days differ twice as much as those of
    real headlines do (docs/models.md)."""
    rng, waits = np.random.default_rng(9), []
    for _ in range(20):
        before, changed = stream(rng, SHARES[name], BLOCKS, 1_000), stream(rng, after, 14, 1_000)
        waits.append([*rings(changed, spread(before)), True].index(True) + 1)
    w = effect(np.multiply(SHARES[name], 1e6), np.multiply(after, 1e6))
    print(f"{name}: w {w:.2f}, days {sorted(waits)}")
    assert sorted(waits)[17] <= within


def test_the_effect_size() -> None:
    assert effect([5, 5], [50, 50]) == 0.0
    assert effect([1, 0], [0, 7]) == 2.0
    assert effect([3, 1], [1, 3]) == effect([1, 3], [3, 1]) == pytest.approx((2 * 0.25 / 0.5) ** 0.5)
    small = effect([510, 490], [500, 500])
    assert small == pytest.approx(0.02, rel=1e-3), "Cohen's w, for what is small"
    with pytest.raises(ValueError, match="empty"):
        effect([0, 0], [1, 1])


def test_one_story_in_many_copies_is_no_drift() -> None:
    """A hundred copies in a rare bin of a stream that often has such; elsewhere the same day is a shift."""
    rng = np.random.default_rng(2)
    days = rng.multinomial(900, [0.95, 0.05], size=BLOCKS)
    days[::3, 1] += 100
    calm = rng.multinomial(1_000, [0.95, 0.05], size=BLOCKS)
    day = np.array([[855, 145]])
    assert (rings(day, spread(days)), rings(day, spread(calm))) == ([False], [True])


def test_a_measure_that_never_moved_has_a_limit_all_the_same() -> None:
    known = spread([[500, 0]] * BLOCKS)
    assert (known.rho, known.freedom) == (0.0, 1)
    assert rings(np.array([[499, 1], [400, 100]]), known) == [False, True]


def test_more_days_and_more_texts_say_more() -> None:
    known = spread(stream(np.random.default_rng(4), SHARES["topic"], BLOCKS, 1_000))

    def limits(day: list[int], count: int) -> float:
        return look([day] * count, known.total, known).limit

    day = [50] * len(TOPICS)
    assert limits(day, 7) < limits(day, 1) < limits([5] * len(TOPICS), 1)
    assert look([day], [1] * len(TOPICS), known).limit > limits(day, 1), "a small reference is known less"
