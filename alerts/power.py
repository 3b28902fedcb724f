"""What would it catch? Crises of stated sizes in a key's own past, and how many of them the detector rings for.

Monte Carlo with the production detector: at moments drawn evenly from the key's past (so at its own hours of the week)
its state stands as it stood then; from there on its items go on as they were, and among them come the bad stories of a
crisis, at times drawn evenly from the crisis's length. How bad and how new they are is drawn from what came. The
smallest crisis for a probability is found among the very trials that its probability is told of: that flatters it by a
third of the interval's arm at most.

Pure: the same past, stories and ``rng`` give the same figures.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import ceil
from random import Random
from statistics import median
from typing import NamedTuple

import msgspec

from alerts.baseline import NEWS, SOCIAL, Shape
from alerts.detector import Detector
from alerts.key_state import Item, KeyState

SIZES = (
    *(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 32),
    *(36, 40, 48, 56, 64, 72, 80, 90, 100),
)
"""Stories of the crises that are tried."""

LEVELS = (0.5, 0.9)
"""Probabilities for which the smallest crisis is told."""

LEAST_TRIALS = 30
"""Fewer say nothing: a probability of one half would be known to a fifth."""

WORK = 25
"""Items that a trial may pass on average while the smallest crisis is looked for; where it passes more there are fewer
trials."""


class Story(NamedTuple):
    """A bad story as one came: probability of bad news, and novelty times relevance."""

    b: float
    weight: float


class Past(msgspec.Struct):
    """One key's past, as far as it is known: exposure began at ``since``. ``items``: of both classes, by time."""

    key: str
    since: float
    end: float
    items: list[Item]


class Chance(msgspec.Struct, frozen=True):
    """Of ``trials`` crises of ``stories`` stories ``rang`` did, half of them within ``delay`` seconds of the onset."""

    stories: int
    rang: int
    trials: int
    delay: float | None = None

    @property
    def probability(self) -> float:
        return self.rang / self.trials


class Reach(msgspec.Struct, frozen=True):
    """What rings of the crises that come within ``length`` seconds."""

    length: float
    anyway: Chance
    """Without any crisis: what the past itself rings for in that time."""
    smallest: tuple[Chance | None, ...]
    """For each of LEVELS; None where none of SIZES is enough."""
    curve: tuple[tuple[int, float], ...]
    """(stories, probability)."""


class TooShort(ValueError):
    """The past ends before there is a moment to try at. ``needed``: seconds of history without which there is none."""

    def __init__(self, had: float, needed: float) -> None:
        super().__init__(f"{had / 86_400:.1f} days of history, where {needed / 86_400:.1f} are needed")
        self.had = had
        self.needed = needed


class AlwaysRinging(ValueError):
    """At hardly any moment of the past was the key at rest."""


class Trials:
    """Crises of one class in one key's past. ``shape``: the week's, by time; ``lengths``: seconds.

    Raises TooShort, AlwaysRinging.
    """

    def __init__(
        self,
        past: Past,
        stories: Sequence[Story],
        *,
        social: bool,
        detector: Detector,
        budget: float | None,
        shape: Callable[[float], Shape],
        lengths: Sequence[float],
        trials: int,
        rng: Random,
    ) -> None:
        self._past = past
        self._stories = stories
        self._social = social
        self._detector = detector
        self._budget = budget
        self._shape = shape
        self._rng = rng
        self._times = [item.at for item in past.items]
        self._passed, self._work = 0, WORK * trials
        self.first, self.last = self._span(max(lengths))
        """Between which moments onsets were drawn."""
        self._onsets = self._standing(sorted(self._moments(trials)))
        self.at_rest = len(self._onsets) / trials
        """Share of the moments at which the key did not ring already."""
        if len(self._onsets) < LEAST_TRIALS:
            raise AlwaysRinging(f"it rang already at {1 - self.at_rest:.0%} of the moments that were tried")

    def _span(self, longest: float) -> tuple[float, float]:
        past, settings = self._past, SOCIAL if self._social else NEWS
        first, last = past.since + settings.cold, past.end - longest
        if last <= first:
            raise TooShort(past.end - past.since, settings.cold + longest)
        return first, last

    def _moments(self, count: int) -> list[float]:
        """One from each of as many equal parts: even, and still by chance."""
        width = (self.last - self.first) / count
        return [self.first + (place + self._rng.random()) * width for place in range(count)]

    def _standing(self, moments: Sequence[float]) -> list[tuple[float, bytes]]:
        """The key's state as it stood at those of ``moments`` at which it did not ring."""
        state, place, found = self._detector.new(self._past.since), 0, []
        for moment in moments:
            end = bisect_right(self._times, moment)
            for item in self._past.items[place:end]:
                self._observe(state, item)
            place = end
            stood = msgspec.msgpack.encode(state)
            if state.episode is not None:
                then = _STATE.decode(stood)
                self._detector.advance(self._past.key, then, moment, self._shape(moment), budget=self._budget)
                if then.episode is not None:
                    continue
                stood = msgspec.msgpack.encode(then)
            found.append((moment, stood))
        return found

    def _observe(self, state: KeyState, item: Item) -> bool:
        """Whether the item made it ring."""
        step = self._detector.observe(self._past.key, state, item, self._shape(item.at), budget=self._budget)
        return any(event.kind == "firing" for event in step.events)

    # -- crises -------------------------------------------------------------------------------------------

    def reach(self, length: float) -> Reach:
        """What rings of the crises within ``length`` seconds."""
        crises, places = list[_Crisis](), list[int]()
        place, self._passed = 4, 0
        for moment, stood in self._rng.sample(self._onsets, len(self._onsets)):
            if len(crises) >= LEAST_TRIALS and self._passed > self._work:
                break
            own = self._past.items[bisect_right(self._times, moment) : bisect_right(self._times, moment + length)]
            crises.append(_Crisis(moment, stood, own, length, self._stories, self._social, self._rng))
            place = self._enough(crises[-1], min(max(place, 1), len(SIZES) - 1))
            places.append(place)
        places.sort()
        smallest = [places[ceil(level * len(places)) - 1] for level in LEVELS]
        return Reach(
            length,
            self._chance(crises, 0),
            tuple(self._chance(crises, SIZES[place]) if place < len(SIZES) else None for place in smallest),
            tuple((size, bisect_right(places, place) / len(places)) for place, size in enumerate(SIZES)),
        )

    def _chance(self, crises: Sequence[_Crisis], size: int) -> Chance:
        """What became of crises of ``size`` stories."""
        delays = [delay for crisis in crises if (delay := self._delay(crisis, size)) is not None]
        return Chance(size, len(delays), len(crises), median(delays) if delays else None)

    def _enough(self, crisis: _Crisis, guess: int) -> int:
        """The smallest place in SIZES that rings, looked for from a guess on; larger ones are taken to ring, too."""
        low, high, place, step = -1, len(SIZES), guess, 1
        while high - low > 1:
            if self._delay(crisis, SIZES[place]) is not None:
                high = place
            else:
                low = place
            if low < 0 or high == len(SIZES):
                place = max(0, high - step) if low < 0 else min(low + step, len(SIZES) - 1)
                step *= 2
            else:
                place = (low + high) // 2
        return high

    def _delay(self, crisis: _Crisis, size: int) -> float | None:
        """Seconds from the onset to the alarm; None where there is none while the crisis lasts."""
        state = _STATE.decode(crisis.stood)
        for item in crisis.items(size):
            self._passed += 1
            if self._observe(state, item):
                return item.at - crisis.onset
        return None


class _Crisis:
    """One crisis: where it begins, how the key stood, and its stories in a fixed order, of which the first N come."""

    def __init__(
        self,
        onset: float,
        stood: bytes,
        own: Sequence[Item],
        length: float,
        stories: Sequence[Story],
        social: bool,
        rng: Random,
    ) -> None:
        self.onset = onset
        self.stood = stood
        self._own = own
        self._length = length
        self._stories = stories
        self._social = social
        self._rng = rng
        self._come: list[Item] = []

    def items(self, size: int) -> list[Item]:
        """The key's own items and ``size`` stories of the crisis, in the order of time."""
        while len(self._come) < size:
            story, number = self._rng.choice(self._stories), len(self._come)
            at = self.onset + self._length * self._rng.random()
            publisher = None if self._social else f"publisher {number}"
            self._come.append(Item(at, story.b, story.weight, self._social, f"crisis {number}", publisher))
        return sorted([*self._own, *self._come[:size]])


_STATE = msgspec.msgpack.Decoder(KeyState)


def shape_of(versions: Sequence[tuple[float, Shape]]) -> Callable[[float], Shape]:
    """The week's shape by time, of versions that are (effective from, shape), ascending; the first holds before it."""
    starts = [effective for effective, _ in versions[1:]]
    return lambda at: versions[bisect_right(starts, at)][1]
