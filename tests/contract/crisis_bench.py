"""A company's ten quiet days and its crisis, for the production stages over any engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from alerts.detector import Detector
from models.classifier import FakeClassifier
from pipelines.aggregate import Aggregate
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, Document, Watermark, decode, encode, iso
from pipelines.entities import Entity, EntityIndex
from pipelines.explain import Explainer
from pipelines.notify import Context, Notify
from pipelines.score import Score
from pipelines.streams.base import DOCUMENTS, WATERMARK, Output, Record
from pipelines.watch import Watch, WatchList

START = 1_790_000_000.0
ACME = Entity(id="acme", name="Acme Corp", aliases=("Acme",), custom=True)
CRISIS = (
    "Acme stock falls at the open",
    "Regulator alleges fraud over Acme ledgers",
    "Probe into harbour contract of Acme widens",
    "Slump in turbine orders hits Acme",
    "Acme test plant crash injures two",
    "Heavy loss forces Acme to borrow",
    "Former partner sues Acme for millions",
    "Acme bonds: price falls to sixty cents",
)
WORDS = ("ledger", "bridge", "harbour", "turbine", "orders", "lawyers", "margins", "bonds")


def documents() -> list[Output]:
    found = []
    moments = [(START + i * 14_400.0, f"Acme opens {WORDS[i % 8]} depot {i}") for i in range(60)]
    crisis = START + 60 * 14_400.0
    moments += [(crisis + i * 120.0, title) for i, title in enumerate(CRISIS)]
    moments += [(crisis + 60.0 + i, CRISIS[0]) for i in range(5)]
    for number, (at, title) in enumerate(sorted(moments)):
        document = Document(
            id=f"{number:032x}",
            source="wire",
            class_="news",
            publisher=f"p{number % 3}",
            title=title,
            language="en",
            published=iso(at),
            fetched=iso(at),
            at=iso(at),
        )
        found.append(Output(DOCUMENTS, document.id, encode(document)))
        found.append(Output(DOCUMENTS, WATERMARK, encode(Watermark(at=iso(at)))))
    found.append(Output(DOCUMENTS, WATERMARK, encode(Watermark(at=iso(crisis + 10 * 86_400.0)))))
    return found


def stages() -> list[Any]:
    clock = ManualClock(START)
    watch = Watch([WatchList(name="mine", entities=(ACME,))], FakeClassifier().topics)
    return [
        Score(FakeClassifier(), EntityIndex([ACME]), watch, clock=clock),
        Aggregate(Detector(), watch, clock=clock, model="fake", provisional=False),
        Notify(
            watch,
            context=Context(version="t", detector="1", configuration="c", budget=0.05),
            routes=(),
            channels=("desk",),
            clock=clock,
            explainer=Explainer({FakeClassifier().name: FakeClassifier}, within=None),
        ),
    ]


def told(records: Sequence[Record]) -> set[tuple[str, str, str]]:
    return {(a.type, a.key, a.id) for a in (decode(AlertRecord, record.value) for record in records)}


def reasons(records: Sequence[Record]) -> set[tuple[str, str, str]]:
    """(event, headline, phrase) of what alerts show."""
    return {
        (alert.id, story["headline"], story["headline"][start:end])
        for alert in (decode(AlertRecord, record.value) for record in records)
        for story in msgspec.json.decode(alert.body)["data"]["evidence"]["stories"]
        for start, end, _ in story["why"]
    }
