"""A card's reference: what the texts are to a model on which it was validated, counted by the model itself."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models import card as cards
from models.card import Card, Reference
from models.classifier import OnnxClassifier, load
from models.data import DataError
from models.heads import SCALE
from models.measures import VERSION, Bins
from models.reading import scoring_text

CENTRES = 16
ORDINARY = 3_000
"""Training texts that the centres are made of."""
STEPS = 20
"""Of the centres' search; more moved none by a hundredth."""


def write(folder: Path, data: Path) -> Card:
    """Gives the card of a model's folder its reference, from the valid parts of the CSV files in ``data``, and returns
    it. Raises ModelError, DataError."""
    return refer(folder, *texts(data))


def refer(folder: Path, parts: Mapping[str, Sequence[str]], ordinary: Sequence[str]) -> Card:
    """The same from ``parts``, valid texts by set, and ``ordinary`` training texts, of which some are drawn. Raises
    ModelError."""
    drawn = random.Random(7).sample(list(ordinary), min(ORDINARY, len(ordinary)))  # noqa: S311 (a draw, no secret)
    model = load(str(folder), device="cpu")
    try:
        card = msgspec.structs.replace(model.card, reference=count(model, parts, drawn))
    finally:
        model.close()
    cards.write(folder, card)
    return card


def texts(data: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Of every CSV file with the columns ``text`` and ``split`` the valid texts, by the file's name, and all training
    texts. A file with a column ``entity`` has texts of another one again. Raises DataError."""
    parts: dict[str, list[str]] = {}
    ordinary: list[str] = []
    for path in sorted(data.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            columns = set(reader.fieldnames or ())
            if not {"text", "split"} <= columns or "entity" in columns:
                continue
            rows = [(entry["split"], scoring_text(entry["text"] or "")) for entry in reader]
        valid = [text for split, text in rows if split == "valid" and text]
        if valid:
            parts[path.stem] = valid
        ordinary += [text for split, text in rows if split == "train" and text]
    if not parts:
        raise DataError(f"{data}: no CSV file there has the columns text and split, and rows of split 'valid'")
    return parts, ordinary


def count(model: OnnxClassifier, parts: Mapping[str, Sequence[str]], ordinary: Sequence[str]) -> Reference:
    """The reference of ``parts``, texts by set, all in the card's first language."""
    told = model.card.story is not None and len(ordinary) >= CENTRES
    centres = _centres([one.story for one in model.predict(ordinary, story=True)]) if told else b""
    bins, counted = Bins(model, centres), {}
    for name, rows in parts.items():
        tally = bins.tally(model.languages[:1] * len(rows), model.predict(rows, story=bins.story))
        counted[name] = {measure: tuple(counts) for measure, counts in tally.items()}
    return Reference(bins=VERSION, parts=counted, centres=centres)


def _centres(stories: Sequence[bytes | None]) -> bytes:
    """The centres of story embeddings, of unit length (spherical k-means, Dhillon and Modha 2001)."""
    rows: Any = np.stack([np.frombuffer(story or b"", np.int8) for story in stories]).astype(np.float64) / SCALE
    found = rows[np.random.default_rng(7).choice(len(rows), CENTRES, replace=False)]
    for _ in range(STEPS):
        nearest = (rows @ found.T).argmax(1)
        sums = np.stack([rows[nearest == place].sum(0) for place in range(CENTRES)])
        sizes = np.linalg.norm(sums, axis=1, keepdims=True)
        found = np.where(sizes > 0, sums / np.maximum(sizes, 1e-12), found)
    whole: bytes = np.clip(np.rint(found * SCALE), -SCALE, SCALE).astype(np.int8).tobytes()
    return whole
