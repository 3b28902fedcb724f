"""What a ScoredDocument says of its text: mood, topic, adverse events, and the companies found in it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Sentiment(msgspec.Struct, frozen=True):
    """Calibrated probabilities and their argmax."""

    label: str
    negative: float
    neutral: float
    positive: float


class Topic(msgspec.Struct, frozen=True):
    label: str
    probability: float


class RiskLabel(msgspec.Struct, frozen=True):
    """A kind of adverse event (docs/risk.md)."""

    label: str
    probability: float


class Risk(msgspec.Struct, frozen=True):
    """Adverse events that are told, of anybody or of one company."""

    probability: float
    """Of any adverse event, calibrated."""
    adverse: bool
    """Whether that is enough to call it adverse; the model's card says from where."""
    labels: tuple[RiskLabel, ...] = ()
    """The kinds that are probable enough to be named, the likeliest first."""


class ScoredEntity(msgspec.Struct, frozen=True):
    """A company found in the text, with what is said of it."""

    id: str
    name: str
    relevance: float
    sentiment: Sentiment
    basis: Literal["entity", "document"]
    """Entity where the model judged its mentions, document where it has what is said of all."""
    risk: Risk | None = None
    """None where the model has no head for adverse events."""
