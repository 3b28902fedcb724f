"""The detector's cost: processor time an item, bytes a key.

    python -m benchmarks.detection

Keys of both classes with ten items a day, a share of .15 bad. What it finds and how often it rings for nothing:
benchmarks.matched, benchmarks.knob.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from alerts.baseline import DAY, Profile, Shape
from alerts.detector import Detector
from alerts.key_state import Item

FLAT = Shape(Profile())
START = 1_790_000_000.0
ITEMS = 20_000
PASSES = 9
"""Over the items whose cost is measured."""


def items_of(rng: random.Random, per_day: float, *, social: bool) -> Iterator[Item]:
    """``ITEMS`` items of one key."""
    at = START
    for number in range(ITEMS):
        at += rng.expovariate(per_day / DAY)
        b = rng.betavariate(8, 1.5) if rng.random() < 0.15 else rng.betavariate(1, 12)
        yield Item(at, b, 1.0, social, f"i{number}", None if social else f"p{rng.randrange(6)}")


def cost(*, social: bool) -> dict[str, Any]:
    """Processor time an item, in microseconds and in steps of a plain loop; bytes of its key's state.

    The microseconds are those of the quickest pass; the steps, of the middle one, do not depend on how fast the machine
    is just now.
    """
    items = list(items_of(random.Random(3), 10.0, social=social))
    spent, steps = [], []
    for _ in range(PASSES):
        detector = Detector()
        state = detector.new(START)
        before, started = plain_step(), time.process_time()
        for item in items:
            detector.observe("k", state, item, FLAT)
        spent.append((time.process_time() - started) / len(items))
        steps.append(spent[-1] / ((before + plain_step()) / 2))
    return {
        "microseconds_an_item": round(min(spent) * 1e6, 2),
        "plain_steps_an_item": round(statistics.median(steps)),
        "bytes_a_key": len(msgspec.msgpack.encode(state)),
    }


def plain_step(count: int = 20_000) -> float:
    """Seconds of processor time for one step of a loop that multiplies, adds and stores a number."""
    kept, value = {}, 1.0
    started = time.process_time()
    for number in range(count):
        value = value * 0.999 + number
        kept[number & 63] = value
    return (time.process_time() - started) / count


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(json.dumps({"news": cost(social=False), "social": cost(social=True)}, indent=2))


if __name__ == "__main__":
    main()
