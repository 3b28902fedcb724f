"""One event, one alert: how many alerts an event makes that bursts at hundreds of keys.

    python -m benchmarks.merging [--seeds 20] [--first 0]
    python -m benchmarks.merging --cost 500 2000

A market of 25 sectors of 20 companies, each sector a watch-list with two topics of its own: 1,546 keys. A week of
calm, then an event; documents pass the production stages on the engine in memory. `bursts` are the keys that would
have rung by themselves, `alerts` those that did within eight hours, by seeds, `merged away` those of them that became
part of another within minutes. Among them are alerts that the calm itself makes. ``--cost``: what the notify stage
takes for a shock over so many companies, on the embedded engine.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from alerts.detector import Detector
from models.classifier import FakeClassifier
from pipelines.aggregate import Aggregate
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, Document, Watermark, decode, encode, epoch, iso
from pipelines.entities import Entity, EntityIndex
from pipelines.notify import Notify
from pipelines.particulars import Context
from pipelines.score import Score
from pipelines.streams.base import ALERTS, CANDIDATES, DOCUMENTS, TOPICS, WATERMARK, Output, Record, State
from pipelines.streams.embedded import EmbeddedEngine
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch, WatchList

T0 = 1_790_000_000.0 - 1_790_000_000.0 % 86_400.0
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
CALM = 7 * DAY
STEP = 600.0
"""Seconds between two watermarks."""

SECTORS, COMPANIES = 25, 20
PER_DAY = 0.4
"""Stories of a company a day, of which so many are bad:"""
BAD_SHARE = 0.12

BUDGET = 0.005
"""False alarms a key and month: eight a month for all 1,546 keys, so that few are among the alerts of an event."""

BAD = FakeClassifier.BAD
_SYLLABLES = ("ba", "ko", "ru", "mi", "ta", "ne", "vo", "li", "du", "pe", "zi", "ga", "so", "hu", "je", "fy")
WORDS = tuple(a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in ("dor", "lin", "mat", "var"))
NAMES = tuple(
    (a + b + c).capitalize()
    for a in ("Bra", "Cor", "Del", "Fen", "Gal", "Hol", "Kem", "Lor", "Mar", "Nor")
    for b in ("ta", "ve", "li", "do", "ru", "sa", "mi", "ne", "zo", "pa")
    for c in ("nex", "rix", "dyn", "gon", "lab")
)
NAMES += tuple(name + more for more in ("bur", "cal", "dom") for name in NAMES)


class Story(NamedTuple):
    at: float
    company: int
    bad: bool


class Outcome(NamedTuple):
    """What an event led to. ``alerts``: keys that rang, in their order; ``open``: those that stood after an hour."""

    rang: set[str]
    alerts: list[str]
    away: list[str]
    open: list[str]


class Market:
    """The stages over a market of companies, and the texts that pass them. ``seed`` draws all of it."""

    def __init__(self, seed: int, *, sectors: int = SECTORS, companies: int = COMPANIES) -> None:
        self.rng = random.Random(seed)
        self.companies, self._number = sectors * companies, 0
        names = NAMES[: max(len(NAMES) // 4, self.companies)]
        entities = [Entity(id=name.lower(), name=f"{name} Corp", aliases=(name,), custom=True) for name in names]
        self._classifier = FakeClassifier()
        topics = [topic for topic in self._classifier.topics if " " not in topic.split("|")[0].split(" ")[0]]
        lists = [
            WatchList(
                name=f"sector {number}",
                entities=tuple(entities[number * companies : (number + 1) * companies]),
                topics=(topics[number % len(topics)], topics[(number + 7) % len(topics)]),
            )
            for number in range(sectors)
        ]
        self._topics = topics
        self.clock = ManualClock(T0)
        watch = Watch(lists, self._classifier.topics)
        self.keys = len(watch.keys)
        self.engine = MemoryEngine(
            [
                Score(self._classifier, EntityIndex(entities[: self.companies]), watch, clock=self.clock),
                Aggregate(Detector(budget=BUDGET), watch, clock=self.clock, model="fake", provisional=False),
                self.notify(watch),
            ]
        )
        self.watch = watch
        self.alerts: list[AlertRecord] = []
        self.candidates: list[Output] = []

    def notify(self, watch: Watch) -> Notify:
        context = Context(version="bench", detector="1", configuration="bench", budget=BUDGET)
        return Notify(watch, context=context, routes=(), channels=("desk",), clock=self.clock)

    def calm(self, since: float, until: float) -> Iterator[Story]:
        """Every company's usual stories."""
        rate, at = self.companies * PER_DAY / DAY, since
        while (at := at + self.rng.expovariate(rate)) < until:
            yield Story(at, self.rng.randrange(self.companies), self.rng.random() < BAD_SHARE)

    def burst(self, companies: Iterable[int], stories: int, start: float, length: float) -> list[Story]:
        """So many bad stories of each company, at random moments of a time."""
        return [
            Story(start + self.rng.random() * length, company, True) for company in companies for _ in range(stories)
        ]

    def play(self, stories: Iterable[Story], until: float) -> None:
        """Stories in their order, and then time."""
        outputs: list[Output] = []
        passed = self.clock.time()
        for story in [*sorted(stories), Story(until, -1, False)]:
            while passed + STEP <= story.at:
                passed += STEP
                outputs.append(Output(DOCUMENTS, WATERMARK, encode(Watermark(at=iso(passed)))))
            if story.company >= 0:
                outputs.append(self._document(story))
            if len(outputs) > 500 or story.company < 0:
                self._run(outputs, story.at)
                outputs = []

    def _run(self, outputs: list[Output], at: float) -> None:
        self.engine.append(outputs)
        self.engine.run()
        self.clock.set(at)
        self.candidates += [Output(*record[:3]) for record in self.engine.records(CANDIDATES)]
        self.alerts += [decode(AlertRecord, record.value) for record in self.engine.records(ALERTS)]
        for topic in TOPICS:
            self.engine.forget(topic)

    def _document(self, story: Story) -> Output:
        self._number += 1
        topic = self.rng.choice(self._topics).split(" ")[0]
        words = [
            NAMES[story.company],
            *self.rng.sample(WORDS, 9),
            topic,
            self.rng.choice(BAD) if story.bad else "opens",
        ]
        document = Document(
            id=f"{self._number:032x}",
            source="wire",
            class_="news",
            publisher=f"p{self._number % 7}",
            title=" ".join(words),
            language="en",
            published=iso(story.at),
            fetched=iso(story.at),
            at=iso(story.at),
        )
        return Output(DOCUMENTS, document.id, encode(document))

    def outcome(self, since: float, until: float) -> Outcome:
        told = [one for one in self.alerts if since <= epoch(one.at) <= until]
        mine = [one for one in told if one.merged_into is None]
        resolved = {one.alert for one in mine if one.type == "alert.resolved"}
        rang = [one for one in mine if one.type == "alert.firing"]
        away = [one.key for one in mine if one.type == "alert.resolved" and b'"reason":"merged"' in bytes(one.body)]
        return Outcome(
            {one.key for one in told if one.type == "alert.firing"},
            [one.key for one in rang],
            away,
            [one.key for one in rang if one.alert not in resolved],
        )


Event = Callable[[Market, float], list[Story]]


def one_company(market: Market, start: float) -> list[Story]:
    return market.burst([market.rng.randrange(market.companies)], 10, start, 3 * HOUR)


def two_companies(market: Market, start: float) -> list[Story]:
    """Of two sectors, within the same hour."""
    first, second = market.rng.sample(range(market.companies // COMPANIES), 2)
    return market.burst([first * COMPANIES + 3, second * COMPANIES + 11], 10, start, HOUR)


def sector(market: Market, start: float) -> list[Story]:
    """Every company of a sector has stories of its own."""
    first = COMPANIES * market.rng.randrange(market.companies // COMPANIES)
    return market.burst(range(first, first + COMPANIES), 4, start, HOUR)


def shock(market: Market, start: float) -> list[Story]:
    """Every company of the market, within half an hour."""
    return market.burst(range(market.companies), 4, start, HOUR / 2)


def slow_shock(market: Market, start: float) -> list[Story]:
    return market.burst(range(market.companies), 4, start, 6 * HOUR)


def sorted_shock(market: Market, start: float) -> list[Story]:
    """One company after the other: the order that is hardest."""
    stories = market.burst(range(market.companies), 4, start, HOUR / 2)
    moments = sorted(story.at for story in stories)
    return [story._replace(at=at) for at, story in zip(moments, stories, strict=True)]


def uneven_shock(market: Market, start: float) -> list[Story]:
    """Every company, with one to fifteen stories: few have many."""
    counts = [1 + min(14, int(market.rng.expovariate(1 / 3.5))) for _ in range(market.companies)]
    return [story for n, count in enumerate(counts) for story in market.burst([n], count, start, HOUR / 2)]


def crisis_in_shock(market: Market, start: float) -> list[Story]:
    """A company's crisis, which begins ten minutes after a shock did."""
    return [*shock(market, start), *market.burst([7], 12, start + 10 * MINUTE, HOUR / 2)]


def crisis_after_shock(market: Market, start: float) -> list[Story]:
    """A company's crisis, three hours after a shock began."""
    return [*shock(market, start), *market.burst([7], 12, start + 3 * HOUR, HOUR)]


def small_crisis_after_shock(market: Market, start: float) -> list[Story]:
    """As many stories as the shock brought it, an hour after its end."""
    return [*shock(market, start), *market.burst([7], 4, start + 1.5 * HOUR, HOUR / 2)]


def two_in_sector(market: Market, start: float) -> list[Story]:
    """Two unrelated crises in one sector, within the same hour."""
    return market.burst([43, 51], 10, start, HOUR)


EVENTS: Mapping[str, Event] = {
    "a company's crisis": one_company,
    "two unrelated crises in one hour": two_companies,
    "the same, both in one sector": two_in_sector,
    "a sector of 20, 4 stories each in an hour": sector,
    "500 companies, 4 stories each in half an hour": shock,
    "the same within six hours": slow_shock,
    "the same, company by company": sorted_shock,
    "1 to 15 stories each in half an hour": uneven_shock,
    "a crisis in such a shock": crisis_in_shock,
    "a crisis three hours after it began": crisis_after_shock,
    "a small crisis an hour after its end": small_crisis_after_shock,
}


def run(event: Event, seed: int, *, calm: float = CALM, sectors: int = SECTORS) -> Outcome:
    """One event after a time of calm, in seconds, up to eight hours after it began."""
    market = Market(seed, sectors=sectors)
    start = T0 + calm
    market.play(market.calm(T0, start), start)
    end = start + 8 * HOUR
    market.play([*market.calm(start, end), *event(market, start + MINUTE)], end)
    return market.outcome(start, end)


def cost(companies: int, seed: int) -> tuple[int, float, float]:
    """A shock's candidates through a notify stage alone, on the embedded engine, one batch each: their number, the
    seconds of a processor they take together, and the longest of them."""
    market = Market(seed, sectors=companies // COMPANIES)
    start = T0 + DAY
    market.play(market.calm(T0, start), start)
    market.candidates.clear()
    market.play(shock(market, start + MINUTE), start + 8 * HOUR)
    stage = market.notify(market.watch)
    spent: list[float] = []
    handle = stage.handle

    def timed(batch: Sequence[Record], state: State) -> list[Output]:
        began = time.thread_time()
        outputs = handle(batch, state)
        spent.append(time.thread_time() - began)
        return outputs

    stage.handle = timed  # type: ignore[method-assign]

    async def play(folder: str) -> None:
        engine = EmbeddedEngine(Path(folder) / "store.db", clock=market.clock, batch=1)
        await engine.append(market.candidates)
        await engine.start([stage])
        await engine.drained()
        await engine.stop()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(folder))
    return len(market.candidates), sum(spent), max(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cost", type=int, nargs="+", default=[])
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for companies in asked.cost:
        count, total, longest = cost(companies, asked.first)
        print(f"{companies} companies: {count} candidates, {total:.2f} s, the longest {longest * 1e3:.1f} ms")
    if asked.cost:
        return
    print("| event | bursts | alerts (seeds) | merged away | what rang |", flush=True)
    for name, event in EVENTS.items():
        found = [run(event, asked.first + seed) for seed in range(asked.seeds)]
        counts = Counter(len(one.alerts) for one in found)
        names = Counter(key.split(":")[0] for one in found for key in one.alerts)
        rang = sum(len(one.rang) for one in found) / len(found)
        away = sum(len(one.away) for one in found) / len(found)
        told = ", ".join(f"{count} ({seeds})" for count, seeds in sorted(counts.items()))
        what = ", ".join(f"{kind} {count}" for kind, count in names.most_common())
        print(f"| {name} | {rang:.1f} | {told} | {away:.1f} | {what} |", flush=True)


if __name__ == "__main__":
    main()
