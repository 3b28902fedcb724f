"""Since when a key's history counts: since the stream began, or since the key was first watched; and since when what its
alerts show: since the burst began, however long other bad news went before it."""

import random
from typing import Any

import pytest

from alerts.detector import Detector
from models.classifier import FakeClassifier
from pipelines.aggregate import Aggregate
from pipelines.clock import ManualClock
from pipelines.documents import Candidate, Document, SeriesPoint, decode, encode, iso
from pipelines.entities import Entity, EntityIndex
from pipelines.exhibits import EXHIBITS
from pipelines.score import Score
from pipelines.streams.base import CANDIDATES, DOCUMENTS, SERIES, Output
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch, WatchList

START = 1_790_000_000.0
DAY = 86_400.0
ACME = Entity(id="acme", name="Acme Corp", aliases=("Acme",), custom=True)
BOLT = Entity(id="bolt", name="Bolt Industries", aliases=("Bolt",), custom=True)
WORDS = ("ledger", "bridge", "harbour", "turbine", "orders", "lawyers", "margins")


def watching(*entities: Entity) -> Watch:
    return Watch([WatchList(name="mine", entities=entities)], FakeClassifier().topics)


class Tape:
    """Documents through score and aggregate, on a clock that they move."""

    def __init__(self, *, hostile: bool) -> None:
        self.clock = ManualClock(START)
        first = watching(ACME)
        self.score = Score(FakeClassifier(), EntityIndex([ACME]), first, clock=self.clock)
        self.aggregate = Aggregate(Detector(), first, clock=self.clock, model="fake", provisional=False)
        self.engine = MemoryEngine([self.score, self.aggregate], hostile=hostile, seed=5)
        self.number = 0

    def tell(self, at: float, title: str, *, backfill: bool = False) -> None:
        self.clock.set(max(at, self.clock.time()))
        self.number += 1
        when = iso(at)
        document = Document(
            id=f"{self.number:032x}",
            source="wire",
            class_="news",
            title=title,
            language="en",
            published=when,
            fetched=when,
            at=when,
            backfill=backfill,
        )
        self.engine.append([Output(DOCUMENTS, document.id, encode(document))])
        self.engine.run()

    def watch(self, *entities: Entity) -> None:
        self.score.adopt(EntityIndex(entities), watching(*entities), FakeClassifier())
        self.aggregate.adopt(watching(*entities), "fake")

    def spans(self) -> dict[str, float]:
        """Key to the span of its baseline at its last closed block, in days."""
        points: list[Any] = [decode(SeriesPoint, record.value) for record in self.engine.records(SERIES)]
        return {point.key: point.baseline_span / DAY for point in points}


@pytest.mark.parametrize("hostile", [False, True])
def test_a_company_that_is_watched_later_has_no_history_from_before(hostile: bool) -> None:
    tape = Tape(hostile=hostile)
    for day in range(30):
        tape.tell(START + day * DAY, f"Acme and Bolt open a {WORDS[day % 7]} depot {day}")
    tape.watch(ACME, BOLT)
    for hour in range(6):
        tape.tell(START + 30 * DAY + hour * 3_600.0, f"Acme and Bolt open a {WORDS[hour]} store {hour}")
    spans = tape.spans()
    assert spans["entity:acme"] > 29
    assert spans["entity:bolt"] < 0.5


def test_history_that_is_filled_in_for_it_counts() -> None:
    tape = Tape(hostile=False)
    tape.tell(START, "Acme opens a depot")
    tape.clock.set(START + 30 * DAY)
    tape.watch(ACME, BOLT)
    for day in range(20):
        tape.tell(START + (5 + day) * DAY, f"Bolt opens a {WORDS[day % 7]} depot {day}", backfill=True)
    tape.tell(START + 30 * DAY, "Bolt closes a depot")
    assert 24 < tape.spans()["entity:bolt"] < 26


def _others(number: int) -> str:
    """Words that no other headline has."""
    rng = random.Random(number)
    return " ".join("".join(rng.choices("abcdefghijklmnoprstuvw", k=7)) for _ in range(6))


@pytest.mark.parametrize("hostile", [False, True])
def test_an_alert_shows_what_came_since_its_burst_began(hostile: bool) -> None:
    tape, rng, at = Tape(hostile=hostile), random.Random(1), START
    begin = START + 80 * DAY
    while at < begin:  # unrest: one excursion follows another without a pause
        bad = rng.random() < 0.3
        tape.tell(at, f"Acme {'fraud' if bad else 'opens'} {_others(tape.number)}")
        at += rng.expovariate(2.1 / DAY)
    for number in range(12):
        tape.tell(begin + number * 1_200.0, f"Acme slump {_others(9_000 + number)}")
    events = [decode(Candidate, record.value) for record in tape.engine.records(CANDIDATES)]
    told = [one for one in events if one.event.key == "entity:acme"]
    fired = [one for one in told if one.event.kind == "firing"]
    assert fired[-1].event.opened_at >= begin, "the burst did not ring"
    for one in fired:
        assert one.exhibits and min(exhibit.at for exhibit in one.exhibits) >= one.event.since
        assert len(one.exhibits) == one.event.stories < EXHIBITS
    assert all(one.exhibits for one in told)
