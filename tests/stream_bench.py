"""What tests of the stages over simulated weeks share: a tape of many stories, source records and watermarks, played in
the order of the log through the production stages on an engine in memory."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import msgspec

from alerts.baseline import Profile, rates
from alerts.detector import Detector
from alerts.rules import NO_RULES, Rules
from models.classifier import FakeClassifier
from pipelines.aggregate import Aggregate
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, Document, SourceRecord, Watermark, decode, encode, epoch, iso
from pipelines.entities import Entity, EntityIndex
from pipelines.held import Held, Profiles
from pipelines.notify import Notify
from pipelines.particulars import Context
from pipelines.score import Score
from pipelines.streams.base import ALERTS, DOCUMENTS, SOURCES, WATERMARK, Output
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch, WatchList

T0 = 1_790_000_000.0 - 1_790_000_000.0 % 86_400.0
HOUR = 3_600.0
DAY = 86_400.0
STEP = 600.0
"""Seconds between two watermarks, and between two records of a source."""

NAMES = ("Acme", "Borealis", "Cygnus", "Dorado", "Electra", "Fornax", "Gemini", "Hydra")
ENTITIES = tuple(Entity(id=name.lower(), name=f"{name} Corp", aliases=(name,), custom=True) for name in NAMES)
BAD = ("falls", "fraud", "probe", "slump", "crash", "loss", "sues")
_SYLLABLES = ("ba", "ko", "ru", "mi", "ta", "ne", "vo", "li", "du", "pe", "zi", "ga")
WORDS = tuple(a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in ("dor", "lin", "mat", "var"))


@dataclass(order=True)
class Told:
    """One document of the tape. ``at``: when it counts; ``fetched``: when it entered the log."""

    fetched: float
    at: float
    number: int
    source: str = field(compare=False)
    title: str = field(compare=False)
    social: bool = field(compare=False, default=False)

    def output(self) -> Output:
        document = Document(
            id=f"{self.number:032x}",
            source=self.source,
            class_="social" if self.social else "news",
            publisher=f"p{self.number % 7}",
            title=self.title,
            language="en",
            published=iso(self.at),
            fetched=iso(self.fetched),
            at=iso(self.at),
        )
        return Output(DOCUMENTS, document.id, encode(document))


class Tape:
    """Makes documents: distinct stories, good and bad, at random moments."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self._number = 0

    def story(
        self, at: float, source: str, name: str, *, bad: bool, social: bool = False, number: int | None = None
    ) -> Told:
        """A new story; ``number`` is its identity, by default the next one."""
        self._number += 1
        title = " ".join([name, *self.rng.sample(WORDS, 11), self.rng.choice(BAD) if bad else "opens"])
        return Told(at, at, self._number if number is None else number, source, title, social)

    def poisson(
        self, start: float, end: float, per_day: float, source: str, name: str, *, bad: float = 0.15
    ) -> Iterator[Told]:
        at = start
        while (at := at + self.rng.expovariate(per_day / DAY)) < end:
            yield self.story(at, source, name, bad=self.rng.random() < bad)


def report(source: str, at: float, *, down: str | None = None, success: float | None = None) -> Output:
    """A source's record: down for a reason, or up."""
    record = SourceRecord(
        source=source,
        class_="news",
        state="down" if down else "up",
        reason=down,
        at=iso(at),
        last_success=iso(success) if success is not None else None,
        interval=60.0,
    )
    return Output(SOURCES, source, encode(record))


def watermark(at: float) -> Output:
    return Output(DOCUMENTS, WATERMARK, encode(Watermark(at=iso(at))))


def stages(
    clock: ManualClock,
    *,
    budget: float = 0.05,
    names: Sequence[str] = NAMES,
    five_heads: bool = False,
    rules: Rules = NO_RULES,
    calendar: str | None = None,
) -> list[Any]:
    """Score, aggregate and notify as a daemon has them, with a classifier that judges by keywords. ``calendar``: of the
    exchange that all companies are tied to."""
    own = (entity for entity in ENTITIES if entity.aliases[0] in names)
    entities = tuple(msgspec.structs.replace(entity, calendar=calendar) for entity in own)
    classifier = FakeClassifier(five_heads=five_heads)
    watch = Watch([WatchList(name="mine", entities=entities)], classifier.topics)
    return [
        Score(classifier, EntityIndex(entities), watch, clock=clock, rules=rules.flash),
        Aggregate(Detector(budget=budget), watch, clock=clock, model="fake", provisional=False, rules=rules),
        Notify(
            watch,
            context=Context(version="t", detector="1", configuration="c", budget=budget),
            routes=(),
            channels=("desk",),
            clock=clock,
        ),
    ]


def bites(timed: Iterable[tuple[float, Output]], cut: int) -> Iterator[list[tuple[float, Output]]]:
    """A log in pieces of up to ``cut`` records of one day."""
    for _, day in groupby(timed, key=lambda entry: int(entry[0] // DAY)):
        while bite := list(islice(day, cut)):
            yield bite


class Played:
    """An engine in memory and its clock, which goes with the log."""

    def __init__(
        self,
        *,
        budget: float = 0.05,
        notify: bool = True,
        rules: Rules = NO_RULES,
        five_heads: bool = False,
        calendar: str | None = None,
        **engine: Any,
    ) -> None:
        self.clock = ManualClock(T0)
        made = stages(self.clock, budget=budget, rules=rules, five_heads=five_heads, calendar=calendar)
        self.engine = MemoryEngine(made[: 3 if notify else 2], **engine)

    def play(self, timed: Iterable[tuple[float, Output]], cut: int = 2_000) -> Played:
        """Records with their times of writing; time passes with them, in bites of ``cut`` and at midnights."""
        for bite in bites(timed, cut):
            # As replay does: what is decided at a later time than the clock's is decided at its own.
            self.clock.set(max(self.clock.time(), bite[0][0]))
            self.engine.append([output for _, output in bite])
            self.engine.run()
        return self

    def alerts(self, key: str) -> list[AlertRecord]:
        found = (decode(AlertRecord, record.value) for record in self.engine.records(ALERTS))
        return [alert for alert in found if alert.key == key]

    def told(self, key: str, since: float = 0.0) -> list[tuple[str, float]]:
        """What was told of ``key``, and when, in seconds since ``since``."""
        return [(a.type, epoch(a.at) - since) for a in self.alerts(key) if epoch(a.at) >= since]

    def held(self, key: str) -> Held:
        held: Held | None = self.engine.state("aggregate").table("detector").get(key)
        assert held is not None
        return held

    def per_day(self, key: str) -> float:
        """Items a day that the key's news baseline expects."""
        news = self.held(key).state.news
        known: Profiles | None = self.engine.state("aggregate").table("profiles").get("all")
        assert news is not None
        prior = (known.versions[-1] if known else Profile()).prior["news"]
        return rates(news.base, prior)[1] * DAY
