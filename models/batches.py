"""Rows as batches of tensors, and the loss of a batch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.data import Mention, Row, Soft
from models.labels import SENTIMENTS, Labels
from models.network import STORY, Answers
from models.reading import tokens_of

NONE = (0.0, 0.0, 0.0)
POOL = 50
"""Batches whose rows are sorted by length among one another: less padding, and still a shuffle."""


class Batch(NamedTuple):
    """Inputs of the network, then targets, a row each: of sentiments, topics and stories nothing but zeros where a text
    has none, of risks nothing but -1."""

    ids: Tensor
    mask: Tensor
    rows: Tensor
    weights: Tensor
    sentiment: Tensor
    topic: Tensor
    risk: Tensor
    story: Tensor
    mention_sentiment: Tensor
    mention_risk: Tensor


class Encoded:
    """Rows as token ids, served in batches of similar length. ``stories``: text to its teacher's embedding; ``labels``:
    what topics and risks of the rows stand for."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        rows: Sequence[Row],
        stories: Mapping[str, Any] | None = None,
        labels: Labels | None = None,
    ) -> None:
        self.rows = rows
        self._stories = stories or {}
        known = labels or Labels()
        self._topics, self._unknown = len(known.topics), (-1.0,) * (1 + len(known.risks))
        encodings = tokenizer.encode_batch([row.text for row in rows])
        self._ids = [encoding.ids for encoding in encodings]
        self._places = [
            [tokens_of(mention.spans, encoding.offsets) for mention in row.mentions]
            for row, encoding in zip(rows, encodings, strict=True)
        ]

    def steps(self, size: int) -> int:
        return -(-len(self.rows) // size)

    def batches(self, size: int, rng: random.Random | None) -> Iterator[Batch]:
        """All rows once: in random order, or sorted by length where ``rng`` is None."""
        order = list(range(len(self.rows)))
        if rng is None:
            order.sort(key=lambda i: len(self._ids[i]))
            groups = [order[i : i + size] for i in range(0, len(order), size)]
        else:
            rng.shuffle(order)
            pools = [
                sorted(order[i : i + POOL * size], key=lambda j: len(self._ids[j]))
                for i in range(0, len(order), POOL * size)
            ]
            groups = [pool[i : i + size] for pool in pools for i in range(0, len(pool), size)]
            rng.shuffle(groups)
        for group in groups:
            yield self._collate(group)

    def _collate(self, group: Sequence[int]) -> Batch:
        width = max(len(self._ids[i]) for i in group)
        ids = torch.zeros(len(group), width, dtype=torch.long)
        mask = torch.zeros(len(group), width, dtype=torch.long)
        for place, i in enumerate(group):
            ids[place, : len(self._ids[i])] = torch.tensor(self._ids[i])
            mask[place, : len(self._ids[i])] = 1
        found: list[tuple[int, Sequence[int], Mention]] = [
            (place, tokens, mention)
            for place, i in enumerate(group)
            for tokens, mention in zip(self._places[i], self.rows[i].mentions, strict=True)
            if tokens
        ]
        weights = torch.zeros(len(found), width)
        for place, (_, tokens, _) in enumerate(found):
            weights[place, list(tokens)] = 1 / len(tokens)
        texts = [self.rows[i] for i in group]
        told = [self._stories.get(row.text) for row in texts]
        return Batch(
            ids,
            mask,
            torch.tensor([place for place, _, _ in found], dtype=torch.long),
            weights,
            torch.tensor([row.sentiment or NONE for row in texts]),
            torch.tensor([self._filed(row.topic) for row in texts]),
            torch.tensor([row.risks or self._unknown for row in texts]),
            torch.stack([torch.zeros(STORY) if one is None else torch.as_tensor(one) for one in told]),
            torch.tensor([mention.sentiment or NONE for _, _, mention in found]).reshape(-1, len(SENTIMENTS)),
            torch.tensor([mention.risks or self._unknown for _, _, mention in found]).reshape(-1, len(self._unknown)),
        )

    def _filed(self, topic: int | Soft | None) -> Soft:
        if isinstance(topic, tuple):
            return topic
        return tuple(float(place == topic) for place in range(self._topics))


class Weights(NamedTuple):
    """What each part of the loss counts beside the sentiment's and the topic's one."""

    risk: float
    kinds: float
    rare: float
    """A kind that is there counts so many times as much as one that is not: most texts have none."""
    story: float
    smoothing: float


def loss_of(answers: Answers, batch: Batch, weights: Weights) -> Tensor:
    """The sum over the heads that the rows have targets for, averaged over the rows."""
    total = _soft(answers.sentiment, batch.sentiment, weights.smoothing)
    total = total + _soft(answers.topic, batch.topic, weights.smoothing)
    total = total + _risk(answers.risk, batch.risk, weights)
    told = batch.story.square().sum(1) > 0
    if told.any():
        total = total + weights.story * _story(answers.story[told], batch.story[told])
    total = total + _soft(answers.mention_sentiment, batch.mention_sentiment, weights.smoothing)
    total = total + _risk(answers.mention_risk, batch.mention_risk, weights)
    return total / len(batch.ids)


def _soft(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with distributions, summed over the rows that have one. A label of which nobody knows takes no part
    in its row."""
    judged = (targets > 0).any(1)
    if not judged.any():
        return torch.zeros(())
    logits, targets = logits[judged], targets[judged]
    known = targets >= 0
    soft = targets * (1 - smoothing) + smoothing / known.sum(1, keepdim=True)
    return -(soft * logits.masked_fill(~known, -1e9).log_softmax(-1))[known].sum()


def _risk(logits: Tensor, targets: Tensor, weights: Weights) -> Tensor:
    """Binary cross-entropy of "any" and of every kind, summed over what is known."""
    entropy = nn.functional.binary_cross_entropy_with_logits
    known = targets >= 0
    if not known.any():
        return torch.zeros(())
    whole, kinds = known[:, 0], known[:, 1:]
    any_ = entropy(logits[whole, 0], targets[whole, 0], reduction="sum")
    rare = torch.tensor(weights.rare)
    named = entropy(logits[:, 1:][kinds], targets[:, 1:][kinds], pos_weight=rare, reduction="sum")
    return weights.risk * any_ + weights.kinds * named


def _story(students: Tensor, teachers: Tensor) -> Tensor:
    """Distance to the teacher's embedding, and of the similarities in the batch to the teacher's."""
    own = (1 - (students * teachers).sum(1)).sum()
    gap = (students @ students.T - teachers @ teachers.T).square().mean(1).sum()
    return own + 4.0 * gap
