"""Evidence of simulated keys counted over periods: what the rules see. Reprints weigh next to nothing for them too."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.detectors.scores import Floats
from benchmarks.simulator.items import PUBLISHERS, Population
from benchmarks.simulator.world import START, World


class Counts(NamedTuple):
    """Matrices, keys by periods of ``world.step``."""

    world: World
    bad: Floats
    """Novelty times the probability of bad news."""
    every: Floats
    """Novelty alone."""
    told: Floats
    """Publishers by keys by periods: bad stories of their own."""

    def periods(self, seconds: float) -> int:
        return round(seconds / self.world.step)

    def merged(self, seconds: float) -> Counts:
        """The same over longer periods."""
        size = self.periods(seconds)
        parts = (part.reshape(*part.shape[:-1], -1, size).sum(-1) for part in (self.bad, self.every, self.told))
        return Counts(self.world._replace(step=seconds), *parts)


def count(population: Population) -> Counts:
    world = population.world
    keys, steps = population.usual.shape
    bad, every = np.zeros((keys, steps)), np.zeros((keys, steps))
    told = np.zeros((PUBLISHERS, keys, steps))
    for number, key in enumerate(population.keys):
        items = key.items
        period = ((items.at - START) // world.step).astype(int)
        bad[number] = np.bincount(period, items.weight * items.b, steps)
        every[number] = np.bincount(period, items.weight, steps)
        clear = (items.b >= 0.5) & items.new
        np.add.at(told, (items.publisher[clear], number, period[clear]), 1.0)
    return Counts(world, bad, every, told)


def past(matrix: Floats, periods: int, lag: int = 0) -> Floats:
    """For each period the sum over ``periods`` of them, of which the last is ``lag`` periods before it."""
    sums = np.concatenate([np.zeros((*matrix.shape[:-1], 1)), np.cumsum(matrix, axis=-1)], axis=-1)
    ends = np.arange(matrix.shape[-1]) + 1 - lag
    ends = np.maximum(ends, 0)
    return np.asarray(sums[..., ends] - sums[..., np.maximum(ends - periods, 0)])


def before(matrix: Floats, lag: int) -> Floats:
    """The matrix as it was ``lag`` periods ago; 0 before the first."""
    moved = np.zeros_like(matrix)
    if lag < matrix.shape[-1]:
        moved[..., lag:] = matrix[..., : matrix.shape[-1] - lag]
    return moved
