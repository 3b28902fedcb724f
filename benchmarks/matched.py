"""The shipped detector beside others on simulated streams, each at the same false alarms per key-week.

    python -m benchmarks.matched [--scale 1.0] [--out docs]

Thresholds are matched on the streams of two seeds; every figure is of two other seeds. Writes a table into
``detection.md`` and a plot into ``images`` below ``--out``, and prints all figures as JSON. Deterministic; seven
minutes of processor time, in two processes.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alerts.baseline import WEEK
from benchmarks.detectors import sequential, shipped
from benchmarks.detectors.counts import Counts, count
from benchmarks.detectors.judge import Truth, false_rate, groups, judge, matched, recall, share, truth_of
from benchmarks.detectors.report import draw, table, write
from benchmarks.detectors.rules import RULES
from benchmarks.detectors.scores import Alarms, Floats, Scores, alarms, of_matrix, together
from benchmarks.simulator.items import Key, Population, simulate
from benchmarks.simulator.world import NEWS, SOCIAL, START, World

TUNED, HELD_OUT = (1, 2), (101, 102)
WORLDS = {"social": SOCIAL, "news": NEWS}
KEYS = {"social": 36, "news": 150}
"""Of each seed."""
RATES = (0.2, 0.05, 0.01)
"""False alarms per key-week at which all are compared."""
SHIPPED, ORACLE = "tapewatch", "oracle"
BUDGETS = (0.01, 0.04, 0.16, 0.64, 2.56)
"""False alarms per key and month at which the shipped detector is run over news to find its thresholds."""
DOCUMENTED = {
    "mean of a day + kσ": 3.0,
    "EARS C2": 3.0,
    "MAD z-score": 3.5,
    "TwitInfo": 2.0,
    "worldmonitor's rule": 3.0,
}
"""Thresholds that are documented or usual, where there is one."""
RUNGS = 400

Ring = Callable[[float], Alarms]


class Side(NamedTuple):
    """One side of the comparison, tuned on or held out: populations and their evidence."""

    populations: list[Population]
    counts: list[Counts]
    truth: Truth

    @property
    def world(self) -> World:
        return self.populations[0].world


class Contender(NamedTuple):
    """``rings``: alarms by threshold, tuned on and held out; ``ladder``: rising thresholds to choose from."""

    rings: tuple[Ring, Ring]
    ladder: Floats


def side(world: World, keys: int, seeds: Sequence[int]) -> Side:
    populations = [simulate(world, keys, seed) for seed in seeds]
    return Side(populations, [count(population) for population in populations], truth_of(populations))


def coarse(counts: Counts) -> Counts:
    """Quarters of an hour of posts, six hours of news: for those that take every period through much arithmetic."""
    return counts.merged(15 * 60.0 if counts.world.social else 6 * 3600.0)


def by_scores(rule: Callable[[Counts], Floats], sides: Sequence[Side], *, merge: bool = False) -> Contender:
    """A rule whose scores do not depend on its threshold."""
    scores = []
    for one in sides:
        parts = [coarse(counts) if merge else counts for counts in one.counts]
        least = -np.inf if merge else 1e-9
        made = [of_matrix(rule(part), part.world, least) for part in parts]
        scores.append(together(made, [len(part.bad) for part in parts]))
    return of_scores(scores[0], scores[1], sides[0].world)


def of_scores(tuned: Scores, held_out: Scores, world: World) -> Contender:
    finite = np.sort(tuned.score[np.isfinite(tuned.score)])
    # More rungs where fewer scores are left; none where no moment has a score.
    places = len(finite) - np.unique(np.geomspace(1, max(1, len(finite)), RUNGS).astype(int))[::-1]
    places = places[places >= 0]
    rings = tuple((lambda h, one=one: alarms(one, h, world.quiet)) for one in (tuned, held_out))
    return Contender((rings[0], rings[1]), np.append(finite[places], np.inf))


def page_hinkley(sides: Sequence[Side]) -> Contender:
    def ring(one: Side) -> Ring:
        parts = [coarse(counts) for counts in one.counts]
        pooled = parts[0]._replace(bad=np.concatenate([part.bad for part in parts]))
        return lambda h: sequential.page_hinkley(pooled, h)

    return Contender((ring(sides[0]), ring(sides[1])), np.append(np.geomspace(0.5, 2_000, 128), np.inf))


def oracle(sides: Sequence[Side]) -> Contender:
    def ring(one: Side) -> Ring:
        parts = [sequential.truth_of(*pair) for pair in zip(one.populations, one.counts, strict=True)]
        truth = sequential.Truth(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        return lambda h: sequential.oracle(truth, one.world, h)

    return Contender((ring(sides[0]), ring(sides[1])), np.linspace(0.5, 40, 128))


def episodes(one: Side, budget: float) -> list[shipped.Episode]:
    found, offset = [], 0
    for population in one.populations:
        own = shipped.episodes(population, budget)
        found += [episode._replace(key=episode.key + offset) for episode in own]
        offset += len(population.keys)
    return found


def begun(world: World, found: Sequence[shipped.Episode]) -> Alarms:
    """Alarms as all others have them: those that follow one another within the quiet time are one."""
    rang = [(episode.key, episode.fired) for episode in found]
    return sequential.first_ones(rang, START + world.warm, world.quiet)


def budgets(tuned: Side) -> list[float]:
    """The shipped detector's budgets per key and month that give ``RATES``.

    For news between runs at ``BUDGETS``. Of posts, whose runs take long, from the scores of one run in which nothing
    opens: an episode of theirs is over long before the next burst.
    """
    if tuned.world.social:
        parts = [shipped.scores(population) for population in tuned.populations]
        every = together(parts, [len(population.keys) for population in tuned.populations])
        one = of_scores(every, every, tuned.world)
        return [1 / math.expm1(matched(tuned.truth, one.rings[0], one.ladder, rate)) for rate in RATES]
    rates = [false_rate(tuned.truth, begun(tuned.world, episodes(tuned, budget))) for budget in BUDGETS]
    logs = np.log(np.maximum.accumulate(np.maximum(rates, 1e-5)))
    return [float(np.exp(np.interp(math.log(rate), logs, np.log(BUDGETS)))) for rate in RATES]


def figures(truth: Truth, rang: Alarms) -> dict[str, Any]:
    """All that the alarms of the held-out side were worth."""
    verdict, clear = judge(truth, rang), groups(truth)["ratio 8 and 16"]
    delays = verdict.delay[clear & verdict.found]
    return {
        "false_per_key_week": share(verdict.false, truth.weeks)._asdict(),
        "found": {name: recall(truth, verdict, chosen)._asdict() for name, chosen in groups(truth).items()},
        "median_delay_minutes": float(np.median(delays) / 60) if len(delays) else None,
    }


def compared(sides: Sequence[Side]) -> dict[str, Any]:
    """Name to false alarms per key-week to figures."""
    found: dict[str, Any] = {}
    contenders = {name: by_scores(rule, sides) for name, rule in RULES.items()}
    contenders["Page-Hinkley"] = page_hinkley(sides)
    contenders["BOCPD"] = by_scores(sequential.change_points, sides, merge=True)
    contenders["Poisson-FOCuS"] = by_scores(sequential.focus, sides)
    contenders[ORACLE] = oracle(sides)
    for name, one in contenders.items():
        found[name] = {}
        for rate in RATES:
            threshold = matched(sides[0].truth, one.rings[0], one.ladder, rate)
            held_out = figures(sides[1].truth, one.rings[1](threshold))
            found[name][str(rate)] = {"threshold": threshold, **held_out}
    found[SHIPPED] = {}
    for rate, budget in zip(RATES, budgets(sides[0]), strict=True):
        rang = begun(sides[1].world, episodes(sides[1], budget))
        found[SHIPPED][str(rate)] = {"budget_per_key_month": budget, **figures(sides[1].truth, rang)}
    return found


def as_documented(sides: Sequence[Side]) -> dict[str, Any]:
    """What rules ring at their own thresholds."""
    return {
        name: {"threshold": threshold, **figures(sides[1].truth, by_scores(RULES[name], sides).rings[1](threshold))}
        for name, threshold in DOCUMENTED.items()
    }


def as_shipped(held_out: Side, budget: float = 0.05) -> dict[str, Any]:
    """The default budget: what it rings, and how long after a spike's end its alarms are over."""
    truth, world = held_out.truth, held_out.world
    found = [one for one in episodes(held_out, budget) if one.fired > START + world.warm]
    rang = begun(world, found)
    lags = [
        (one.resolved - truth.end[event]) / 60
        for event in np.nonzero(groups(truth)["spikes"])[0]
        for one in found
        if one.key == truth.key[event] and truth.onset[event] <= one.fired <= truth.end[event]
    ]
    lags = [lag for lag in lags if math.isfinite(lag)]
    return {
        "budget_per_key_month": budget,
        **figures(truth, rang),
        "resolve_lag_minutes": {"median": float(np.median(lags)), "p90": float(np.quantile(lags, 0.9))},
        "false_per_key_week_by_rate": by_band(truth, rang),
        "after_outages": alarms_in(held_out, rang, lambda key: [(end, end + world.tail) for _, end in key.outages]),
        "after_births": alarms_in(
            held_out, rang, lambda key: [(key.birth, key.birth + world.warm)] if key.birth > START else []
        ),
    }


def alarms_in(
    held_out: Side, rang: Alarms, windows: Callable[[Key], Sequence[tuple[float, float]]]
) -> dict[str, float]:
    """Alarms and key-weeks in windows of each key, as far as alarms count there."""
    since, alarms, seconds = START + held_out.world.warm, 0, 0.0
    keys = [key for population in held_out.populations for key in population.keys]
    for number, key in enumerate(keys):
        own = rang.at[rang.key == number]
        for start, end in windows(key):
            start = max(start, since)
            alarms += int(((own >= start) & (own < end)).sum())
            seconds += max(0.0, end - start)
    return {"alarms": alarms, "key_weeks": round(seconds / WEEK, 1)}


def by_band(truth: Truth, rang: Alarms) -> dict[str, dict[str, float]]:
    """False alarms by decade of the keys' rates, in stories a day."""
    false, bands = judge(truth, rang).false, np.floor(np.log10(truth.rate * 86_400)).astype(int)
    return {
        f"{10.0**band:g} to {10.0 ** (band + 1):g} a day": share(
            np.where(bands == band, false, 0.0), np.where(bands == band, truth.weeks, 0.0)
        )._asdict()
        for band in np.unique(bands)
    }


def size_of(one: Side) -> dict[str, Any]:
    return {
        "keys": len(one.truth.weeks),
        "key_weeks": round(float(one.truth.weeks.sum())),
        "items": sum(len(key.items.at) for population in one.populations for key in population.keys),
        "spikes": int(groups(one.truth)["spikes"].sum()),
        "crises": int((one.truth.real & (one.truth.ratio == 0)).sum()),
    }


def of_class(name: str, scale: float) -> dict[str, Any]:
    sides = [side(WORLDS[name], max(4, round(KEYS[name] * scale)), seeds) for seeds in (TUNED, HELD_OUT)]
    return {
        "tuned_on": size_of(sides[0]),
        "held_out": size_of(sides[1]),
        "matched": compared(sides),
        "as_documented": as_documented(sides),
        "as_shipped": as_shipped(sides[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the keys simulated")
    parser.add_argument("--out", type=Path, help="folder of detection.md and images/; without it only JSON is printed")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        report = dict(zip(KEYS, pool.map(of_class, KEYS, [arguments.scale] * 2), strict=True))
    print(json.dumps(report, indent=2))
    if arguments.out is not None:
        write(arguments.out / "detection.md", "matched", table(report))
        draw(report, arguments.out / "images" / "detectors.png")


if __name__ == "__main__":
    main()
