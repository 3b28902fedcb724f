"""The detector: one key's state, an item or a moment, and what follows from it.

Shared by the aggregate stage, ``replay`` and ``tapewatch detect``. Pure: results depend on the order of a key's own
items only, never on batches, on other keys or on how often time is let pass.
"""

from __future__ import annotations

from math import log

import msgspec

from alerts import episode as life
from alerts.baseline import BLOCK, NEWS, SOCIAL, ClassSettings, Closed, Shape, roll
from alerts.chance import learn as learn_chance
from alerts.chance import note, surprise, threshold
from alerts.episode import EpisodeEvent
from alerts.excursions import burst_rates, contribution, excess, figures_of
from alerts.key_state import STORIES, Item, KeyState, begin, breadth, classes, count, enough, grounds
from alerts.resolution import NOTHING, decided, sequential, unseen
from alerts.spike import ClassState, Terms, combine, expectation, fold, monthly, reset, terms_of

VERSION = "3"

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
        other = state.news if social else state.social
        h = threshold(self.budget if budget is None else budget)
        closed = roll(base, at, past, shape, prior, settings) if at >= (base.block + 1) * BLOCK else None
        terms = terms_of(base, prior)
        if closed is not None:
            step.blocks.append(_block(state, one, closed, settings, h, terms))
        if closed is not None or one.tail.slope == 0.0:
            seconds = 0.0 if base.pending is None else base.pending[3]
            learn_chance(one.tail, at, seconds, monthly(one, shape, settings), one.score, settings)
        count(one, x, y)
        if state.learning and not learning:
            for each, _ in classes(state):
                reset(each)  # what happened while learning is history, not news
        state.learning = learning
        missing = NOTHING if state.episode is None else unseen(state, at, blind)
        # Of many reprints some are taken for new stories: each takes back its share of what those will count.
        told = x if item.new_story else x - settings.missed * item.b
        fold(one, at, past, told, y, shape, settings, terms)
        if one.score > 0.0:
            breadth(one, item)
            if one.score >= settings.level and enough(state, one, settings):
                note(one.tail, at, one.score, settings)
        if learning:
            return step
        step.nats = contribution(one, x, settings)
        mine = surprise(one.tail, one.score, settings)
        step.score = mine if other is None else self._score(mine, other, at, social, blind, shape)
        step.threshold = h
        if state.episode is not None:
            step.events = self._continue(key, state, item, step, shape, missing, budget)
        elif step.score >= h and self._enough(state):
            step.events = [self._open(key, state, item, step, shape)]
        return step

    def _score(
        self, mine: float, other: ClassState, at: float, social: bool, blind: tuple[float, float], shape: Shape
    ) -> float:
        """Of both classes, after an item of one, whose score is ``mine``: time passes for the other as well."""
        if other.score > 0 and at > other.last:
            settings = NEWS if social else SOCIAL
            terms = terms_of(other.base, shape.prior[settings.name])
            fold(other, at, blind[not social], 0.0, 0.0, shape, settings, terms)
        return combine([mine, surprise(other.tail, other.score, NEWS if social else SOCIAL)])

    # -- episodes -----------------------------------------------------------------------------------------

    def _open(self, key: str, state: KeyState, item: Item, step: Step, shape: Shape) -> EpisodeEvent:
        figures = figures_of(state, step.score, step.threshold, shape)
        state.episodes += 1
        bursts = list(burst_rates(state, self.min_open))
        state.episode, event = life.opened(key, state.episodes, item.id, state.clock, figures, bursts)
        return event

    def _enough(self, state: KeyState) -> bool:
        """Raw bad evidence, from two stories; a young baseline asks up to twice as much."""
        share, stories = 0.0, 0
        for one, settings in classes(state):
            part, told = grounds(state, one, settings)
            share, stories = max(share, part), stories + told
        return share >= 1.0 and stories >= STORIES

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
        # What "going on" means is a part of the burst's rate at its height, not at its first sign.
        news, social = burst_rates(state, self.min_open)
        bursts = episode.bursts
        if news > bursts[False]:
            bursts[False] = news
        if social > bursts[True]:
            bursts[True] = social
        settings = SOCIAL if item.social else NEWS
        off, on = sequential(state, item.social, state.clock, shape, bursts[item.social])
        if on > 0:
            episode.doubt = max(0.0, episode.doubt - item.weight * item.b * log(on / off) / settings.patience)
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
        score = combine([surprise(one.tail, one.score, settings) for one, settings in classes(state)])
        figures = figures_of(state, score, threshold(self.budget if budget is None else budget), shape)
        event = life.resolved(key, state.episode, at, figures, reason)
        state.episode = None
        for one, _ in classes(state):
            reset(one)
        return event

    def open_blocks(self, state: KeyState, shape: Shape, budget: float | None = None) -> list[Block]:
        """The blocks that are still open, as they stand: what a page draws before they close."""
        h = threshold(self.budget if budget is None else budget)
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
    return Block(
        settings.name, closed, low, high, surprise(one.tail, one.score, settings), h, state.clock - one.base.since
    )
