"""The detector: one key's state, an item or a moment, and what follows from it.

Shared by the aggregate stage, ``replay`` and ``tapewatch detect``. Pure: results depend on the order of a key's own
items only, never on batches, on other keys or on how often time is let pass.
"""

from __future__ import annotations

import math
import zlib
from math import log
from typing import NamedTuple

import msgspec

from alerts import episode as life
from alerts.baseline import BLOCK, HOUR, NEWS, SOCIAL, ClassSettings, Closed, Shape, bad_share, rates, roll
from alerts.episode import Episode, EpisodeEvent, Figures
from alerts.spike import (
    PUBLISHERS,
    RESOLVE,
    TAU,
    ClassState,
    Excursion,
    Terms,
    best,
    combine,
    expectation,
    fold,
    gamma_quantile,
    monthly,
    new_class,
    reset,
    terms_of,
    threshold,
)

VERSION = "1"

BLIND = (0.0, 0.0)
"""Cumulative seconds in which the key could not be seen, for news and social: part of its sources, part of a second."""

NOTHING = (0.0, 0.0)
"""Nothing of the key's evidence is missing, for news and social."""

CLEAR = 0.5
"""Probability from which a new story counts towards the two that an alarm needs."""

SHORTEST_BURST = 60.0
"""Seconds over which a burst's rate is reckoned at least: two items in one second are no hundred a minute."""

EXPIRY = 7 * 86_400.0
"""An episode whose sources went blind ends after a week of log time: nobody knows more by then."""


class Item(NamedTuple):
    """One scored item of a key. ``weight`` is novelty times relevance."""

    at: float
    b: float
    weight: float = 1.0
    social: bool = False
    id: str = ""
    publisher: str | None = None
    new_story: bool = True


class KeyState(msgspec.Struct, array_like=True):
    """Everything the detector knows of a key; about half a kilobyte."""

    since: float
    clock: float
    news: ClassState | None = None
    social: ClassState | None = None
    episode: Episode | None = None
    episodes: int = 0
    late: int = 0


class Block(msgspec.Struct):
    """A closed block for the series."""

    class_: str
    closed: Closed
    low: float
    high: float
    score: float
    threshold: float
    span: float


class Step(msgspec.Struct):
    """What an item led to."""

    events: list[EpisodeEvent] = []
    blocks: list[Block] = []
    late: bool = False
    score: float = 0.0
    threshold: float = 0.0
    nats: float = 0.0
    """What the item contributed: x ln(ρ/τ)/φ at the leading ratio."""


class Detector:
    """``budget``: expected false alarms per key and month. ``min_open``, ``lateness`` in seconds."""

    def __init__(self, *, budget: float = 0.05, min_open: float = 600.0, lateness: float = 600.0) -> None:
        if not budget > 0:
            raise ValueError(f"budget must be above 0 false alarms per key and month, not {budget}")
        self.budget = budget
        self.min_open = min_open
        self.lateness = lateness

    def new(self, since: float) -> KeyState:
        """A key whose exposure began at ``since``: when the stream did, not when the key was first seen."""
        return KeyState(since, since)

    # -- an item ------------------------------------------------------------------------------------------

    def observe(
        self,
        key: str,
        state: KeyState,
        item: Item,
        shape: Shape,
        *,
        blind: tuple[float, float] = BLIND,
        learning: bool = False,
        budget: float | None = None,
    ) -> Step:
        """Folds an item. While ``learning`` baselines learn and nothing opens."""
        social = item.social
        settings = SOCIAL if social else NEWS
        one = (state.social if social else state.news) or _begin(state, social)
        step = Step()
        x = item.weight * item.b
        y = item.weight - x
        if item.at < state.clock - self.lateness:
            state.late += 1
            step.late = True
            if int(item.at // BLOCK) == one.base.block:
                _count(one, x, y)
            return step
        at = state.clock = item.at if item.at > state.clock else state.clock
        past = blind[social]
        base = one.base
        prior = shape.prior[settings.name]
        if not one.run:
            one.usual = monthly(one, shape, settings)
        h = self._threshold(state, shape, budget)
        closed = roll(base, at, past, shape, prior, settings) if at >= (base.block + 1) * BLOCK else None
        terms = terms_of(base, prior)
        if closed is not None:
            step.blocks.append(_block(state, one, closed, settings, h, terms))
        _count(one, x, y)
        if learning:
            _learn(one, at, past)
            return step
        missing = NOTHING if state.episode is None else _missing(state, at, blind)
        fold(one, at, past, x, y, shape, settings, terms)
        if one.score > 0.0:
            _breadth(one, item)
            step.nats = _nats(one, x, settings)
        step.score, step.threshold = self._score(state, at, social, blind, shape), h
        if state.episode is not None:
            step.events = self._continue(key, state, item, step, shape, missing)
        elif step.score >= h and self._enough(state):
            step.events = [self._open(key, state, item, step, shape)]
        return step

    def _score(self, state: KeyState, at: float, social: bool, blind: tuple[float, float], shape: Shape) -> float:
        one, other = (state.social, state.news) if social else (state.news, state.social)
        mine = one.score if one is not None else 0.0
        if other is None:
            return mine
        if other.score > 0 and at > other.last:
            settings = NEWS if social else SOCIAL
            terms = terms_of(other.base, shape.prior[settings.name])
            fold(other, at, blind[not social], 0.0, 0.0, shape, settings, terms)
        return combine([mine, other.score])

    def _threshold(self, state: KeyState, shape: Shape, budget: float | None) -> float:
        expected = 0.0
        if state.news is not None:
            expected += monthly(state.news, shape, NEWS)
        if state.social is not None:
            expected += monthly(state.social, shape, SOCIAL)
        return threshold(expected, self.budget if budget is None else budget)

    # -- episodes -----------------------------------------------------------------------------------------

    def _open(self, key: str, state: KeyState, item: Item, step: Step, shape: Shape) -> EpisodeEvent:
        figures = self._figures(state, step.score, step.threshold, shape)
        state.episodes += 1
        bursts = list(_burst_rates(state))
        state.episode, event = life.opened(key, state.episodes, item.id, state.clock, figures, bursts)
        return event

    def _enough(self, state: KeyState) -> bool:
        """Raw bad evidence, from two stories; a young baseline asks up to twice as much."""
        stories, share = 0, 0.0
        for one, settings in _classes(state):
            top = best(one)
            if top is None:
                continue
            span = state.clock - one.base.since
            asked = settings.least * (1.0 + max(0.0, 1.0 - span / settings.cold))
            share = max(share, top.x / asked)
            stories += one.stories
        return share >= 1.0 and stories >= 2

    def _continue(
        self, key: str, state: KeyState, item: Item, step: Step, shape: Shape, missing: tuple[float, float]
    ) -> list[EpisodeEvent]:
        episode = state.episode
        if episode is None:
            return []
        if state.clock > episode.doubted_to:
            over = self._doubt(key, state, state.clock, shape, missing)
            if over is not None:
                return [over]
        # A quarter of the burst's rate is what "going on" means: of its rate at its height, not at its first sign.
        news, social = _burst_rates(state)
        bursts = episode.bursts
        if news > bursts[False]:
            bursts[False] = news
        if social > bursts[True]:
            bursts[True] = social
        settings = SOCIAL if item.social else NEWS
        off, on = _sequential(state, item.social, state.clock, shape, bursts[item.social])
        if on > 0:
            episode.doubt = max(0.0, episode.doubt - item.weight * item.b * log(on / off) / settings.phi)
        if not life.may_update(episode, *_excess(state)):
            return []
        figures = self._figures(state, step.score, step.threshold, shape)
        if life.worth_update(episode, state.clock, figures):
            return [life.updated(key, episode, state.clock, figures)]
        return []

    def advance(
        self, key: str, state: KeyState, watermark: float, shape: Shape, *, missing: tuple[float, float] = NOTHING
    ) -> list[EpisodeEvent]:
        """Lets time pass for an open episode up to ``watermark``.

        ``missing``: share of the key's evidence, for news and social, that could not be seen since the last time. It
        is not taken for quiet; where all is missing only expiry goes on.
        """
        episode = state.episode
        if episode is None or watermark <= state.clock:
            return []
        end = state.clock + EXPIRY
        over = self._doubt(key, state, min(watermark, end), shape, missing)
        if over is None and watermark > end:
            over = self._close(key, state, end, shape, "expired")
        return [] if over is None else [over]

    def _doubt(
        self, key: str, state: KeyState, to: float, shape: Shape, missing: tuple[float, float]
    ) -> EpisodeEvent | None:
        """Wald's test of "over" against "going on", up to ``to``; the event carries the moment it was decided."""
        episode = state.episode
        if episode is None or to <= episode.doubted_to:
            return None
        while episode.doubted_to < to:
            # Rates change with the hour: hour by hour, the outcome does not depend on how often time is let pass.
            until = min(to, (episode.doubted_to // HOUR + 1.0) * HOUR)
            whole = slope = 0.0
            for social in (False, True):
                if episode.bursts[social] > 0.0:
                    off, on = _sequential(state, social, episode.doubted_to, shape, episode.bursts[social])
                    whole += (on - off) / (SOCIAL if social else NEWS).phi
                    slope += (1.0 - missing[social]) * (on - off) / (SOCIAL if social else NEWS).phi
            need = max(0.0, RESOLVE - episode.doubt) / slope if slope > 0 else math.inf
            due = max(episode.doubted_to + need, episode.opened_at + self.min_open + episode.unseen)
            if due <= until:
                return self._close(key, state, due, shape, "quiet")
            passed = until - episode.doubted_to
            episode.doubt = min(RESOLVE, episode.doubt + slope * passed)
            episode.unseen += passed * (1.0 - slope / whole) if slope < whole else 0.0
            episode.doubted_to = until
        return None

    def close(self, key: str, state: KeyState, at: float, shape: Shape, reason: life.Reason) -> list[EpisodeEvent]:
        """Ends an open episode for a reason from outside: an operator's word, a merge."""
        return [] if state.episode is None else [self._close(key, state, at, shape, reason)]

    def _close(self, key: str, state: KeyState, at: float, shape: Shape, reason: life.Reason) -> EpisodeEvent:
        if state.episode is None:
            raise ValueError(f"{key}: no open episode")
        score = combine([one.score for one, _ in _classes(state)])
        figures = self._figures(state, score, self._threshold(state, shape, None), shape)
        event = life.resolved(key, state.episode, at, figures, reason)
        state.episode = None
        for one, _ in _classes(state):
            reset(one)
        return event

    # -- figures ------------------------------------------------------------------------------------------

    def _figures(self, state: KeyState, score: float, h: float, shape: Shape) -> Figures:
        observed = others = expected = low = high = 0.0
        since, span, share = state.clock, 0.0, 0.0
        stories, publishers = 0, set[int]()
        for one, settings in _classes(state):
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
            since = min(since, _burst_began(one, top))
            stories += one.stories
            publishers.update(one.publishers)
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
            monthly_bad=sum(monthly(one, shape, settings) for one, settings in _classes(state)),
            scores={settings.name: one.score for one, settings in _classes(state)},
        )

    def open_blocks(self, state: KeyState, shape: Shape, budget: float | None = None) -> list[Block]:
        """The blocks that are still open, as they stand: what a page draws before they close."""
        h = self._threshold(state, shape, budget)
        blocks = []
        for one, settings in _classes(state):
            start = one.base.block * BLOCK
            base = one.base
            terms = terms_of(base, shape.prior[settings.name])
            expected = terms.bad_rate * BLOCK * shape.at(start)
            closed = Closed(start, base.block_bad, base.block_others, base.block_documents, expected)
            blocks.append(_block(state, one, closed, settings, h, terms))
        return blocks


def _begin(state: KeyState, social: bool) -> ClassState:
    """The state of a class that the key has its first item of."""
    one = new_class(state.since, 0.0)
    if social:
        state.social = one
    else:
        state.news = one
    return one


def _block(state: KeyState, one: ClassState, closed: Closed, settings: ClassSettings, h: float, terms: Terms) -> Block:
    low, high = expectation(closed.expected, terms)
    return Block(settings.name, closed, low, high, one.score, h, state.clock - one.base.since)


def _breadth(one: ClassState, item: Item) -> None:
    """Counts the stories and publishers of a running excursion."""
    if item.b < CLEAR or item.weight <= 0:
        return
    one.stories += item.new_story
    if one.first_bad == 0.0:
        one.first_bad = one.last
    if item.publisher is not None and len(one.publishers) < PUBLISHERS:
        name = zlib.crc32(item.publisher.encode())
        if name not in one.publishers:
            one.publishers.append(name)


def _classes(state: KeyState) -> list[tuple[ClassState, ClassSettings]]:
    return [(one, settings) for one, settings in ((state.news, NEWS), (state.social, SOCIAL)) if one is not None]


def _count(one: ClassState, x: float, y: float) -> None:
    one.base.block_bad += x
    one.base.block_others += y
    one.base.block_documents += 1


def _learn(one: ClassState, at: float, blind: float) -> None:
    reset(one)
    one.last, one.blind = at, blind


def _missing(state: KeyState, at: float, blind: tuple[float, float]) -> tuple[float, float]:
    """Share of the time since each class was last folded in which it could not be seen."""
    return _missing_of(state.news, at, blind[False]), _missing_of(state.social, at, blind[True])


def _missing_of(one: ClassState | None, at: float, blind: float) -> float:
    if one is None or at <= one.last or blind <= one.blind:
        return 0.0
    return min(1.0, (blind - one.blind) / (at - one.last))


def _burst_rates(state: KeyState) -> tuple[float, float]:
    """Bad evidence per second since the excursion began, for news and social; 0 where there is no excursion."""
    return _burst_rate(state.news, state.clock), _burst_rate(state.social, state.clock)


def _burst_began(one: ClassState, top: Excursion) -> float:
    """When the bad news began: an excursion may well begin with a harmless item a little above nothing."""
    return max(top.since, one.first_bad)


def _burst_rate(one: ClassState | None, clock: float) -> float:
    if one is None or not one.run:
        return 0.0
    top = one.run[0]
    span = clock - _burst_began(one, top)
    return top.x / (span if span > SHORTEST_BURST else SHORTEST_BURST)


def _excess(state: KeyState) -> tuple[float, float, int]:
    """(observed, observed less expected, stories) of the running excursions."""
    observed = excess = 0.0
    stories = 0
    for one in (state.news, state.social):
        top = None if one is None else best(one)
        if one is not None and top is not None:
            observed += top.x
            excess += top.x - top.u
            stories += one.stories
    return observed, excess, stories


def _nats(one: ClassState, x: float, settings: ClassSettings) -> float:
    top = best(one)
    return 0.0 if top is None else x * log(settings.ratios[top.tested[0]] / TAU) / settings.phi


def _sequential(state: KeyState, social: bool, t: float, shape: Shape, burst: float) -> tuple[float, float]:
    """Rates per second of "over" and of "going on" for one class; (0, 0) where it took no part."""
    one = state.social if social else state.news
    if one is None or burst <= 0:
        return 0.0, 0.0
    settings = SOCIAL if social else NEWS
    usual = rates(one.base, shape.prior[settings.name])[0] * shape.at(t)
    off = TAU * usual + 1e-9
    return off, max(2.0 * usual, 0.25 * burst, 1.5 * off)  # always above off
