"""Whether an excursion is over: Wald's sequential test of "over" against "going on"."""

from __future__ import annotations

import math

from alerts.baseline import HOUR, NEWS, SOCIAL, Shape, rates
from alerts.key_state import KeyState
from alerts.spike import RESOLVE, TAU, ClassState

NOTHING = (0.0, 0.0)
"""Nothing of the key's evidence is missing, for news and social."""


def decided(state: KeyState, to: float, shape: Shape, missing: tuple[float, float], min_open: float) -> float | None:
    """Lets time pass for an open episode up to ``to``; the moment at which it was decided that it is over, if it was.

    ``missing``: shares of the key's evidence, for news and social, that could not be seen meanwhile.
    """
    episode = state.episode
    if episode is None or to <= episode.doubted_to:
        return None
    while episode.doubted_to < to:
        # Rates change with the hour: hour by hour, the outcome does not depend on how often time is let pass.
        until = min(to, (episode.doubted_to // HOUR + 1.0) * HOUR)
        whole = slope = 0.0
        for social in (False, True):
            if episode.bursts[social] > 0.0:
                off, on = sequential(state, social, episode.doubted_to, shape, episode.bursts[social])
                whole += (on - off) / (SOCIAL if social else NEWS).patience
                slope += (1.0 - missing[social]) * (on - off) / (SOCIAL if social else NEWS).patience
        need = max(0.0, RESOLVE - episode.doubt) / slope if slope > 0 else math.inf
        due = max(episode.doubted_to + need, episode.opened_at + min_open + episode.unseen)
        if due <= until:
            return due
        passed = until - episode.doubted_to
        episode.doubt = min(RESOLVE, episode.doubt + slope * passed)
        episode.unseen += passed * (1.0 - slope / whole) if slope < whole else 0.0
        episode.doubted_to = until
    return None


def sequential(state: KeyState, social: bool, t: float, shape: Shape, burst: float) -> tuple[float, float]:
    """Rates per second of "over" and of "going on" for one class; (0, 0) where it took no part."""
    one = state.social if social else state.news
    if one is None or burst <= 0:
        return 0.0, 0.0
    settings = SOCIAL if social else NEWS
    usual = rates(one.base, shape.prior[settings.name])[0] * shape.at(t)
    off = TAU * usual + 1e-9
    return off, max(2.0 * usual, settings.lasting * burst, 1.5 * off)  # always above off


def unseen(state: KeyState, at: float, blind: tuple[float, float]) -> tuple[float, float]:
    """Share of the time since each class was last folded in which it could not be seen."""
    return _missing_of(state.news, at, blind[False]), _missing_of(state.social, at, blind[True])


def _missing_of(one: ClassState | None, at: float, blind: float) -> float:
    if one is None or at <= one.last or blind <= one.blind:
        return 0.0
    return min(1.0, (blind - one.blind) / (at - one.last))
