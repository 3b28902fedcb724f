"""Learns from a user's texts: from a model's folder to another one. Needs the training environment.

It starts from the int8 weights that users have, learns their labels beside what the model answered before
(``targets``), and writes the new model only if it is no worse on the user's own valid part (``compare``).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer

from models import card as cards
from models import golden, reference
from models.batches import Encoded, Weights
from models.card import Card
from models.data import Row, pure
from models.export import CALIBRATION_TEXTS, Encoder, encode, measure
from models.figures import Calibration, Logits, answers, story_of_pairs
from models.finetune import compare
from models.finetune.examples import TRAIN, VALID, Own
from models.finetune.table import FinetuneError
from models.finetune.targets import ABSENT, OWN, UNKNOWN, completed, known_before, mixture, replayed, rows_of, widened
from models.finetune.weights import Recovered, check, loosen, network, recover
from models.fitting import BOARD, Checkpoint, Fit, Pace, accuracies, copy_of, show
from models.labels import RISKS, TOPICS
from models.network import FiveHeads
from models.train import Recipe


class Method(NamedTuple):
    """How the weights move. ``heads``: how many times faster than the encoder those of the heads do."""

    rate: float
    heads: float
    rank: int
    """Of the matrices that are learned beside each of the encoder's (Hu et al. 2021, LoRA); 0: these themselves."""


METHODS = {"full": Method(5e-5, 10.0, 0), "lora": Method(5e-4, 1.0, 16)}
EPOCHS = 3
LEAST = 480
"""Rows of the user's in an epoch: fewer are read several times, for else there would be hardly a step."""
REPLAY = 0.6
"""Share of replayed texts in an epoch."""
CHECKED = 60
"""Texts on which the network is compared with the graph that it was made of."""
RUN = "run"
"""Where in the new model's folder its checkpoints lie while it learns, and its curves for good."""


class Order(NamedTuple):
    """What is wanted. ``parent``, ``out``: folders of the model to start from and of the new one."""

    parent: Path
    data: Path
    out: Path
    name: str
    method: str = "full"
    original: Path | None = None
    seed: int = 7
    epochs: int = EPOCHS
    keep_anyway: bool = False


def adapt(order: Order, own: Own) -> Card:
    """Writes the new model and returns its card. Raises FinetuneError, WorseError, DataError."""
    if order.method not in METHODS:
        raise FinetuneError(f"--method is {' or '.join(METHODS)}, not {order.method!r}")
    if (order.out / cards.CARD).exists():
        raise FinetuneError(f"--out {order.out}: holds a model already; name another folder")
    return _Adaptation(order, own).run()


class _Adaptation:
    def __init__(self, order: Order, own: Own) -> None:
        self._order, self._own, self._started = order, own, time.monotonic()
        self._card = cards.verify(order.parent)
        _check_labels(self._card)
        self._graph = order.parent / "model.onnx"
        self._tokenizer = Tokenizer.from_file(str(order.parent / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._run = order.out / RUN
        self._figures: list[dict[str, Any]] = []
        self._stories: dict[str, Any] = {}
        random.seed(order.seed)
        torch.manual_seed(order.seed)
        torch.set_num_threads(len(os.sched_getaffinity(0)))

    def run(self) -> Card:
        recovered = recover(self._graph)
        model = network(recovered, self._own.labels)
        replay = self._completed(replayed(self._order.original, self._order.seed), ABSENT)
        own = self._completed(rows_of(self._own.part(TRAIN), self._own.labels), UNKNOWN)
        apart = check(model, self._graph, encode(self._tokenizer, [row.text for row in replay[:CHECKED]]))
        _tell(f"the network made of {self._card.identity()} is at most {apart:.3f} from its graph in a logit")
        torch.manual_seed(self._order.seed)
        loosen(model, self._card.weight_bits, recovered.smooth)
        self._learn(model, own, replay)
        weights = {name: value.numpy() for name, value in copy_of(model).items()}
        made = self._export(weights, recovered, [*own, *replay])
        card = self._judged(made)
        return self._keep(made, card)

    def _completed(self, rows: Sequence[Row], fill: float) -> list[Row]:
        _tell(f"asking {self._card.name} about {len(rows)} texts")
        before = answers(self._graph, self._tokenizer, rows, self._card.max_tokens)
        self._stories |= {row.text: story.astype("float32") for row, story in zip(rows, before.story, strict=True)}
        return widened(completed(rows, before, Recipe.rare), self._own.labels, fill)

    def _learn(self, model: FiveHeads, own: Sequence[Row], replay: Sequence[Row]) -> None:
        method = METHODS[self._order.method]
        if method.rank:
            model.encoder = get_peft_model(model.encoder, _lora(method.rank))
        weights = Weights(Recipe.risk, Recipe.kinds, Recipe.rare, Recipe.story, Recipe.smoothing)
        pace = Pace(Recipe.batch, method.heads, Recipe.weight_decay, Recipe.warmup, weights)
        steps = self._order.epochs * -(-len(self._epoch(own, replay, 0)) // Recipe.batch)
        self._claim()
        fit = Fit(model, pace, steps=steps, rate=method.rate, out=self._run, stage=self._order.method)
        valid = self._encoded(pure(rows_of(self._own.part(VALID), self._own.labels)))
        for number in range(self._order.epochs):
            self._pass(model, fit, number, self._epoch(own, replay, number), valid)
        if method.rank:
            model.encoder = model.encoder.merge_and_unload()

    def _epoch(self, own: Sequence[Row], replay: Sequence[Row], number: int) -> list[Row]:
        return list(mixture(own, replay, LEAST, REPLAY, self._rng(f"rows {number}")))

    def _pass(self, model: FiveHeads, fit: Fit, number: int, rows: Sequence[Row], valid: Encoded) -> None:
        """One epoch, unless a run before this one has done it."""
        checkpoint = Checkpoint(self._run / f"epoch-{number}")
        done = checkpoint.load(model, fit)
        if done is not None:
            self._figures = done
            return
        if any((self._run / f"epoch-{later}").is_dir() for later in range(number + 1, self._order.epochs)):
            return
        started = time.monotonic()
        torch.manual_seed(self._order.seed + number)
        loss = fit.epoch(self._encoded(rows), self._rng(f"order {number}"), f"epoch {number + 1}")
        row = {"epoch": number + 1, "loss": round(loss, 4), **accuracies(model, valid)}
        row["seconds"] = round(time.monotonic() - started)
        self._figures.append(row)
        show(self._run, row, number + 1)
        _tell(json.dumps(row))
        checkpoint.save(model, fit, self._figures)
        shutil.rmtree(self._run / f"epoch-{number - 1}", ignore_errors=True)

    def _encoded(self, rows: Sequence[Row]) -> Encoded:
        tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
        tokenizer.enable_truncation(self._card.max_tokens)
        return Encoded(tokenizer, rows, self._stories, self._own.labels)

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._order.seed} {name}")  # noqa: S311 (shuffles rows)

    def _claim(self) -> None:
        """Checkpoints of another run than this one are of no use."""
        file, what = self._run / "order.json", self._what()
        if not file.is_file() or json.loads(file.read_text()) != what:
            shutil.rmtree(self._run, ignore_errors=True)
            self._run.mkdir(parents=True)
            file.write_text(json.dumps(what))

    def _what(self) -> dict[str, Any]:
        """Everything that the weights depend on."""
        order, method = self._order, METHODS[self._order.method]
        return {
            "method": order.method,
            "rate": method.rate,
            "head_factor": method.heads,
            "rank": method.rank,
            "epochs": order.epochs,
            "replay": REPLAY,
            "replayed": "original data" if order.original else "the project's own texts about events",
            "seed": order.seed,
            "data_sha256": hashlib.sha256(order.data.read_bytes()).hexdigest(),
            "new_labels": list(self._own.new),
            "parent": self._card.digest(),
        }

    def _export(self, weights: Mapping[str, Any], recovered: Recovered, rows: Sequence[Row]) -> Path:
        made = self._run / "made"
        made.mkdir(exist_ok=True)
        drawn = self._rng("ranges").sample(list(rows), min(CALIBRATION_TEXTS, len(rows)))
        seen = encode(self._tokenizer, [row.text for row in drawn])
        ranges = measure(weights, recovered.config, seen, made, smooth=bool(recovered.smooth))
        graph = Encoder(weights, recovered.config, kind="int8", ranges=ranges, bits=self._card.weight_bits).build()
        onnx.save(graph, made / "model.onnx")
        shutil.copyfile(self._order.parent / "tokenizer.json", made / "tokenizer.json")
        return made

    def _judged(self, made: Path) -> Card:
        labels = self._own.labels
        parts = compare.parts_of(rows_of(self._own.part(VALID), labels), self._order.original, labels)
        _tell(f"judging both models on {sum(map(len, parts.values()))} texts")
        before = {name: known_before(self._asked(self._graph, rows), labels) for name, rows in parts.items()}
        after = {name: self._asked(made / "model.onnx", rows) for name, rows in parts.items()}
        was = compare.calibration_of(self._card, labels)
        by = compare.recalibrated(was, parts, before, after)
        compared = compare.compare(parts, (before, was), (after, by))
        _tell(compare.table(compared))
        if not self._order.keep_anyway:
            compare.check(compared)
        return self._new_card(made, by, compared)

    def _asked(self, graph: Path, rows: Sequence[Row]) -> Logits:
        return answers(graph, self._tokenizer, rows, self._card.max_tokens)

    def _new_card(self, made: Path, by: Calibration, compared: Sequence[compare.Compared]) -> Card:
        old, now = self._card, datetime.now(UTC)
        mine = {"name": f"The user's own ({self._order.data.name})", "rows": len(self._own.part(TRAIN))}
        return Card(
            name=self._order.name,
            version=now.strftime("%Y.%m.%d"),
            created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            description=f"{old.name} {old.version}, adapted to a user's own texts.",
            languages=old.languages,
            max_tokens=old.max_tokens,
            sentiment=by.sentiment,
            topic=by.topic,
            risk=by.risk,
            mention=by.mention,
            story=story_of_pairs(made / "model.onnx", self._tokenizer, old.max_tokens),
            files={file: cards.sha256(made / file) for file in ("model.onnx", "tokenizer.json")},
            weight_bits=old.weight_bits,
            backbone=old.backbone,
            data=[*old.data, mine | {"licence": "the user's", "origin": "kept by the user"}],
            training={
                "recipe": self._what(),
                "own": self._own.summary(),
                "epochs": self._figures,
                "seconds": round(time.monotonic() - self._started),
                "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            },
            evaluation={
                "sets": {one.name: one.after for one in compared},
                "compared": compare.summary(compared),
                "calibrated_on": "the same valid parts; a temperature only where 100 labels or more were there",
            },
            limits=old.limits,
            parent={"name": old.name, "version": old.version, "sha256": old.digest()},
        )

    def _keep(self, made: Path, card: Card) -> Card:
        """The card comes last: a folder without one is no model."""
        cards.write(made, card)
        card = self._referred(made)
        golden.write(made)
        for name in (*card.files, golden.FILE, "README.md", cards.CARD):
            (made / name).replace(self._order.out / name)
        for path in self._run.iterdir():
            if path.name != BOARD:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return card

    def _referred(self, made: Path) -> Card:
        """With what live texts are compared with: the user's own, and the original ones where they are at hand."""
        original = self._order.original
        parts, ordinary = reference.texts(original) if original is not None else ({}, [])
        own = {split: [one.text for one in self._own.part(split)] for split in (TRAIN, VALID)}
        return reference.refer(made, parts | {OWN: own[VALID]}, ordinary + own[TRAIN])


def _check_labels(card: Card) -> None:
    """The texts that hold what was learned are labelled with the shipped labels, in this order."""
    risks = card.risk.labels if card.risk is not None else ()
    if card.topic.labels[: len(TOPICS)] != TOPICS or risks[: len(RISKS)] != RISKS:
        raise FinetuneError(
            f"model {card.identity()!r} lacks labels of the shipped model, or has them in another order; adapt one "
            "that was made of the shipped one"
        )


def _lora(rank: int) -> LoraConfig:
    targets = ["query", "key", "value", "dense"]
    return LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules=targets, bias="none")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 (a command's progress)
