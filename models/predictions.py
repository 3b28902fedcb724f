"""What a classifier answers, and what the stages ask of one.

ModelError
+-- ClassifierError     a text that can't be judged; the caller tries its batch mates alone
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from models.card import ModelError, Reference
from models.reading import Span

Mentions = Sequence[Sequence[Sequence[Span]]]
"""For each text its entities, each by the spans of its mentions in the scoring text."""


class ClassifierError(ModelError):
    """A batch could not be judged."""


class Risk(msgspec.Struct, frozen=True):
    """Adverse events that a text tells, of anybody or of one company."""

    probability: float
    """Of any adverse event, calibrated."""
    adverse: bool
    """Whether that is enough to call the text adverse."""
    kinds: tuple[tuple[str, float], ...] = ()
    """The kinds that are probable enough to be named, the likeliest first."""


class Toward(msgspec.Struct, frozen=True):
    """What a text says of one entity in it."""

    sentiment: tuple[float, ...]
    risk: Risk | None = None


class Prediction(msgspec.Struct, frozen=True):
    """Calibrated probabilities in the order of the classifier's labels; None for what the model has no head for."""

    sentiment: tuple[float, ...]
    topic: tuple[float, ...]
    truncated: bool = False
    unknown_ratio: float = 0.0
    abstain: bool = False
    risk: Risk | None = None
    mentions: tuple[Toward | None, ...] = ()
    """In the order of the entities asked for; None for one that stands beyond the window."""
    story: bytes | None = None
    """The story embedding, if it was asked for: one signed byte a dimension, 127 for 1."""
    tokens: int = 0
    """That were read, the two around them not counted."""


BAD = 0.3
"""Probability of bad news from which a text is shown as such."""


def bad_news(negative: float, event: float) -> float:
    """The probability that it is bad news: a bad mood or an adverse event, taken as independent. A recall in good mood
    is bad news too."""
    return 1.0 - (1.0 - negative) * (1.0 - event)


class Classifier(Protocol):
    """What the score stage needs. ``predict`` may be called from several threads."""

    name: str
    """``name@sha256[:12]``."""
    sentiments: tuple[str, ...]
    topics: tuple[str, ...]
    risks: tuple[str, ...]
    """Kinds of adverse events; empty without that head."""
    languages: tuple[str, ...]
    device: str
    """``cpu`` or ``cuda``."""
    reference: Reference | None
    """What the texts were on which it was validated, if its card says so."""

    def predict(
        self, texts: Sequence[str], mentions: Mentions | None = None, *, story: bool = False
    ) -> list[Prediction]: ...
    def close(self) -> None: ...
