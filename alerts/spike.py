"""The statistic: does a key's bad news burst beyond what its history explains?

For each tested ratio an excursion is kept: bad and other evidence since it began, against their expectations. Its
log-likelihood ratio is a Gamma-Poisson one whose expectation follows the other items (a volume surge with the
usual mood explains itself), and an excursion whose ratio falls to zero starts again, as in Page's CUSUM. The
mixture over ratios and classes is an e-value, so that the threshold is ln(chances / budget).

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
    bad_share,
    begin,
    exposed,
    rate_wander,
    rates,
)

TAU = 1.25
"""A rise below a quarter is no burst."""

SHARE_WANDER = 0.3
"""Usual wander of the bad share, on the logit scale."""

SURGE_SHAPE = 0.03
"""Shape of the second null: near zero, so that the expectation follows the other items alone."""

CHANCES = 35.0
"""Most independent chances of a false alarm that a key has in a month."""

RESOLVE = log(20.0)
MONTHLY_FLOOR = 1.0
MAX_LOG = 600.0
PUBLISHERS = 12
"""Publishers told apart within an excursion; breadth beyond a dozen changes no decision."""


class Excursion(msgspec.Struct, array_like=True):
    """Evidence since the excursions of one class began; one entry a ratio."""

    x: list[float]
    u: list[float]
    y: list[float]
    v: list[float]
    since: list[float]


class ClassState(msgspec.Struct, array_like=True):
    """One key's state in one class."""

    base: Baseline
    run: Excursion
    last: float
    """When exposure was last added."""
    blind: float
    score: float = 0.0
    stories: int = 0
    publishers: list[int] = []


def new_class(settings: ClassSettings, since: float, blind: float) -> ClassState:
    count = len(settings.ratios)
    zero = [0.0] * count
    run = Excursion(zero[:], zero[:], zero[:], zero[:], [since] * count)
    return ClassState(begin(since, blind), run, since, blind)


def settings_of(social: bool) -> ClassSettings:
    return SOCIAL if social else NEWS


def log_ratio(
    x: float,
    y: float,
    u: float,
    v: float,
    ratio: float,
    gain: float,
    a1: float,
    share_error: float,
    rate_error: float,
    log_pi: float | None,
    log_not_pi: float,
) -> float:
    """Log-likelihood ratio of a burst at ``ratio`` against both nulls, in nats.

    ``x, y, u, v``: bad, others and their expectations since the excursion began, divided by φ; ``gain`` is
    ln(ratio / τ); the rest are the Terms, as plain numbers: this runs several times an item.
    """
    k = a1 + y
    z = a1 + v
    m = u * k / z
    a = 1.0 / (1.0 / k + share_error + rate_error * a1 / z)
    first = x * gain + (a + x) * log((a + TAU * m) / (a + ratio * m))
    if log_pi is None:
        return first
    k = SURGE_SHAPE + y
    m = u * k / (SURGE_SHAPE + v)
    a = 1.0 / (1.0 / k + share_error)
    second = x * gain + (a + x) * log((a + TAU * m) / (a + ratio * m))
    p, q = log_not_pi - first, log_pi - second
    if p < q:
        p, q = q, p
    return -(p + log1p(exp(max(q - p, -700.0))))


class Terms(msgspec.Struct, frozen=True):
    """What the baseline contributes to the likelihoods at one moment."""

    bad_rate: float
    other_rate: float
    a1: float
    share_error: float
    rate_error: float
    log_pi: float | None
    log_not_pi: float


def terms_of(base: Baseline, prior: float, settings: ClassSettings) -> Terms:
    bad_rate, all_rate = rates(base, prior)
    p = bad_share(base)
    q = 1.0 - p
    return Terms(
        bad_rate,
        all_rate * q,
        1.0 / (rate_wander(base) + 0.02),
        SHARE_WANDER**2 + 1.0 / ((SHARE_WEIGHT + base.share_all) * p * q + 0.5),
        1.0 / (A0 + base.bad),
        *LOG_PI[settings.name],
    )


LOG_PI: dict[str, tuple[float | None, float]] = {
    settings.name: (log(settings.pi) if settings.pi > 0 else None, log(1.0 - settings.pi))
    for settings in (NEWS, SOCIAL)
}
GAINS = {settings.name: tuple((ratio, log(ratio / TAU)) for ratio in settings.ratios) for settings in (NEWS, SOCIAL)}


def fold(state: ClassState, t: float, blind: float, x: float, y: float, shape: Shape, settings: ClassSettings) -> None:
    """Lets time pass to ``t`` and adds (x, y); updates the class score. x = y = 0 only lets time pass."""
    base, run = state.base, state.run
    gap = exposed(state.last, t, state.blind, blind, shape)
    state.last, state.blind = t, blind
    phi, total = settings.phi, 0.0
    xs = run.x
    terms: tuple[float, float, float, float | None, float] | None = None
    du = dv = 0.0
    for g, (ratio, gain) in enumerate(GAINS[settings.name]):
        bad = xs[g]
        if bad > 0.0:
            if terms is None:
                found = terms_of(base, shape.prior[settings.name], settings)
                du, dv = found.bad_rate * gap, found.other_rate * gap
                terms = (found.a1, found.share_error, found.rate_error, found.log_pi, found.log_not_pi)
            u, v, others = run.u[g] + du, run.v[g] + dv, run.y[g]
            young = t - run.since[g] <= settings.longest_excursion
            before = log_ratio(bad / phi, others / phi, u / phi, v / phi, ratio, gain, *terms) if young else 0.0
            if before > 0.0:
                level = log_ratio((bad + x) / phi, (others + y) / phi, u / phi, v / phi, ratio, gain, *terms)
                if level > 0.0:
                    xs[g], run.u[g], run.y[g], run.v[g] = bad + x, u, others + y, v
                    total += exp(min(level, MAX_LOG)) - 1.0
                else:
                    _end(run, g)
                continue
            _end(run, g)
        if x > 0.0:
            # Nothing is expected in no time: an excursion's first item counts in full.
            xs[g], run.u[g], run.y[g], run.v[g], run.since[g] = x, 0.0, y, 0.0, t
            total += exp(min(x / phi * gain, MAX_LOG)) - 1.0
    state.score = log1p(total / len(settings.ratios)) if total > 0 else 0.0
    if total == 0:
        state.stories = 0
        state.publishers.clear()


def _end(run: Excursion, g: int) -> None:
    run.x[g] = run.u[g] = run.y[g] = run.v[g] = 0.0


def reset(state: ClassState) -> None:
    """Ends every excursion: what happened while learning is history, not news."""
    for g in range(len(state.run.x)):
        _end(state.run, g)
    state.score = 0.0
    state.stories = 0
    state.publishers.clear()


def best(state: ClassState) -> int:
    """The ratio whose excursion holds most bad evidence, or -1 where there is none."""
    top = max(range(len(state.run.x)), key=state.run.x.__getitem__)
    return top if state.run.x[top] > 0 else -1


def combine(scores: list[float]) -> float:
    """Mean of e-values, as a log: the combined score of the classes a key has."""
    total = sum(exp(min(score, MAX_LOG)) - 1.0 for score in scores)
    return log1p(total / len(scores)) if total > 0 else 0.0


def threshold(monthly_bad: float, budget: float) -> float:
    """h = ln(C / B): ``budget`` expected false alarms per key and month."""
    return log(min(CHANCES, MONTHLY_FLOOR + monthly_bad) / budget)


def monthly(state: ClassState, shape: Shape, settings: ClassSettings) -> float:
    return rates(state.base, shape.prior[settings.name])[0] * MONTH


def gamma_quantile(mean: float, variance: float, z: float) -> float:
    """Quantile of a Gamma distribution at the normal deviate ``z`` (Wilson and Hilferty 1931)."""
    if mean <= 0 or variance <= 0:
        return max(mean, 0.0)
    k = mean * mean / variance
    root = 1.0 - 1.0 / (9.0 * k) + z / (3.0 * math.sqrt(k))
    return max(0.0, root) ** 3 * mean


def expectation(u: float, terms: Terms) -> tuple[float, float]:
    """5 % and 95 % of the count that the baseline predicts where ``u`` is expected."""
    variance = u + u * u * (terms.share_error + terms.rate_error + 1.0 / terms.a1)
    return gamma_quantile(u, variance, -1.645), gamma_quantile(u, variance, 1.645)
