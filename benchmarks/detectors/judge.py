"""What alarms were worth: found, false and late, with intervals; and the threshold of a given number of false ones.

Happenings are found by an alarm that begins from their onset to ``GRACE`` of the tail after their end. Alarms within a
happening's tail are neither hits nor false ones; those anywhere else after the warm weeks are false, whatever drift,
shift, outage or birth explains them. Market-wide moves and distractors are counted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.baseline import WEEK
from benchmarks.detectors.scores import Alarms, Floats
from benchmarks.simulator.items import Population
from benchmarks.simulator.world import START, World

GRACE = 0.25
RESAMPLED = 400
APART = 1e11
"""Seconds by which keys are held apart where key and time are one number: more than any time."""


class Truth(NamedTuple):
    """All events of a number of keys, by key and time, as arrays; and the weeks in which an alarm would be false."""

    world: World
    rate: Floats
    """Stories per second, by key."""
    weeks: Floats
    key: NDArray[Any]
    kind: NDArray[Any]
    ratio: Floats
    onset: Floats
    end: Floats
    real: NDArray[Any]


def truth_of(populations: Sequence[Population]) -> Truth:
    keys = [key for population in populations for key in population.keys]
    world = populations[0].world
    rows = [(number, *event[:4], event.real) for number, key in enumerate(keys) for event in key.events]
    key, kind, ratio, onset, end, real = (np.array(column) for column in zip(*rows, strict=True))
    first = np.maximum([one.birth for one in keys], START + world.warm)
    taken = np.bincount(key, (end + world.tail - onset) * (end > first[key]), len(keys))
    weeks = (START + world.span - first - taken) / WEEK
    return Truth(world, np.array([one.traits.rate for one in keys]), weeks, key, kind, ratio, onset, end, real)


class Verdict(NamedTuple):
    """``false`` by key; the rest by event, a delay in seconds, NaN where it was not found."""

    false: Floats
    found: NDArray[Any]
    delay: Floats


def judge(truth: Truth, rang: Alarms) -> Verdict:
    moments = rang.key * APART + (rang.at - START)
    onsets = truth.key * APART + (truth.onset - START)
    ends = truth.key * APART + (truth.end - START)
    first = np.append(moments, np.inf)[np.searchsorted(moments, onsets)]
    found = first <= ends + GRACE * truth.world.tail
    event = np.searchsorted(onsets, moments, side="right") - 1
    within = (event >= 0) & (moments <= ends[event] + truth.world.tail)
    return Verdict(
        np.bincount(rang.key[~within], minlength=len(truth.weeks)).astype(float),
        found,
        np.where(found, first - onsets, np.nan),
    )


def false_rate(truth: Truth, rang: Alarms) -> float:
    """False alarms per key-week."""
    return float(judge(truth, rang).false.sum() / truth.weeks.sum())


def matched(truth: Truth, ring: Callable[[float], Alarms], ladder: Floats, rate: float) -> float:
    """The lowest of the rising thresholds that rings no more than ``rate`` false alarms per key-week, by bisection."""
    low, high = -1, len(ladder) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if false_rate(truth, ring(ladder[middle])) <= rate:
            high = middle
        else:
            low = middle
    return float(ladder[high])


class Share(NamedTuple):
    """A ratio of sums over keys, with the 95 % interval of a bootstrap over keys."""

    value: float
    low: float
    high: float


def share(parts: NDArray[Any], wholes: NDArray[Any]) -> Share:
    """``parts`` and ``wholes`` by key."""
    if not wholes.sum():
        return Share(np.nan, np.nan, np.nan)
    times = np.random.default_rng(5).multinomial(len(parts), np.full(len(parts), 1 / len(parts)), RESAMPLED)
    drawn = (times @ parts) / np.maximum(times @ wholes, 1e-12)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Share(float(parts.sum() / wholes.sum()), float(low), float(high))


def recall(truth: Truth, verdict: Verdict, chosen: NDArray[Any]) -> Share:
    """Share of the ``chosen`` events that were found."""
    key, keys = truth.key[chosen], len(truth.weeks)
    return share(np.bincount(key, verdict.found[chosen], keys), np.bincount(key, np.ones(len(key)), keys))


def groups(truth: Truth) -> dict[str, NDArray[Any]]:
    """Which events belong to which figure."""
    spikes = truth.real & (truth.ratio > 0)
    found = {
        "spikes": spikes,
        "ratio 2.5 and 4": spikes & (truth.ratio < 5),
        "ratio 8 and 16": spikes & (truth.ratio > 5),
        **{kind: truth.kind == kind for kind in ("fast", "middle", "slow", "flip")},
        **{kind: truth.kind == kind for kind in ("surge", "usual", "cheer", "copies", "market")},
    }
    seldom = truth.rate[truth.key] < 1 / 86_400
    for size in truth.world.crises:
        found[f"crisis of {size}, under 1 a day"] = (truth.kind == f"crisis of {size}") & seldom
    return found
