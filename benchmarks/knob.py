"""Whether the knob means what it says: false alarms on streams in which nothing happens, over the budget.

    python -m benchmarks.knob [--scale 1.0] [--out docs]

Streams are the simulator's without happenings: rates and moods wander, drift and jump, keys are born, sources are out,
stories draw others and are reprinted. One run in which nothing opens gives the scores; an alarm is a score at the
threshold that has not been there for six hours (posts) or three days (news). Market-wide moves are left out. Writes a
table into ``detection.md`` below ``--out`` and prints all figures as JSON. Seeds apart from those that the priors of
alerts.chance were fitted on.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alerts.baseline import DAY, MONTH, WEEK
from alerts.chance import threshold
from benchmarks.detectors import shipped
from benchmarks.detectors.judge import Truth, judge, share, truth_of
from benchmarks.detectors.report import text, write
from benchmarks.detectors.scores import Scores, alarms
from benchmarks.simulator.items import Key, simulate
from benchmarks.simulator.world import MINUTE, NEWS, SOCIAL, START, World

SEED = 301
BUDGETS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""False alarms per key and month."""
FEW = 20
"""Expected alarms below which a figure says nothing."""


class Band(NamedTuple):
    """Keys of one class whose rates lie between two bounds. ``unit``: seconds of the rates' period."""

    world: World
    unit: float
    rates: tuple[float, float]
    keys: int

    @property
    def name(self) -> str:
        return f"{self.world.name}, {self.rates[0]:g} to {self.rates[1]:g} " + (
            "a day" if self.unit == DAY else "in five minutes"
        )


BANDS = (
    Band(NEWS, DAY, (0.02, 0.2), 1_500),
    Band(NEWS, DAY, (0.2, 2.0), 1_500),
    Band(NEWS, DAY, (2.0, 20.0), 1_000),
    Band(SOCIAL, 5 * MINUTE, (0.002, 0.02), 2_000),
    Band(SOCIAL, 5 * MINUTE, (0.02, 0.2), 2_000),
    Band(SOCIAL, 5 * MINUTE, (0.2, 2.0), 500),
    Band(SOCIAL, 5 * MINUTE, (2.0, 20.0), 50),
)

GROUPS: dict[str, Callable[[Key], bool]] = {
    "all": lambda _: True,
    "strong wander of the rate": lambda key: math.hypot(key.traits.fast, key.traits.slow) > 0.5,
    "strong wander of the share": lambda key: key.traits.mood > 0.5,
    "newly born": lambda key: key.birth > START,
}


def of_band(place: int, scale: float) -> dict[str, Any]:
    band = BANDS[place]
    world = band.world._replace(rates=(band.rates[0] / band.unit, band.rates[1] / band.unit), skew=1.0, period=math.inf)
    population = simulate(world, max(4, round(band.keys * scale)), SEED + place)
    truth, scores = truth_of([population]), shipped.scores(population)
    return {
        "band": band.name,
        "items": sum(len(key.items.at) for key in population.keys),
        "groups": {
            name: figures(truth, scores, np.array([chosen(key) for key in population.keys]))
            for name, chosen in GROUPS.items()
        },
    }


def figures(truth: Truth, scores: Scores, chosen: np.ndarray[Any, Any]) -> dict[str, Any]:
    months = np.where(chosen, truth.weeks, 0.0) * WEEK / MONTH
    found: dict[str, Any] = {"keys": int(chosen.sum()), "key_months": round(float(months.sum()))}
    for budget in BUDGETS:
        false = np.where(chosen, judge(truth, alarms(scores, threshold(budget), truth.world.quiet)).false, 0.0)
        found[f"{budget:g}"] = {
            "alarms": int(false.sum()),
            "expected": round(float(budget * months.sum()), 1),
            "over_budget": share(false, budget * months)._asdict(),
        }
    return found


def table(report: list[dict[str, Any]]) -> str:
    head = ["stories of a key", "key-months", *(f"B = {budget:g}" for budget in BUDGETS)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for band in report:
        for name, group in band["groups"].items():
            cells = []
            for budget in BUDGETS:
                one = group[f"{budget:g}"]
                cells.append(text(one["over_budget"]) if one["expected"] >= FEW else "")
            told = band["band"] if name == "all" else f"– {name}"
            lines.append("| " + " | ".join([told, f"{group['key_months']:,}", *cells]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the keys simulated")
    parser.add_argument("--out", type=Path, help="folder of detection.md; without it only JSON is printed")
    arguments = parser.parse_args()
    order = sorted(range(len(BANDS)), key=lambda place: -BANDS[place].keys * BANDS[place].rates[1])
    with ProcessPoolExecutor(2) as pool:
        found = dict(zip(order, pool.map(of_band, order, [arguments.scale] * len(order)), strict=True))
    report = [found[place] for place in range(len(BANDS))]
    print(json.dumps(report, indent=2))
    if arguments.out is not None:
        write(arguments.out / "detection.md", "knob", table(report))


if __name__ == "__main__":
    main()
