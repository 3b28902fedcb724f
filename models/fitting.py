"""What every training does: passes over the rows, checkpoints at the end of each, and a board to watch it on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from models.batches import Encoded, Weights, loss_of
from models.network import FiveHeads

BOARD = "tensorboard"
"""Where in a run's folder ``tensorboard --logdir`` finds its curves."""


class Pace(NamedTuple):
    """How a network learns, but for the rate."""

    batch: int
    head_factor: float
    """Heads learn so many times faster than the encoder."""
    weight_decay: float
    warmup: float
    """Share of the steps over which the rate rises."""
    weights: Weights


class Fit:
    """AdamW with a short warm-up and a linear decay over ``steps``."""

    def __init__(self, model: FiveHeads, pace: Pace, *, steps: int, rate: float, out: Path, stage: str) -> None:
        self._model, self._pace, self._out, self._stage = model, pace, out, stage
        encoder = [value for value in model.encoder.parameters() if value.requires_grad]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in encoder if p.ndim > 1], "lr": rate, "weight_decay": pace.weight_decay},
                {"params": [p for p in encoder if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
                {"params": model.heads(), "lr": rate * pace.head_factor, "weight_decay": pace.weight_decay},
            ]
        )
        warm = max(1, int(steps * pace.warmup))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda s: min((s + 1) / warm, max(0.0, (steps - s) / max(1, steps - warm)))
        )

    def epoch(self, rows: Encoded, rng: random.Random, name: str) -> float:
        """One pass over the rows; returns the mean loss."""
        self._model.train()
        steps, losses = rows.steps(self._pace.batch), 0.0
        shown = tqdm(rows.batches(self._pace.batch, rng), total=steps, desc=name, disable=None)
        with SummaryWriter(str(self._out / BOARD)) as board:
            for batch in shown:
                with torch.autocast("cpu", torch.bfloat16):
                    answers = self._model(batch.ids, batch.mask, batch.rows, batch.weights)
                loss = loss_of(type(answers)(*(one.float() for one in answers)), batch, self._pace.weights)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
                self._optimizer.step()
                self._schedule.step()
                losses += float(loss.detach())
                board.add_scalar(f"{self._stage}/loss", float(loss.detach()), self._schedule.last_epoch)
        return losses / steps

    def state(self) -> dict[str, Any]:
        return {"optimizer": self._optimizer.state_dict(), "schedule": self._schedule.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


class Checkpoint:
    """The end of an epoch on disk. The figures come last: where they are, all is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, model: FiveHeads, fit: Fit) -> list[dict[str, Any]] | None:
        """The figures up to there, or None where no run got so far."""
        if not (self._folder / "figures.json").is_file():
            return None
        model.load_state_dict(load_file(self._folder / "model.safetensors"))
        fit.restore(torch.load(self._folder / "fit.pt"))
        figures: list[dict[str, Any]] = json.loads((self._folder / "figures.json").read_text())
        return figures

    def save(self, model: FiveHeads, fit: Fit, figures: list[dict[str, Any]]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        save_file(copy_of(model), self._folder / "model.safetensors")
        torch.save(fit.state(), self._folder / "fit.pt")
        part = self._folder / "figures.json.part"
        part.write_text(json.dumps(figures))
        part.rename(self._folder / "figures.json")


def copy_of(model: FiveHeads) -> dict[str, Tensor]:
    """The weights by name, apart from the model's."""
    return {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}


@torch.inference_mode()  # type: ignore[untyped-decorator]  # torch is not in this environment
def accuracies(model: FiveHeads, data: Encoded) -> dict[str, float]:
    """The share of right answers by the target that rows and mentions have; mixed rows are left out by the caller."""
    model.eval()
    right: dict[str, list[int]] = {"label": [], "mention": [], "adverse": []}
    for batch in data.batches(64, None):
        answers = model(batch.ids, batch.mask, batch.rows, batch.weights)
        filed, judged = batch.topic.sum(1) > 0, batch.sentiment.sum(1) > 0
        toward, known = batch.mention_sentiment.sum(1) > 0, batch.risk[:, 0] >= 0
        right["label"] += (answers.topic.argmax(1) == batch.topic.argmax(1))[filed].tolist()
        right["label"] += (answers.sentiment.argmax(1) == batch.sentiment.argmax(1))[judged].tolist()
        right["mention"] += (answers.mention_sentiment.argmax(1) == batch.mention_sentiment.argmax(1))[toward].tolist()
        right["adverse"] += ((answers.risk[:, 0] > 0) == (batch.risk[:, 0] > 0.5))[known].tolist()
    return {name: round(sum(hits) / len(hits), 4) for name, hits in right.items() if hits}


def show(out: Path, figures: dict[str, Any], step: int) -> None:
    """An epoch's figures on the board."""
    with SummaryWriter(str(out / BOARD)) as board:
        for name, value in figures.items():
            if isinstance(value, int | float):
                board.add_scalar(f"epochs/{name}", value, step)
