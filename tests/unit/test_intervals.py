"""Intervals: what tables of the literature say, and whether nineteen in twenty hold."""

from __future__ import annotations

import random

import pytest

from alerts.intervals import median, poisson


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (5, 1.6235, 11.6683), (12, 6.2006, 20.9616), (100, 81.3640, 121.6268)],
)
def test_poisson_is_garwoods(count: int, low: float, high: float) -> None:
    assert poisson(count) == pytest.approx((low, high), abs=5e-5)


def test_a_median_has_the_values_around_it() -> None:
    assert median(range(1, 6)) is None
    assert median([6, 1, 5, 2, 4, 3]) == (1, 6)
    assert median(range(1, 21)) == (6, 15)
    assert median(range(2_001)) == (956, 1_044)


def test_nineteen_in_twenty_hold() -> None:
    rng = random.Random(7)
    held = sum(low <= 4.0 <= high for low, high in (poisson(_drawn(rng, 4.0)) for _ in range(2_000)))
    assert 0.95 <= held / 2_000 <= 0.99, "exact ones hold at least so often"
    medians = [median([rng.gauss(0.0, 1.0) for _ in range(15)]) for _ in range(2_000)]
    assert sum(one is not None and one[0] <= 0.0 <= one[1] for one in medians) / 2_000 == pytest.approx(0.965, abs=0.02)


def _drawn(rng: random.Random, mean: float) -> int:
    count, passed = -1, 0.0
    while passed < mean:
        passed += rng.expovariate(1.0)
        count += 1
    return count
