"""The shipped detector over simulated keys: the production class, driven by the items' own times.

The week's shape and the usual rates are learned from all keys' blocks by the production function, here once a week.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from math import inf
from typing import NamedTuple

import numpy as np

from alerts.baseline import WEEK, Profile, Shape
from alerts.detector import Detector, Step
from alerts.excursions import excess
from alerts.key_state import Item, KeyState
from alerts.week import BlockSummary, learn_profile
from benchmarks.detectors.scores import Scores
from benchmarks.simulator.items import PUBLISHERS, Items, Key, Population, outages_until
from benchmarks.simulator.world import START, World

NAMES = tuple(f"p{number}" for number in range(PUBLISHERS))
REMEMBERED = 4
"""Weeks of blocks that a profile is learned from."""
NEVER = 1e-280
"""A budget at which nothing opens: scores are read as they run."""
LEAST = {False: 2.0, True: 4.0}
"""Bad evidence that the detector asks of news and of posts, once a key has a history."""
Seen = Callable[[int, KeyState, Item, Step], None]


class Episode(NamedTuple):
    """``resolved`` is infinite where it was open at the end."""

    key: int
    fired: float
    resolved: float


def scores(population: Population) -> Scores:
    """After each item the score, to be compared with ln(1 + 1/B); it stands until the next.

    It is infinitely low where the evidence is not enough to ring at all.
    """
    world = population.world
    found: list[tuple[int, float, float]] = []

    def look(number: int, state: KeyState, item: Item, step: Step) -> None:
        if step.score > 0.0:
            observed, _, stories = excess(state)
            if observed >= LEAST[world.social] and stories >= 2:
                found.append((number, item.at, step.score))
                return
        if item.at >= START + world.warm:
            found.append((number, item.at, -inf))

    drive(population, Detector(budget=NEVER), look)
    found.sort()
    key, at, score = (np.array(part) for part in zip(*found, strict=True))
    until = np.append(at[1:], START + world.span)
    until[:-1][key[1:] != key[:-1]] = START + world.span
    late = at >= START + world.warm
    return Scores(key[late], at[late], until[late], score[late])


def episodes(population: Population, budget: float) -> list[Episode]:
    """What it rings as it ships: opened, and resolved by its own test."""
    fired: dict[int, float] = {}
    found: list[Episode] = []

    def look(number: int, _state: KeyState, _item: Item, step: Step) -> None:
        for event in step.events:
            if event.kind == "firing":
                fired[number] = event.at
            elif event.kind == "resolved":
                found.append(Episode(number, fired.pop(number), event.at))

    drive(population, Detector(budget=budget), look)
    found += [Episode(number, at, inf) for number, at in fired.items()]
    return sorted(found)


def drive(population: Population, detector: Detector, look: Seen) -> None:
    """Every key's items through the detector, week by week; ``look`` is shown each step with its key's state."""
    world, keys = population.world, population.keys
    states = [detector.new(START) for _ in keys]
    blinds = [outages_until(key) for key in keys]
    profile, weeks = Profile(), list[list[BlockSummary]]()
    for week in range(world.weeks):
        start, shape, blocks = START + week * WEEK, Shape(profile), list[BlockSummary]()
        for number, (key, state, blind) in enumerate(zip(keys, states, blinds, strict=True)):
            for item in items_of(key, start, start + WEEK, world):
                step = take(detector, state, item, next(blind), shape)
                for block in step.blocks:
                    closed = block.closed
                    if closed.documents:
                        name = f"k{number}"
                        total = closed.bad + closed.others
                        blocks.append(BlockSummary(name, block.class_, closed.start, closed.bad, total))
                look(number, state, item, step)
            if state.episode is not None:
                over = detector.advance("k", state, start + WEEK, shape)
                look(number, state, Item(start + WEEK, 0.0), Step(events=over))
        weeks = [*weeks, blocks][-REMEMBERED:]
        every = [block for blocks in weeks for block in blocks]
        profile = learn_profile(every, profile, effective_from=start + WEEK, span=len(weeks) * WEEK)


def take(detector: Detector, state: KeyState, item: Item, blind: float, shape: Shape) -> Step:
    """Time passes for an open episode up to the item, as the engine's clock lets it; then the item is folded."""
    over = []
    if state.episode is not None:
        one = state.social if item.social else state.news
        missing = 0.0 if one is None else min(1.0, max(0.0, blind - one.blind) / max(item.at - one.last, 1e-9))
        over = detector.advance("k", state, item.at, shape, missing=(missing, missing))
    step = detector.observe("k", state, item, shape, blind=(blind, blind))
    return Step(over + step.events, step.blocks, step.late, step.score, step.threshold, step.nats) if over else step


def items_of(key: Key, start: float, end: float, world: World) -> Iterator[Item]:
    first, last = np.searchsorted(key.items.at, (start, end))
    part = Items(*(column[first:last] for column in key.items))
    # Posts have authors, not publishers.
    names = repeat(None) if world.social else [NAMES[number] for number in part.publisher.tolist()]
    columns = (part.at.tolist(), part.b.tolist(), part.weight.tolist())
    for at, b, weight, publisher, new in zip(*columns, names, part.new.tolist(), strict=False):
        yield Item(at, b, weight, world.social, "", publisher, new)
