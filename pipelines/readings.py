"""What the score stage tells the drift watch: of every batch how many of its texts fell into which bin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from models.classifier import Classifier, Prediction
from models.measures import VERSION, Bins, Tally
from pipelines.documents import Document, Reading, encode
from pipelines.streams.base import READINGS, Output

CLASSES: tuple[Literal["news", "social"], ...] = ("news", "social")
"""Filings are news, as they are in detection."""


class Readings:
    """Of one model. The first one tells its card's reference as well, so that who compares needs no card."""

    def __init__(self, classifier: Classifier) -> None:
        self._model = classifier.name
        self._reference = classifier.reference
        self._bins = Bins(classifier, classifier.reference.centres if classifier.reference is not None else b"")
        self.story = self._bins.story
        """Whether story embeddings are wanted of the model."""

    def of(self, documents: Mapping[int, Document], answers: Mapping[int, Prediction], at: str) -> list[Output]:
        """A batch, by the numbers of its records. History is left out: it says nothing of what comes in now."""
        counts: dict[Literal["news", "social"], Tally] = {}
        for class_ in CLASSES:
            texts = {
                number: document.language
                for number, document in documents.items()
                if not document.backfill and (document.class_ == "social") == (class_ == "social")
            }
            if texts:
                judged = [answers[number] for number in texts if number in answers]
                counts[class_] = self._bins.tally(texts.values(), judged)
        if not counts:
            return []
        reading = Reading(at=at, model=self._model, bins=VERSION, counts=counts, reference=self._reference)
        self._reference = None
        return [Output(READINGS, self._model, encode(reading))]
