"""What the page asks of the read model beside lists: where every key stands, a key's past, what is owed of an event."""

from __future__ import annotations

import json
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from alerts.spike import gamma_quantile
from pipelines.answers import Answers
from pipelines.documents import epoch
from pipelines.gauges import combined

DAY = 86_400.0
BLOCK = 1_800.0
WANDER = 0.1
"""Squared, relative: how far a key's rate is from its baseline for no reason, as the detector takes it to be of a key
that it knows little of; a block's record does not tell it."""


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

    ``expected``: of its blocks; where nothing came there is none, and the rate of the last ones goes on. ``low``,
    ``high``: where nine of ten such stretches would lie. ``score``: the highest. ``seen``: whether anything was
    recorded in it; ``known``: whether its own history, of a day at least, says what to expect.
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
    known: bool = False


class _Block(msgspec.Struct, frozen=True, gc=False):
    """As much of a block's record as is shown: a year of them is read for one view, and one of every key."""

    end: str
    bad: float
    expected: float
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
    """``count`` equal stretches from ``since`` to ``until`` of a key, none shorter than a block."""
    width = (until - since) / count
    found = [Bucket(since + place * width, since + (place + 1) * width) for place in range(count)]
    recorded: list[dict[str, list[_Block]]] = [{} for _ in found]
    scores: dict[str, tuple[float, float]] = {}
    sql = "SELECT start, class, record FROM series WHERE key = ? AND start >= ? AND start < ? ORDER BY start, class"
    for start, rows in groupby(answers.ask(sql, key, since, until), itemgetter(0)):
        place = min(count - 1, int((start - since) / width))
        one = found[place]
        for _, class_, record in rows:
            point = _block(record)
            if point.baseline_span >= DAY:  # before, what is expected is what others have
                recorded[place].setdefault(class_, []).append(point)
            one.bad += point.bad
            one.documents += point.documents
            one.threshold = point.threshold
            scores[class_] = start, point.score
        one.seen = True
        # A class that was quiet for a day has nothing to say any more.
        fresh = {class_: score for class_, (at, score) in scores.items() if start - at < DAY}
        one.score = max(one.score, combined(fresh))
    _expect(found, recorded)
    return found


def _expect(found: list[Bucket], recorded: list[dict[str, list[_Block]]]) -> None:
    """What is expected of each stretch, and its interval: of a count whose rate wanders, as in alerts/spike.py."""
    rates: dict[str, float] = {}
    for one, classes in zip(found, recorded, strict=True):
        width = one.end - one.start
        for class_, blocks in classes.items():
            rates[class_] = sum(block.expected for block in blocks) / (BLOCK * len(blocks))
        one.expected = sum(rate * width for rate in rates.values())
        one.known = bool(rates)
        variance = one.expected * (1.0 + WANDER * one.expected)
        if one.expected > 0.0:
            one.low = gamma_quantile(one.expected, variance, -1.645)
            one.high = max(one.expected, gamma_quantile(one.expected, variance, 1.645))


def owed(answers: Answers, event: str) -> list[dict[str, Any]]:
    """What is owed to channels of one event, without bodies, by channel."""
    sql = "SELECT name, record FROM deliveries WHERE name > ? AND name < ? ORDER BY name"
    found = [(name, json.loads(record)) for name, record in answers.ask(sql, f"{event}|", f"{event}}}")]
    return [{"id": name, **{part: record[part] for part in record if part != "body"}} for name, record in found]
