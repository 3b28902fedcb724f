"""What the page asks of the read model beside lists: where every key stands, a key's past, what is owed of an event."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from pipelines.answers import Answers
from pipelines.documents import epoch
from pipelines.gauges import combined

DAY = 86_400.0


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


class _Block(msgspec.Struct, frozen=True, gc=False):
    """As much of a block's record as is shown: a year of them is read for one view, and one of every key."""

    end: str
    bad: float
    expected: float
    expected_low: float
    expected_high: float
    score: float
    threshold: float
    baseline_span: float
    documents: int = 0


_block = msgspec.json.Decoder(_Block).decode


def standings(answers: Answers, key: str | None = None) -> dict[str, Standing]:
    """Where every key stands that has a history, or one. A class that was quiet for a day has nothing to say of now."""
    classes: dict[str, list[tuple[str, _Block]]] = {}
    sql = "SELECT key, class, record FROM latest WHERE ?1 IS NULL OR key = ?1"
    for name, class_, record in answers.ask(sql, key):
        classes.setdefault(name, []).append((class_, _block(record)))
    return {name: _standing(blocks) for name, blocks in classes.items()}


def _standing(blocks: list[tuple[str, _Block]]) -> Standing:
    if len(blocks) == 1:  # as nearly all of many keys
        one = blocks[0][1]
        return Standing(one.score, one.threshold, one.baseline_span, epoch(one.end))
    ends = {class_: epoch(block.end) for class_, block in blocks}
    latest = max(ends.values())
    fresh = {class_: block.score for class_, block in blocks if latest - ends[class_] < DAY}
    threshold = next(block.threshold for class_, block in blocks if class_ in fresh)
    return Standing(combined(fresh), threshold, max(block.baseline_span for _, block in blocks), latest)


def buckets(answers: Answers, key: str, since: float, until: float, count: int) -> list[Bucket]:
    """``count`` equal stretches from ``since`` to ``until`` of a key."""
    width = (until - since) / count
    found = [Bucket(since + place * width, since + (place + 1) * width) for place in range(count)]
    begun, together = since, dict[str, float]()
    sql = "SELECT start, class, record FROM series WHERE key = ? AND start >= ? AND start < ? ORDER BY start, class"
    for start, class_, record in answers.ask(sql, key, since, until):
        point = _block(record)
        one = found[min(count - 1, int((start - since) / width))]
        one.bad += point.bad
        one.documents += point.documents
        one.expected += point.expected
        one.low += point.expected_low
        one.high += point.expected_high
        one.threshold = point.threshold
        one.seen = True
        if start != begun:
            begun, together = start, {}
        together[class_] = point.score
        one.score = max(one.score, combined(together))
    return found


def owed(answers: Answers, event: str) -> list[dict[str, Any]]:
    """What is owed to channels of one event, without bodies, by channel."""
    sql = "SELECT name, record FROM deliveries WHERE name > ? AND name < ? ORDER BY name"
    found = [(name, json.loads(record)) for name, record in answers.ask(sql, f"{event}|", f"{event}}}")]
    return [{"id": name, **{part: record[part] for part in record if part != "body"}} for name, record in found]
