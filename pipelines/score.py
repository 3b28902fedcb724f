"""Score: documents in; judgements, evidence for the watched keys, readings and dead letters out. Keeps no state."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from prometheus_client import Counter, Histogram

from alerts.rules import FlashRule
from models.classifier import Classifier, ClassifierError, Prediction
from models.reading import Span
from models.session import DeviceError
from pipelines.clock import Clock
from pipelines.documents import (
    Document,
    Evidence,
    RecordError,
    ScoredDocument,
    Watermark,
    decode,
    encode,
    epoch,
    iso,
)
from pipelines.entities import EntityIndex
from pipelines.judgements import Judge, Question, question, testimonies
from pipelines.letters import dead_letter
from pipelines.publishers import publisher_key
from pipelines.readings import Readings
from pipelines.sieve import spoken_for
from pipelines.signatures import signature
from pipelines.streams.base import DOCUMENTS, EVIDENCE, SCORES, WATERMARK, Output, Record, StageUnable, State
from pipelines.watch import Watch, also

log = structlog.get_logger(__name__)

SCORED = Counter("tapewatch_scored_documents_total", "Documents that the model judged.", ["model"])
SENTIMENT = Counter("tapewatch_sentiment_total", "Documents by the sentiment they got.", ["label"])
TOPIC = Counter("tapewatch_topic_total", "Documents by the topic they got.", ["label"])
RISK = Counter("tapewatch_risk_total", "Kinds of adverse events that were named in documents.", ["label"])
ADVERSE = Counter("tapewatch_adverse_documents_total", "Documents that were called adverse.", ["model"])
ENTITIES = Counter(
    "tapewatch_judged_entities_total",
    "Companies in documents, by whether the model judged them or the text.",
    ["basis"],
)
UNSUPPORTED = Counter(
    "tapewatch_unsupported_language_total", "Documents kept unjudged: the model can't read their language."
)
BATCH_SECONDS = Histogram(
    "tapewatch_score_batch_seconds",
    "Time to judge one batch.",
    ["model"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
BATCH_DOCUMENTS = Histogram(
    "tapewatch_score_batch_documents",
    "Documents in one batch.",
    ["model"],
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000),
)

CONFIDENCE = Histogram(
    "tapewatch_model_confidence",
    "Calibrated probability of the label that a text got.",
    ["model", "head"],
    buckets=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
)
UNKNOWN = Histogram(
    "tapewatch_model_unknown_token_ratio",
    "Share of a text's tokens that the model's vocabulary has not.",
    ["model"],
    buckets=(0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
ABSTAINED = Counter("tapewatch_abstained_documents_total", "Documents that the model is not sure of.", ["model"])
TRUNCATED = Counter("tapewatch_truncated_documents_total", "Documents whose middle the model did not read.", ["model"])

AHEAD = 7_200.0
"""Seconds by which what others write may be ahead of this machine's clock: a clock an hour off is borne, local time
that calls itself UTC is mostly not."""

EVIDENCE_TITLE = 200
"""Characters of a headline that travel with each piece of evidence."""

Known = Callable[[Question], ScoredDocument | None]
"""The judgement of a document by the same model that is there already; None where there is none."""


class _Reader:
    """A model, and what reads and measures its answers."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.judge = Judge(classifier)
        self.measures = _Measures(classifier.name, classifier.risks)
        self.readings = Readings(classifier)


class Score:
    """The score stage."""

    name = "score"
    inputs: tuple[str, ...] = (DOCUMENTS,)
    tables: Mapping[str, type[Any]] = {}

    def __init__(
        self,
        classifier: Classifier,
        entities: EntityIndex,
        watch: Watch,
        *,
        clock: Clock,
        ahead: float | None = None,
        others: Mapping[str, Classifier] | None = None,
        known: Known | None = None,
        rules: Sequence[FlashRule] = (),
    ) -> None:
        """``ahead``: seconds by which a record may be ahead of the clock; None where only ingest writes them.
        ``others``: by language the models that judge it instead of the one for all. ``known``: what need not be judged
        again. ``rules``: those that one story may ring."""
        self._ahead = ahead
        self._known = known
        self._clock = clock
        readers = {id(one): _Reader(one) for one in (others or {}).values()}
        self._others = {language: readers[id(one)] for language, one in (others or {}).items()}
        self.adopt(entities, watch, classifier, rules)

    def adopt(
        self, entities: EntityIndex, watch: Watch, classifier: Classifier, rules: Sequence[FlashRule] = ()
    ) -> None:
        """Takes over watch-lists, rules and model. No batch is under way meanwhile: each is one model's."""
        self._entities, self.watch, self._rules = entities, watch, tuple(rules)
        self._reader = _Reader(classifier)
        self._readers = dict.fromkeys(classifier.languages, self._reader) | self._others

    def recovered(self, state: State) -> list[Output]:
        del state  # nothing is said again
        return []

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        del state  # the stage keeps none
        outputs: list[Output] = []
        documents, marks = self._read(batch, outputs)
        asked = {
            number: question(document, self._entities)
            for number, document in documents.items()
            if document.language in self._readers
        }
        known = self._judged(asked)
        predictions = self._predict({n: one for n, one in asked.items() if n not in known}, batch, outputs)
        scored_at = iso(self._clock.time())
        judged: list[ScoredDocument] = []
        for offset, record in enumerate(batch):
            if offset in marks:
                outputs.append(Output(EVIDENCE, WATERMARK, record.value, record.partition))
                continue
            document = documents.get(offset)
            if document is None:
                continue
            if offset not in asked:
                UNSUPPORTED.inc()
                outputs.append(self._unsupported(document, scored_at))
            elif offset in known:
                outputs.extend(self._tell_again(asked[offset], known[offset], scored_at))
            elif (prediction := predictions.get(offset)) is not None:
                reader = self._readers[asked[offset].document.language]
                judged.append(self._tell(asked[offset], prediction, reader, scored_at, outputs))
        _count(judged)
        fresh = {number: document for number, document in documents.items() if number not in known}
        return outputs + self._readings(fresh, predictions, scored_at)

    def _readings(
        self, documents: Mapping[int, Document], predictions: Mapping[int, Prediction], at: str
    ) -> list[Output]:
        """Of every model by the documents that were its to judge; what no model reads is the first one's."""
        outputs: list[Output] = []
        for reader in {id(one): one for one in (self._reader, *self._others.values())}.values():
            own = {n: one for n, one in documents.items() if self._readers.get(one.language, self._reader) is reader}
            outputs += reader.readings.of(own, predictions, at)
        return outputs

    def _judged(self, asked: Mapping[int, Question]) -> dict[int, ScoredDocument]:
        """What need not be asked, by the number of its record."""
        if self._known is None:
            return {}
        return {number: known for number, one in asked.items() if (known := self._known(one)) is not None}

    # -- reading and judging ------------------------------------------------------------------------------

    def _read(self, batch: Sequence[Record], outputs: list[Output]) -> tuple[dict[int, Document], set[int]]:
        """Documents by the number of their record, and the numbers of the watermarks."""
        documents, marks = {}, set()
        for number, record in enumerate(batch):
            try:
                if record.key == WATERMARK:
                    self._believe(decode(Watermark, record.value))
                    marks.add(number)
                else:
                    document = documents[number] = decode(Document, record.value)
                    self._believe(document)
            except RecordError as error:
                documents.pop(number, None)
                outputs.append(self._dead(record, error.reason, str(error)))
        return documents, marks

    def _believe(self, record: Document | Watermark) -> None:
        """Raises RecordError where a record's time is beyond belief."""
        if self._ahead is not None and epoch(record.at) > self._clock.time() + self._ahead:
            raise RecordError(
                f"at {record.at} is more than {self._ahead / 3600:g} h ahead of this machine's clock, and would make "
                "all that comes until then late: correct the clock or time zone of what wrote it"
            )

    def _predict(
        self, asked: Mapping[int, Question], batch: Sequence[Record], outputs: list[Output]
    ) -> dict[int, Prediction]:
        """Answers by the number of their record; a text that fails alone becomes a dead letter. Raises StageUnable."""
        parts: dict[_Reader, dict[int, Question]] = {}
        for number, one in asked.items():
            parts.setdefault(self._readers[one.document.language], {})[number] = one
        found: dict[int, Prediction] = {}
        for reader, part in parts.items():
            started = time.perf_counter()
            try:
                answers = self._answers(reader, part, batch, outputs)
            except DeviceError as error:
                raise StageUnable(f"the model can't judge anything now: {error}") from error
            model = reader.classifier.name
            BATCH_SECONDS.labels(model).observe(time.perf_counter() - started)
            BATCH_DOCUMENTS.labels(model).observe(len(part))
            SCORED.labels(model).inc(sum(answer is not None for answer in answers))
            found |= {number: answer for number, answer in zip(part, answers, strict=True) if answer is not None}
        return found

    def _answers(
        self, reader: _Reader, asked: Mapping[int, Question], batch: Sequence[Record], outputs: list[Output]
    ) -> list[Prediction | None]:
        questions = asked.values()
        try:
            texts, mentions = [one.text for one in questions], [one.mentions for one in questions]
            return [*reader.classifier.predict(texts, mentions, story=reader.readings.story)]
        except ClassifierError:
            return [self._predict_alone(reader, one, batch[number], outputs) for number, one in asked.items()]

    def _predict_alone(
        self, reader: _Reader, asked: Question, record: Record, outputs: list[Output]
    ) -> Prediction | None:
        try:
            return reader.classifier.predict([asked.text], [asked.mentions], story=reader.readings.story)[0]
        except ClassifierError as error:
            outputs.append(self._dead(record, "classifier_failed", str(error)))
            return None

    def _dead(self, record: Record, reason: str, detail: str) -> Output:
        return dead_letter(self.name, record, reason, detail, self._clock.time())

    # -- writing ------------------------------------------------------------------------------------------

    def _unsupported(self, document: Document, scored_at: str) -> Output:
        scored = ScoredDocument(
            **_fields(document),
            scored=max(scored_at, document.fetched),  # nothing is judged before it was read, whatever the clock says
            supported=False,
            signature=signature(document.title, document.text),
            model=self._reader.classifier.name,
        )
        return Output(SCORES, document.id, encode(scored))

    def _tell(
        self, asked: Question, prediction: Prediction, reader: _Reader, scored_at: str, outputs: list[Output]
    ) -> ScoredDocument:
        document, judgement = asked.document, reader.judge.judge(asked, prediction)
        reader.measures.take(prediction)
        scored = ScoredDocument(
            **_fields(document),
            scored=max(scored_at, document.fetched),  # nothing is judged before it was read, whatever the clock says
            supported=True,
            sentiment=judgement.sentiment,
            topic=judgement.topic,
            abstain=prediction.abstain,
            entities=judgement.entities,
            signature=signature(document.title, document.text),
            model=reader.classifier.name,
            risk=judgement.risk,
        )
        outputs.append(Output(SCORES, document.id, encode(scored)))
        outputs.extend(self._testify(scored, asked))
        return scored

    def _tell_again(self, asked: Question, known: ScoredDocument, scored_at: str) -> Iterator[Output]:
        """A judgement that was there, of the document as it is here."""
        document = asked.document
        scored = msgspec.structs.replace(known, **_fields(document), scored=max(scored_at, document.fetched))
        yield Output(SCORES, document.id, encode(scored))
        yield from self._testify(scored, asked)

    def _testify(self, scored: ScoredDocument, asked: Question) -> Iterator[Output]:
        """Evidence for every watched key; for one of several companies it is what is worst for one of them."""
        topic = scored.topic
        if topic is None or scored.sentiment is None:
            return
        social = scored.class_ == "social"
        publisher = None if social else publisher_key(scored.publisher, scored.source, scored.url)
        found = self.watch.match([(hit.id, hit.relevance) for hit in asked.hits], topic.label, topic.probability)
        for match in found:
            said = max(testimonies(scored, match.entities), key=lambda one: one.bad)
            evidence = Evidence(
                id=scored.id,
                revision=scored.revision,
                key=match.key,
                class_=scored.class_,
                at=scored.at,
                b=said.bad,
                relevance=round(match.relevance, 4),
                signature=scored.signature,
                source=scored.source,
                publisher=publisher,
                by=scored.author if social else scored.publisher,
                title=scored.title[:EVIDENCE_TITLE],
                url=scored.url,
                published=scored.published,
                fetched=scored.fetched,
                scored=scored.scored,
                negative=said.sentiment.negative,
                neutral=said.sentiment.neutral,
                positive=said.sentiment.positive,
                backfill=scored.backfill,
                risk=said.risk.probability if said.risk is not None else None,
                events=tuple(named.label for named in said.risk.labels) if said.risk is not None else (),
                model=scored.model,
                mentions=_in_title(asked, said.company),
                rules=spoken_for(self._rules, scored, asked.text, self.watch.keys[match.key], said),
                also=also(match.key, found),
            )
            yield Output(EVIDENCE, match.key, encode(evidence))


class _Measures:
    """What a model's answers say about the model. Their series are looked up once: it is asked for every text."""

    def __init__(self, model: str, risks: Sequence[str]) -> None:
        self._sentiment = CONFIDENCE.labels(model, "sentiment")
        self._topic = CONFIDENCE.labels(model, "topic")
        self._risk = CONFIDENCE.labels(model, "risk") if risks else None
        self._unknown = UNKNOWN.labels(model)
        self._abstained = ABSTAINED.labels(model)
        self._truncated = TRUNCATED.labels(model)
        for series in (SCORED, BATCH_SECONDS, BATCH_DOCUMENTS):  # a rate needs the zero before the first
            series.labels(model)
        if risks:
            ADVERSE.labels(model)
        for kind in risks:
            RISK.labels(kind)

    def take(self, prediction: Prediction) -> None:
        self._sentiment.observe(max(prediction.sentiment))
        self._topic.observe(max(prediction.topic))
        if self._risk is not None and prediction.risk is not None:
            self._risk.observe(max(prediction.risk.probability, 1.0 - prediction.risk.probability))
        self._unknown.observe(prediction.unknown_ratio)
        if prediction.abstain:
            self._abstained.inc()
        if prediction.truncated:
            self._truncated.inc()


def _count(judged: Sequence[ScoredDocument]) -> None:
    for label, number in Counts(one.sentiment.label for one in judged if one.sentiment is not None).items():
        SENTIMENT.labels(label).inc(number)
    for label, number in Counts(one.topic.label for one in judged if one.topic is not None).items():
        TOPIC.labels(label).inc(number)
    for basis, number in Counts(entity.basis for one in judged for entity in one.entities).items():
        ENTITIES.labels(basis).inc(number)
    risks = [(one.model, one.risk) for one in judged if one.risk is not None]
    for model, number in Counts(model for model, risk in risks if risk.adverse).items():
        ADVERSE.labels(model).inc(number)
    for kind, number in Counts(named.label for _, risk in risks for named in risk.labels).items():
        RISK.labels(kind).inc(number)


def _in_title(asked: Question, company: str | None) -> tuple[Span, ...]:
    """Where a company stands in the part of the headline that travels."""
    spans = (span for hit in asked.hits if hit.id == company for span in hit.spans)
    return tuple(span for span in spans if span[1] <= min(len(asked.document.title), EVIDENCE_TITLE))


def _fields(document: Document) -> dict[str, Any]:
    return {name: getattr(document, name) for name in Document.__struct_fields__}
