"""What a detector is given: scored items of each key, in the order of their time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulator.happenings import Plan, inside, plan, usually_bad
from benchmarks.simulator.rates import Floats, Rates, Traits, draw
from benchmarks.simulator.world import LEAST, SPIKES, START, Event, World

USUAL, FOLLOW_UP, COPY, HAPPENING = range(4)
"""Why an item is there."""

SAME_MOOD = 0.9
"""Probability that a follow-up shares its story's mood."""
PUBLISHERS = 8
WRONG = 0.05
"""Share of the items that the classifier reads the wrong way round."""
MISSED = 0.03
"""Share of the copies that are not told from new stories."""


class Items(NamedTuple):
    """Arrays of one length. ``bad`` and ``cause`` are the truth, the rest is what is observed."""

    at: NDArray[Any]
    b: NDArray[Any]
    """Probability of bad news, as a classifier gives it."""
    weight: NDArray[Any]
    """Novelty."""
    publisher: NDArray[Any]
    new: NDArray[Any]
    bad: NDArray[Any]
    cause: NDArray[Any]


class Key(NamedTuple):
    """One key's stream and its truth."""

    traits: Traits
    birth: float
    items: Items
    outages: list[tuple[float, float]]
    events: list[Event]


class Population(NamedTuple):
    """Keys of one class and one seed. ``usual``, ``every``: bad and all stories per second as they come by themselves.

    Both are keys by steps; nothing comes in outages.
    """

    world: World
    seed: int
    keys: list[Key]
    usual: Floats
    every: Floats


class Story(NamedTuple):
    """Stories before they are copied and judged."""

    at: NDArray[Any]
    bad: NDArray[Any]
    cause: NDArray[Any]


def simulate(world: World, keys: int, seed: int) -> Population:
    """``keys`` streams of the class, the same for the same seed."""
    rng = np.random.default_rng([seed, world.social])
    rates = draw(world, keys, rng)
    usual = rates.stories * rates.share
    edges = START + np.arange(usual.shape[1]) * world.step
    made = []
    for number, plans in enumerate(plan(world, rates, rng)):
        stories = [usually(world, rates, number, rng)]
        events = [Event("market", 1.0, onset, end, 0.0, 0) for onset, end in rates.moves]
        for one in plans:
            extra, event = happen(one, world, rates, number, stories[0], rng)
            stories.append(extra)
            events.append(event)
        for onset, end in rates.outages[number]:
            out = (edges >= onset) & (edges < end)
            usual[number, out] = rates.stories[number, out] = 0.0
        items = judged(world, together(stories), plans, rates.outages[number], rng)
        events.sort(key=lambda event: event.onset)
        made.append(Key(rates.traits[number], float(rates.births[number]), items, rates.outages[number], events))
    return Population(world, seed, made, usual, rates.stories)


def usually(world: World, rates: Rates, key: int, rng: np.random.Generator) -> Story:
    """A key's stories by themselves: happenings, and follow-ups that draw further ones and share their mood."""
    branching = rates.traits[key].branching
    counts = rng.poisson(rates.stories[key] * world.step * (1 - branching))
    steps = np.repeat(np.arange(len(counts)), counts)
    at = START + (steps + rng.random(len(steps))) * world.step
    bad = rng.random(len(at)) < rates.share[key, steps]
    found = [(at, bad, np.full(len(at), USUAL))]
    while len(at):
        children = rng.poisson(branching, len(at))
        at = np.repeat(at, children) + rng.exponential(world.decay, children.sum())
        bad = np.repeat(bad, children)
        at, bad = at[at < START + world.span], bad[at < START + world.span]
        steps = ((at - START) // world.step).astype(int)
        own = rng.random(len(at)) < rates.share[key, steps]
        bad = np.where(rng.random(len(at)) < SAME_MOOD, bad, own)
        found.append((at, bad, np.full(len(at), FOLLOW_UP)))
    return Story(*(np.concatenate(part) for part in zip(*found, strict=True)))


def happen(
    one: Plan, world: World, rates: Rates, key: int, usual: Story, rng: np.random.Generator
) -> tuple[Story, Event]:
    """The stories that a happening adds; a tone flip turns usual ones bad, in place."""
    steps = inside(one, world)
    every = float(rates.stories[key, steps].mean() * (one.end - one.onset))
    bad = usually_bad(one, world, rates, key)
    added, share = 0, 0.0
    if one.kind == "flip":
        p = float(rates.share[key, steps].mean())
        turned = (min(one.ratio * p, 0.95) - p) / (1 - p)
        chosen = (usual.at >= one.onset) & (usual.at < one.end) & ~usual.bad
        chosen &= rng.random(len(chosen)) < turned
        usual.bad[chosen] = True
        usual.cause[chosen] = HAPPENING
        return nothing(), Event(one.kind, one.ratio, one.onset, one.end, bad, int(chosen.sum()))
    if one.kind.startswith("crisis"):
        added, share = int(one.kind.rsplit(" ", 1)[1]), 1.0
    elif one.kind in SPIKES:
        added, share = rng.poisson((one.ratio - 1) * max(bad, LEAST)), 1.0
    elif one.kind == "copies":
        added, share = 1, 1.0
    else:
        added = rng.poisson((one.ratio - 1) * max(every, 2 * LEAST))
        share = rates.traits[key].share if one.kind == "usual" else 0.0
    # Most of it comes early, as when a story breaks.
    at = one.onset + rng.beta(1, 1.5, added) * (one.end - one.onset)
    extra = Story(at, rng.random(added) < share, np.full(added, HAPPENING))
    return extra, Event(one.kind, one.ratio, one.onset, one.end, bad, added)


def nothing() -> Story:
    return Story(np.empty(0), np.empty(0, bool), np.empty(0, int))


def together(stories: list[Story]) -> Story:
    """All stories by time."""
    every = Story(*(np.concatenate(part) for part in zip(*stories, strict=True)))
    order = np.argsort(every.at, kind="stable")
    return Story(*(part[order] for part in every))


def judged(
    world: World, story: Story, plans: list[Plan], outages: list[tuple[float, float]], rng: np.random.Generator
) -> Items:
    """Copies by other publishers besides, a classifier's soft and sometimes wrong probabilities, novelty weights.

    What would come in an outage is lost.
    """
    count = len(story.at)
    copies = np.where(rng.random(count) < world.reprinted, rng.geometric(0.4, count), 0)
    for one in plans:
        if one.kind == "copies":
            copies[(story.at >= one.onset) & (story.at < one.end) & (story.cause == HAPPENING)] = rng.integers(40, 150)
    late = np.repeat(story.at, copies) + rng.exponential(world.copy_delay, copies.sum())
    at = np.concatenate([story.at, late])
    bad = np.concatenate([story.bad, np.repeat(story.bad, copies)])
    cause = np.concatenate([story.cause, np.full(len(late), COPY)])
    reads_bad = bad ^ (rng.random(len(at)) < WRONG)
    b = np.where(reads_bad, rng.beta(8, 1.5, len(at)), rng.beta(1, 12, len(at)))
    new = np.concatenate([np.ones(count, bool), rng.random(len(late)) < MISSED])
    weight = np.where(new, 1 - 0.1 * rng.random(len(at)), 0.04 * rng.random(len(at)))
    # Small numbers are large publishers.
    publisher = np.minimum(rng.geometric(0.3, len(at)) - 1, PUBLISHERS - 1)
    kept = at < START + world.span
    for onset, end in outages:
        kept &= (at < onset) | (at >= end)
    order = np.argsort(at[kept], kind="stable")
    return Items(*(part[kept][order] for part in (at, b, weight, publisher, new, bad, cause)))


def outages_until(key: Key) -> Iterator[float]:
    """For each item the seconds until it in which the key could not be seen."""
    if not key.outages:
        return iter(np.zeros(len(key.items.at)).tolist())
    edges = np.array(key.outages).ravel()
    lengths = np.diff(np.array(key.outages), axis=1).ravel()
    sums = np.concatenate([[0.0], np.repeat(np.cumsum(lengths), 2)[:-1]])
    sums[1::2] = np.cumsum(lengths)
    return iter(np.interp(key.items.at, edges, sums).tolist())
