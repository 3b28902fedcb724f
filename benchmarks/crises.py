"""Detectors beside one another on the evidence of a replay: each rings as often as the shipped one, and which labelled
crises it finds.

A replay shows ``Recorder`` what its detector is shown of companies; ``compared`` runs the rules of
``benchmarks.detectors`` over it. There is one stream, so that thresholds are matched on what is judged: on the number
of alarms alone, true ones among them. Of the first four weeks no alarm counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

from alerts.baseline import DAY, WEEK, Shape
from alerts.key_state import Item
from benchmarks.detectors import sequential
from benchmarks.detectors.counts import Counts
from benchmarks.detectors.rules import RULES
from benchmarks.detectors.scores import Alarms, of_matrix
from benchmarks.matched import SHIPPED, Contender, coarse, of_scores
from benchmarks.simulator.world import NEWS, START, World
from monitor.replay.curve import Curve, Rang
from monitor.replay.figures import Span, rated
from monitor.replay.labels import Label
from pipelines.documents import epoch

WORTH = ("events_counted", "events_found", "recall_interval", "delay_days", "delay_days_interval")

WARM = 4 * WEEK
CLEAR = 0.5
"""Probability of bad news from which a story counts as a publisher's own bad one."""


class Seen(NamedTuple):
    """An item as a detector is shown it: evidence ``weight`` times ``b`` is bad."""

    key: str
    at: float
    b: float
    weight: float
    publisher: str | None
    new: bool


class Recorder(Curve):
    """The shipped detector at some budgets, and every item of a company."""

    def __init__(self, budgets: Sequence[float], **settings: Any) -> None:
        super().__init__(budgets, **settings)
        self.seen: list[Seen] = []

    def observe(self, key: str, since: float, item: Item, shape: Shape, facts: Mapping[str, Any]) -> None:
        if key.startswith("entity:") and "/" not in key:
            self.seen.append(Seen(key, item.at, item.b, item.weight, item.publisher, item.new_story))
            super().observe(key, since, item, shape, facts)


class Stream(NamedTuple):
    """Evidence counted by hour. ``origin``: of its first period, in seconds since 1970."""

    keys: list[str]
    origin: float
    counts: Counts

    def rang(self, alarms: Alarms) -> list[Rang]:
        """Alarms of the rules, as a replay tells them."""
        moments = zip(alarms.key.tolist(), (alarms.at - START + self.origin).tolist(), strict=True)
        return [Rang(self.keys[key], at, f"{key} {at}") for key, at in moments]


def stream(seen: Sequence[Seen], end: float) -> Stream:
    """``end``: of the replay, in seconds since 1970."""
    keys = sorted({one.key for one in seen})
    publishers = sorted({one.publisher for one in seen if one.publisher})
    origin = min(one.at for one in seen) // DAY * DAY
    weeks = math.ceil((end - origin) / WEEK)
    world = NEWS._replace(warm=WARM, weeks=weeks)
    place, source = ({name: number for number, name in enumerate(names)} for names in (keys, publishers))
    periods = round(world.span / world.step)
    bad, every = np.zeros((len(keys), periods)), np.zeros((len(keys), periods))
    told = np.zeros((max(1, len(publishers)), len(keys), periods))
    for one in seen:
        key, period = place[one.key], int((one.at - origin) // world.step)
        bad[key, period] += one.weight * one.b
        every[key, period] += one.weight
        if one.new and one.b >= CLEAR and one.publisher:
            told[source[one.publisher], key, period] += 1.0
    return Stream(keys, origin, Counts(world, bad, every, told))


def contenders(counts: Counts) -> dict[str, Contender]:
    """Every detector that needs no truth, by name."""
    merged = coarse(counts)
    scored = {name: of_matrix(rule(counts), counts.world) for name, rule in RULES.items()}
    scored["BOCPD"] = of_matrix(sequential.change_points(merged), merged.world, -np.inf)
    scored["Poisson-FOCuS"] = of_matrix(sequential.focus(counts), counts.world)
    found = {name: of_scores(one, one, counts.world) for name, one in scored.items()}

    def ring(threshold: float) -> Alarms:
        return sequential.page_hinkley(merged, threshold)

    found["Page-Hinkley"] = Contender((ring, ring), np.append(np.geomspace(0.5, 2_000, 128), np.inf))
    return found


def as_often(one: Contender, number: int) -> Alarms:
    """Its alarms at the lowest threshold at which they are no more than ``number``."""
    ring, low, high = one.rings[0], -1, len(one.ladder) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if len(ring(one.ladder[middle]).at) <= number:
            high = middle
        else:
            low = middle
    return ring(one.ladder[high])


def begun(rang: Sequence[Rang], streamed: Stream) -> Alarms:
    """The shipped detector's bursts as all others have their alarms: those that follow one another are one."""
    world: World = streamed.counts.world
    place = {name: number for number, name in enumerate(streamed.keys)}
    moments = sorted((place[one.key], one.at - streamed.origin + START) for one in rang)
    return sequential.first_ones(moments, START + world.warm, world.quiet)


def events(report: Mapping[str, Any]) -> list[Label]:
    """The events of a replay's report that are companies'."""
    return [
        Label(one["entity"], epoch(one["onset"]), one["what"], one["dated"], keys=frozenset(one["keys"]))
        for one in report["events"]
        if one["keys"] and all(key.startswith("entity:") for key in one["keys"])
    ]


def compared(recorder: Recorder, report: Mapping[str, Any]) -> dict[str, Any]:
    """Detector to budget of the shipped one to what it finds while it rings as often."""
    figures, labels = report["figures"], events(report)
    streamed = stream(recorder.seen, epoch(figures["to"]) + DAY)
    span = Span(streamed.origin + WARM, epoch(figures["to"]), WEEK)
    others, found = contenders(streamed.counts), dict[str, Any]()
    for budget, rang in recorder.rang.items():
        own = begun(rang, streamed)
        for name, alarms in [(SHIPPED, own), *((name, as_often(one, len(own.at))) for name, one in others.items())]:
            told = streamed.rang(alarms)
            worth = rated(labels, told, set(streamed.keys), span, told=True, what="bursts")
            hits = [number for number, label in enumerate(labels) if _finds(told, label)]
            rate = len(told) / span.months / figures["entity_keys"]
            found.setdefault(name, {})[budget] = {
                "alarms": len(told),
                "companies": len({one.key for one in told}),
                "per_company_month": round(rate, 5),
                "hits": hits,
                **{name: worth[name] for name in WORTH},
            }
    return found


def _finds(rang: Sequence[Rang], label: Label) -> bool:
    begin, end = label.window
    return any(one.key in label.keys and begin <= one.at < end for one in rang)


def table(found: Mapping[str, Any]) -> str:
    """Markdown: a row a detector, those that find most at the smallest budget first."""
    budgets = list(found[SHIPPED])
    heads, rows = ["detector"], []
    for budget in budgets:
        one = found[SHIPPED][budget]
        heads += [f"at B = {budget:g}: alarms (companies)", f"events found, of {one['events_counted']}"]
        heads += [f"it alone, {SHIPPED} alone", "median delay, days"]
    ranked = sorted(found, key=lambda name: [-found[name][budget]["events_found"] for budget in budgets])
    for name in ranked:
        cells = [name]
        for budget in budgets:
            one, own = found[name][budget], found[SHIPPED][budget]
            low, high = one["recall_interval"]
            cells += [f"{one['alarms']} ({one['companies']})", f"{one['events_found']} ({low:.2f}–{high:.2f})"]
            cells += ["" if name == SHIPPED else _alone(set(one["hits"]), set(own["hits"])), _delay(one)]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *rows, ""])


def _alone(its: set[int], own: set[int]) -> str:
    """Events that one of two finds and the other does not, and how often chance alone makes them differ by as many (the
    exact test of McNemar 1947)."""
    mine, theirs = len(own - its), len(its - own)
    p = binomtest(theirs, mine + theirs).pvalue if mine + theirs else 1.0
    return f"{theirs}, {mine} (p {p:.2g})"


def _delay(one: Mapping[str, Any]) -> str:
    if one["delay_days"] is None:
        return ""
    spread = one["delay_days_interval"]
    return f"{one['delay_days']:.1f}" + (f" ({spread[0]:.1f} to {spread[1]:.1f})" if spread else "")
