"""What the page asks of the read model beside its lists: where every key stands, a key's past, the tape by filter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from pipelines.answers import Answers
from pipelines.documents import SeriesPoint, decode, epoch
from pipelines.finding import Wanted
from pipelines.gauges import combined

LOOKED_AT = 5_000
"""Documents that a question with filters goes through at most, newest first: of the tape, what is new is asked."""


class Standing(msgspec.Struct, frozen=True):
    """Where a key stands: its latest block of each class together. ``end``: when that ends, in seconds since 1970."""

    score: float = 0.0
    threshold: float = 0.0
    span: float = 0.0
    end: float = 0.0

    @property
    def unusual(self) -> float:
        """Score over threshold: at 1 it would ring."""
        return self.score / self.threshold if self.threshold > 0 else 0.0


class Bucket(msgspec.Struct):
    """A stretch of a key's past, its classes taken together. Times in seconds since 1970.

    ``low``, ``high``: the ends of the blocks' 90 % intervals, added up: wider than the sum's own. ``score``: the
    highest. ``seen``: whether anything was recorded in it.
    """

    start: float
    end: float
    bad: float = 0.0
    documents: int = 0
    expected: float = 0.0
    low: float = 0.0
    high: float = 0.0
    score: float = 0.0
    threshold: float = 0.0
    seen: bool = False


class Filter(msgspec.Struct, frozen=True):
    """What of the tape is wanted; None is all."""

    keys: frozenset[str] | None = None
    topic: str | None = None
    sentiment: str | None = None
    text: str | None = None

    def takes(self, document: dict[str, Any], keys: Iterable[str]) -> bool:
        judged = (document["sentiment"] or {}).get("label", "unread")
        return (
            (self.keys is None or not self.keys.isdisjoint(keys))
            and (self.topic is None or (document["topic"] or {}).get("label") == self.topic)
            and (self.sentiment is None or judged == self.sentiment)
            and (self.text is None or self.text.casefold() in document["title"].casefold())
        )


def standings(answers: Answers, keys: Iterable[str]) -> dict[str, Standing]:
    """Where each of ``keys`` stands, of those with a history."""
    found = {}
    for key in keys:
        rows = answers.ask("SELECT record FROM latest WHERE key = ? ORDER BY class", key)
        if points := [decode(SeriesPoint, row[0].encode()) for row in rows]:
            latest = max(epoch(point.end) for point in points)
            # A class that has been quiet for a day has nothing to say of now.
            fresh = [point for point in points if latest - epoch(point.end) < 86_400.0]
            found[key] = Standing(
                combined({point.class_: point.score for point in fresh}),
                fresh[0].threshold,
                max(point.baseline_span for point in points),
                latest,
            )
    return found


def buckets(answers: Answers, key: str, since: float, until: float, count: int) -> list[Bucket]:
    """``count`` equal stretches from ``since`` to ``until`` of a key."""
    width = (until - since) / count
    found = [Bucket(since + place * width, since + (place + 1) * width) for place in range(count)]
    scores: dict[float, dict[str, float]] = {}
    for point in answers.history(key, since, until):
        start = epoch(point.start)
        one = found[min(count - 1, int((start - since) / width))]
        one.bad += point.bad
        one.documents += point.documents
        one.expected += point.expected
        one.low += point.expected_low
        one.high += point.expected_high
        one.threshold = point.threshold
        one.seen = True
        together = scores.setdefault(start, {})
        together[point.class_] = point.score
        one.score = max(one.score, combined(together))
    return found


def tape(answers: Answers, wanted: Filter, limit: int) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """The latest documents that a filter takes, each with the watched keys that it speaks of; history after all
    others."""
    rows = answers.ask(
        "SELECT record, (SELECT group_concat(key, char(31)) FROM document_keys WHERE number = documents.number) "
        "FROM documents ORDER BY number DESC LIMIT ?",
        limit if wanted == Filter() else LOOKED_AT,
    )
    taken = 0
    for record, joined in rows:
        keys = tuple((joined or "").split("\x1f"))
        document = json.loads(record)
        if wanted.takes(document, keys):
            taken += 1
            yield document, keys
        if taken >= limit:
            return


def of_key(answers: Answers, key: str, since: float, until: float, limit: int) -> list[dict[str, Any]]:
    """A key's documents of a time, newest first."""
    return answers.tape(Wanted(key=key, since=since, until=until), limit).entries


def owed(answers: Answers, event: str) -> list[dict[str, Any]]:
    """What is owed to channels of one event, without bodies, by channel."""
    sql = "SELECT name, record FROM deliveries WHERE name > ? AND name < ? ORDER BY name"
    found = [(name, json.loads(record)) for name, record in answers.ask(sql, f"{event}|", f"{event}}}")]
    return [{"id": name, **{part: record[part] for part in record if part != "body"}} for name, record in found]
