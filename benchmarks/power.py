"""What the demo's newsroom would ring for, and how long ``power`` takes. ``python -m benchmarks.power demo``.

demo    backfills the demo's three weeks of history and asks ``tapewatch power``; draws docs/images/power.svg
time    200 companies with two stories and two posts a day over 120 days, in memory
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from alerts.baseline import DAY, Profile, Shape
from alerts.detector import Detector
from alerts.key_state import Item
from monitor.demo import scenario, stories
from monitor.demo.newsroom import CLASSES
from pipelines.documents import SeriesPoint, decode
from pipelines.points import point_of
from pipelines.power import Question, run
from pipelines.recorded import Recorded

DRAWING = Path(__file__).parents[1] / "docs" / "images" / "power.svg"
START = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
SEED = 20
"""Of the newsroom, as in the demo."""


def demo() -> None:
    companies = ", ".join(
        f'{{ name = "{name}", tickers = ["{ticker}"], aliases = ["{short}"] }}'
        for name, (ticker, short) in stories.COMPANIES.items()
    )
    with tempfile.TemporaryDirectory() as folder:
        settings, history = Path(folder, "tapewatch.toml"), Path(folder, "history.jsonl")
        settings.write_text(f'[[watchlists]]\nname = "demo"\nentities = [{companies}]\n')
        with history.open("w") as target:
            for item in scenario.build(SEED, START).history:
                line = {"title": item.title, "published": item.at, "publisher": item.publisher, "author": item.author}
                target.write(json.dumps({"id": item.guid, "class": CLASSES[item.feed], **line}) + "\n")
        command = [sys.executable, "-m", "monitor"]
        subprocess.run([*command, "backfill", "-c", settings, history], check=True, stdout=subprocess.DEVNULL)
        keys = [part for key in ("entity:*", "list:*", "market") for part in ("--key", key)]
        subprocess.run([*command, "power", "-c", settings, *keys, "--out", DRAWING], check=True)


def tape(seed: int) -> Iterator[Item]:
    """Two stories and two posts a day, one in ten bad."""
    rng, at = random.Random(seed), START - 120 * DAY
    while (at := at + rng.expovariate(4 / DAY)) < START:
        yield Item(at, 0.95 if rng.random() < 0.1 else 0.05, 1.0, rng.random() < 0.5, f"i{at:.0f}", "a publisher")


def blocks(seed: int) -> Iterator[SeriesPoint]:
    detector, shape = Detector(), Shape(Profile())
    state = detector.new(START - 120 * DAY)
    for item in tape(seed):
        for block in detector.observe("k", state, item, shape).blocks:
            yield decode(SeriesPoint, point_of("k", block, closed_at=state.clock, backfill=False).value)


def measure(count: int) -> None:
    keys = tuple(f"entity:{number}" for number in range(count))
    points = [(key, list(blocks(number))) for number, key in enumerate(keys)]
    question = Question(keys=keys, watched=keys, budget=0.05, min_open=600.0, lateness=600.0)
    began, worked = time.perf_counter(), time.process_time()
    recorded = Recorded(points, keys, {})
    print(f"read: {time.process_time() - worked:.1f} s of processor time")
    found = list(run(recorded, question))
    figures = sum(len(answer.within) for answer in found)
    print(f"{len(keys)} keys, {figures} lengths: {time.process_time() - worked:.0f} s of processor time, ", end="")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("demo", "time"))
    parser.add_argument("--keys", type=int, default=200)
    given = parser.parse_args()
    if given.what == "demo":
        demo()
    else:
        measure(given.keys)
