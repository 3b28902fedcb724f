"""A company's ten quiet days and its crisis, for the production stages over any engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from alerts.detector import Detector
from alerts.episode import episode_id, event_id
from models.classifier import FakeClassifier
from pipelines.aggregate import Aggregate
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, Candidate, Document, Watermark, decode, encode, iso
from pipelines.entities import Entity, EntityIndex
from pipelines.explain import Explainer
from pipelines.notify import Notify
from pipelines.particulars import Context
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


def decided(candidates: Sequence[Record]) -> set[tuple[str, str, str]]:
    """(kind, key, event) of every episode's events."""
    events = [decode(Candidate, record.value).event for record in candidates]
    return {(e.kind, e.key, event_id(episode_id("burst", e.key, e.opened_by), e.kind, e.sequence)) for e in events}


def named(records: Sequence[Record]) -> list[str]:
    """Keys of the alerts that were told and did not merge away: what people remember."""
    ends: dict[str, tuple[str, str | None]] = {}
    for record in records:
        alert = decode(AlertRecord, record.value)
        if alert.merged_into is None:
            reason = msgspec.json.decode(alert.body)["data"]["reason"]
            ends[alert.alert] = (alert.key, reason or ends.get(alert.alert, ("", None))[1])
    return sorted(key for key, reason in ends.values() if reason != "merged")


def reasons(records: Sequence[Record]) -> set[tuple[str, str]]:
    """(headline, phrase) of what alerts show."""
    return {
        (story["headline"], story["headline"][start:end])
        for alert in (decode(AlertRecord, record.value) for record in records)
        for story in msgspec.json.decode(alert.body)["data"]["evidence"]["stories"]
        for start, end, _ in story["why"]
    }
