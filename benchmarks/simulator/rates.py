"""How often a key's stories come, and which share of them is bad: a path over time that the detectors do not know."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alerts.baseline import DAY, HOUR, WEEK
from benchmarks.simulator.world import START, World

Floats = NDArray[np.float64]

HOLIDAY = 0.3
"""Of the usual stories on a holiday."""
MARKET = (2.0, 0.7)
"""A market-wide move: factor on every key's rate, rise of its bad share on the logit scale."""


class Traits(NamedTuple):
    """What one key is like."""

    rate: float
    share: float
    hours: Floats
    """168 factors with mean 1."""
    branching: float
    fast: float = 0.0
    slow: float = 0.0
    mood: float = 0.0
    """Standard deviations of its wander: of the log rate, fast and slow, and of the share on the logit scale."""


class Rates(NamedTuple):
    """Paths over the grid of ``world.step``, keys by steps."""

    traits: list[Traits]
    stories: Floats
    """Stories per second, follow-ups among them."""
    share: Floats
    outages: list[list[tuple[float, float]]]
    births: Floats
    """When a key is born; the start for those that always were."""
    moves: list[tuple[float, float]]
    """Market-wide moves, the same for all keys."""


def draw(world: World, keys: int, rng: np.random.Generator) -> Rates:
    """Rates of ``keys`` keys: spread over the decades, so that each band has its share of keys."""
    low, high = world.rates
    places = ((rng.permutation(keys) + rng.random(keys)) / keys) ** world.skew
    traits = [
        Traits(
            rate=low * (high / low) ** place,
            share=float(np.clip(rng.beta(3, 17), 0.03, 0.6)),
            hours=week(rng),
            branching=rng.uniform(*world.branching),
        )
        for place in places
    ]
    steps = round(world.span / world.step)
    of_week = (np.arange(steps) * world.step % WEEK // HOUR).astype(int)
    stories = np.array([one.rate * one.hours[of_week] for one in traits])
    spread = []
    for sd, tau in ((world.wander_fast, world.tau_fast), (world.wander_slow, world.tau_slow)):
        spread.append(rng.uniform(*sd, keys))
        stories *= np.exp(wander(world, spread[-1], rng.uniform(*tau, keys), rng, centred=True))
    sd_share = rng.choice(world.share_wander, keys)
    logit = np.array([np.log(one.share / (1 - one.share)) for one in traits])[:, None]
    logit = logit + wander(world, sd_share, rng.uniform(*world.tau_share, keys), rng)
    traits = [
        one._replace(fast=fast, slow=slow, mood=mood)
        for one, fast, slow, mood in zip(traits, *spread, sd_share, strict=True)
    ]
    births = disturb(world, stories, rng)
    moves = market(world, stories, logit, rng)
    outages = [gaps(world, rng) for _ in range(keys)]
    return Rates(traits, stories, 1 / (1 + np.exp(-logit)), outages, births, moves)


def week(rng: np.random.Generator) -> Floats:
    """A key's own week: its time zone, how much it keeps to office hours, and what its weekends are like."""
    hour = np.arange(168)
    zone, strength = rng.choice([-8, -5, -5, 0, 0, 1, 8, 9]), rng.uniform(0.3, 0.95)
    day = 0.5 + 0.5 * np.cos((hour + zone - 14) / 24 * 2 * np.pi)
    shape = 1 - strength + strength * day**2
    shape[(hour + zone) % 168 >= 120] *= rng.uniform(0.2, 1.1)
    return np.asarray(shape / shape.mean())


def wander(world: World, sd: Floats, tau: Floats, rng: np.random.Generator, *, centred: bool = False) -> Floats:
    """Ornstein-Uhlenbeck paths, keys by steps; ``centred`` for one whose exponential has mean 1."""
    steps = round(world.span / world.step)
    keep = np.exp(-world.step / tau)
    pushes = rng.standard_normal((steps, len(sd))) * (sd * np.sqrt(1 - keep**2))
    path = np.empty_like(pushes)
    level = rng.standard_normal(len(sd)) * sd
    for step in range(steps):
        level = path[step] = level * keep + pushes[step]
    return np.asarray((path - sd**2 / 2 if centred else path).T)


def disturb(world: World, stories: Floats, rng: np.random.Generator) -> Floats:
    """Drifts, level shifts, births and holidays, in place; returns when each key is born."""
    keys, steps = stories.shape
    births = np.full(keys, START)
    for key in range(keys):
        kind, turn = rng.random(), rng.uniform(0.3, 0.9)
        at = int(turn * steps)
        factor = np.exp(rng.choice([-1, 1]) * rng.uniform(0.4, 1.1))
        if kind < 0.25:
            stories[key] *= np.exp(np.linspace(0, np.log(factor), steps))
        elif kind < 0.45:
            stories[key, at:] *= factor
        elif kind < 0.55:
            stories[key, :at] = 0.0
            births[key] = START + at * world.step
    days = rng.choice(round(world.span / DAY), max(1, world.weeks // 8), replace=False)
    per_day = round(DAY / world.step)
    for day in days:
        stories[:, day * per_day : (day + 1) * per_day] *= HOLIDAY
    return births


def market(world: World, stories: Floats, logit: Floats, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Hours in which the whole market turns sour, in place."""
    moves = []
    for _ in range(max(1, world.weeks // 8)):
        onset = START + rng.uniform(world.warm, world.span - 2 * DAY)
        end = onset + rng.uniform(*world.durations["slow"])
        inside = slice(int((onset - START) // world.step), int((end - START) // world.step) + 1)
        stories[:, inside] *= MARKET[0]
        logit[:, inside] += MARKET[1]
        moves.append((onset, end))
    return moves


def gaps(world: World, rng: np.random.Generator) -> list[tuple[float, float]]:
    """A key's outages: one in four weeks on average; what is said in them never comes."""
    found: list[tuple[float, float]] = []
    for onset in sorted(rng.uniform(DAY, world.span - 3 * DAY, rng.poisson(world.weeks / 4))):
        if not found or onset + START > found[-1][1] + DAY:
            found.append((START + onset, START + onset + rng.uniform(*world.outage)))
    return found
