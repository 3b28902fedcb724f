"""Score: documents in; judgements, evidence for the watched keys and dead letters out. Keeps no state."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from prometheus_client import Counter, Histogram

from models.classifier import Classifier, ClassifierError, Prediction, scoring_text
from pipelines.clock import Clock
from pipelines.documents import (
    Document,
    Evidence,
    RecordError,
    ScoredDocument,
    ScoredEntity,
    Sentiment,
    Topic,
    decode,
    encode,
    iso,
)
from pipelines.entities import EntityHit, EntityIndex
from pipelines.letters import dead_letter
from pipelines.publishers import publisher_key
from pipelines.signatures import signature
from pipelines.streams.base import DOCUMENTS, EVIDENCE, SCORES, WATERMARK, Output, Record, State
from pipelines.watch import Watch

log = structlog.get_logger(__name__)

SCORED = Counter("tapewatch_scored_documents_total", "Documents that the model judged.", ["model"])
SENTIMENT = Counter("tapewatch_sentiment_total", "Documents by the sentiment they got.", ["label"])
TOPIC = Counter("tapewatch_topic_total", "Documents by the topic they got.", ["label"])
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
TRUNCATED = Counter("tapewatch_truncated_documents_total", "Documents of which the model read the start.", ["model"])

EVIDENCE_TITLE = 200
"""Characters of a headline that travel with each piece of evidence."""


class Score:
    """The score stage."""

    name = "score"
    inputs: tuple[str, ...] = (DOCUMENTS,)
    tables: Mapping[str, type[Any]] = {}

    def __init__(self, classifier: Classifier, entities: EntityIndex, watch: Watch, *, clock: Clock) -> None:
        self._classifier = classifier
        self._languages = frozenset(classifier.languages)
        self._entities = entities
        self.watch = watch
        self._clock = clock
        self._measures = _Measures(classifier.name)
        self._negative, self._neutral, self._positive = (
            classifier.sentiments.index(label) for label in ("negative", "neutral", "positive")
        )

    def adopt(self, entities: EntityIndex, watch: Watch) -> None:
        """Takes over new watch-lists."""
        self._entities, self.watch = entities, watch

    def recovered(self, state: State) -> list[Output]:
        del state  # nothing is said again
        return []

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        del state  # the stage keeps none
        outputs: list[Output] = []
        documents = self._read(batch, outputs)
        readable = [document for document in documents.values() if document.language in self._languages]
        predictions = self._predict(readable, batch, documents, outputs)
        scored_at = iso(self._clock.time())
        judged: list[ScoredDocument] = []
        for offset, record in enumerate(batch):
            if record.key == WATERMARK:
                outputs.append(Output(EVIDENCE, WATERMARK, record.value, record.partition))
                continue
            document = documents.get(offset)
            if document is None:
                continue
            if document.language not in self._languages:
                UNSUPPORTED.inc()
                outputs.append(self._unsupported(document, scored_at))
            elif (prediction := predictions.get(id(document))) is not None:
                judged.append(self._judge(document, prediction, scored_at, outputs))
        _count(judged)
        return outputs

    # -- reading and judging ------------------------------------------------------------------------------

    def _read(self, batch: Sequence[Record], outputs: list[Output]) -> dict[int, Document]:
        documents = {}
        for number, record in enumerate(batch):
            if record.key == WATERMARK:
                continue
            try:
                documents[number] = decode(Document, record.value)
            except RecordError as error:
                outputs.append(self._dead(record, error.reason, str(error)))
        return documents

    def _predict(
        self,
        readable: Sequence[Document],
        batch: Sequence[Record],
        documents: Mapping[int, Document],
        outputs: list[Output],
    ) -> dict[int, Prediction]:
        """Judgements by the identity of their document; a text that fails alone becomes a dead letter."""
        if not readable:
            return {}
        texts = [scoring_text(document.title, document.text) for document in readable]
        started = time.perf_counter()
        try:
            judged: list[Prediction | None] = list(self._classifier.predict(texts))
        except ClassifierError:
            records = {id(document): batch[number] for number, document in documents.items()}
            judged = [
                self._predict_alone(text, records[id(document)], outputs)
                for text, document in zip(texts, readable, strict=True)
            ]
        model = self._classifier.name
        BATCH_SECONDS.labels(model).observe(time.perf_counter() - started)
        BATCH_DOCUMENTS.labels(model).observe(len(readable))
        SCORED.labels(model).inc(sum(prediction is not None for prediction in judged))
        return {
            id(document): prediction
            for document, prediction in zip(readable, judged, strict=True)
            if prediction is not None
        }

    def _predict_alone(self, text: str, record: Record, outputs: list[Output]) -> Prediction | None:
        try:
            return self._classifier.predict([text])[0]
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
            model=self._classifier.name,
        )
        return Output(SCORES, document.id, encode(scored))

    def _judge(
        self, document: Document, prediction: Prediction, scored_at: str, outputs: list[Output]
    ) -> ScoredDocument:
        sentiment = self._sentiment(prediction)
        best = max(range(len(prediction.topic)), key=prediction.topic.__getitem__)
        topic = Topic(self._classifier.topics[best], round(prediction.topic[best], 6))
        self._measures.take(prediction)
        hits = self._entities.find(document.title, document.text)
        mark = signature(document.title, document.text)
        scored = ScoredDocument(
            **_fields(document),
            scored=max(scored_at, document.fetched),  # nothing is judged before it was read, whatever the clock says
            supported=True,
            sentiment=sentiment,
            topic=topic,
            abstain=prediction.abstain,
            entities=tuple(
                ScoredEntity(hit.id, hit.name, round(hit.relevance, 4), sentiment, "document") for hit in hits
            ),
            signature=mark,
            model=self._classifier.name,
        )
        outputs.append(Output(SCORES, document.id, encode(scored)))
        self._testify(scored, hits, outputs)
        return scored

    def _testify(self, scored: ScoredDocument, hits: Sequence[EntityHit], outputs: list[Output]) -> None:
        sentiment, topic = scored.sentiment, scored.topic
        if sentiment is None or topic is None:
            return
        social = scored.class_ == "social"
        publisher = None if social else publisher_key(scored.publisher, scored.source, scored.url)
        matches = self.watch.match([(hit.id, hit.relevance) for hit in hits], topic.label, topic.probability)
        evidence = Evidence(
            id=scored.id,
            revision=scored.revision,
            key="",
            class_=scored.class_,
            at=scored.at,
            b=sentiment.negative,
            relevance=0.0,
            signature=scored.signature,
            source=scored.source,
            publisher=publisher,
            by=scored.author if social else scored.publisher,
            title=scored.title[:EVIDENCE_TITLE],
            url=scored.url,
            published=scored.published,
            fetched=scored.fetched,
            scored=scored.scored,
            negative=sentiment.negative,
            neutral=sentiment.neutral,
            positive=sentiment.positive,
            backfill=scored.backfill,
        )
        for match in matches:
            one = msgspec.structs.replace(evidence, key=match.key, relevance=round(match.relevance, 4))
            outputs.append(Output(EVIDENCE, match.key, encode(one)))

    def _sentiment(self, prediction: Prediction) -> Sentiment:
        values = prediction.sentiment
        best = max(range(len(values)), key=values.__getitem__)
        return Sentiment(
            self._classifier.sentiments[best],
            negative=round(values[self._negative], 6),
            neutral=round(values[self._neutral], 6),
            positive=round(values[self._positive], 6),
        )


class _Measures:
    """What a model's answers say about the model. Their series are looked up once: it is asked for every text."""

    def __init__(self, model: str) -> None:
        self._sentiment = CONFIDENCE.labels(model, "sentiment")
        self._topic = CONFIDENCE.labels(model, "topic")
        self._unknown = UNKNOWN.labels(model)
        self._abstained = ABSTAINED.labels(model)
        self._truncated = TRUNCATED.labels(model)
        for series in (SCORED, BATCH_SECONDS, BATCH_DOCUMENTS):  # a rate needs the zero before the first
            series.labels(model)

    def take(self, prediction: Prediction) -> None:
        self._sentiment.observe(max(prediction.sentiment))
        self._topic.observe(max(prediction.topic))
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


def _fields(document: Document) -> dict[str, Any]:
    return {name: getattr(document, name) for name in Document.__struct_fields__}
