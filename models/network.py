"""The network that is trained: one encoder, five answers.

The heads of the document (sentiment, topic, risk) read the mean of the last layer's token states. The heads of a
mention read the mean over the mention's tokens; they are linear, so that the mean of their outputs a token is the same,
which is how the exported graph computes it. The story head also reads the mean of a middle layer, which knows
less of the tasks and more of the wording.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.labels import SENTIMENTS, Labels

STORY = 128
"""Dimensions of the story embedding."""


class Answers(NamedTuple):
    """Logits [batch, labels], the story [batch, STORY] of unit length, logits of mentions [mentions, labels]."""

    sentiment: Tensor
    topic: Tensor
    risk: Tensor
    story: Tensor
    mention_sentiment: Tensor
    mention_risk: Tensor


class FiveHeads(nn.Module):  # type: ignore[misc]  # torch is not in this environment
    """An encoder with mean pooling and linear heads. A risk head gives any adverse event, then every kind."""

    def __init__(self, encoder: nn.Module, hidden: int, layers: int, labels: Labels | None = None) -> None:
        super().__init__()
        known = labels or Labels()
        risks = 1 + len(known.risks)
        self.encoder = encoder
        self.middle = layers // 2
        self.dropout = nn.Dropout(0.1)
        self.sentiment = nn.Linear(hidden, len(SENTIMENTS))
        self.topic = nn.Linear(hidden, len(known.topics))
        self.risk = nn.Linear(hidden, risks)
        self.story = nn.Linear(2 * hidden, STORY)
        self.mention_sentiment = nn.Linear(hidden, len(SENTIMENTS))
        self.mention_risk = nn.Linear(hidden, risks)

    def heads(self) -> list[nn.Parameter]:
        return [value for name, value in self.named_parameters() if not name.startswith("encoder.")]

    def forward(self, ids: Tensor, mask: Tensor, rows: Tensor, weights: Tensor) -> Answers:
        """ids, mask: [batch, tokens]; mention m stands in text ``rows[m]`` at the tokens of ``weights[m]``, [mentions,
        tokens], which sum to one."""
        states = self.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        share = mask.float() / mask.sum(1, keepdim=True)
        last, middle = states[-1].float(), states[self.middle].float()
        pooled = torch.einsum("bt,bth->bh", share, last)
        both = torch.cat([pooled, torch.einsum("bt,bth->bh", share, middle)], dim=1)
        read = self.dropout(pooled)
        mentioned = self.dropout(torch.einsum("mt,mth->mh", weights, last[rows]))
        return Answers(
            self.sentiment(read),
            self.topic(read),
            self.risk(read),
            nn.functional.normalize(self.story(both), dim=1),
            self.mention_sentiment(mentioned),
            self.mention_risk(mentioned),
        )
