"""Scores over time, and the alarms that follow from a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulator.world import START, World

Floats = NDArray[np.float64]

KEPT = 0.08
"""Share of a matrix's moments whose scores are kept: no threshold of interest lies below the others."""


class Scores(NamedTuple):
    """Moments with a score, by key and time. ``key``: its place in the population; ``until``: how long it stands."""

    key: NDArray[Any]
    at: Floats
    until: Floats
    score: Floats


class Alarms(NamedTuple):
    key: NDArray[Any]
    at: Floats


def of_matrix(matrix: Floats, world: World, least: float = 1e-9) -> Scores:
    """The highest scores of a matrix, keys by periods; each stands at the end of its period, and for the next one.

    Below ``least`` is none: most rules score a period without any item 0 or less, and that is no evidence.
    """
    first = round(world.warm / world.step)
    finite = np.where(np.isfinite(matrix[:, first:]), matrix[:, first:], -np.inf)
    place = max(0, finite.size - int(finite.size * KEPT) - 1)
    key, period = np.nonzero(finite >= max(np.partition(finite, place, axis=None)[place], least))
    at = np.asarray(START + (period + first + 1) * world.step, float)
    return Scores(key, at, at + world.step, finite[key, period])


def together(parts: Sequence[Scores], sizes: Sequence[int]) -> Scores:
    """Scores of several populations of ``sizes`` keys as those of one."""
    offsets = np.cumsum([0, *sizes[:-1]])
    keys = np.concatenate([part.key + offset for part, offset in zip(parts, offsets, strict=True)])
    return Scores(keys, *(np.concatenate([part[column] for part in parts]) for column in (1, 2, 3)))


def alarms(scores: Scores, threshold: float, quiet: float) -> Alarms:
    """A key rings when its score reaches the threshold and has not stood there within the last ``quiet`` seconds."""
    above = scores.score >= threshold
    return apart(scores.key[above], scores.at[above], scores.until[above], quiet)


def apart(key: NDArray[Any], at: Floats, until: Floats, quiet: float) -> Alarms:
    """The first of moments that follow one another within ``quiet`` seconds."""
    begins = np.ones(len(key), bool)
    begins[1:] = (key[1:] != key[:-1]) | (at[1:] - until[:-1] > quiet)
    return Alarms(key[begins], at[begins])
