"""Training texts from a folder that the caller names; none of them is part of the project.

Files (columns ``split``, ``text``, ``label``): ``sentiment_twitter.csv``, ``topic_twitter.csv``,
``sentiment_sentfin.csv``. docs/models.md names the public sets they come from.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.labels import MIXED, SENTIMENTS, TOPICS
from models.reading import scoring_text

SETS = ("sentiment_twitter", "topic_twitter", "sentiment_sentfin")


class DataError(Exception):
    """A training file is missing or not as expected."""


class Row(NamedTuple):
    """A text with the targets it has: a distribution over SENTIMENTS, an index into TOPICS, or neither."""

    text: str
    sentiment: tuple[float, float, float] | None
    topic: int | None
    origin: str


def load(folder: Path, name: str, split: str) -> list[Row]:
    """The rows of one set and split ("train" or "valid")."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise DataError(f"{path}: not found; --data must name the folder with {', '.join(f'{s}.csv' for s in SETS)}")
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        missing = {"split", "text", "label"} - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"{path}: column {min(missing)!r} is missing")
        return [_row(path, reader.line_num, name, entry) for entry in reader if entry["split"] == split]


def _row(path: Path, line: int, name: str, entry: dict[str, str]) -> Row:
    text, label = scoring_text(entry["text"]), entry["label"]
    if name.startswith("topic"):
        if label not in TOPICS:
            raise DataError(f"{path}, line {line}: label {label!r} is not one of the {len(TOPICS)} topics")
        return Row(text, None, TOPICS.index(label), name)
    if label == MIXED:
        return Row(text, (0.5, 0.0, 0.5), None, name)
    if label not in SENTIMENTS:
        raise DataError(f"{path}, line {line}: label {label!r} is not one of {', '.join((*SENTIMENTS, MIXED))}")
    one = [0.0, 0.0, 0.0]
    one[SENTIMENTS.index(label)] = 1.0
    return Row(text, (one[0], one[1], one[2]), None, name)


def pure(rows: Sequence[Row]) -> list[Row]:
    """Rows without the mixed ones, which have no single right answer."""
    return [row for row in rows if row.sentiment is None or max(row.sentiment) == 1.0]


def truth(rows: Sequence[Row]) -> list[int]:
    """The right label of each row: of its topic where it has one, else of its sentiment."""
    return [
        row.topic if row.topic is not None else max(range(3), key=(row.sentiment or (0.0, 0.0, 0.0)).__getitem__)
        for row in rows
    ]
