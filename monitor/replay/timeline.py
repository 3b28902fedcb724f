"""What a replay saw of each key over time: its bad stories, what was expected, and how near it came to ringing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from alerts.baseline import BLOCK, DAY, HOUR, NEWS, SOCIAL, WEEK, Shape
from alerts.detector import Detector, Step
from alerts.key_state import Item, KeyState
from alerts.spike import Terms, expectation, terms_of
from monitor.replay.curve import Curve, bursts

WIDTHS = (BLOCK, 3 * HOUR, 6 * HOUR, DAY, WEEK)
"""Seconds of a bin, from the finest on."""

MOST = 100_000
"""Bins in memory: beyond it they are made wider."""


class Bin(msgspec.Struct):
    """What a key's items of one class came to in a stretch of time, and what its baseline was as it began."""

    terms: Terms
    shape: Shape
    bad: float = 0.0
    others: float = 0.0
    stories: int = 0
    """Clearly told ones, reprints left out."""
    score: float = 0.0
    """Where it came nearest to the threshold, in nats."""
    threshold: float = 0.0

    def near(self, score: float, threshold: float) -> None:
        if score - threshold > self.score - self.threshold or self.threshold == 0.0:
            self.score, self.threshold = score, threshold

    def add(self, later: Bin) -> None:
        """Takes in the next one."""
        self.bad += later.bad
        self.others += later.others
        self.stories += later.stories
        self.near(later.score, later.threshold)


class Stretch(msgspec.Struct, frozen=True):
    """A bin of both classes together. Times in seconds since 1970; evidence weighed as in alerts."""

    start: float
    bad: float
    others: float
    stories: int
    expected: float
    low: float
    high: float
    """90 % of counts lie between them."""
    score: float
    threshold: float


class Timeline:
    """Bins by key and class, in bounded memory: when there are too many they get wider."""

    def __init__(self) -> None:
        self.width = WIDTHS[0]
        self.late = 0
        """Pieces of evidence that came too late to count."""
        self._bins: dict[tuple[str, bool], dict[int, Bin]] = defaultdict(dict)
        self._held = 0

    def note(self, key: str, state: KeyState, item: Item, shape: Shape, step: Step) -> None:
        """An item, as the detector left it."""
        if step.late:
            self.late += 1
            return
        one, settings = (state.social, SOCIAL) if item.social else (state.news, NEWS)
        bins, place = self._bins[key, item.social], int(state.clock // self.width)
        found = bins.get(place)
        if found is None:
            if one is None:
                return
            found = bins[place] = Bin(terms_of(one.base, shape.prior[settings.name]), shape)
            self._held += 1
        bad = item.weight * item.b
        found.bad += bad
        found.others += item.weight - bad
        found.stories += item.new_story
        found.near(step.score, step.threshold)
        if self._held > MOST and self.width < WIDTHS[-1]:
            self._widen()

    def of(self, key: str, begin: float, end: float, most: int = 600) -> tuple[float, list[Stretch]]:
        """A key's bins between two times, in their order, and their width in seconds, for ``most`` of them if that can
        be; where no item came what its last baseline expects."""
        wide = [width for width in WIDTHS if width >= self.width]
        width = next((width for width in wide if (end - begin) / width <= most), wide[-1])
        times = round(width / self.width)
        classes = [_joined(self._bins.get((key, social), {}), times) for social in (False, True)]
        places = range(int(begin // width), int(end // width) + 1)
        bases: list[Bin | None] = [None] * len(classes)
        stretches = []
        for place in places:
            here = [bins.get(place) for bins in classes]
            bases = [one if one is not None else base for one, base in zip(here, bases, strict=True)]
            stretches.append(_stretch(place * width, width, here, bases))
        return width, stretches

    def nearest(self, key: str, begin: float, end: float) -> tuple[float, float] | None:
        """(score, threshold) where a key came nearest to ringing within a time; None where it had no item."""
        places = range(int(begin // self.width), int(end // self.width) + 1)
        classes = [self._bins.get((key, social), {}) for social in (False, True)]
        found = [one for bins in classes for place in places if (one := bins.get(place)) is not None]
        best = max(found, key=lambda one: one.score - one.threshold, default=None)
        return None if best is None else (best.score, best.threshold)

    def _widen(self) -> None:
        wider = next(width for width in WIDTHS if width > self.width)
        times, self.width, self._held = round(wider / self.width), wider, 0
        for name, bins in self._bins.items():
            self._bins[name] = _joined(bins, times)
            self._held += len(self._bins[name])


def _joined(bins: dict[int, Bin], times: int) -> dict[int, Bin]:
    """As many of them as one each."""
    wider: dict[int, Bin] = {}
    for place in sorted(bins):
        known = wider.get(place // times)
        if known is None:
            wider[place // times] = msgspec.structs.replace(bins[place])
        else:
            known.add(bins[place])
    return wider


def _stretch(start: float, width: float, here: Sequence[Bin | None], bases: Sequence[Bin | None]) -> Stretch:
    """``here``: what came, by class; ``bases``: the latest baseline that is known."""
    expected = low = high = 0.0
    for base in bases:
        if base is not None:
            usual = base.terms.bad_rate * (base.shape.integral(start + width) - base.shape.integral(start))
            bounds = expectation(usual, base.terms)
            expected, low, high = expected + usual, low + bounds[0], high + bounds[1]
    came = [one for one in here if one is not None]
    top = max(came, key=lambda one: one.score - one.threshold, default=None)
    return Stretch(
        start,
        sum(one.bad for one in came),
        sum(one.others for one in came),
        sum(one.stories for one in came),
        expected,
        low,
        high,
        top.score if top is not None else 0.0,
        top.threshold if top is not None else 0.0,
    )


class Noting(Detector):
    """The production detector; what it is shown is noted beside it, and shown to those of other budgets."""

    def __init__(
        self, timeline: Timeline, curve: Curve, beside: Sequence[Curve], *, budget: float, **settings: Any
    ) -> None:
        super().__init__(budget=budget, **settings)
        self._timeline = timeline
        self._curve = curve
        self._all = (curve, *beside)

    def observe(self, key: str, state: KeyState, item: Item, shape: Shape, **facts: Any) -> Step:
        for one in self._all:
            one.observe(key, state.since, item, shape, facts)
        step = super().observe(key, state, item, shape, **facts)
        self._curve.replayed += bursts(key, step)
        self._timeline.note(key, state, item, shape, step)
        return step
