"""How often chance alone brings a key's evidence to a height: what lets a budget of false alarms mean what it says.

A key's history has bursts that were nothing. Of each class the detector counts how often the evidence rose past a
level, and how far beyond it: above a high level the excess of peaks is nearly exponential, so that a rate and a slope
say how often any height is reached. Both start from what keys of this rate usually show, and a key's own peaks
outweigh that with time. Peaks that chance hardly brings are likely to be real, and must not make a key deaf: twice as
many of them count as chance would bring, and one.

Sources: peaks over threshold, Pickands 1975, Davison and Smith 1990, on streams Siffer et al. 2017; the estimate with
a Gamma prior and censored peaks is the conjugate one of exponential life times. Pure; times in seconds since 1970.
"""

from __future__ import annotations

from math import exp, log, log1p

import msgspec

from alerts.baseline import MONTH, ClassSettings

RARE = 20.0
"""Months: a peak that chance brings once in so many may be no chance. It counts as that high at least."""
MOST, SPARE = 2.0, 1.0
"""How many times as many of those as chance brings are counted, and how many besides: who has more has crises."""
REAL = 240.0
"""Months: one that it brings once in so many is none, and does not count."""

TIMES_WEIGHT = 8.0
"""Weight of the usual rate of passages, in passages."""
HEIGHT_WEIGHT = 30.0
"""Weight of the usual slope, in passages."""
REMEMBERED = 400.0
"""Passages at which what was counted is halved."""

HIGHEST = 600.0


class Tail(msgspec.Struct, array_like=True, gc=False):
    """A class's passages above its level, discounted, and what follows from them."""

    times: float = 0.0
    usual: float = 0.0
    """Passages that were to be expected in the same time by what is usual."""
    ended: float = 0.0
    """Passages whose peak is known."""
    above: float = 0.0
    """Nats above the level, of all peaks."""
    peak: float = 0.0
    """Of the passage under way; 0 where there is none."""
    last: float = 0.0
    """When the evidence last stood above the level."""
    slope: float = 0.0
    """By how much a nat of evidence lowers the log of how often chance reaches it; 0 before the first item."""
    offset: float = 0.0
    """Log of how often a month chance would reach evidence of 0 by that slope."""
    below: float = 0.0
    """The score of each nat up to the level, at most."""


def usual_times(bad: float, settings: ClassSettings) -> float:
    """Passages a month above the class's level of a key with ``bad`` bad items a month."""
    few, times, power, many = settings.passages
    return times * exp(power * log(bad)) / (1.0 + bad / many) * bad / (bad + few)


def usual_slope(bad: float, settings: ClassSettings) -> float:
    least, growth, most = settings.slopes
    return min(least + growth * log1p(bad), most)


def settle(tail: Tail, t: float, settings: ClassSettings) -> None:
    """Takes down a passage that is over: the evidence has been below its level for long enough."""
    if tail.peak == 0.0 or t - tail.last <= settings.apart:
        return
    months = tail.slope * tail.peak - tail.offset  # the log of those in which chance brings it once
    doubtful = tail.times / (RARE * exp(tail.offset - tail.slope * settings.level))
    if months < log(RARE):
        tail.ended += 1.0
        tail.above += tail.peak - settings.level
    elif months < log(REAL) and tail.times - tail.ended <= MOST * doubtful + SPARE:
        tail.above += max(0.0, (log(RARE) + tail.offset) / tail.slope - settings.level)
    else:
        tail.times -= 1.0
    tail.peak = 0.0
    if tail.times > REMEMBERED:
        tail.times, tail.usual, tail.ended, tail.above = (
            tail.times / 2.0,
            tail.usual / 2.0,
            tail.ended / 2.0,
            tail.above / 2.0,
        )


def note(tail: Tail, t: float, evidence: float, settings: ClassSettings) -> None:
    """The class's evidence at ``t``, above its level and enough to ring."""
    settle(tail, t, settings)
    if tail.peak == 0.0:
        tail.times += 1.0
    tail.last = t
    if evidence > tail.peak:
        tail.peak = evidence


def learn(tail: Tail, t: float, seconds: float, bad: float, evidence: float, settings: ClassSettings) -> None:
    """Takes in that ``seconds`` passed, with ``bad`` bad items a month to be expected.

    What is concluded stands still from half the level on: a burst must not move its own threshold.
    """
    settle(tail, t, settings)
    times = usual_times(bad, settings)
    tail.usual += times * seconds / MONTH
    if evidence >= settings.level / 2.0 and tail.slope > 0.0:
        return
    times *= (TIMES_WEIGHT + tail.times) / (TIMES_WEIGHT + tail.usual)
    tail.slope = (HEIGHT_WEIGHT + tail.ended) / (HEIGHT_WEIGHT / usual_slope(bad, settings) + tail.above)
    tail.offset = log(times) + tail.slope * settings.level
    tail.below = log1p(1.0 / times) / settings.level


def surprise(tail: Tail, evidence: float, settings: ClassSettings) -> float:
    """Minus the log of how often a month chance reaches this evidence, ln(1 + 1/times); 0 where there is none.

    Peaks are exponential above the level only: below it at most in proportion, or the first harmless item about a
    key that is hardly ever talked about would be a surprise.
    """
    if evidence <= 0.0:
        return 0.0
    z = tail.slope * evidence - tail.offset
    if z > HIGHEST:
        return z
    score, most = log1p(exp(z)), tail.below * evidence
    return most if evidence < settings.level and most < score else score


def threshold(budget: float) -> float:
    """What is expected ``budget`` times a month: ln(1 + 1/B)."""
    return log1p(1.0 / budget)
