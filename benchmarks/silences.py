"""The rule silence on streams that never fall silent: its false alarms against its budget, and how soon it rings.

``python -m benchmarks.silences`` prints the table of docs/detection.md. Every stream has the rate that its row says,
and a flat shape of the week: what is uneven in it is unknown to the rule and has to be learned. At its end each stream
stops, and what the rule then waits for is how soon it rings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from alerts import silence
from alerts.baseline import DAY, HOUR, MONTH, Profile, Shape
from alerts.detector import Detector
from alerts.key_state import Item
from alerts.rules import Rules, SilenceRule
from pipelines.alarms import Alarms, Moment
from pipelines.coverage import Seeing
from pipelines.entities import Entity
from pipelines.held import Held, Standing
from pipelines.watch import Watch, WatchList

START = 1_790_000_000.0 - 1_790_000_000.0 % DAY
BAD = 0.15
REPRINT = 0.02
"""Weight of a reprint."""

Times = Any
"""float64 [items], ascending: seconds since the stream's beginning."""


class Stream(NamedTuple):
    """What a row is like. ``rate``: items a day; ``make``: their times within so many seconds."""

    name: str
    social: bool
    rate: float
    days: float
    make: Callable[[float, float, np.random.Generator], Times]
    new: float = 1.0
    """Share of its items that are new stories; the others reprint one."""


class Figures(NamedTuple):
    """``alarms`` of ``expected``; the median gap at which the rule rings in the end, in usual items and in hours."""

    expected: float
    alarms: int
    items: float
    hours: float


def poisson(rate: float, span: float, rng: np.random.Generator) -> Times:
    return np.sort(rng.uniform(0.0, span, rng.poisson(rate * span)))


def thinned(rate: float, span: float, rng: np.random.Generator, shape: Callable[[Times], Times], most: float) -> Times:
    """A Poisson stream whose rate at t is ``rate * shape(t)``, at most ``most`` of it."""
    times = poisson(rate * most, span, rng)
    return times[rng.uniform(0.0, most, len(times)) < shape(times)]


def nights(rate: float, span: float, rng: np.random.Generator) -> Times:
    """Eight hours of every day nothing."""
    return thinned(rate, span, rng, lambda t: np.where(t % DAY < 8 * HOUR, 0.0, 1.5), 1.5)


def wandering(rate: float, span: float, rng: np.random.Generator) -> Times:
    """The log rate wanders by .3 within two days."""
    steps = int(span / HOUR) + 2
    keep = np.exp(-HOUR / (2 * DAY))
    path = np.zeros(steps)
    for place, noise in enumerate(rng.normal(0.0, 0.3 * np.sqrt(1 - keep**2), steps - 1), 1):
        path[place] = keep * path[place - 1] + noise
    factor = np.exp(path - 0.045)
    return thinned(rate, span, rng, lambda t: factor[(t / HOUR).astype(int)], float(factor.max()))


def polled(rate: float, span: float, rng: np.random.Generator) -> Times:
    """All items come with the next look at the feed, every quarter of an hour."""
    return np.ceil(poisson(rate, span, rng) / 900.0) * 900.0


def clusters(rate: float, span: float, rng: np.random.Generator) -> Times:
    """An item draws two more on average, within three hours."""
    first = poisson(rate / 3.0, span, rng)
    more = np.repeat(first, rng.poisson(2.0, len(first)))
    return np.sort(np.concatenate([first, more + rng.exponential(HOUR, len(more))]))


STREAMS = [
    Stream("Poisson", False, 10.0, 180.0, poisson),
    Stream("Poisson", False, 50.0, 60.0, poisson),
    Stream("Poisson", True, 500.0, 20.0, poisson),
    Stream("nights of its own", False, 50.0, 60.0, nights),
    Stream("rate wanders", False, 50.0, 60.0, wandering),
    Stream("polled", True, 500.0, 20.0, polled),
    Stream("clusters", False, 50.0, 60.0, clusters),
    Stream("two of three are reprints", False, 50.0, 60.0, poisson, new=1 / 3),
]


class _Table:
    """A table in memory."""

    def __init__(self) -> None:
        self._rows: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self._rows.get(key)

    def put(self, key: str, value: Any) -> None:
        self._rows[key] = value


class _State:
    generation = 0

    def __init__(self) -> None:
        self._tables: dict[str, Any] = {}

    def table(self, name: str) -> Any:
        return self._tables.setdefault(name, _Table())


def run(stream: Stream, keys: int, budget: float, seed: int) -> Figures:
    """``budget``: false alarms a month of each key."""
    names = [f"k{number}" for number in range(keys)]
    entities = tuple(Entity(id=name, name=name, custom=True) for name in names)
    watch = Watch([WatchList(name="all", entities=entities)], [])
    alarms = Alarms(Rules(silence=(SilenceRule(name="quiet", budget=budget * (keys + 1)),)), watch)
    shape, detector = Shape(Profile()), Detector()
    cold = DAY if stream.social else 7 * DAY
    found, waits = 0, list[tuple[float, float]]()
    for number, name in enumerate(names):
        rng = np.random.default_rng([seed, number])
        times = stream.make(stream.rate / DAY, stream.days * DAY, rng)
        bad = rng.uniform(size=len(times)) < BAD
        weights = np.where(rng.uniform(size=len(times)) < stream.new, 1.0, REPRINT)
        key, state = f"entity:{name}", _State()
        held = Held(detector.new(START))
        moment = Moment(key, held, Seeing(), lambda _: shape)
        for place, (t, b, weight) in enumerate(zip(times.tolist(), bad.tolist(), weights.tolist(), strict=True)):
            at = START + t
            rung = alarms.item(moment, at, False, state, Standing())
            found += sum(one.event.kind == "firing" for one in rung)
            item = Item(at, float(b), weight, stream.social, f"{number}-{place}")
            detector.observe(key, held.state, item, shape)
        waits.append(_wait(moment, state.table("silences").get(key), budget))
    return Figures(
        budget * keys * (stream.days * DAY - cold) / MONTH, found, *(median(one) for one in zip(*waits, strict=True))
    )


def _wait(moment: Moment, quiet: silence.Quiet, budget: float) -> tuple[float, float]:
    usual = silence.usual(moment.held.state, quiet.last, quiet.gaps)
    items = max(10.0, silence.needed(silence.chance(usual, budget), quiet.gaps, usual.spread))
    return items, items / usual.rate / HOUR


def table(keys: int, budgets: tuple[float, ...], seed: int) -> Iterator[str]:
    columns = " | ".join(f"B = {budget:g}: of the budget" for budget in budgets)
    yield f"| stream | items a day | {columns} | rings after usual items | after |"
    yield "|---|---|" + "---|" * len(budgets) + "---|---|"
    for stream in STREAMS:
        each = [run(stream, keys, budget, seed) for budget in budgets]
        shares = " | ".join(f"{one.alarms / one.expected:.2f} ({one.alarms} of {one.expected:.0f})" for one in each)
        kind = "posts" if stream.social else "news"
        yield (
            f"| {stream.name}, {kind} | {stream.rate:g} | {shares} | "
            f"{' / '.join(f'{one.items:.0f}' for one in each)} | {' / '.join(f'{one.hours:.1f} h' for one in each)} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for line in table(given.keys, (2.0, 0.2), given.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
