"""Whether counts of texts are still spread as they were: the statistic of the drift watch. Pure.

A text falls into one bin of each measure (``models.measures``). A block, the texts of one whole day or of a few quiet
ones, is compared with a reference of many blocks by the effect size

    w = sqrt(sum over bins of (q - r)^2 / ((q + r) / 2)),    q, r: shares in the block and in the reference

which is Cohen's w (1988) with the mean of both shares below, so that a bin which one side lacks can't make it endless:
0 where both are the same, 2 where nothing is shared; .1 is small, .3 medium, .5 large.

Whether a w is more than days differ anyway is told by X = n w^2, a statistic like the chi-square of homogeneity:

1. Texts come in stories and days have topics of their own, so X grows with n. It is divided by its expectation under
   an overdispersion rho within blocks, df (1 + (n - 1) rho) (Brier 1980; Rao and Scott 1981), rho by moments over the
   blocks of the reference.
2. The cube root of what remains is nearly normal even far out (Wilson and Hilferty 1931). Its mean and deviation are
   taken from the reference's blocks, but never below what independent texts would give.
3. A block is beyond the limit where its cube root is further above the mean than Student's t says for the chance of a
   false alarm that one look may have, by the number of blocks that the mean and the deviation were learned from.

What is not learned, four weeks being too short for it, is how long a mood lasts: a block is taken to keep half of the
one before it, so that many blocks together say a third of what they would if none knew of another (``MEMORY``).

The chances of all looks of a year, over all measures, add up to ``FALSE_ALARMS`` at most, whatever their dependence
(Bonferroni). tests/unit/test_drift.py simulates all this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

FALSE_ALARMS = 1.0
"""Expected false alarms a year of everything that is watched, at most."""
LOOKS = 365 * 2 * 8 * 3
"""A year's: days, classes of texts, measures, and for each a block and a week against the stream's own reference and
four weeks against the card's."""
CHANCE = FALSE_ALARMS / LOOKS
"""Of a false alarm that one look may have."""

SMALL = 0.2
"""The w below which nothing rings, however sure it is: no answer changes much for it."""

BLOCKS = 28
"""Blocks in a reference: four weeks, so that every day of the week is in it alike."""
WEEK = 7
"""Blocks that are also looked at together: what is too small to be told from one day's mood lasts."""
MEMORY = 3.0
"""Times the variance of a mean over many blocks of an autoregression of .5 that of as many independent ones has:
(1 + .5) / (1 - .5)."""

Counts = Sequence[int]


class Spread(NamedTuple):
    """How blocks of a reference differ from their sum."""

    total: tuple[int, ...]
    """Texts by bin, of all blocks."""
    freedom: int
    """Bins that have any, but one."""
    rho: float
    """Correlation of two texts of one block."""
    mean: float
    deviation: float
    """Both of the cube root of X over its expectation."""
    blocks: int


def effect(one: Counts, other: Counts) -> float:
    """The effect size w between two histograms with the same bins, 0 to 2. Raises ValueError where one is empty."""
    return float(_effects(np.asarray(one, float)[None], np.asarray(other, float))[0])


def distances(one: Mapping[str, Counts], other: Mapping[str, Counts]) -> dict[str, float]:
    """Effect sizes by measure, of those that both have."""
    return {name: effect(counts, other[name]) for name, counts in one.items() if name in other}


def spread(blocks: Sequence[Counts]) -> Spread:
    """How ``blocks``, at least two and none of them empty, differ from their sum."""
    held = np.asarray(blocks, float)
    n, total = held.sum(1), held.sum(0)
    freedom = max(1, int((total > 0).sum()) - 1)
    # A block is a part of the sum that it is compared with, and lies that much nearer to it.
    x = n * _effects(held, total) ** 2 / (1 - n / n.sum())
    excess = float(x.sum()) / freedom - len(n)
    rho = min(1.0, max(0.0, excess / max(1.0, float((n - 1).sum()))))
    roots = np.cbrt(x / (freedom * (1 + (n - 1) * rho)))
    usual = 2 / (9 * freedom)
    return Spread(
        total=tuple(int(count) for count in total),
        freedom=freedom,
        rho=rho,
        mean=max(float(roots.mean()), 1 - usual),
        deviation=max(float(roots.std(ddof=1)), usual**0.5),
        blocks=len(n),
    )


class Look(NamedTuple):
    """How far texts are from a reference, and how far such texts may be."""

    effect: float
    limit: float


def look(blocks: Sequence[Counts], reference: Counts, known: Spread, chance: float = CHANCE) -> Look:
    """The texts of ``blocks`` together against ``reference``, a histogram that has at least one.

    Blocks that differ as those of ``known`` do are beyond the limit with probability ``chance`` at most.
    """
    sizes = [sum(block) for block in blocks]
    total = [sum(counts) for counts in zip(*blocks, strict=True)]
    texts, size = sum(sizes), sum(known.total) / known.blocks
    ours = _inflation(known.rho, sum(n * n for n in sizes) / texts, len(sizes))
    theirs = _inflation(known.rho, size, known.blocks)
    root = known.mean + _student(chance, known.blocks - 1) * known.deviation * (1 + 1 / known.blocks) ** 0.5
    expected = known.freedom * (ours / texts + theirs / sum(reference))
    return Look(effect(total, reference), max(SMALL, float((expected * root**3) ** 0.5)))


def _inflation(rho: float, size: float, blocks: int) -> float:
    """Times the variance that independent texts would have, for blocks of ``size`` texts."""
    return 1 + max(0.0, size - 1) * rho * (MEMORY if blocks > 1 else 1.0)


def _effects(blocks: Any, reference: Any) -> Any:
    """[blocks, bins] and [bins] to [blocks]."""
    if not (blocks.sum(1) > 0).all() or reference.sum() <= 0:
        raise ValueError("an empty histogram has no shares")
    q, r = blocks / blocks.sum(1, keepdims=True), reference / reference.sum()
    middle = (q + r) / 2
    return np.sqrt(np.divide((q - r) ** 2, middle, out=np.zeros_like(q), where=middle > 0).sum(1))


def _student(chance: float, freedom: int) -> float:
    """The quantile of Student's t that ``chance`` lies above (Abramowitz and Stegun 1964, 26.7.5)."""
    z, v = NormalDist().inv_cdf(1 - chance), float(freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
