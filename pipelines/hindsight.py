"""How often flash rules would have rung over the judged documents that the log still has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from alerts import flash
from alerts.baseline import MONTH
from alerts.flash import Flash, Telling
from alerts.rules import FlashRule
from models.reading import scoring_text
from pipelines.documents import RecordError, ScoredDocument, decode, epoch
from pipelines.judgements import testimonies
from pipelines.publishers import publisher_key
from pipelines.sieve import copied, spoken_for
from pipelines.streams.base import SCORES, WATERMARK, LogReader, Record
from pipelines.watch import Watch

LIMIT = 2_000
"""Records that are read at once."""

PATIENCE = 4
"""Reads without a record after which the log is taken to have no more: a broker's first answer may take a while."""


class _Heard(NamedTuple):
    at: float
    document: str
    rule: str
    key: str
    telling: Telling


@dataclass
class Hindsight:
    """What the log says of rules. ``rang``: rule to key to how often it would have rung."""

    documents: int = 0
    first: float = 0.0
    last: float = 0.0
    rang: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def months(self) -> float:
        """Of history."""
        return (self.last - self.first) / MONTH

    def count(self, rule: str) -> int:
        return self.rang[rule].total()

    def chance(self, rule: str, budget: float) -> float:
        """Probability that a rule of ``budget`` alerts a month rings so often, or more, in as much history."""
        mean = budget * self.months
        below = sum(math.exp(-mean + n * math.log(mean) - math.lgamma(n + 1)) for n in range(self.count(rule)))
        return max(0.0, 1.0 - below)

    def monthly(self, rule: str) -> float | None:
        """Alerts a month; None where there is no history to count by."""
        return self.count(rule) / self.months if self.months > 0 else None


def look_back(reader: LogReader, watch: Watch, rules: Sequence[FlashRule]) -> Hindsight:
    """Reads all that is left of the log. Of a document that was judged again what was said first counts."""
    found = Hindsight(rang={rule.name: Counter() for rule in rules})
    heard: list[_Heard] = []
    known: set[str] = set()
    for record in _records(reader):
        try:
            scored = decode(ScoredDocument, record.value)
        except RecordError:
            continue  # the view passes it over, too
        if scored.id in known:
            continue
        known.add(scored.id)
        at = epoch(scored.at)
        found.first, found.last = min(found.first or at, at), max(found.last, at)
        found.documents += 1
        heard += _heard(scored, at, watch, rules)
    _ring(found, sorted(heard, key=lambda one: (one.at, one.document, one.key)), rules)
    return found


def _records(reader: LogReader) -> Iterator[Record]:
    position, empty = "", 0
    while empty < PATIENCE:
        records, position = reader.read([SCORES], position, LIMIT)
        empty = 0 if records else empty + 1
        yield from (record for record in records if record.key != WATERMARK)


def _heard(scored: ScoredDocument, at: float, watch: Watch, rules: Sequence[FlashRule]) -> Iterator[_Heard]:
    """What a document says for rules, as the score stage has it."""
    if scored.topic is None or scored.sentiment is None or scored.class_ == "social":
        return
    text = scoring_text(scored.title, scored.text)
    publisher = publisher_key(scored.publisher, scored.source, scored.url)
    entities = [(one.id, one.relevance) for one in scored.entities]
    for match in watch.match(entities, scored.topic.label, scored.topic.probability):
        said = max(testimonies(scored, match.entities), key=lambda one: one.bad)
        for name in spoken_for(rules, scored, text, watch.keys[match.key], said):
            telling = Telling(at, publisher, said.bad, scored.signature, None)
            yield _Heard(at, scored.id, name, match.key, telling)


def _ring(found: Hindsight, heard: Iterable[_Heard], rules: Sequence[FlashRule]) -> None:
    by_name = {rule.name: rule for rule in rules}
    states: dict[tuple[str, str], Flash] = {}
    for one in heard:
        rule, state = by_name[one.rule], states.setdefault((one.rule, one.key), Flash())
        flash.over(rule, one.key, state, one.at)
        event = flash.tell(rule, one.key, state, one.telling, one.document, copied(state, one.telling))
        found.rang[one.rule][one.key] += event is not None and event.kind == "firing"
