"""What the running excursions of a key come to: the figures that its events carry, and the rate of its burst."""

from __future__ import annotations

from math import inf

from alerts.baseline import ClassSettings, Shape, bad_share
from alerts.chance import surprise
from alerts.episode import Figures
from alerts.key_state import KeyState, classes
from alerts.spike import GAINS, ClassState, Excursion, best, expectation, gamma_quantile, terms_of

LATEST = 3.0
"""Bad evidence of the latest part of an excursion from which its rate is known."""
SHORTEST_BURST = 60.0
"""Seconds over which a burst's rate is reckoned at least: two items in one second are no hundred a minute."""


def figures_of(state: KeyState, score: float, h: float, shape: Shape) -> Figures:
    """What an event says: sums over the classes' running excursions, with the baseline's expectation of them."""
    observed = others = expected = low = high = 0.0
    since, span, share = state.clock, 0.0, 0.0
    stories, publishers = 0, set[int]()
    for one, settings in classes(state):
        top = best(one)
        span = max(span, state.clock - one.base.since)
        share = max(share, bad_share(one.base))
        if top is None:
            continue
        terms = terms_of(one.base, shape.prior[settings.name])
        bounds = expectation(top.u, terms)
        observed += top.x
        others += top.y
        expected += top.u
        low, high = low + bounds[0], high + bounds[1]
        since = min(since, _burst_began(top))
        stories += top.stories
        publishers.update(top.publishers)
    certain = gamma_quantile(observed, observed, -1.645) if observed > 0 else 0.0
    return Figures(
        since=since,
        score=score,
        threshold=h,
        observed=observed,
        others=others,
        expected=expected,
        expected_low=low,
        expected_high=high,
        stories=stories,
        publishers=len(publishers),
        share=observed / (observed + others) if observed + others > 0 else 0.0,
        usual_share=share,
        baseline_span=span,
        excess=observed - expected,
        excess_low=max(0.0, certain - high),
        scores={settings.name: surprise(one.tail, one.score, settings) for one, settings in classes(state)},
    )


def burst_rates(state: KeyState, min_open: float) -> tuple[float, float]:
    """Bad evidence per second since the excursion began, or of its latest part where that came faster, for news and
    social; 0 where there is no excursion.

    Over half of ``min_open``, in seconds, at least: else two stories within a minute would make the pause after it,
    which an alert is to outlast, the end of a burst.
    """
    shortest = max(SHORTEST_BURST, min_open / 2.0)
    return _burst_rate(state.news, state.clock, shortest), _burst_rate(state.social, state.clock, shortest)


def began(state: KeyState) -> float:
    """When the oldest of the running excursions began that an event would tell of; infinity where none runs."""
    return min((one.run[0].since for one in (state.news, state.social) if one is not None and one.run), default=inf)


def _burst_began(top: Excursion) -> float:
    """When the bad news began: an excursion may well begin with a harmless item a little above nothing."""
    return max(top.since, top.first_bad)


def _burst_rate(one: ClassState | None, clock: float, shortest: float) -> float:
    if one is None or not one.run:
        return 0.0
    top = one.run[0]
    whole = top.x / max(shortest, clock - _burst_began(top))
    latest = top.x - top.mark_x
    if latest < LATEST:
        return whole
    # Where little is said an excursion may be hours old when the burst begins.
    return max(whole, latest / max(shortest, clock - top.mark_at))


def excess(state: KeyState) -> tuple[float, float, int]:
    """(observed, observed less expected, stories) of the running excursions."""
    observed = above = 0.0
    stories = 0
    for one in (state.news, state.social):
        top = None if one is None else best(one)
        if one is not None and top is not None:
            observed += top.x
            above += top.x - top.u
            stories += top.stories
    return observed, above, stories


def contribution(one: ClassState, x: float, settings: ClassSettings) -> float:
    """The nats of an item with ``x`` of bad evidence: x ln(ρ/τ)/φ at the leading ratio."""
    return x * GAINS[settings.name][one.run[0].tested[0]][1] / settings.phi if one.run else 0.0
