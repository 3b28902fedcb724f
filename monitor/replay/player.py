"""Documents through the production stages, on event time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

import msgspec

from alerts.baseline import DAY, Profile
from models.classifier import Classifier, Prediction
from models.predictions import Mentions
from monitor.assembly import Parts, alert_context
from monitor.replay.curve import Curve
from monitor.replay.timeline import Noting, Timeline
from monitor.settings import Settings
from pipelines.aggregate import Aggregate
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, Document, SourceRecord, Watermark, decode, encode, epoch, iso
from pipelines.explain import Explainer
from pipelines.ingest import TABLES, Ingest, Origin, moment
from pipelines.notify import Notify
from pipelines.score import Known, Score
from pipelines.sources.base import RawItem
from pipelines.sources.order import chunks
from pipelines.streams.base import (
    ALERTS,
    DEAD_LETTERS,
    DOCUMENTS,
    EVIDENCE,
    PROFILES,
    SCORES,
    SERIES,
    SOURCES,
    TOPICS,
    WATERMARK,
    Output,
    Record,
    Stage,
)
from pipelines.streams.memory import MemoryEngine, MemoryState

SOURCE = "replay"
"""The source of what is read from files."""

PAGE = "page"
"""Who is told where no channel is configured."""

CHUNK = 256
CHUNK_BYTES = 16 * 2**20
"""Bytes of words after which a chunk ends before it has its documents."""
STEP = 600.0
"""Event time between two watermarks where no document comes."""

Fed = Document | Watermark | SourceRecord
"""What a player is fed, in the order of the log."""

Taker = Callable[[Sequence[Record]], None]
"""Is given what each chunk wrote to TAKEN, watermarks among it, in the order of the log."""

TAKEN = (EVIDENCE, PROFILES, SOURCES, SCORES, SERIES)


class Stopwatch:
    """A classifier, and the seconds that it took."""

    def __init__(self, inner: Classifier) -> None:
        self._inner = inner
        self.name, self.device, self.languages = inner.name, inner.device, inner.languages
        self.sentiments, self.topics, self.risks = inner.sentiments, inner.topics, inner.risks
        self.reference = inner.reference
        self.seconds = 0.0

    def predict(
        self, texts: Sequence[str], mentions: Mentions | None = None, *, story: bool = False
    ) -> list[Prediction]:
        started = time.perf_counter()
        try:
            return self._inner.predict(texts, mentions, story=story)
        finally:
            self.seconds += time.perf_counter() - started

    def close(self) -> None:
        self._inner.close()


class Tables:
    """What MemoryState asks of a stage: ingest keeps its ids like one."""

    name = "ingest"
    inputs = ()
    tables = TABLES


class Player:
    """Runs documents, in order, through ingest, score, aggregate and notify on a clock that they move.

    ``start``: before it baselines learn and nothing rings. ``others``: by language the models that judge it instead.
    ``known``: judgements that are there already. ``takers``: who else is given what it writes.
    ``budgets``: those under which the same evidence is tried as well. ``beside``: who else is shown it.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        classifier: Classifier,
        start: float | None,
        *,
        others: Mapping[str, Classifier] | None = None,
        known: Known | None = None,
        takers: Sequence[Taker] = (),
        budgets: Sequence[float] = (),
        beside: Sequence[Curve] = (),
    ) -> None:
        detection = settings.detection
        rest = {"min_open": detection.min_open, "lateness": detection.lateness}
        self._clock = ManualClock()
        self._watches = [Stopwatch(classifier), *(Stopwatch(one) for one in (others or {}).values())]
        judging = dict(zip(others or {}, self._watches[1:], strict=True))
        self.timeline, self.curve = Timeline(), Curve(budgets, **rest)
        detector = Noting(self.timeline, self.curve, beside, budget=detection.false_alarms_per_key_month, **rest)
        score, aggregate = self._score(parts, judging, known), self._aggregate(parts, detector, start)
        stages: list[Stage] = [score, aggregate, self._notify(parts, settings)]
        self._engine = MemoryEngine(stages, batch=CHUNK)
        self._takers = takers
        self._ids = MemoryState(Tables())  # type: ignore[arg-type]  # ingest is no stage; only its tables are used
        self.counts: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        """Documents by class."""
        self.profiles: list[Profile] = []
        """The week as it was learned on the way, a version a day."""
        self._passed = float("-inf")
        self.first: str | None = None
        """Time of the first document that was handed on."""
        self.live: str | None = None
        """Time of the first that may ring: the daemon did not take it in as history."""
        self.last = ""
        """The latest time of one."""

    def _score(self, parts: Parts, others: Mapping[str, Classifier], known: Known | None) -> Score:
        return Score(
            self._watches[0],
            parts.entities,
            parts.watch,
            clock=self._clock,
            others=others,
            known=known,
            rules=parts.rules.flash,
        )

    def _aggregate(self, parts: Parts, detector: Noting, start: float | None) -> Aggregate:
        return Aggregate(
            detector,
            parts.watch,
            clock=self._clock,
            model=" + ".join(dict.fromkeys(one.name for one in self._watches)),
            start=start,
            provisional=False,
            rules=parts.rules,
        )

    def _notify(self, parts: Parts, settings: Settings) -> Notify:
        return Notify(
            parts.watch,
            context=alert_context(settings, page=True),
            routes=parts.routes,
            channels=[channel.name for channel in settings.channels] or [PAGE],
            silences=parts.silences,
            clock=self._clock,
            explainer=Explainer({one.name: _opener(one) for one in self._watches}, within=None),
        )

    @property
    def model_seconds(self) -> float:
        """For which the models judged and explained."""
        return sum(one.seconds for one in self._watches)

    def documents(self, items: Iterable[RawItem], class_: Any, until: float | None) -> Iterator[Document]:
        """Items, which come by their time, as documents that do. What is after ``until`` counts nowhere."""
        ingest, origin = Ingest(max_age=None), Origin(source=SOURCE, class_=class_ or "news")
        wanted = items if until is None else takewhile(lambda item: moment(item, SOURCE) <= until, items)
        for part in chunks(wanted, CHUNK, CHUNK_BYTES):
            if class_ is not None:
                part = [msgspec.structs.replace(item, class_=class_) for item in part]
            outcome = ingest.accept(part, origin, self._ids, moment(part[-1], SOURCE))
            for table in self._ids.tables.values():
                table.freeze(forget=True)
            for name in ("accepted", "duplicate", "revision", "oversize"):
                self.counts[name] += getattr(outcome, name)
            self.counts["empty"] += outcome.invalid
            yield from outcome.documents

    def play(self, feed: Iterable[Fed]) -> Iterator[AlertRecord]:
        """Alerts as they come."""
        for chunk in _chunks(feed):
            outputs: list[Output] = []
            for entry in chunk:
                outputs.extend(self._outputs(entry))
            # Everything is decided at its own time: how many are handed on at once changes no byte.
            self._clock.set(min(epoch(entry.at) for entry in chunk))
            yield from self._run(outputs)

    def finish(self, until: float | None) -> Iterator[AlertRecord]:
        """Lets time pass after the last document, a week by default."""
        yield from self._run(list(self._pass(until if until is not None else epoch(self.last) + 7 * DAY)))

    def _outputs(self, entry: Fed) -> Iterator[Output]:
        if isinstance(entry, Document):
            self.counts["documents"] += 1
            self.classes[entry.class_] += 1
            self.first, self.last = self.first or entry.at, max(self.last, entry.at)
            self.live = self.live or (None if entry.backfill else entry.at)
            yield from self._pass(epoch(entry.at))
            yield Output(DOCUMENTS, entry.id, encode(entry))
        elif isinstance(entry, SourceRecord):
            yield Output(SOURCES, entry.source, encode(entry))
        elif epoch(entry.at) > self._passed:
            self._passed = epoch(entry.at)
            yield Output(DOCUMENTS, WATERMARK, encode(entry))

    def _pass(self, at: float) -> Iterator[Output]:
        """Watermarks up to ``at``, thinned out over long silences."""
        if self._passed == float("-inf"):
            self._passed = at
        while self._passed + STEP <= at:
            self._passed += STEP
            yield Output(DOCUMENTS, WATERMARK, encode(Watermark(at=iso(self._passed))))

    def _run(self, outputs: list[Output]) -> Iterator[AlertRecord]:
        if not outputs:
            return
        self._engine.append(outputs)
        self._engine.run()
        found = [decode(AlertRecord, record.value) for record in self._engine.records(ALERTS)]
        scores = self._engine.records(SCORES)
        self.counts["scored"] += len(scores)
        self.counts["unsupported"] += sum(b'"supported":false' in one.value for one in scores)
        self.counts["evidence"] += len(self._engine.records(EVIDENCE))
        self.counts["dead_letters"] += len(self._engine.records(DEAD_LETTERS))
        self.profiles.extend(decode(Profile, record.value) for record in self._engine.records(PROFILES))
        taken = self._engine.records(*TAKEN, marks=True) if self._takers else []
        for taker in self._takers:
            taker(taken)
        for topic in TOPICS:
            self._engine.forget(topic)
        yield from found


def _opener(one: Classifier) -> Callable[[], Classifier]:
    return lambda: one


def _chunks(feed: Iterable[Fed]) -> Iterator[list[Fed]]:
    """Day by day: the week's profile takes effect at midnight, and must be there by then."""
    part: list[Fed] = []
    held, day = 0, ""
    for entry in feed:
        if part and (entry.at[:10] > day or len(part) >= CHUNK or held >= CHUNK_BYTES):
            yield part
            part, held = [], 0
        day = max(day, entry.at[:10])
        part.append(entry)
        held += len(entry.title) + len(entry.text) if isinstance(entry, Document) else 0
    if part:
        yield part
