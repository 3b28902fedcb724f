"""Whether crises that come again and again make a key deaf: how much of a later crisis still rings.

    python -m benchmarks.crises_again [--keys 40]

News keys of one rate, the simulator's streams without happenings. In the first year each goes through so many crises of
ten bad stories within a day, evenly spread; after it, at twelve moments a month apart, a crisis of four, six or ten is
played to a copy of its state. Prints a table: how often each rings at the default budget, and the evidence in nats that
the key must bring to ring, in the median.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from statistics import median

import msgspec
import numpy as np

from alerts.baseline import DAY, MONTH, Profile, Shape
from alerts.chance import threshold
from alerts.detector import Detector
from alerts.key_state import Item, KeyState
from benchmarks.detectors.shipped import take
from benchmarks.simulator.items import Key, simulate
from benchmarks.simulator.world import NEWS, START

BUDGET = 0.05
YEAR, AFTER = 52, 64
"""Weeks of history with crises, and after how many the last is played."""
PLAYED = 12
SIZES = (4, 6, 10)
TOLD = 10
"""Stories of a crisis in a key's past."""


def crisis(onset: float, size: int, rng: np.random.Generator) -> list[Item]:
    """Bad stories within a day, most of them early."""
    at = np.sort(onset + rng.beta(1, 1.5, size) * DAY)
    return [
        Item(float(t), float(b), 0.95, False, "", None, True) for t, b in zip(at, rng.beta(8, 1.5, size), strict=True)
    ]


def stream(key: Key, crises: int, rng: np.random.Generator) -> list[Item]:
    """A key's items with those of the crises in its first year, by time."""
    columns = (key.items.at.tolist(), key.items.b.tolist(), key.items.weight.tolist(), key.items.new.tolist())
    found = [Item(at, b, weight, False, "", None, new) for at, b, weight, new in zip(*columns, strict=True)]
    for number in range(crises):
        found += crisis(START + (number + rng.random()) * YEAR * 7 * DAY / crises, TOLD, rng)
    return sorted(found, key=lambda item: item.at)


def rings(detector: Detector, state: KeyState, items: list[Item], shape: Shape) -> bool:
    """Whether a copy of the state rings with these items."""
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=KeyState)
    return any(event.kind == "firing" for item in items for event in take(detector, copy, item, 0.0, shape).events)


def needed(state: KeyState) -> float:
    """Nats of evidence at which the score comes to the threshold."""
    tail = state.news.tail if state.news is not None else None
    return math.nan if tail is None else (math.log(math.expm1(threshold(BUDGET))) + tail.offset) / tail.slope


def of_key(key: Key, crises: int, seed: int) -> Iterator[tuple[dict[int, bool], float]]:
    """What rings at each moment, and what it takes."""
    rng = np.random.default_rng(seed)
    detector, shape = Detector(budget=BUDGET), Shape(Profile())
    state, items = detector.new(START), stream(key, crises, rng)
    moments = [START + (YEAR * 7 + 14) * DAY + number * MONTH * 2.0 / 3.0 for number in range(PLAYED)]
    for item in items:
        while moments and item.at >= moments[0]:
            onset = moments.pop(0)
            if state.episode is None:
                later = [one for one in items if onset <= one.at < onset + DAY]
                played = {
                    size: rings(
                        detector, state, sorted(later + crisis(onset, size, rng), key=lambda one: one.at), shape
                    )
                    for size in SIZES
                }
                yield played, needed(state)
        take(detector, state, item, 0.0, shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=40)
    keys = parser.parse_args().keys
    print("| stories a day | crises in a year | a crisis of 4 rings | of 6 | of 10 | nats to ring, median |")
    print("|---|---|---|---|---|---|")
    for rate in (0.1, 1.0, 10.0):
        world = NEWS._replace(rates=(rate / DAY, 1.001 * rate / DAY), weeks=YEAR + 40, period=math.inf)
        population = simulate(world, keys, 501)
        for crises in (0, 2, 6, 12, 26, 52):
            found = [one for n, key in enumerate(population.keys) for one in of_key(key, crises, n)]
            shares = " | ".join(f"{np.mean([played[size] for played, _ in found]):.2f}" for size in SIZES)
            print(f"| {rate:g} | {crises} | {shares} | {median(nats for _, nats in found):.1f} |", flush=True)


if __name__ == "__main__":
    main()
