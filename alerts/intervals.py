"""How far a measured rate or median may be from the true one: 95 % intervals. Pure.

Sources: Garwood 1936 (a Poisson count, exact); David and Nagaraja, *Order Statistics*, 7.1 (a median, free of any
distribution).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Interval = tuple[float, float]

LEVEL = 0.95
_TAIL = (1.0 - LEVEL) / 2.0
_STEPS = 80
"""Halvings of a search: more than a float has digits."""


def poisson(count: int) -> Interval:
    """Of the mean behind a count; divided by the exposure they are the interval of a rate."""
    width = 10.0 + 6.0 * math.sqrt(count + 1.0)
    low = _search(0.0, float(count), lambda mean: _at_least(count, mean) < _TAIL) if count else 0.0
    return low, _search(float(count), count + width, lambda mean: _at_most(count, mean) > _TAIL)


def median(values: Sequence[float]) -> Interval | None:
    """Of the median behind values: two of them. None of fewer than six, of which none are far enough apart."""
    ordered, n = sorted(values), len(values)
    below, place = 0.0, 0
    while (below := below + math.comb(n, place) / 2**n) <= _TAIL:
        place += 1
    return None if place == 0 else (ordered[place - 1], ordered[n - place])


def _search(low: float, high: float, below: Callable[[float], bool]) -> float:
    """Where ``below`` turns false."""
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if below(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _at_least(count: int, mean: float) -> float:
    """P(X ≥ count) of a Poisson mean below the count."""
    if mean <= 0.0:
        return 0.0
    term, total, k = _density(count, mean), 0.0, count
    while term > total * 1e-17:
        total += term
        k += 1
        term *= mean / k
    return total


def _at_most(count: int, mean: float) -> float:
    """P(X ≤ count) of a Poisson mean above the count."""
    term, total, k = _density(count, mean), 0.0, count
    while k >= 0 and term > total * 1e-17:
        total += term
        term *= k / mean
        k -= 1
    return total


def _density(k: int, mean: float) -> float:
    return math.exp(k * math.log(mean) - mean - math.lgamma(k + 1.0)) if mean > 0.0 else float(k == 0)
