"""What a report shows beside its figures: the stories of alerts, and those of events that rang none."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from monitor.replay.curve import Rang
from monitor.replay.labels import Label
from pipelines.documents import AlertRecord, Evidence, decode, epoch
from pipelines.streams.base import EVIDENCE, Record

MERGED, UNROUTED = "part of another alert", "no route names a channel for it"
"""Why nobody is told of an alert; of silences each has its own."""

STORIES = 5
"""Of an event that rang no alert."""


class Story(msgspec.Struct, frozen=True):
    """One that counted. ``weight``: how bad it is times how much it is about the key."""

    at: str
    headline: str
    publisher: str | None
    url: str | None
    weight: float


class Episode(msgspec.Struct):
    """An alert from its beginning to its end, or a burst that another alert tells of."""

    id: str
    key: str
    name: str
    rule: str
    at: str
    severity: str
    """The highest that it had."""
    summary: str
    observed: float
    expected: float
    score: float
    threshold: float
    stories: list[Story]
    until: str | None = None
    """When it was over; None where the replay ended before."""
    sent: str | None = None
    """When somebody was first told of it; None where nobody was."""
    why: str | None = None
    """Why nobody was."""
    merged_into: str | None = None
    """The alert that tells of it as well, as it stood last."""
    matches: bool | None = None
    """Whether a label explains it; None where labels don't judge its key, or nobody was told."""


class Episodes:
    """Collects alerts as they come."""

    def __init__(self) -> None:
        self._by_id: dict[str, Episode] = {}
        self._latest: dict[tuple[str, str], Episode] = {}
        self._folded: list[Rang] = []
        self._events: set[str] = set()

    def take(self, alert: AlertRecord) -> bool:
        """Takes in an event; whether it is the first of its id that somebody is told."""
        if alert.alert:
            self._follow(alert)
        told = bool(alert.channels) and alert.id not in self._events
        if told:
            self._events.add(alert.id)
        return told

    def _follow(self, alert: AlertRecord) -> None:
        known = self._by_id.get(alert.alert)
        if known is None or (alert.type == "alert.firing" and known.sent is None):
            # What another alert told of so far rings by itself, with what it is by now.
            now = _episode(alert)
            if known is not None:
                now.at, now.merged_into = known.at, known.merged_into
            else:
                self._merge_away(alert, now)
            known = self._by_id[alert.alert] = now
        if alert.merged_into is not None and alert.merged_into != known.merged_into:
            self._folded.append(Rang(alert.key, epoch(alert.at), alert.merged_into))
        known.severity, known.merged_into = alert.severity, alert.merged_into
        known.until = alert.at if alert.type == "alert.resolved" else known.until
        if alert.channels:
            known.sent, known.why = known.sent or alert.at, None
        elif known.sent is None:
            known.why = _why(alert)

    def _merge_away(self, alert: AlertRecord, now: Episode) -> None:
        """One that rang by itself and becomes a part of another goes on under a new id."""
        before = self._latest.get((now.rule, now.key))
        if alert.merged_into is not None and before is not None and before.until == alert.at:
            before.merged_into = alert.merged_into
        self._latest[now.rule, now.key] = now

    def all(self) -> list[Episode]:
        """By their beginning."""
        return sorted(self._by_id.values(), key=lambda one: (one.at, one.key))

    def told(self) -> list[Rang]:
        """What people hear of, under the id of the alert that tells it: each alert's own key when somebody was first
        told, and each key whose burst became a part of it when it did."""
        sent = {one.id: epoch(one.sent) for one in self._by_id.values() if one.sent is not None}
        own = [Rang(one.key, sent[one.id], one.id) for one in self._by_id.values() if one.id in sent]
        folded = [Rang(one.key, max(one.at, sent[one.id]), one.id) for one in self._folded if one.id in sent]
        return sorted([*own, *folded], key=lambda one: (one.at, one.key))


class Near:
    """Collects what counted for the keys of labels around their onsets: the most telling stories of each."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self._windows: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
        self._found: dict[int, dict[str, Story]] = defaultdict(dict)
        for number, label in enumerate(labels):
            for key in label.keys:
                self._windows[key].append((*label.window, number))

    def take(self, records: Sequence[Record]) -> None:
        """What a chunk of the replay wrote."""
        for record in records:
            windows = self._windows.get(record.key) if record.topic == EVIDENCE else None
            if windows:
                evidence = decode(Evidence, record.value)
                at = epoch(evidence.at)
                for begin, end, number in windows:
                    if begin <= at < end:
                        self._add(self._found[number], evidence)

    def of(self, number: int) -> list[Story]:
        """By label, the most telling first."""
        return sorted(self._found[number].values(), key=lambda one: (-one.weight, one.at))

    def _add(self, stories: dict[str, Story], evidence: Evidence) -> None:
        weight = round(evidence.b * evidence.relevance, 3)
        known = stories.get(evidence.title)
        if known is None or weight > known.weight:
            by = evidence.by or evidence.publisher
            stories[evidence.title] = Story(evidence.at, evidence.title, by, evidence.url, weight)
        if len(stories) > STORIES:
            del stories[min(stories, key=lambda title: stories[title].weight)]


def _why(alert: AlertRecord) -> str:
    """Why an event is told to nobody."""
    if alert.merged_into is not None:
        return MERGED
    return f"silence {alert.silenced_by}" if alert.silenced_by is not None else UNROUTED


def _episode(alert: AlertRecord) -> Episode:
    data: dict[str, Any] = json.loads(bytes(alert.body))["data"]
    unusual = data["unusual"]
    return Episode(
        id=alert.alert,
        key=alert.key,
        name=data["subject"]["name"],
        rule=data["rule"]["name"],
        at=alert.at,
        severity=alert.severity,
        summary=data["summary"],
        observed=unusual["observed"],
        expected=unusual["expected"]["value"],
        score=unusual["score"],
        threshold=unusual["threshold"],
        stories=[
            Story(one["published"], one["headline"], one["publisher"], one["url"], one["nats"])
            for one in data["evidence"]["stories"]
        ],
    )
