"""The drift watch over a real stream: what it would have rung as it was, and had it changed on a day.

    python -m benchmarks.drift HEADLINES --change 2018-12-03 [--model default]

HEADLINES: CSV, plain or gzipped, with the columns ``headline``, ``description`` and ``ts``. Every text goes through the
model once; then its days go through the watch as they are, and again with each of these changes from the day on: half
or a tenth of the texts in German, half of them the challenge set's, half with the letters of their words shuffled,
none of the topic that is the most frequent one.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from models.classifier import Prediction, load
from models.measures import VERSION, Bins
from models.reading import read
from models.samples import samples
from pipelines import drift
from pipelines.documents import Reading, epoch
from pipelines.streams.memory import MemoryState

Day = tuple[list[str], list[Prediction]]
"""The languages of its texts, and the answers to those that are English."""


class Notify:
    """What MemoryState asks of the stage that watches."""

    name = "notify"
    inputs = ()
    tables = drift.TABLES


def shuffled(text: str, rng: random.Random) -> str:
    return " ".join("".join(rng.sample(word, len(word))) for word in text.split())


def watch(days: dict[str, Day], change: str, by: Callable[[Sequence[Prediction]], Day] | None, model: Any) -> None:
    """Prints what rings, and at last each measure's effect size and limit."""
    state: Any = MemoryState(Notify())  # only its tables are used
    bins = Bins(model, model.reference.centres)
    for day in sorted(days):
        languages, answers = days[day] if by is None or day < change else by(days[day][1])
        counts: Any = {"news": bins.tally(languages, answers)}
        reading = Reading(
            at=f"{day}T12:00:00.000Z", model=model.name, bins=VERSION, counts=counts, reference=model.reference
        )
        for event in drift.take(reading, state):
            waited = (epoch(event.at) - epoch(f"{change}T00:00:00Z")) / drift.DAY
            print(f"  {event.at[:10]} ({waited:+.0f} days) {event.type}: {event.summary}")
    for one in drift.report(state):
        print(
            "  " + ", ".join(f"{m['reference']} {m['measure']} {m['effect']} ({m['limit']})" for m in one["measures"])
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headlines", type=Path)
    parser.add_argument("--change", required=True, help="the day from which the stream is another")
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.headlines, dtype=str, keep_default_na=False)
    model, rng = load(arguments.model), random.Random(5)
    texts = [read(row.headline, row.description).text for row in table.itertuples()]
    days: dict[str, Day] = {}
    for when, answer in zip(table["ts"], model.predict(texts, story=True), strict=True):
        languages, answers = days.setdefault(when[:10], ([], []))
        languages.append("en")
        answers.append(answer)
    noise = model.predict([shuffled(text, rng) for text in rng.sample(texts, 1_000)], story=True)
    ours = model.predict(samples("headlines"), story=True)
    topics = Counter(answer.topic.index(max(answer.topic)) for _, answers in days.values() for answer in answers)
    first = topics.most_common(1)[0][0]

    def german(part: int) -> Callable[[Sequence[Prediction]], Day]:
        return lambda day: (["de" if i % part == 0 else "en" for i in range(len(day))], [
            one for i, one in enumerate(day) if i % part
        ])  # fmt: skip

    def half(others: Sequence[Prediction]) -> Callable[[Sequence[Prediction]], Day]:
        return lambda day: (["en"] * len(day), [one if i % 2 else rng.choice(others) for i, one in enumerate(day)])

    def without(day: Sequence[Prediction]) -> Day:
        kept = [one for one in day if one.topic.index(max(one.topic)) != first]
        return ["en"] * len(kept), kept

    changes = {
        "as it was": None, "half in German": german(2), "a tenth in German": german(10),
        "half of the challenge set": half(ours), "half shuffled": half(noise),
        f"nothing of {model.topics[first]}": without,
    }  # fmt: skip
    for name, by in changes.items():
        print(f"{name}:")
        watch(days, arguments.change, by, model)


if __name__ == "__main__":
    main()
