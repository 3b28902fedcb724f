"""The detector: one key's state, an item or a moment, and what follows from it.

Shared by the aggregate stage, ``replay`` and ``tapewatch detect``. Pure: results depend on the order of a key's own
items only, never on batches, on other keys or on how often time is let pass.
"""

from __future__ import annotations

from math import log

import msgspec

from alerts import episode as life
from alerts.baseline import BLOCK, NEWS, SOCIAL, ClassSettings, Closed, Shape, roll
from alerts.episode import EpisodeEvent
from alerts.excursions import burst_rates, contribution, excess, figures_of
from alerts.key_state import Item, KeyState, begin, breadth, classes, count, learn
from alerts.resolution import NOTHING, decided, sequential, unseen
from alerts.spike import ClassState, Terms, best, combine, expectation, fold, monthly, reset, terms_of, threshold

VERSION = "1"

BLIND = (0.0, 0.0)
"""Cumulative seconds in which the key could not be seen, for news and social: part of its sources, part of a second."""

EXPIRY = 7 * 86_400.0
"""An episode whose sources went blind ends after a week of log time: nobody knows more by then."""


class Block(msgspec.Struct, gc=False):
    """A closed block for the series."""

    class_: str
    closed: Closed
    low: float
    high: float
    score: float
    threshold: float
    span: float


class Step(msgspec.Struct, gc=False):
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
        one = (state.social if social else state.news) or begin(state, social)
        step = Step()
        x = item.weight * item.b
        y = item.weight - x
        if item.at < state.clock - self.lateness:
            state.late += 1
            step.late = True
            if int(item.at // BLOCK) == one.base.block:
                count(one, x, y)
            return step
        at = state.clock = item.at if item.at > state.clock else state.clock
        past = blind[social]
        base = one.base
        prior = shape.prior[settings.name]
        if not one.run:
            one.usual = monthly(one, shape, settings)
        other = state.news if social else state.social
        expected = one.usual if other is None else one.usual + monthly(other, shape, NEWS if social else SOCIAL)
        h = threshold(expected, self.budget if budget is None else budget)
        closed = roll(base, at, past, shape, prior, settings) if at >= (base.block + 1) * BLOCK else None
        terms = terms_of(base, prior)
        if closed is not None:
            step.blocks.append(_block(state, one, closed, settings, h, terms))
        count(one, x, y)
        if learning:
            learn(one, at, past)
            return step
        missing = NOTHING if state.episode is None else unseen(state, at, blind)
        fold(one, at, past, x, y, shape, settings, terms)
        if one.score > 0.0:
            breadth(one, item)
            step.nats = contribution(one, x, settings)
        step.score = one.score if other is None else self._score(one, other, at, social, blind, shape)
        step.threshold = h
        if state.episode is not None:
            step.events = self._continue(key, state, item, step, shape, missing, budget)
        elif step.score >= h and self._enough(state):
            step.events = [self._open(key, state, item, step, shape)]
        return step

    def _score(
        self, one: ClassState, other: ClassState, at: float, social: bool, blind: tuple[float, float], shape: Shape
    ) -> float:
        """Of both classes, after an item of ``one``: time passes for the other as well."""
        if other.score > 0 and at > other.last:
            settings = NEWS if social else SOCIAL
            terms = terms_of(other.base, shape.prior[settings.name])
            fold(other, at, blind[not social], 0.0, 0.0, shape, settings, terms)
        return combine([one.score, other.score])

    def _threshold(self, state: KeyState, shape: Shape, budget: float | None) -> float:
        expected = 0.0
        if state.news is not None:
            expected += monthly(state.news, shape, NEWS)
        if state.social is not None:
            expected += monthly(state.social, shape, SOCIAL)
        return threshold(expected, self.budget if budget is None else budget)

    # -- episodes -----------------------------------------------------------------------------------------

    def _open(self, key: str, state: KeyState, item: Item, step: Step, shape: Shape) -> EpisodeEvent:
        figures = figures_of(state, step.score, step.threshold, shape)
        state.episodes += 1
        bursts = list(burst_rates(state))
        state.episode, event = life.opened(key, state.episodes, item.id, state.clock, figures, bursts)
        return event

    def _enough(self, state: KeyState) -> bool:
        """Raw bad evidence, from two stories; a young baseline asks up to twice as much."""
        stories, share = 0, 0.0
        for one, settings in classes(state):
            top = best(one)
            if top is None:
                continue
            span = state.clock - one.base.since
            asked = settings.least * (1.0 + max(0.0, 1.0 - span / settings.cold))
            share = max(share, top.x / asked)
            stories += top.stories
        return share >= 1.0 and stories >= 2

    def _continue(
        self,
        key: str,
        state: KeyState,
        item: Item,
        step: Step,
        shape: Shape,
        missing: tuple[float, float],
        budget: float | None,
    ) -> list[EpisodeEvent]:
        episode = state.episode
        if episode is None:
            return []
        if state.clock > episode.doubted_to:
            over = self._doubt(key, state, state.clock, shape, missing, budget)
            if over is not None:
                return [over]
        # A quarter of the burst's rate is what "going on" means: of its rate at its height, not at its first sign.
        news, social = burst_rates(state)
        bursts = episode.bursts
        if news > bursts[False]:
            bursts[False] = news
        if social > bursts[True]:
            bursts[True] = social
        settings = SOCIAL if item.social else NEWS
        off, on = sequential(state, item.social, state.clock, shape, bursts[item.social])
        if on > 0:
            episode.doubt = max(0.0, episode.doubt - item.weight * item.b * log(on / off) / settings.phi)
        if not life.may_update(episode, *excess(state)):
            return []
        figures = figures_of(state, step.score, step.threshold, shape)
        if life.worth_update(episode, state.clock, figures):
            return [life.updated(key, episode, state.clock, figures)]
        return []

    def advance(
        self,
        key: str,
        state: KeyState,
        watermark: float,
        shape: Shape,
        *,
        missing: tuple[float, float] = NOTHING,
        budget: float | None = None,
    ) -> list[EpisodeEvent]:
        """Lets time pass for an open episode up to ``watermark``.

        ``missing``: share of the key's evidence, for news and social, that could not be seen since the last time. It
        is not taken for quiet; where all is missing only expiry goes on.
        """
        episode = state.episode
        if episode is None or watermark <= state.clock:
            return []
        end = state.clock + EXPIRY
        over = self._doubt(key, state, min(watermark, end), shape, missing, budget)
        if over is None and watermark > end:
            over = self._close(key, state, end, shape, "expired", budget)
        return [] if over is None else [over]

    def _doubt(
        self,
        key: str,
        state: KeyState,
        to: float,
        shape: Shape,
        missing: tuple[float, float],
        budget: float | None,
    ) -> EpisodeEvent | None:
        """Lets time pass up to ``to``; the event carries the moment at which it was decided that it is over."""
        due = decided(state, to, shape, missing, self.min_open)
        return None if due is None else self._close(key, state, due, shape, "quiet", budget)

    def _close(
        self, key: str, state: KeyState, at: float, shape: Shape, reason: life.Reason, budget: float | None
    ) -> EpisodeEvent:
        if state.episode is None:
            raise ValueError(f"{key}: no open episode")
        score = combine([one.score for one, _ in classes(state)])
        figures = figures_of(state, score, self._threshold(state, shape, budget), shape)
        event = life.resolved(key, state.episode, at, figures, reason)
        state.episode = None
        for one, _ in classes(state):
            reset(one)
        return event

    def open_blocks(self, state: KeyState, shape: Shape, budget: float | None = None) -> list[Block]:
        """The blocks that are still open, as they stand: what a page draws before they close."""
        h = self._threshold(state, shape, budget)
        blocks = []
        for one, settings in classes(state):
            start = one.base.block * BLOCK
            base = one.base
            terms = terms_of(base, shape.prior[settings.name])
            expected = terms.bad_rate * BLOCK * shape.at(start)
            closed = Closed(start, base.block_bad, base.block_others, base.block_documents, expected)
            blocks.append(_block(state, one, closed, settings, h, terms))
        return blocks


def _block(state: KeyState, one: ClassState, closed: Closed, settings: ClassSettings, h: float, terms: Terms) -> Block:
    low, high = expectation(closed.expected, terms)
    return Block(settings.name, closed, low, high, one.score, h, state.clock - one.base.since)
