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


class Block(NamedTuple):
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
        settings = SOCIAL if item.social else NEWS
        one = self._class(state, settings)
        step = Step()
        x = item.weight * item.b
        y = item.weight - x
        if item.at < state.clock - self.lateness:
            state.late += 1
            step.late = True
            if int(item.at // BLOCK) == one.base.block:
                _count(one, x, y)
            return step
        at = max(item.at, state.clock)
        state.clock = at
        past = blind[item.social]
        h = self._threshold(state, shape, budget)
        closed = roll(one.base, at, past, shape, settings)
        if closed is not None:
            step.blocks.append(self._block(state, one, closed, shape, settings, h))
        _count(one, x, y)
        if learning:
            _learn(one, at, past)
            return step
        missing = NOTHING if state.episode is None else _missing(state, at, blind)
        fold(one, at, past, x, y, shape, settings)
        self._breadth(one, item)
        step.nats = _nats(one, x, settings)
        step.score, step.threshold = self._score(state, at, item.social, blind, shape), h
        step.events.extend(self._decide(key, state, item, step, shape, missing))
        return step

    def _class(self, state: KeyState, settings: ClassSettings) -> ClassState:
        if settings is SOCIAL:
            if state.social is None:
                state.social = new_class(settings, state.since, 0.0)
            return state.social
        if state.news is None:
            state.news = new_class(settings, state.since, 0.0)
        return state.news

    def _breadth(self, one: ClassState, item: Item) -> None:
        if one.score <= 0 or item.b < CLEAR or item.weight <= 0:
            return
        one.stories += item.new_story
        if item.publisher is not None and len(one.publishers) < PUBLISHERS:
            name = zlib.crc32(item.publisher.encode())
            if name not in one.publishers:
                one.publishers.append(name)

    def _score(self, state: KeyState, at: float, social: bool, blind: tuple[float, float], shape: Shape) -> float:
        other = state.news if social else state.social
        if other is not None and other.score > 0 and at > other.last:
            fold(other, at, blind[not social], 0.0, 0.0, shape, NEWS if social else SOCIAL)
        return combine([one.score for one in (state.news, state.social) if one is not None])

    def _threshold(self, state: KeyState, shape: Shape, budget: float | None) -> float:
        expected = sum(monthly(one, shape, settings) for one, settings in _classes(state))
        return threshold(expected, self.budget if budget is None else budget)

    # -- episodes -----------------------------------------------------------------------------------------

    def _decide(
        self, key: str, state: KeyState, item: Item, step: Step, shape: Shape, missing: tuple[float, float]
    ) -> list[EpisodeEvent]:
        if state.episode is not None:
            return self._continue(key, state, item, step, shape, missing)
        if step.score < step.threshold or not self._enough(state):
            return []
        figures = self._figures(state, step.score, step.threshold, shape)
        bursts = _burst_rates(state)
        state.episodes += 1
        state.episode, event = life.opened(key, state.episodes, item.id, state.clock, figures, bursts)
        return [event]

    def _enough(self, state: KeyState) -> bool:
        """Raw bad evidence, from two stories; a young baseline asks up to twice as much."""
        stories, share = 0, 0.0
        for one, settings in _classes(state):
            top = best(one)
            if top < 0:
                continue
            span = state.clock - one.base.since
            asked = settings.least * (1.0 + max(0.0, 1.0 - span / settings.cold))
            share = max(share, one.run.x[top] / asked)
            stories += one.stories
        return share >= 1.0 and stories >= 2

    def _continue(
        self, key: str, state: KeyState, item: Item, step: Step, shape: Shape, missing: tuple[float, float]
    ) -> list[EpisodeEvent]:
        episode = state.episode
        if episode is None:
            return []
        if (over := self._doubt(key, state, state.clock, shape, missing)) is not None:
            return [over]
        # A quarter of the burst's rate is what "going on" means: of its rate at its height, not at its first sign.
        episode.bursts = [max(pair) for pair in zip(episode.bursts, _burst_rates(state), strict=True)]
        settings = SOCIAL if item.social else NEWS
        off, on = _sequential(state, item.social, state.clock, shape, episode.bursts[item.social])
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
        if watermark - state.clock > EXPIRY:
            return [self._close(key, state, state.clock + EXPIRY, shape, "expired")]
        over = self._doubt(key, state, watermark, shape, missing)
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
            slope = 0.0
            for social in (False, True):
                off, on = _sequential(state, social, episode.doubted_to, shape, episode.bursts[social])
                slope += (1.0 - missing[social]) * max(0.0, on - off) / (SOCIAL if social else NEWS).phi
            need = max(0.0, RESOLVE - episode.doubt) / slope if slope > 0 else math.inf
            due = max(episode.doubted_to + need, episode.opened_at + self.min_open)
            if due <= until:
                return self._close(key, state, due, shape, "quiet")
            episode.doubt = min(RESOLVE, episode.doubt + slope * (until - episode.doubted_to))
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
            if top < 0:
                continue
            terms = terms_of(one.base, shape.prior[settings.name], settings)
            bounds = expectation(one.run.u[top], terms)
            observed += one.run.x[top]
            others += one.run.y[top]
            expected += one.run.u[top]
            low, high = low + bounds[0], high + bounds[1]
            since = min(since, one.run.since[top])
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

    def _block(
        self,
        state: KeyState,
        one: ClassState,
        closed: Closed,
        shape: Shape,
        settings: ClassSettings,
        h: float,
    ) -> Block:
        terms = terms_of(one.base, shape.prior[settings.name], settings)
        low, high = expectation(closed.expected, terms)
        return Block(settings.name, closed, low, high, one.score, h, state.clock - one.base.since)

    def open_blocks(self, state: KeyState, shape: Shape, budget: float | None = None) -> list[Block]:
        """The blocks that are still open, as they stand: what a page draws before they close."""
        h = self._threshold(state, shape, budget)
        blocks = []
        for one, settings in _classes(state):
            start = one.base.block * BLOCK
            expected = rates(one.base, shape.prior[settings.name])[0] * (
                shape.integral(start + BLOCK) - shape.integral(start)
            )
            base = one.base
            closed = Closed(start, base.block_bad, base.block_others, base.block_documents, expected)
            blocks.append(self._block(state, one, closed, shape, settings, h))
        return blocks


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
    shares = [0.0, 0.0]
    for social, one in enumerate((state.news, state.social)):
        if one is not None and at > one.last:
            shares[social] = min(1.0, max(0.0, (blind[social] - one.blind) / (at - one.last)))
    return shares[0], shares[1]


def _burst_rates(state: KeyState) -> list[float]:
    """Bad evidence per second since the excursion began, for news and social; 0 where there is no excursion."""
    found = []
    for one in (state.news, state.social):
        top = -1 if one is None else best(one)
        if one is None or top < 0:
            found.append(0.0)
        else:
            found.append(one.run.x[top] / max(state.clock - one.run.since[top], SHORTEST_BURST))
    return found


def _excess(state: KeyState) -> tuple[float, float, int]:
    """(observed, observed less expected, stories) of the running excursions."""
    observed = excess = 0.0
    stories = 0
    for one in (state.news, state.social):
        top = -1 if one is None else best(one)
        if one is not None and top >= 0:
            observed += one.run.x[top]
            excess += one.run.x[top] - one.run.u[top]
            stories += one.stories
    return observed, excess, stories


def _nats(one: ClassState, x: float, settings: ClassSettings) -> float:
    top = best(one)
    return 0.0 if top < 0 else x * log(settings.ratios[top] / TAU) / settings.phi


def _sequential(state: KeyState, social: bool, t: float, shape: Shape, burst: float) -> tuple[float, float]:
    """Rates per second of "over" and of "going on" for one class; (0, 0) where it took no part."""
    one = state.social if social else state.news
    if one is None or burst <= 0:
        return 0.0, 0.0
    settings = SOCIAL if social else NEWS
    usual = rates(one.base, shape.prior[settings.name])[0] * shape.at(t)
    off = TAU * usual + 1e-9
    return off, max(2.0 * usual, 0.25 * burst, 1.5 * off)
