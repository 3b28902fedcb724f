"""``tapewatch predict``: texts in, labels out."""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import typer

from models.classifier import Classifier, ClassifierError, Prediction, load, scoring_text

CHUNK = 1_024


def open_input(source: str) -> IO[bytes]:
    """A file, .gz too, or standard input."""
    if source == "-":
        return sys.stdin.buffer
    if not Path(source).is_file():
        typer.echo(f"{source}: not found", err=True)
        raise typer.Exit(2)
    return cast("IO[bytes]", gzip.open(source)) if source.endswith(".gz") else Path(source).open("rb")


class Line(msgspec.Struct):
    """One line of input. ``bad`` says why it can't be read."""

    number: int
    id: Any = None
    text: str = ""
    entities: list[str] = []
    bad: str | None = None


def run_predict(source: str, model: str, device: str) -> None:
    """Reads JSON Lines or CSV, writes JSON Lines in the same order; exit code 1 if a line could not be read."""
    failed = False
    with open_input(source) as stream:
        lines = _csv(stream) if source.removesuffix(".gz").endswith(".csv") else _json(stream)
        classifier = load(model, device=device)
        try:
            while chunk := list(islice(lines, CHUNK)):
                failed = _chunk(classifier, chunk) or failed
        finally:
            classifier.close()
    if failed:
        raise typer.Exit(1)


def _chunk(classifier: Classifier, chunk: list[Line]) -> bool:
    good = [line for line in chunk if line.bad is None]
    texts = [scoring_text(line.text) for line in good]
    try:
        found: list[Prediction | None] = list(classifier.predict(texts))
    except ClassifierError:
        found = [_alone(classifier, text, line) for text, line in zip(texts, good, strict=True)]
    for line, prediction in zip(good, found, strict=True):
        if prediction is not None:
            sys.stdout.buffer.write(msgspec.json.encode(_answer(classifier, line, prediction)) + b"\n")
    sys.stdout.flush()
    for line in chunk:
        if line.bad is not None:
            typer.echo(f"line {line.number}: {line.bad}", err=True)
    return any(line.bad is not None for line in chunk)


def _alone(classifier: Classifier, text: str, line: Line) -> Prediction | None:
    try:
        return classifier.predict([text])[0]
    except ClassifierError as error:
        line.bad = str(error)
        return None


def _answer(classifier: Classifier, line: Line, prediction: Prediction) -> dict[str, Any]:
    best = max(range(len(prediction.topic)), key=prediction.topic.__getitem__)
    sentiment = _sentiment(classifier, prediction)
    return {
        "id": line.id,
        "sentiment": sentiment,
        "topic": {"label": classifier.topics[best], "probability": round(prediction.topic[best], 6)},
        "abstain": prediction.abstain,
        "truncated": prediction.truncated,
        "entities": [
            {"name": name, "found": _mentions(line.text, name), "sentiment": sentiment, "basis": "document"}
            for name in line.entities
        ],
        "model": classifier.name,
    }


def _sentiment(classifier: Classifier, prediction: Prediction) -> dict[str, Any]:
    values = prediction.sentiment
    label = classifier.sentiments[max(range(len(values)), key=values.__getitem__)]
    return {
        "label": label,
        **{name: round(value, 6) for name, value in zip(classifier.sentiments, values, strict=True)},
    }


def _mentions(text: str, name: str) -> bool:
    """Whether ``name`` stands in ``text`` as a word, in any case."""
    if not name.strip():
        return False
    left = r"(?<!\w)" if name[0].isascii() else ""
    right = r"(?!\w)" if name[-1].isascii() else ""
    return re.search(left + re.escape(name) + right, text, re.IGNORECASE) is not None


def _json(stream: Iterable[bytes]) -> Iterator[Line]:
    for number, raw in enumerate(stream, 1):
        if not raw.strip():
            continue
        try:
            yield _line(number, msgspec.json.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield Line(number, bad=f'not JSON ({error}); write a line as {{"text": "Shares plunge"}}')


def _line(number: int, fields: Any) -> Line:
    if not isinstance(fields, dict):
        return Line(number, bad="not an object")
    text = fields.get("text", fields.get("headline"))
    entities = fields.get("entities") or []
    if not isinstance(text, str):
        return Line(number, bad="text is missing or no text")
    if not isinstance(entities, list) or not all(isinstance(name, str) for name in entities):
        return Line(number, bad="entities is no list of names")
    return Line(number, fields.get("id"), text, entities)


def _csv(stream: IO[bytes]) -> Iterator[Line]:
    reader = csv.DictReader(io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline=""))
    column = next((name for name in ("text", "headline") if name in (reader.fieldnames or ())), None)
    if column is None:
        typer.echo(f"columns {', '.join(reader.fieldnames or ())!r}: needed is text or headline", err=True)
        raise typer.Exit(2)
    for row in reader:
        yield Line(reader.line_num, row.get("id"), row[column] or "")
