"""What the network is to answer: the user's labels, and where they say nothing what the model answered before.

Learning without forgetting (Li and Hoiem 2016): the answers that a model gave before it learned are targets too, on the
texts at hand. Beside the user's these are the project's own texts about events, or the data that the model was trained
on, where the user has them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import data as texts
from models.data import Mention, Row, Soft, indicators
from models.figures import Logits
from models.finetune.examples import Example
from models.heads import logistic, softmax
from models.labels import MIXED, SENTIMENTS, Labels

OWN = "own"
REPLAYED = 6_000
"""Texts to draw replay from; the model's answers to them take some 2 ms each."""
UNKNOWN, ABSENT = -1.0, 0.0
"""Of labels that the model had not: in a user's text nobody knows; replayed texts are taken to tell none of them, which
keeps a new label from being seen everywhere."""


def rows_of(examples: Sequence[Example], labels: Labels) -> list[Row]:
    """A user's texts with their labels as targets."""
    return [
        Row(
            one.text,
            _mood(one.sentiment),
            None if one.topic is None else labels.topics.index(one.topic),
            OWN,
            _events(one.risks, labels),
            tuple(Mention(to.spans, _mood(to.sentiment), _events(to.risks, labels)) for to in one.toward.values()),
        )
        for one in examples
    ]


def _mood(label: str | None) -> Soft | None:
    if label is None:
        return None
    return (0.5, 0.0, 0.5) if label == MIXED else tuple(float(label == one) for one in SENTIMENTS)


def _events(risks: Sequence[str] | None, labels: Labels) -> Soft | None:
    return None if risks is None else indicators(risks, labels.risks)


def replayed(original: Path | None, seed: int) -> list[Row]:
    """At most REPLAYED texts that hold what the model knew."""
    rng = random.Random(f"{seed} replay")  # noqa: S311 (draws rows)
    events = texts.events("train", seed)
    if original is None:
        return texts.sampled(events, REPLAYED, rng)
    news = texts.with_mentions(texts.load(original, "sentiment_sentfin", "train"), texts.mentions(original, "train"))
    tweets = [row for name in texts.SETS[:2] for row in texts.load(original, name, "train")]
    third = REPLAYED // 3
    return [*texts.sampled(events, third, rng), *texts.sampled(news, third, rng), *texts.sampled(tweets, third, rng)]


def completed(rows: Sequence[Row], before: Logits, rare: float) -> list[Row]:
    """Rows with the model's answers ``before`` as targets wherever they have none. ``rare``: how many times as much a
    kind that is there counted when it was trained (``models.batches.Weights``)."""
    moods, topics = softmax(before.sentiment, 1.0), softmax(before.topic, 1.0)
    risks, toward = _chances(before.risk, rare), _toward(before, rare)
    return [
        row._replace(
            sentiment=_either(row.sentiment, moods[place]),
            topic=_topic(row, topics[place]),
            risks=_either(row.risks, risks[place]),
            mentions=tuple(_mention(one, toward) for one in row.mentions),
        )
        for place, row in enumerate(rows)
    ]


def _topic(row: Row, before: Any) -> int | Soft:
    return _soft(before) if row.topic is None else row.topic


def _either(own: Soft | None, before: Any) -> Soft:
    return _soft(before) if own is None else own


def _soft(values: Any) -> Soft:
    return tuple(round(float(value), 5) for value in values)


def _chances(logits: Any, rare: float) -> Any:
    """Sigmoids; those of kinds without the weight that made them larger than the chances."""
    p = logistic(logits, 1.0, 0.0)
    p[:, 1:] = p[:, 1:] / (p[:, 1:] + rare * (1 - p[:, 1:]))
    return p


def _toward(before: Logits, rare: float) -> dict[int, tuple[Any, Any]]:
    """By the identity of a mention, for one beyond the window has no answer."""
    moods, risks = softmax(before.mention_sentiment, 1.0), _chances(before.mention_risk, rare)
    return {id(target): (moods[place], risks[place]) for place, target in enumerate(before.targets)}


def _mention(one: Mention, known: dict[int, tuple[Any, Any]]) -> Mention:
    if id(one) not in known:
        return one
    mood, risks = known[id(one)]
    return one._replace(sentiment=_either(one.sentiment, mood), risks=_either(one.risks, risks))


def widened(rows: Sequence[Row], labels: Labels, fill: float) -> list[Row]:
    """Targets of a model with fewer labels as targets of one with ``labels``, ``fill`` for each that it had not."""
    return [
        row._replace(
            topic=_wide(row.topic, len(labels.topics), fill) if isinstance(row.topic, tuple) else row.topic,
            risks=_wide(row.risks, 1 + len(labels.risks), fill),
            mentions=tuple(one._replace(risks=_wide(one.risks, 1 + len(labels.risks), fill)) for one in row.mentions),
        )
        for row in rows
    ]


def _wide(values: Soft | None, size: int, fill: float) -> Soft | None:
    return None if values is None else (*values, *[fill] * (size - len(values)))


def known_before(logits: Logits, labels: Labels) -> Logits:
    """A model's answers among ``labels``: those that it has not are out of the question."""
    return logits._replace(
        topic=_padded(logits.topic, len(labels.topics)),
        risk=_padded(logits.risk, 1 + len(labels.risks)),
        mention_risk=_padded(logits.mention_risk, 1 + len(labels.risks)),
    )


def _padded(logits: Any, size: int) -> Any:
    return np.pad(logits, ((0, 0), (0, size - logits.shape[1])), constant_values=-1e9)


def mixture(own: Sequence[Row], replay: Sequence[Row], least: int, share: float, rng: random.Random) -> Iterator[Row]:
    """An epoch's rows: the user's, as often as makes ``least``, and replayed ones, ``share`` of the whole at most."""
    times = -(-least // len(own))
    yield from list(own) * times
    yield from texts.sampled(replay, int(len(own) * times * share / (1 - share)), rng)
