"""Detectors of a change: Page-Hinkley, Bayesian online change points, Poisson-FOCuS, and an oracle.

Sources: Page 1954; Adams and MacKay 2007; Ward, Dilillo, Eckley and Fearnhead 2023.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np
from river.drift import PageHinkley
from scipy.special import gammaln

from alerts.baseline import DAY, WEEK
from benchmarks.detectors.counts import Counts, past
from benchmarks.detectors.scores import Alarms, Floats, apart
from benchmarks.simulator.items import Population
from benchmarks.simulator.world import START, World


def page_hinkley(counts: Counts, threshold: float) -> Alarms:
    """river's test of counts brought to equal variance (Anscombe): it starts again when it has rung."""
    world = counts.world
    first = START + world.warm
    rang: list[tuple[int, float]] = []
    for key, values in enumerate((2 * np.sqrt(counts.bad + 3 / 8)).tolist()):
        test = PageHinkley(mode="up", threshold=threshold)
        for period, value in enumerate(values):
            test.update(value)  # type: ignore[no-untyped-call]
            if test.drift_detected:
                rang.append((key, START + (period + 1) * world.step))
    return first_ones(rang, first, world.quiet)


def first_ones(rang: list[tuple[int, float]], since: float, quiet: float) -> Alarms:
    """Alarms ``since`` a moment, those that follow one another as one."""
    key = np.array([key for key, at in rang if at > since], int)
    at = np.array([at for _, at in rang if at > since], float)
    return apart(key, at, at, quiet)


def usual_mean(counts: Counts) -> Floats:
    """Bad items a period as they came before: over a week of posts or 60 days of news, the last day left out."""
    periods, day = counts.periods(WEEK if counts.world.social else 60 * DAY), counts.periods(DAY)
    seen = np.minimum(np.maximum(np.arange(counts.bad.shape[1]) + 1 - day, 1), periods)
    # Half an item besides: what never came may yet come.
    return np.asarray((past(counts.bad, periods, day) + 0.5) / seen)


def focus(counts: Counts) -> Floats:
    """The log-likelihood ratio of the best window up to now and the best higher rate in it, against the usual mean.

    No window is longer than a day of posts or five days of news: one burst would be all that it sees for weeks.
    """
    usual = np.cumsum(usual_mean(counts), axis=1)
    longest = counts.periods(DAY if counts.world.social else 5 * DAY)
    scores = np.zeros_like(counts.bad)
    for key, (bad, mean) in enumerate(zip(counts.bad, usual, strict=True)):
        periods = np.nonzero(bad)[0]
        came = bad[periods].tolist()
        begun = np.where(periods > 0, mean[periods - 1], 0.0).tolist()
        scores[key, periods] = windows(periods.tolist(), came, begun, mean[periods].tolist(), longest)
    return scores


def windows(
    periods: list[int], came: list[float], begun: list[float], ended: list[float], longest: float
) -> list[float]:
    """For each period with items the ratio of the best window that ends with it.

    ``came``: its evidence; ``begun``, ``ended``: what was expected in all before it and up to its end. Where a window
    may begin lies on the convex hull of what came over what was expected: other beginnings are never best, whatever the
    new rate.
    """
    hull: list[tuple[float, float, int]] = []
    total, found = 0.0, []
    for period, x, start, end in zip(periods, came, begun, ended, strict=True):
        point = (start, total, period)
        while len(hull) > 1 and not convex(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
        # A window that begins no faster than usual is better begun later.
        while len(hull) > 1 and (hull[1][1] - hull[0][1] <= hull[1][0] - hull[0][0] or period - hull[0][2] >= longest):
            hull.pop(0)
        total += x
        best = 0.0
        for expected, before, _ in hull:
            n, m = total - before, end - expected
            if n > m:
                best = max(best, n * log(n / m) - (n - m))
        found.append(best)
    return found


def convex(a: tuple[float, float, int], b: tuple[float, float, int], c: tuple[float, float, int]) -> bool:
    return (b[1] - a[1]) * (c[0] - b[0]) < (c[1] - b[1]) * (b[0] - a[0])


LONGEST = 60
"""Periods since the last change that are told apart; longer ones are one, which forgets."""


def change_points(counts: Counts) -> Floats:
    """Log odds that the rate changed within a sixth of ``LONGEST`` and is at least half again the one before.

    One change is expected in a week of posts, in two months of news.
    """
    bad = counts.bad
    prior = 0.5 / usual_mean(counts)
    hazard = counts.world.step / (WEEK if counts.world.social else 60 * DAY)
    log_p = np.full((len(bad), LONGEST), -np.inf)
    log_p[:, -1] = 0.0
    a, b = np.full((len(bad), LONGEST), 0.5), np.tile(prior[:, :1], LONGEST)
    scores = np.zeros_like(bad)
    for period in range(bad.shape[1]):
        x = bad[:, period : period + 1]
        joint = log_p + gammaln(a + x) - gammaln(a) + a * np.log(b / (b + 1)) - x * np.log1p(b)
        changed = np.logaddexp.reduce(joint, axis=1, keepdims=True)
        oldest = np.logaddexp(joint[:, -2:-1], joint[:, -1:])
        keep = np.exp(joint[:, -1:] - oldest)
        log_p = np.concatenate(
            [changed + log(hazard), joint[:, :-2] + log(1 - hazard), oldest + log(1 - hazard)], axis=1
        )
        log_p -= np.logaddexp.reduce(log_p, axis=1, keepdims=True)
        a, b = grown(a + x, b + 1, keep, prior[:, period : period + 1], 0.5 ** (hazard / 2))
        recent = slice(0, LONGEST // 6)
        rate = a / b
        risen = np.where(rate[:, recent] >= 1.5 * rate[:, -1:], log_p[:, recent], -np.inf)
        now = np.exp(risen).sum(1)
        scores[:, period] = np.log(np.maximum(now, 1e-300)) - np.log(np.maximum(1 - now, 1e-300))
    return scores


def grown(a: Floats, b: Floats, keep: Floats, prior: Floats, forget: float) -> tuple[Floats, Floats]:
    """Each run is one longer, the two longest are merged by their weights, and a new one has its prior."""
    last_a = forget * (keep * a[:, -1:] + (1 - keep) * a[:, -2:-1])
    last_b = forget * (keep * b[:, -1:] + (1 - keep) * b[:, -2:-1])
    new = np.full((len(a), 1), 0.5)
    return np.concatenate([new, a[:, :-2], last_a], axis=1), np.concatenate([prior, b[:, :-2], last_b], axis=1)


READ = (0.79, 0.113)
"""Mean evidence of a bad story and of another one, as the simulated classifier reads them."""


class Truth(NamedTuple):
    """What an oracle knows, keys by periods."""

    bad: Floats
    expected: Floats
    cluster: Floats
    """Mean number of stories that follow from one, by key."""


def truth_of(population: Population, counts: Counts) -> Truth:
    usual, every = population.usual, population.every
    expected = (usual * READ[0] + (every - usual) * READ[1]) * population.world.step
    return Truth(counts.bad, expected, np.array([1 / (1 - key.traits.branching) for key in population.keys]))


def oracle(truth: Truth, world: World, threshold: float) -> Alarms:
    """Page's test for each ratio against the true rate and mood of every moment, merged by their mean.

    It knows what is expected, not which stories follow one another: evidence is divided by the key's size of a cluster.
    What has rung starts again.
    """
    ratios = np.array([2.0, 4.0, 8.0, 16.0])
    gains, losses = np.log(ratios), ratios - 1
    size = truth.cluster[:, None]
    level = np.zeros((len(truth.bad), len(ratios)))
    rang: list[tuple[int, float]] = []
    for period in range(truth.bad.shape[1]):
        gained = truth.bad[:, period : period + 1] * gains - truth.expected[:, period : period + 1] * losses
        level = np.maximum(level + gained / size, 0.0)
        over = np.nonzero(np.exp(np.minimum(level, 600)).mean(1) >= np.exp(threshold))[0]
        level[over] = 0.0
        rang += [(int(key), START + (period + 1) * world.step) for key in over]
    return first_ones(sorted(rang), START + world.warm, world.quiet)
