"""The shipped detector on simulated keys: recall and false alarms beside the usual rule, and its cost.

    python -m benchmarks.detection [--scale 1.0]

Keys of both classes and several rates (items a day), a share of .15 bad, stories independent, or (news) in clusters of
follow-ups that share their mood. A crisis is ten bad stories within a day (news) or 25 bad posts within an hour
(social), on the last day. The usual rule: an hour whose bad items exceed the mean of the last 24 hours by three
standard deviations, at least three of them. Deterministic.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from alerts.baseline import DAY, MONTH, Profile, Shape
from alerts.detector import Detector
from alerts.key_state import Item

FLAT = Shape(Profile())
START = 1_790_000_000.0


class Kind(NamedTuple):
    """How keys of one class are simulated."""

    social: bool
    rates: tuple[float, ...]
    """Items a day."""
    warm: float
    """Seconds of history before false alarms count, and before a crisis."""
    crisis: int
    """Bad items of a crisis."""
    lasts: float
    """Seconds that it lasts."""


NEWS = Kind(False, (0.1, 0.5, 2.0, 10.0), 60 * DAY, 10, DAY)
SOCIAL = Kind(True, (5.0, 50.0, 500.0), 14 * DAY, 25, 3600.0)


def items_of(
    rng: random.Random, seconds: float, per_day: float, *, social: bool = False, clusters: bool = False
) -> Iterator[Item]:
    """Items of one key; with ``clusters`` each happening draws 0.8 follow-ups on average within two days."""
    at, number = START, 0
    waiting: list[tuple[float, float]] = []
    scale = 1.8 if clusters else 1.0
    while True:
        at += rng.expovariate(per_day / scale / DAY)
        while waiting and waiting[0][0] <= at:
            moment, b = waiting.pop(0)
            yield Item(moment, b, 1.0, social, f"f{number}")
        if at >= START + seconds:
            return
        number += 1
        b = rng.betavariate(8, 1.5) if rng.random() < 0.15 else rng.betavariate(1, 12)
        yield Item(at, b, 1.0, social, f"i{number}", None if social else f"p{rng.randrange(6)}")
        if clusters:
            while rng.random() < 0.8 / 1.8:
                waiting.append((at + rng.expovariate(1 / DAY), b))
            waiting.sort()


def false_alarms(budget: float, months: float, kind: Kind, *, clusters: bool, seed: int) -> dict[str, Any]:
    """Alarms per key and month on background alone, with the upper 95 % bound of a Poisson count."""
    found = {}
    span = 12 * MONTH
    for rate in kind.rates:
        rng = random.Random(f"{seed}|{budget}|{rate}|{clusters}|{kind.social}")
        keys = max(1, math.ceil(months / len(kind.rates) / 12))
        detector, alarms = Detector(budget=budget), 0
        for _ in range(keys):
            state = detector.new(START)
            for item in items_of(rng, kind.warm + span, rate, social=kind.social, clusters=clusters):
                for event in detector.observe("k", state, item, FLAT).events:
                    alarms += event.kind == "firing" and event.at >= START + kind.warm
        exposure = keys * 12
        found[str(rate)] = {"key_months": exposure, "alarms": alarms, "per_key_month": round(alarms / exposure, 4)}
    total = sum(entry["alarms"] for entry in found.values())
    exposure = sum(entry["key_months"] for entry in found.values())
    return {
        "class": "social" if kind.social else "news",
        "budget": budget,
        "clusters": clusters,
        "key_months": exposure,
        "per_key_month": round(total / exposure, 4),
        "upper_95": round(upper_bound(total) / exposure, 4),
        "by_rate": found,
    }


def upper_bound(count: int) -> float:
    """Upper 95 % bound of a Poisson mean (Wilson and Hilferty's chi-square)."""
    k = count + 1
    return k * (1 - 1 / (9 * k) + 1.645 / (3 * math.sqrt(k))) ** 3


def usual_rule(items: list[Item]) -> list[float]:
    """Times at which the usual rule rings: hourly counts, mean of 24 h + 3 sigma, at least 3, a day's cooldown."""
    hours: dict[int, int] = {}
    for item in items:
        if item.b >= 0.5:
            hours[int(item.at // 3600)] = hours.get(int(item.at // 3600), 0) + 1
    rings: list[float] = []
    for hour in sorted(hours):
        window = deque(hours.get(hour - back, 0) for back in range(1, 25))
        mean = sum(window) / 24
        sigma = math.sqrt(sum((value - mean) ** 2 for value in window) / 24)
        at = hour * 3600.0
        if hours[hour] >= 3 and hours[hour] > mean + 3 * sigma and (not rings or at - rings[-1] > DAY):
            rings.append(at)
    return rings


def recall(budget: float, keys: int, kind: Kind, seed: int) -> dict[str, Any]:
    """Share of crises found by rate, and the usual rule's share and false alarms on the same keys."""
    found = {}
    for rate in kind.rates:
        rng = random.Random(f"r{seed}|{rate}|{kind.social}")
        hits, usual, usual_false, delays = 0, 0, 0, []
        span = 2 * kind.warm
        for _ in range(keys):
            onset = START + span
            crisis = [
                Item(onset + rng.random() * kind.lasts, 0.9, 1.0, kind.social, f"c{n}", f"p{n % 5}")
                for n in range(kind.crisis)
            ]
            items = sorted([*items_of(rng, span, rate, social=kind.social), *crisis])
            detector = Detector(budget=budget)
            state = detector.new(START)
            rang = [
                event.at
                for item in items
                for event in detector.observe("k", state, item, FLAT).events
                if event.kind == "firing" and event.at >= onset
            ]
            hits += bool(rang)
            delays += [rang[0] - onset] if rang else []
            rings = usual_rule(items)
            usual += any(at >= onset - 3600 for at in rings)
            usual_false += sum(at < onset - 3600 for at in rings)
        delays.sort()
        found[str(rate)] = {
            "recall": round(hits / keys, 3),
            "median_delay_hours": round(delays[len(delays) // 2] / 3600, 1) if delays else None,
            "usual_rule_recall": round(usual / keys, 3),
            "usual_rule_false_per_key_month": round(usual_false / (keys * span / MONTH), 4),
        }
    return {"class": "social" if kind.social else "news", "budget": budget, "keys": keys, "by_rate": found}


PASSES = 9
"""Over the items whose cost is measured."""


def cost() -> dict[str, Any]:
    """Processor time an item, in microseconds and in steps of a plain loop; bytes a key; for both classes.

    The microseconds are those of the quickest pass; the steps, of the middle one, do not depend on how fast the machine
    is just now.
    """
    found = {}
    for social in (False, True):
        rng = random.Random(3)
        items = [item._replace(social=social) for item in items_of(rng, 3000 * DAY, 10.0)][:20_000]
        spent, steps = [], []
        for _ in range(PASSES):
            detector = Detector()
            state = detector.new(START)
            before, started = plain_step(), time.process_time()
            for item in items:
                detector.observe("k", state, item, FLAT)
            spent.append((time.process_time() - started) / len(items))
            steps.append(spent[-1] / ((before + plain_step()) / 2))
        found["social" if social else "news"] = {
            "microseconds_an_item": round(min(spent) * 1e6, 2),
            "plain_steps_an_item": round(statistics.median(steps)),
            "bytes_a_key": len(msgspec.msgpack.encode(state)),
        }
    return found


def plain_step(count: int = 20_000) -> float:
    """Seconds of processor time for one step of a loop that multiplies, adds and stores a number."""
    kept, value = {}, 1.0
    started = time.process_time()
    for number in range(count):
        value = value * 0.999 + number
        kept[number & 63] = value
    return (time.process_time() - started) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the key-months and keys simulated")
    scale = parser.parse_args().scale
    report = {
        "false_alarms": [
            false_alarms(budget, 25 / budget * scale, kind, clusters=clusters, seed=1)
            for kind, clusters in ((NEWS, False), (NEWS, True), (SOCIAL, False))
            for budget in (0.05, 0.1, 0.3)
        ],
        "recall": [recall(0.05, max(10, int(100 * scale)), kind, seed=2) for kind in (NEWS, SOCIAL)],
        "cost": cost(),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
