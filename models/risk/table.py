"""The texts as a file for training, and as lines to read."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from typing import TextIO

import msgspec

from models.risk.records import Text

COLUMNS = ("split", "text", "risks", "entities", "origin")


def write(texts: Iterable[Text], target: TextIO) -> int:
    """CSV, a text a row: ``risks`` separated by spaces, ``entities`` a JSON array of {name, spans, risks}."""
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for text in texts:
        entities = [{"name": e.name, "spans": e.spans, "risks": e.risks} for e in text.entities]
        row = (text.split, text.text, " ".join(text.risks), msgspec.json.encode(entities).decode(), text.origin)
        writer.writerow(row)
        count += 1
    return count


def readable(text: Text) -> str:
    """One line in the notation of the test set: labels, tab, text with its entities in brackets."""
    marked, end = "", 0
    for (start, stop), hit in sorted((span, entity.risks) for entity in text.entities for span in entity.spans):
        risks = f"|{','.join(hit)}" if hit else ""
        marked += f"{text.text[end:start]}[{text.text[start:stop]}{risks}]"
        end = stop
    return f"{','.join(text.risks) or '-'}\t{marked}{text.text[end:]}"


def sample(texts: Sequence[Text], count: int, seed: int) -> list[Text]:
    """Texts drawn at random, to be read by eye."""
    return random.Random(seed).sample(list(texts), min(count, len(texts)))  # noqa: S311 (texts, no secrets)
