"""What a report shows beside its figures: the stories of alerts, and those of events that rang none."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from monitor.replay.labels import Label
from pipelines.documents import AlertRecord, Evidence, decode, epoch
from pipelines.streams.base import EVIDENCE, Record

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
    """An alert from its beginning to its end, as its first event told it."""

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
    matches: bool | None = None
    """Whether a label explains it; None where labels don't judge its key."""


class Episodes:
    """Collects alerts as they come."""

    def __init__(self) -> None:
        self._by_id: dict[str, Episode] = {}

    def take(self, alert: AlertRecord) -> None:
        known = self._by_id.get(alert.alert)
        if alert.type == "alert.firing":
            self._by_id[alert.alert] = _episode(alert)
        elif known is not None:
            known.severity = alert.severity
            known.until = alert.at if alert.type == "alert.resolved" else known.until

    def all(self) -> list[Episode]:
        """By their beginning."""
        return sorted(self._by_id.values(), key=lambda one: (one.at, one.key))


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
