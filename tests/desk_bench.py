"""A notify stage that tests hand candidates to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from alerts.episode import EpisodeEvent, Kind, Severity
from alerts.exhibits import Exhibit
from alerts.outbox import Obligation
from alerts.rules import Route, Silence
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, Candidate, Coverage, decode, encode, iso
from pipelines.entities import Entity
from pipelines.notify import Notify
from pipelines.particulars import Context
from pipelines.streams.base import ALERTS, CANDIDATES, OUTBOX, Output
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch, WatchList

NOW = 1_790_000_000.0
HOUR = 3_600.0
NAMES = ("Acme", "Borealis", "Cygnus", "Dorado", "Electra")
ENTITIES = tuple(Entity(id=name.lower(), name=f"{name} Corp", aliases=(name,), custom=True) for name in NAMES)
TOPIC = "Legal | Regulation"
ACME, BOREALIS, PAIR = "entity:acme", "entity:borealis", "entity:acme/topic:legal-regulation"
LIST, LEGAL, MARKET = "list:mine", "topic:legal-regulation", "market"

Told = tuple[str, str, str | None]


class Desk:
    """A notify stage alone, which candidates are handed to."""

    def __init__(
        self, routes: Sequence[Route] = (), silences: Sequence[Silence] = (), *, language: Any = "en", **engine: Any
    ) -> None:
        self.routes, self.silences, self.language = routes, silences, language
        self.clock = ManualClock(NOW)
        self.engine = MemoryEngine([self.stage()], **engine)
        self._sequence: dict[str, int] = {}
        self._opened: dict[str, float] = {}
        self._episodes: dict[str, int] = {}
        self._number = 0

    def stage(self) -> Notify:
        lists = [WatchList(name="mine", entities=ENTITIES, topics=(TOPIC,))]
        return Notify(
            Watch(lists, [TOPIC, "Macro"]),
            context=Context(version="t", detector="1", configuration="c", budget=0.05, language=self.language),
            routes=self.routes,
            channels=("desk", "macro", "legal"),
            silences=self.silences,
            clock=self.clock,
        )

    def tell(
        self,
        key: str,
        observed: float,
        shared: dict[str, float] | None = None,
        *,
        kind: Kind = "firing",
        at: float = 0.0,
        score: float | None = None,
        severity: Severity = "warning",
        fetched: float | None = None,
        came: Sequence[float] = (),
    ) -> None:
        """A key's event ``at`` seconds after the beginning; a tenth of the evidence was expected. ``fetched``: when
        the story that made it came in. ``came``: by when each part of the evidence had."""
        if kind == "firing":
            self._number += 1
            self._opened[key], self._sequence[key] = NOW + at, 0
            self._episodes[key] = self._episodes.get(key, 0) + 1
        else:
            self._sequence[key] += 1
        event = EpisodeEvent(
            kind=kind,
            key=key,
            episode=self._episodes[key],
            opened_by=f"doc-{key}-{self._episodes[key]}",
            opened_at=self._opened[key],
            at=NOW + at,
            since=self._opened[key] - 600.0,
            sequence=self._sequence[key],
            score=observed if score is None else score,
            threshold=5.0,
            observed=observed,
            others=1.0,
            expected=observed / 10,
            expected_low=0.0,
            expected_high=observed / 5,
            stories=round(observed) + 1,
            publishers=3,
            share=0.9,
            usual_share=0.2,
            baseline_span=9e5,
            severity=severity,
            excess=0.9 * observed,
            excess_low=observed / 2,
            reason="quiet" if kind == "resolved" else None,
        )
        exhibit = Exhibit(
            document=f"doc-{key}", headline=f"Bad news of {key}", source="wire", published=NOW, first_seen=NOW,
            negative=0.9, positive=0.02, nats=3.0,
        )  # fmt: skip
        coverage = Coverage(sources_expected=1, sources_healthy=1)
        candidate = Candidate(
            event=event, rule="burst", exhibits=(exhibit,), coverage=coverage, model="fake", decided=iso(NOW + at),
            shared=shared or {}, fetched=None if fetched is None else iso(NOW + fetched),
            came=tuple(NOW + one for one in came),
        )  # fmt: skip
        self.clock.set(max(self.clock.time(), NOW + at))
        self.engine.append([Output(CANDIDATES, key, encode(candidate))])
        self.engine.run()

    def records(self) -> list[AlertRecord]:
        return [decode(AlertRecord, record.value) for record in self.engine.records(ALERTS)]

    def told(self) -> list[Told]:
        """(type, key, reason) of what was told, in order."""
        mine = [one for one in self.records() if one.merged_into is None]
        return [(one.type.removeprefix("alert."), one.key, data(one)["reason"]) for one in mine]

    def owed(self, channel: str) -> list[tuple[str, str]]:
        """(type, key) of what a channel is owed."""
        owed = [decode(Obligation, record.value) for record in self.engine.records(OUTBOX)]
        bodies = [json.loads(one.body) for one in owed if one.channel == channel]
        return [(body["type"].removeprefix("alert."), body["data"]["subject"]["key"]) for body in bodies]


def data(record: AlertRecord) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(bytes(record.body))["data"]
    return told


def story_about_a_company(desk: Desk, *, at: float = 0.0) -> None:
    """One document rings them all, the most specific first."""
    desk.tell(PAIR, 3.0, {ACME: 1.0, LIST: 1.0, LEGAL: 1.0}, at=at)
    desk.tell(ACME, 3.2, {PAIR: 0.9, LIST: 1.0, LEGAL: 0.9}, at=at)
    desk.tell(LIST, 3.4, {PAIR: 0.85, ACME: 0.95, LEGAL: 0.9}, at=at)
    desk.tell(LEGAL, 3.4, {PAIR: 0.85, ACME: 0.9, LIST: 0.9}, at=at)
    desk.tell(MARKET, 3.6, {PAIR: 0.8, ACME: 0.9, LIST: 0.95, LEGAL: 0.9}, at=at)
