"""A classifier that judges by keywords."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from models.card import Reference
from models.labels import RISKS, SENTIMENTS, TOPICS
from models.predictions import ClassifierError, Mentions, Prediction, Risk, Toward
from models.reading import Span
from models.session import DeviceError


class FakeClassifier:
    """Judges by keywords: fast and fixed, for tests of everything around the model.

    Any of ``BAD`` makes a text negative, any of ``GOOD`` positive; a topic's first word picks the topic; ``poison``
    in a text raises for every batch that holds it. With ``five_heads`` a word of ``EVENTS`` is an event of its kind,
    and what is said toward an entity is judged by the words from it to the next one, in the first ``WINDOW``
    characters. While ``broken``, its device fails.
    """

    BAD = ("falls", "fraud", "probe", "slump", "crash", "loss", "sues")
    GOOD = ("gains", "record", "beats", "surge", "wins")
    EVENTS = {  # noqa: RUF012 (a constant)
        "probe": "investigation",
        "fraud": "fraud",
        "recall": "recall",
        "sues": "litigation",
        "crash": "accident",
        "strike": "strike",
        "hack": "cyber",
    }
    WINDOW = 200

    def __init__(
        self,
        *,
        poison: str = "\x00poison",
        languages: tuple[str, ...] = ("en",),
        five_heads: bool = False,
        reference: Reference | None = None,
    ) -> None:
        self.name = "fake@000000000000"
        self.device = "cpu"
        self.sentiments = SENTIMENTS
        self.topics = TOPICS
        self.risks = RISKS if five_heads else ()
        self.languages = languages
        self.reference = reference
        self._poison = poison
        self._lock = threading.Lock()
        self.calls = 0
        self.broken = False

    def predict(
        self, texts: Sequence[str], mentions: Mentions | None = None, *, story: bool = False
    ) -> list[Prediction]:
        with self._lock:
            self.calls += 1
        if self.broken:
            raise DeviceError("the device is gone")
        if any(self._poison in text for text in texts):
            raise ClassifierError("a poisoned text")
        asked = mentions if mentions is not None else [()] * len(texts)
        return [self._judge(text.lower(), entities, story) for text, entities in zip(texts, asked, strict=True)]

    def close(self) -> None:
        pass

    def _judge(self, text: str, entities: Sequence[Sequence[Span]], story: bool) -> Prediction:
        place = next((i for i, topic in enumerate(self.topics) if topic.split(" ")[0].lower() in text), 8)
        rest = 0.1 / (len(self.topics) - 1)
        return Prediction(
            self._sentiment(text),
            tuple(0.9 if i == place else rest for i in range(len(self.topics))),
            risk=self._risk(text),
            mentions=tuple(self._toward(text, spans, entities) for spans in entities),
            story=bytes(128) if story and self.risks else None,
            tokens=len(text.split()),
        )

    def _sentiment(self, text: str) -> tuple[float, ...]:
        if any(word in text for word in self.BAD):
            return (0.9, 0.08, 0.02)
        if any(word in text for word in self.GOOD):
            return (0.02, 0.08, 0.9)
        return (0.03, 0.94, 0.03)

    def _risk(self, text: str) -> Risk | None:
        if not self.risks:
            return None
        kinds = tuple((kind, 0.8) for word, kind in self.EVENTS.items() if word in text)
        return Risk(0.9 if kinds else 0.05, bool(kinds), kinds)

    def _toward(self, text: str, spans: Sequence[Span], entities: Sequence[Sequence[Span]]) -> Toward | None:
        start = min((start for start, _ in spans), default=self.WINDOW)
        if not self.risks or start >= self.WINDOW:
            return None
        starts = [first for others in entities for first, _ in others if first > start]
        words = text[start : min(starts, default=len(text))]
        return Toward(self._sentiment(words), self._risk(words))
