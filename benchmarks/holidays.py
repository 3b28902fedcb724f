"""What a trading calendar is worth on the days that it knows of, on simulated keys of one exchange.

    python -m benchmarks.holidays [--keys 12] [--weeks 60] [--calendar XNYS]

News of a working day's hump and quiet weekends; in the exchange's closed hours each key brings what the same hours of a
weekend do. The production detector, which learns the week on the way as the daemon does, with the calendar and without:
how much it expects on closed days, on half days after the close, on the first open day after them and on the same
weekday of the next three weeks, as a multiple of what is true there; and how often it rings, on those days and on
others. Deterministic.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from alerts.baseline import DAY, HOUR, MONDAY, MONTH, WEEK, Closure, rates
from alerts.detector import Detector
from alerts.key_state import Item, KeyState
from monitor.commands.detect import LearnedWeeks
from pipelines.calendars import closures

START = MONDAY + 2904 * WEEK  # the first of September 2025
A_DAY = 24.0
"""Items of a key on an average day; .15 are bad."""
WARM = 6 * WEEK
"""History before anything is measured."""


def truth() -> list[float]:
    """A working day's hump around three in the afternoon (UTC), quiet weekends; mean 1, from Monday on."""
    raw = [
        0.25 + 3.0 * math.exp(-(((hour - 15) / 3.5) ** 2)) if day < 5 else 0.2 for day in range(7) for hour in range(24)
    ]
    return [value / statistics.mean(raw) for value in raw]


USUAL = truth()


class Days:
    """What is true of each hour: how busy it is, and what kind of day it belongs to."""

    def __init__(self, calendar: str, end: float) -> None:
        within = [one for one in closures(calendar) if one.end * HOUR > START and one.first * HOUR < end]
        self.kinds: dict[int, str] = {}
        """Of UTC hours since 1970; others are usual."""
        for one in within:
            self._mark(one, within)
        self._closed = {hour for one in within for hour in range(*one)}

    def _mark(self, one: Closure, within: list[Closure]) -> None:
        whole = one.end - one.first >= 23
        for hour in range(*one):
            self.kinds[hour] = "closed" if whole else "after an early close"
        if not whole:
            return
        after = one.end
        while any(other.first == after for other in within) or _weekday(after) > 4:
            after += 24
        for first, kind in (
            (after, "first open day"),
            *((one.first + 168 * week, "weekday later") for week in (1, 2, 3)),
        ):
            for hour in range(first, first + 24):
                self.kinds.setdefault(hour, kind)

    def busy(self, at: float) -> float:
        hour = int(at // HOUR)
        return USUAL[5 * 24] if hour in self._closed else USUAL[int((at - MONDAY) % WEEK // HOUR)]

    def kind(self, at: float) -> str:
        return self.kinds.get(int(at // HOUR), "other")


def _weekday(hour: int) -> int:
    return int(((hour + 10) * HOUR - MONDAY) // DAY % 7)


def items_of(number: int, days: Days, end: float) -> Iterator[tuple[float, str, Item]]:
    rng, at, most, count = random.Random(f"holidays|{number}"), START, max(USUAL), 0
    while (at := at + rng.expovariate(A_DAY * most / DAY)) < end:
        if rng.random() < days.busy(at) / most:
            count += 1
            b = rng.betavariate(8, 1.5) if rng.random() < 0.15 else rng.betavariate(1, 12)
            yield at, f"k{number}", Item(at, b, 1.0, False, f"i{count}", f"p{rng.randrange(6)}")


def measure(keys: int, weeks: int, calendar: str, *, known: bool, budget: float = 1.0) -> dict[str, Any]:
    """By kind of day: expected items over the true number, and alarms. ``known``: whether the detector has it."""
    end = START + weeks * WEEK
    days, detector = Days(calendar, end), Detector(budget=budget)
    name = calendar if known else None
    learned, states = LearnedWeeks(name), dict[str, KeyState]()
    expected, true, alarms = defaultdict[str, float](float), defaultdict[str, float](float), Counter[str]()
    hour = int((START + WARM) // HOUR)
    for at, key, item in sorted(one for number in range(keys) for one in items_of(number, days, end)):
        while (hour + 1) * HOUR <= at:
            # What is expected of an hour, at its beginning.
            shape, kind = learned.at(hour * HOUR, name), days.kind(hour * HOUR)
            true[kind] += keys * A_DAY / 24 * days.busy(hour * HOUR)
            for state in states.values():
                if state.news is not None:
                    expected[kind] += rates(state.news.base, shape.prior["news"])[1] * HOUR * shape.at(hour * HOUR)
            hour += 1
        state = states.get(key) or states.setdefault(key, detector.new(START))
        step = detector.observe(key, state, item, learned.at(at, name))
        learned.take(key, step.blocks, state.clock)
        alarms.update(days.kind(at) for event in step.events if event.kind == "firing" and at > START + WARM)
    months = Counter(days.kind(h * HOUR) for h in range(int((START + WARM) // HOUR), int(end // HOUR)))
    return {
        kind: {
            "key_days": round(keys * months[kind] / 24, 1),
            "expected_over_true": round(expected[kind] / true[kind], 3),
            "alarms": alarms[kind],
            "per_key_month": round(alarms[kind] / (keys * months[kind] * HOUR / MONTH), 3),
        }
        for kind in sorted(months)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=12)
    parser.add_argument("--weeks", type=int, default=60)
    parser.add_argument("--calendar", default="XNYS")
    options = parser.parse_args()
    for known in (True, False):
        print("with the calendar" if known else "without")
        for kind, found in measure(options.keys, options.weeks, options.calendar, known=known).items():
            print(f"  {kind}: {found}")


if __name__ == "__main__":
    main()
