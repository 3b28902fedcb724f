"""``tapewatch predict``: texts in, labels out."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import typer

from models.classifier import Classifier, ClassifierError, Prediction, Risk, Toward, load
from models.reading import Span, scoring_text, spans_of
from pipelines.judgements import risk_of

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


def run_predict(source: str, model: str, device: str, *, embedding: bool = False) -> None:
    """Reads JSON Lines or CSV, writes JSON Lines in the same order; exit code 1 if a line could not be read."""
    failed = False
    with open_input(source) as stream:
        lines = _csv(stream) if source.removesuffix(".gz").endswith(".csv") else _json(stream)
        classifier = load(model, device=device)
        if embedding and classifier.card.story is None:
            typer.echo(
                f"--embedding: model {classifier.name} has no story embedding; see `tapewatch models show`", err=True
            )
            raise typer.Exit(2)
        try:
            while chunk := list(islice(lines, CHUNK)):
                failed = _chunk(classifier, chunk, embedding) or failed
        finally:
            classifier.close()
    if failed:
        raise typer.Exit(1)


def _chunk(classifier: Classifier, chunk: list[Line], embedding: bool) -> bool:
    good = [line for line in chunk if line.bad is None]
    texts = [scoring_text(line.text) for line in good]
    mentions = [
        _apart([spans_of(name, text) for name in line.entities]) for text, line in zip(texts, good, strict=True)
    ]
    found: list[Prediction | None]
    try:
        found = [*classifier.predict(texts, mentions, story=embedding)]
    except ClassifierError:
        found = [
            _alone(classifier, line, text, spans, embedding)
            for line, text, spans in zip(good, texts, mentions, strict=True)
        ]
    for line, prediction in zip(good, found, strict=True):
        if prediction is not None:
            sys.stdout.buffer.write(msgspec.json.encode(_answer(classifier, line, prediction)) + b"\n")
    sys.stdout.flush()
    for line in chunk:
        if line.bad is not None:
            typer.echo(f"line {line.number}: {line.bad}", err=True)
    return any(line.bad is not None for line in chunk)


def _alone(
    classifier: Classifier, line: Line, text: str, mentions: Sequence[Sequence[Span]], embedding: bool
) -> Prediction | None:
    try:
        return classifier.predict([text], [mentions], story=embedding)[0]
    except ClassifierError as error:
        line.bad = str(error)
        return None


def _apart(spans: Sequence[tuple[Span, ...]]) -> list[tuple[Span, ...]]:
    """Without the mentions inside longer ones of other names ("Acme" in "Acme Bank"), unless a name has no others."""
    outer: set[Span] = set()
    reach = 0
    for span in sorted({span for named in spans for span in named}, key=lambda span: (span[0], -span[1])):
        if span[1] > reach:
            outer.add(span)
            reach = span[1]
    return [tuple(span for span in named if span in outer) or named for named in spans]


def _answer(classifier: Classifier, line: Line, prediction: Prediction) -> dict[str, Any]:
    best = max(range(len(prediction.topic)), key=prediction.topic.__getitem__)
    answer: dict[str, Any] = {
        "id": line.id,
        "sentiment": _sentiment(classifier, prediction.sentiment),
        "topic": {"label": classifier.topics[best], "probability": round(prediction.topic[best], 6)},
        **_risk(prediction.risk),
        "abstain": prediction.abstain,
        "truncated": prediction.truncated,
        "entities": [
            _entity(classifier, line, name, toward, prediction)
            for name, toward in zip(line.entities, prediction.mentions, strict=True)
        ],
        "model": classifier.name,
    }
    if prediction.story is not None:
        answer["embedding"] = memoryview(prediction.story).cast("b").tolist()
    return answer


def _entity(
    classifier: Classifier, line: Line, name: str, toward: Toward | None, prediction: Prediction
) -> dict[str, Any]:
    """What is said of a company; of one that the model did not judge, what is said of all."""
    said = toward or prediction
    return {
        "name": name,
        "found": toward is not None or bool(spans_of(name, line.text)),
        "sentiment": _sentiment(classifier, said.sentiment),
        **_risk(said.risk),
        "basis": "entity" if toward is not None else "document",
    }


def _risk(risk: Risk | None) -> dict[str, Any]:
    """Nothing where the model has no head for adverse events."""
    return {} if risk is None else {"risk": msgspec.to_builtins(risk_of(risk))}


def _sentiment(classifier: Classifier, values: Sequence[float]) -> dict[str, Any]:
    label = classifier.sentiments[max(range(len(values)), key=values.__getitem__)]
    return {
        "label": label,
        **{name: round(value, 6) for name, value in zip(classifier.sentiments, values, strict=True)},
    }


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
