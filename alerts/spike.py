"""The statistic: does a key's bad news burst beyond what its history explains?

For each tested ratio an excursion is kept: bad and other evidence since it began, against their expectations. Its
log-likelihood ratio is a Gamma-Poisson one whose expectation follows the other items (a volume surge with the
usual mood explains itself), and an excursion whose ratio falls to zero starts again, as in Page's CUSUM. The
mixture over ratios is an e-value; how often chance brings it is learned besides (``alerts.chance``).

Sources: Page 1954 (CUSUM); Vovk and Wang 2021 (merging e-values by their mean); Wald 1945 (the sequential test
that resolves). Pure; times in seconds since 1970.
"""

from __future__ import annotations

import math
from math import exp, log, log1p

import msgspec

from alerts.baseline import (
    A0,
    MONTH,
    NEWS,
    SHARE_WEIGHT,
    SOCIAL,
    Baseline,
    ClassSettings,
    Shape,
    bad_rate_of,
    bad_share,
    begin,
    exposed,
    rate_wander,
    rates,
)
from alerts.chance import Tail

TAU = 1.25
"""A rise below a quarter is no burst."""

SHARE_WANDER = 0.03
"""Variance of the bad share's wander from one hour to another, on the logit scale."""

SURGE_SHAPE = 0.03
"""Shape of the second null: near zero, so that the expectation follows the other items alone."""

RESOLVE = log(20.0)
MAX_LOG = 600.0
PUBLISHERS = 12
"""Publishers told apart within an excursion; breadth beyond a dozen changes no decision."""


class Excursion(msgspec.Struct, array_like=True, gc=False):
    """Evidence since an excursion began. Ratios whose excursions began with the same item share it."""

    x: float
    u: float
    y: float
    v: float
    since: float
    tested: list[int]
    """Places of its ratios in the class's ``ratios``, ascending."""
    stories: int = 0
    """Clearly bad ones since then."""
    first_bad: float = 0.0
    """When the first of them came; 0 where there is none."""
    publishers: list[int] = []
    """Of a hash each, those that told one of their own."""
    mark_x: float = 0.0
    mark_at: float = 0.0
    """Evidence and time at a mark since which a quarter to a half of it came: what is latest tells the rate."""
    next_x: float = 0.0
    next_at: float = 0.0
    """The next mark, which takes its place when the evidence has doubled since."""


class ClassState(msgspec.Struct, array_like=True):
    """One key's state in one class."""

    base: Baseline
    last: float
    """When exposure was last added."""
    blind: float
    run: list[Excursion] = []
    """Running excursions, the oldest first; each ratio is in at most one."""
    score: float = 0.0
    tail: Tail = msgspec.field(default_factory=Tail)


def new_class(since: float, blind: float) -> ClassState:
    return ClassState(begin(since, blind), since, blind)


def weigh(x: float, gain: float, a: float, m: float, ratio: float) -> float:
    """Log-likelihood ratio of ``ratio`` times the expectation ``m`` against τ times it, in nats.

    ``x``: the bad evidence; ``gain`` is ln(ratio / τ); ``a``: shape of the Gamma that the expectation itself has.
    """
    return x * gain + (a + x) * log((a + TAU * m) / (a + ratio * m))


def either(first: float, second: float, weights: tuple[float, float]) -> float:
    """-ln[(1-π) e^-first + π e^-second]: what speaks against both nulls, whichever holds. ``weights``: their logs."""
    p, q = weights[0] - first, weights[1] - second
    if p < q:
        p, q = q, p
    return -(p + log1p(exp(max(q - p, -700.0))))


class Terms(msgspec.Struct, gc=False):
    """What the baseline contributes to the likelihoods at one moment."""

    bad_rate: float
    other_rate: float
    wander: float
    share_error: float
    rate_error: float


def terms_of(base: Baseline, prior: float) -> Terms:
    """``prior``: the class's bad items per second of a typical key."""
    bad_rate, all_rate = rates(base, prior)
    q = 1.0 - bad_share(base)
    return Terms(
        bad_rate,
        all_rate * q,
        rate_wander(base) + 0.02,
        SHARE_WANDER + 1.0 / ((SHARE_WEIGHT + base.share_all) * (1.0 - q) * q + 0.5),
        1.0 / (A0 + base.bad),
    )


NULLS = {s.name: (log(1.0 - s.pi), log(s.pi)) for s in (NEWS, SOCIAL) if s.pi > 0.0}
"""Logs of the weights of the two nulls, where the second has one."""

GAINS = {settings.name: tuple((ratio, log(ratio / TAU)) for ratio in settings.ratios) for settings in (NEWS, SOCIAL)}


def fold(
    state: ClassState,
    t: float,
    blind: float,
    x: float,
    y: float,
    shape: Shape,
    settings: ClassSettings,
    terms: Terms,
) -> None:
    """Lets time pass to ``t`` and adds (x, y); updates the class score. x = y = 0 only lets time pass.

    ``x`` below 0 takes back what was counted too much. ``terms``: of the baseline as it stands at ``t``.
    """
    gap = exposed(state.last, t, state.blind, blind, shape)
    state.last, state.blind = t, blind
    total, count = 0.0, len(settings.ratios)
    fresh = _idle(state.run, count)
    if state.run:
        du, dv, oldest = terms.bad_rate * gap, terms.other_rate * gap, t - settings.longest_excursion
        ended = False
        for run in state.run:
            if run.since < oldest:
                fresh += run.tested
                run.tested.clear()
            else:
                total += _carry(run, x, y, du, dv, terms, settings, fresh)
                if run.x >= 2.0 * run.next_x:
                    run.mark_x, run.mark_at, run.next_x, run.next_at = run.next_x, run.next_at, run.x, t
            if not run.tested:
                ended = True
        if ended:
            state.run = [run for run in state.run if run.tested]
    if x > 0.0 and fresh:
        # Nothing is expected in no time: an excursion's first item counts in full.
        state.run.append(Excursion(x, 0.0, y, 0.0, t, sorted(fresh), 0, 0.0, [], x, t, x, t))
        for g in fresh:
            total += exp(min(x / settings.phi * GAINS[settings.name][g][1], MAX_LOG)) - 1.0
    if total > 0.0:
        state.score = log1p(total / count)
    elif state.score > 0.0:
        reset(state)


def _idle(running: list[Excursion], count: int) -> list[int]:
    """Ratios without an excursion."""
    left = count
    for run in running:
        left -= len(run.tested)
    if left == 0:
        return []
    busy = [g for run in running for g in run.tested]
    return [g for g in range(count) if g not in busy]


def _carry(
    run: Excursion,
    x: float,
    y: float,
    du: float,
    dv: float,
    terms: Terms,
    settings: ClassSettings,
    fresh: list[int],
) -> float:
    """Adds to an excursion what was expected, then what came; returns the sum of its e-values less 1.

    A ratio that time alone has disproved starts again with this item (``fresh``); one that the item's own
    other evidence disproves ends. The daemon's hottest loop: plain numbers in local names, ``weigh`` written out.
    """
    phi, gains, nulls = settings.phi, GAINS[settings.name], NULLS.get(settings.name)
    bad, others, u, v = run.x / phi, run.y / phi, (run.u + du) / phi, (run.v + dv) / phi
    after, more = max(0.0, bad + x / phi), others + y / phi
    wander, least, share_error = terms.wander, settings.least_wander, terms.share_error
    a = 1.0 / (wander if wander > least else least)
    z = a + v
    rate_part = share_error + terms.rate_error * a / z
    shape_before, mean_before = 1.0 / (1.0 / (a + others) + rate_part), u * (a + others) / z
    shape_after, mean_after = 1.0 / (1.0 / (a + more) + rate_part), u * (a + more) / z
    low_before, low_after = shape_before + TAU * mean_before, shape_after + TAU * mean_after
    weight_before, weight_after = shape_before + bad, shape_after + after
    total, kept = 0.0, 0
    for g in run.tested:
        ratio, gain = gains[g]
        level = bad * gain + weight_before * log(low_before / (shape_before + ratio * mean_before))
        if nulls is not None:
            level = either(level, _surge(bad, others, u, v, gain, ratio, share_error), nulls)
        if level <= 0.0:
            fresh.append(g)
            continue
        level = after * gain + weight_after * log(low_after / (shape_after + ratio * mean_after))
        if nulls is not None:
            level = either(level, _surge(after, more, u, v, gain, ratio, share_error), nulls)
        if level > 0.0:
            total += exp(level if level < MAX_LOG else MAX_LOG) - 1.0
            run.tested[kept] = g
            kept += 1
    if kept < len(run.tested):
        del run.tested[kept:]
    run.x, run.u, run.y, run.v = max(0.0, run.x + x), run.u + du, run.y + y, run.v + dv
    return total


def _surge(x: float, others: float, u: float, v: float, gain: float, ratio: float, share_error: float) -> float:
    """Null 2, any surge of volume with the usual mood: the expectation follows the others alone."""
    k = SURGE_SHAPE + others
    return weigh(x, gain, 1.0 / (1.0 / k + share_error), u * k / (SURGE_SHAPE + v), ratio)


def reset(state: ClassState) -> None:
    """Ends every excursion: what happened while learning is history, not news."""
    state.run.clear()
    state.score = 0.0


def best(state: ClassState) -> Excursion | None:
    """The excursion that holds most bad evidence, which is the oldest; None where there is none."""
    return state.run[0] if state.run else None


def combine(scores: list[float]) -> float:
    """The combined score of the classes a key has, as e-values are merged: by their mean."""
    total = sum(exp(min(score, MAX_LOG)) - 1.0 for score in scores)
    return log1p(total / len(scores)) if total > 0 else 0.0


def monthly(state: ClassState, shape: Shape, settings: ClassSettings) -> float:
    """Bad items that the baseline expects a month."""
    return bad_rate_of(state.base, shape.prior[settings.name]) * MONTH


def gamma_quantile(mean: float, variance: float, z: float) -> float:
    """Quantile of a Gamma distribution at the normal deviate ``z`` (Wilson and Hilferty 1931)."""
    if mean <= 0 or variance <= 0:
        return max(mean, 0.0)
    k = mean * mean / variance
    root = 1.0 - 1.0 / (9.0 * k) + z / (3.0 * math.sqrt(k))
    return max(0.0, root) ** 3 * mean


def expectation(u: float, terms: Terms) -> tuple[float, float]:
    """5 % and 95 % of the count that the baseline predicts where ``u`` is expected."""
    if u <= 0.0:
        return 0.0, 0.0
    # gamma_quantile at -1.645 and at 1.645; k = u² / variance.
    k = u / (1.0 + u * (terms.share_error + terms.rate_error + terms.wander))
    centre, width = 1.0 - 1.0 / (9.0 * k), 1.645 / (3.0 * math.sqrt(k))
    low, high = centre - width, centre + width
    # Where hardly anything is expected the quantile of a count is none at all: no band is above what it is around.
    return (low * low * low * u if low > 0.0 else 0.0), max(u, high * high * high * u)
