"""What a text is to a model, in bins: what the drift watch counts.

Four measures are of what is read (language, unknown tokens, length, distance of the story), four of what the model says
of it (sentiment, topic, adverse or not, confidence). A text in a language that the model can't read has only the first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from models.card import Card, CardError, Reference
from models.heads import SCALE
from models.predictions import Classifier, Prediction

MEASURES = ("language", "unknown", "length", "story", "sentiment", "topic", "adverse", "confidence")

VERSION = 1
"""Of the bins below; a reference that was counted in others says nothing here."""
CONFIDENCE = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Of the sentiment: lower edges of all bins but the first."""
UNKNOWN = (0.0, 0.05, 0.1, 0.2)
"""Share of unknown tokens: upper edges of all bins but the last. Most texts have none."""
LENGTH = (6, 10, 14, 22, 30, 46, 62, 94)
"""Tokens, likewise."""
STORY = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Cosine of the story embedding to the nearest centre: lower edges of all bins but the first."""

Tally = dict[str, list[int]]
"""Measure to texts by bin."""


class Bins:
    """The bins of one model; ``centres``: as a reference has them, empty where stories are not measured."""

    def __init__(self, model: Classifier, centres: bytes) -> None:
        self._languages = {language: place for place, language in enumerate(model.languages)}
        self._sizes = sizes(len(model.languages), len(model.sentiments), len(model.topics), adverse=bool(model.risks))
        self.story = bool(centres)
        """Whether story embeddings are wanted."""
        self._centres = centres

    def tally(self, languages: Iterable[str], predictions: Sequence[Prediction]) -> Tally:
        """Texts by their languages, and by the answers to those that were judged; a measure of none is left out."""
        found = {name: [0] * size for name, size in self._sizes.items()}
        other = len(self._languages)
        for language in languages:
            found["language"][self._languages.get(language, other)] += 1
        for one in predictions:
            found["unknown"][bisect_left(UNKNOWN, one.unknown_ratio)] += 1
            found["length"][bisect_left(LENGTH, one.tokens)] += 1
            best = max(one.sentiment)
            found["sentiment"][one.sentiment.index(best)] += 1
            found["confidence"][bisect_right(CONFIDENCE, best)] += 1
            found["topic"][one.topic.index(max(one.topic))] += 1
            if one.risk is not None:
                found["adverse"][one.risk.adverse] += 1
        if self.story:
            for cosine in self._nearness([one.story for one in predictions if one.story is not None]):
                found["story"][bisect_right(STORY, cosine)] += 1
        return {name: counts for name, counts in found.items() if any(counts)}

    def _nearness(self, stories: Sequence[bytes]) -> list[float]:
        """The cosine of each story to the nearest centre."""
        if not stories:
            return []
        size = len(stories[0])
        told = np.frombuffer(b"".join(stories), np.int8).reshape(-1, size).astype(np.float32)
        centres = np.frombuffer(self._centres, np.int8).reshape(-1, size).astype(np.float32)
        nearest: list[float] = ((told @ centres.T).max(1) / SCALE**2).tolist()
        return nearest


def sizes(languages: int, sentiments: int, topics: int, *, adverse: bool) -> dict[str, int]:
    """Measure to its number of bins, in the order of ``MEASURES``."""
    found = {
        "language": languages + 1,
        "unknown": len(UNKNOWN) + 1,
        "length": len(LENGTH) + 1,
        "story": len(STORY) + 1,
        "sentiment": sentiments,
        "topic": topics,
        "adverse": 2 if adverse else 0,
        "confidence": len(CONFIDENCE) + 1,
    }
    return {name: size for name, size in found.items() if size}


def reference_of(card: Card) -> Reference | None:
    """A card's reference, if it has one in these bins. Raises CardError where it doesn't fit the card's heads."""
    reference = card.reference
    if reference is None or reference.bins != VERSION:
        return None
    expected = sizes(
        len(card.languages), len(card.sentiment.labels), len(card.topic.labels), adverse=card.risk is not None
    )
    for part, measured in reference.parts.items():
        _check(f"card of {card.name!r}: reference, set {part!r}", measured, expected)
    dimensions = card.story.dimensions if card.story is not None else 0
    if reference.centres and (not dimensions or len(reference.centres) % dimensions):
        raise CardError(
            f"card of {card.name!r}: reference has {len(reference.centres)} bytes of centres, which are none of "
            f"{dimensions} dimensions; {_REMEDY}"
        )
    return reference


_REMEDY = "make it again with `tapewatch models reference`, or take `reference` out of the card"


def _check(where: str, measured: Mapping[str, Sequence[int]], expected: Mapping[str, int]) -> None:
    for name, counts in measured.items():
        if len(counts) != expected.get(name, 0) or min(counts) < 0 or not any(counts):
            raise CardError(
                f"{where}: {name!r} has {len(counts)} counts, {sum(counts)} in all, where this model has "
                f"{expected.get(name, 0)} bins; {_REMEDY}"
            )
