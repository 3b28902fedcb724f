"""``tapewatch models``: evaluate, reference, train, export, risk-data."""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import typer

from models import card as cards
from models import reference
from models.classifier import OnnxClassifier, Prediction, load
from models.data import DataError
from models.drift import distances
from models.evaluate import report
from models.reading import Span, scoring_text, spans_of
from models.risk import compose, held_out
from models.risk import table as risk_table

SPLITS = ("train", "valid", "test")
TASKS = ("sentiment", "topic", "entity_sentiment")


def evaluate_model(task: str, data: Path, split: str | None, name: str) -> None:
    """Prints n, accuracy, interval, macro_f1, per_class, ece, nll, confusion, reliability and coverage.

    Mixed rows are left out and counted."""
    if task not in TASKS:
        raise typer.BadParameter(f"--task is one of {', '.join(TASKS)}")
    if not data.is_file():
        raise typer.BadParameter(f"--data {data}: not found")
    classifier = load(name)
    try:
        rows, skipped = _rows(task, data, split, classifier)
        predictions = classifier.predict([text for text, _, _ in rows], [mentions for _, mentions, _ in rows])
    finally:
        classifier.close()
    labels = classifier.topics if task == "topic" else classifier.sentiments
    found = report([_probabilities(task, one) for one in predictions], [label for _, _, label in rows], labels)
    basis = _basis(predictions) if task == "entity_sentiment" else {}
    answer = {"task": task, "model": classifier.name, "mixed_left_out": skipped, **basis, "labels": labels, **found}
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n")


def refer_model(name: str, data: Path) -> None:
    """Writes the card, and prints how far the sets of its reference lie from each other."""
    try:
        card = reference.write(cards.folder_of(name), data)
    except (DataError, OSError) as error:
        raise typer.BadParameter(f"--data {data}: {error}") from None
    parts = card.reference.parts if card.reference is not None else {}
    found = {
        f"{one} - {other}": {measure: round(w, 3) for measure, w in distances(parts[one], parts[other]).items()}
        for one, other in combinations(parts, 2)
    }
    answer = {"model": card.identity(), "texts": {name: max(map(sum, of.values())) for name, of in parts.items()}}
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(answer | {"effects": found}), indent=2) + b"\n")


def _probabilities(task: str, prediction: Prediction) -> tuple[float, ...]:
    """Toward an entity: the document's sentiment, where the model did not judge the entity itself."""
    if task == "topic":
        return prediction.topic
    own = next((toward for toward in prediction.mentions if toward is not None), None)
    return own.sentiment if own is not None else prediction.sentiment


def _basis(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What sentiment toward entities was taken from, and for how many it was the document's."""
    without = sum(one.mentions == (None,) for one in predictions)
    return {"basis": "document" if without == len(predictions) else "entity", "basis_document": without}


_Row = tuple[str, Sequence[Sequence[Span]], int]
"""The text that is read, where its entity stands, and its label."""


def _rows(task: str, data: Path, split: str | None, classifier: OnnxClassifier) -> tuple[list[_Row], int]:
    labels = classifier.topics if task == "topic" else classifier.sentiments
    columns = ("text", "label", "entity") if task == "entity_sentiment" else ("text", "label")
    rows: list[_Row] = []
    skipped = 0
    with data.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        for column in columns:
            if column not in (reader.fieldnames or ()):
                raise typer.BadParameter(f"{data}: column {column!r} is missing")
        for entry in reader:
            if split is not None and entry.get("split") != split:
                continue
            if entry["label"] == "mixed":
                skipped += 1
            elif entry["label"] in labels:
                text = scoring_text(entry["text"])
                mentions = [spans_of(entry["entity"], text)] if "entity" in columns else []
                rows.append((text, mentions, labels.index(entry["label"])))
            else:
                raise typer.BadParameter(
                    f"{data}, line {reader.line_num}: label {entry['label']!r} is none of {', '.join(labels)}"
                )
    if not rows:
        chosen = "" if split is None else f" with split {split!r}"
        raise typer.BadParameter(f"--data {data}: no labelled rows{chosen}; nothing to evaluate")
    return rows, skipped


def train_model(data: Path, out: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        typer.echo(
            "training needs its own environment (torch, transformers): run `make train DATA=FOLDER` in a checkout, "
            "or install tapewatch[train] into an environment of its own",
            err=True,
        )
        raise typer.Exit(1)
    from models.train import run

    report_ = run(data, out)
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report_), indent=2) + b"\n")


def export_model(name: str, out: Path, precision: str) -> None:
    """Writes the fp16 graph, built from the shipped int8 weights; needs the package onnx, not torch."""
    if precision != "fp16":
        raise typer.BadParameter("--precision is fp16: the int8 graph is made by training's export")
    if importlib.util.find_spec("onnx") is None:
        typer.echo("exporting needs the package onnx: install tapewatch[train] or tapewatch[dev]", err=True)
        raise typer.Exit(1)
    from models.export import fp16

    folder = cards.folder_of(name)
    cards.verify(folder)
    target = out / "model.fp16.onnx" if out.is_dir() else out
    fp16(folder, target)
    typer.echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def risk_data(out: Path | None, seed: int, sample: int, split: str | None) -> None:
    """Writes the texts as CSV, or prints some of them in the notation of the test set."""
    if out is None and not sample:
        raise typer.BadParameter("name --out FILE to write, or --sample N to read")
    if split is not None and split not in SPLITS:
        raise typer.BadParameter(f"--split is one of {', '.join(SPLITS)}")
    texts = [text for text in [*compose(seed), *held_out()] if split in (None, text.split)]
    for text in risk_table.sample(texts, sample, seed):
        typer.echo(risk_table.readable(text))
    if out is not None:
        with out.open("w", newline="", encoding="utf-8") as target:
            count = risk_table.write(texts, target)
        adverse = sum(bool(text.risks) for text in texts)
        typer.echo(f"{out}: {count} texts, {adverse} adverse, {count - adverse} not", err=True)
