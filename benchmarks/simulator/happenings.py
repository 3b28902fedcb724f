"""When something happens to a key, and when it only looks like it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from alerts.baseline import DAY
from benchmarks.simulator.rates import Rates
from benchmarks.simulator.world import DISTRACTORS, LEAST, RATIOS, SPIKES, START, World


class Plan(NamedTuple):
    """A happening before its items are drawn."""

    kind: str
    ratio: float
    onset: float
    end: float


def kinds(world: World) -> list[tuple[str, float]]:
    """All that may happen, each as often as it is listed."""
    spikes = [(kind, ratio) for kind in SPIKES for ratio in RATIOS]
    crises = [(f"crisis of {size}", 0.0) for size in world.crises for _ in range(4)]
    return spikes + crises + [(kind, 8.0) for kind in DISTRACTORS for _ in range(2)]


def plan(world: World, rates: Rates, rng: np.random.Generator) -> list[list[Plan]]:
    """For each key what happens to it: one thing a period, every kind equally often over all keys.

    None falls into an outage, a market-wide move or the time before the key is born and has a history, and no tone
    flips where hardly anything is said.
    """
    slots = int((world.span - world.warm) // world.period)
    keys = len(rates.traits)
    names = kinds(world)
    order = np.concatenate(
        [np.empty(0, int), *(rng.permutation(len(names)) for _ in range(-(-keys * slots // len(names))))]
    )
    plans: list[list[Plan]] = [[] for _ in range(keys)]
    for number in range(keys * slots):
        key, slot = number % keys, number // keys
        kind, ratio = names[order[number]]
        length = rng.uniform(*lengths(world, kind))
        room = world.period - length - 2 * world.tail
        onset = START + world.warm + slot * world.period + world.tail + rng.uniform(0, room)
        one = Plan(kind, ratio, onset, onset + length)
        if free(one, world, rates, key) and (kind != "flip" or usually_bad(one, world, rates, key) >= LEAST):
            plans[key].append(one)
    return plans


def lengths(world: World, kind: str) -> tuple[float, float]:
    if kind.startswith("crisis"):
        return DAY, DAY
    if kind == "flip":
        return world.durations["slow"]
    return world.durations.get(kind, world.durations["middle"])


def free(one: Plan, world: World, rates: Rates, key: int) -> bool:
    birth = rates.births[key]
    if birth > START and one.onset < birth + world.warm:
        return False
    others = rates.outages[key] + rates.moves
    return all(one.end + world.tail < onset or end + world.tail < one.onset for onset, end in others)


def inside(one: Plan, world: World) -> slice:
    """The steps of the grid that it touches."""
    return slice(int((one.onset - START) // world.step), int((one.end - START) // world.step) + 1)


def usually_bad(one: Plan, world: World, rates: Rates, key: int) -> float:
    """Bad stories that come while it lasts, without it."""
    steps = inside(one, world)
    return float((rates.stories[key, steps] * rates.share[key, steps]).mean() * (one.end - one.onset))
