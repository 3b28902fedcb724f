"""From a document to what a classifier is asked about it, and from its answer to what the records say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from models.classifier import Classifier, Prediction
from models.predictions import Risk as Answer
from models.predictions import Toward, bad_news
from models.reading import Span, read
from pipelines.documents import Document, ScoredDocument
from pipelines.entities import EntityHit, EntityIndex
from pipelines.scored import Risk, RiskLabel, ScoredEntity, Sentiment, Topic


class Question(NamedTuple):
    """What a classifier is asked about a document: the text that is read, and of each company in it where it stands."""

    document: Document
    text: str
    hits: tuple[EntityHit, ...]
    mentions: tuple[tuple[Span, ...], ...]


class Judgement(NamedTuple):
    """What a document says: as a whole, and toward each company in it."""

    sentiment: Sentiment
    topic: Topic
    risk: Risk | None
    entities: tuple[ScoredEntity, ...]


class Testimony(NamedTuple):
    """What a document says to one key: the sentiment, the adverse events, how probable it is that it is bad news."""

    sentiment: Sentiment
    risk: Risk | None
    bad: float
    company: str | None = None
    """Id of the company of which the model says so; None where it says so of the whole document."""


def question(document: Document, entities: EntityIndex) -> Question:
    """Companies are found in the whole document, and asked about where they stand in what is read of it."""
    reading = read(document.title, document.text)
    hits = tuple(entities.find(document.title, document.text))
    body = len(document.title) + 1
    mentions = tuple(
        reading.spans(
            [span for span in hit.spans if span[0] < body],
            [(start - body, end - body) for start, end in hit.spans if start >= body],
        )
        for hit in hits
    )
    return Question(document, reading.text, hits, mentions)


class Judge:
    """Reads a classifier's answers by its labels."""

    def __init__(self, classifier: Classifier) -> None:
        self._labels = classifier.sentiments
        self._topics = classifier.topics
        self._negative, self._neutral, self._positive = (
            classifier.sentiments.index(label) for label in ("negative", "neutral", "positive")
        )

    def judge(self, asked: Question, answer: Prediction) -> Judgement:
        """What the document says; a company that the model did not judge gets what is said of all."""
        sentiment, risk = self._sentiment(answer.sentiment), risk_of(answer.risk)
        best = max(range(len(answer.topic)), key=answer.topic.__getitem__)
        return Judgement(
            sentiment,
            Topic(self._topics[best], round(answer.topic[best], 6)),
            risk,
            tuple(
                self._entity(hit, toward, sentiment, risk)
                for hit, toward in zip(asked.hits, answer.mentions, strict=True)
            ),
        )

    def _entity(self, hit: EntityHit, toward: Toward | None, sentiment: Sentiment, risk: Risk | None) -> ScoredEntity:
        relevance = round(hit.relevance, 4)
        if toward is None:
            return ScoredEntity(hit.id, hit.name, relevance, sentiment, "document", risk)
        own = self._sentiment(toward.sentiment)
        return ScoredEntity(hit.id, hit.name, relevance, own, "entity", risk_of(toward.risk))

    def _sentiment(self, values: Sequence[float]) -> Sentiment:
        best = max(range(len(values)), key=values.__getitem__)
        return Sentiment(
            self._labels[best],
            negative=round(values[self._negative], 6),
            neutral=round(values[self._neutral], 6),
            positive=round(values[self._positive], 6),
        )


def risk_of(answer: Answer | None) -> Risk | None:
    """A classifier's answer as a record keeps it."""
    if answer is None:
        return None
    labels = tuple(RiskLabel(label, round(probability, 6)) for label, probability in answer.kinds)
    return Risk(round(answer.probability, 6), answer.adverse, labels)


def testimonies(scored: ScoredDocument, companies: Iterable[str]) -> list[Testimony]:
    """What a document says to a key whose news is that of ``companies``: of each of them, without any what it says of
    all. Nothing where the document was not judged."""
    if scored.sentiment is None:
        return []
    ids = frozenset(companies)
    own = [
        _testimony(one.sentiment, one.risk, one.id if one.basis == "entity" else None)
        for one in scored.entities
        if one.id in ids
    ]
    return own or [_testimony(scored.sentiment, scored.risk, None)]


def _testimony(sentiment: Sentiment, risk: Risk | None, company: str | None) -> Testimony:
    event = risk.probability if risk is not None else 0.0
    return Testimony(sentiment, risk, round(bad_news(sentiment.negative, event), 6), company)
