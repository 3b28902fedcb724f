"""From the graph's outputs to answers: calibration, and the mean over a mention's tokens. Pure.

All of it in double precision and in a fixed order, so that a text's answers do not depend on its batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.card import Card, CardError, Platt, RiskHead, StoryHead
from models.labels import SENTIMENTS
from models.predictions import Risk, Toward

SCALE = 127.0
"""Steps of a story's dimension from 0 to 1 in its signed byte."""


def outputs_of(card: Card) -> dict[str, int]:
    """The outputs that a card's graph has, and the size of their last dimension."""
    risk = 0 if card.risk is None else 1 + len(card.risk.labels)
    sizes = {"sentiment": len(card.sentiment.labels), "topic": len(card.topic.labels)}
    if card.risk is not None:
        sizes["risk"] = risk
    if card.mention is not None:
        sizes["tokens"] = len(card.sentiment.labels) + risk
    if card.story is not None:
        sizes["story"] = card.story.dimensions
    return sizes


def check(card: Card, shapes: dict[str, Sequence[Any]]) -> None:
    """Raises CardError where the graph lacks an output of the card, or has it in another size than the card says, or
    its moods are others than the stages ask for."""
    if sorted(card.sentiment.labels) != sorted(SENTIMENTS):
        raise CardError(
            f"card of {card.name!r}: its sentiments are {', '.join(card.sentiment.labels)}, and must be "
            f"{', '.join(SENTIMENTS)} in any order; train the model with these"
        )
    for name, size in outputs_of(card).items():
        if name not in shapes:
            raise CardError(
                f"card of {card.name!r}: has a head for output {name!r}, the graph has only {', '.join(shapes)}; "
                "export the model again, or take the head out of the card"
            )
        last = shapes[name][-1]
        if isinstance(last, int) and last != size:
            raise CardError(
                f"card of {card.name!r}: its labels make {size} values of output {name!r}, the graph has {last}; "
                "export the model again, or give the card the labels that it was trained on"
            )


def softmax(logits: Any, temperature: float) -> Any:
    """Row-wise: [batch, labels] to probabilities."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def logistic(logits: Any, slope: float, offset: float) -> Any:
    """1 / (1 + exp(-x)) of ``slope * logits + offset``, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * (slope * logits.astype(np.float64) + offset)))


def risks_of(logits: Any, head: RiskHead, platt: Platt) -> list[Risk]:
    """[batch, 1 + kinds] to the risk of each row, calibrated by ``platt``, called and named as ``head`` says."""
    anything = logistic(logits[:, 0], platt.slope, platt.offset)
    kinds = logistic(logits[:, 1:], platt.kind_slope, platt.kind_offset)
    return [
        Risk(probability, probability >= head.call_at, _named(row, head))
        for probability, row in zip(anything.tolist(), kinds.tolist(), strict=True)
    ]


def _named(probabilities: Sequence[float], head: RiskHead) -> tuple[tuple[str, float], ...]:
    named = [pair for pair in zip(head.labels, probabilities, strict=True) if pair[1] >= head.kind_at]
    return tuple(sorted(named, key=lambda pair: -pair[1]))


def toward(tokens: Any, places: Sequence[Sequence[int]], card: Card) -> tuple[Toward | None, ...]:
    """``tokens``, [tokens, outputs] of one text, and the ``places`` of each entity's tokens to what it says of each.

    None for an entity without tokens, and for every one where the card has no such head.
    """
    if card.mention is None:
        return (None,) * len(places)
    known = [place for place in places if place]
    if not known:
        return (None,) * len(places)
    means = np.stack([tokens[list(place)].astype(np.float64).sum(0) / len(place) for place in known])
    width = len(card.sentiment.labels)
    sentiments = softmax(means[:, :width], card.mention.sentiment_temperature).tolist()
    risks: list[Risk | None] = [None] * len(known)
    if card.risk is not None:
        risks = list(risks_of(means[:, width:], card.risk, card.mention))
    answers = iter([Toward(tuple(values), risk) for values, risk in zip(sentiments, risks, strict=True)])
    return tuple(next(answers) if place else None for place in places)


def story_of(vector: Any) -> bytes:
    """[dimensions] of unit length to signed bytes."""
    whole = np.rint(vector.astype(np.float64) * SCALE)
    steps: bytes = np.clip(whole, -SCALE, SCALE).astype(np.int8).tobytes()
    return steps


def cosine(one: bytes, other: bytes) -> float:
    """Of two story embeddings, from their signed bytes."""
    a, b = (memoryview(story).cast("b") for story in (one, other))
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def p_same(one: bytes, other: bytes, head: StoryHead) -> float:
    """The probability that two headlines about one company within 48 hours tell the same story; 1 for equal ones, which
    a slope fitted on others does not know."""
    if one == other:
        return 1.0
    return float(logistic(np.array(cosine(one, other)), head.slope, head.offset))
