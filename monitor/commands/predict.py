"""``tapewatch predict``: texts in, labels out."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import msgspec
import typer

from models.classifier import Classifier, ClassifierError, OnnxClassifier, Prediction, Risk, Toward, load
from models.heads import cosine, p_same
from models.occlusion import TooLong, carriers
from models.reading import ScoringText, Span, read, scoring_text, spans_of
from pipelines.judgements import risk_of
from pipelines.sources.lines import rows_of

T = TypeVar("T")

CHUNK = 1_024
COLUMNS = ("text", "headline")
"""Columns of a table that may hold the text; the first that is there does."""


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
    compare: str | None = None
    """Another text, which may tell the same story."""
    bad: str | None = None


def run_predict(source: str, model: str, device: str, *, embedding: bool = False, why: bool = False) -> None:
    """Reads JSON Lines or CSV, writes JSON Lines in the same order; exit code 1 if a line could not be read."""
    failed = False
    with open_input(source) as stream:
        table = source.removesuffix(".gz").endswith(".csv")
        lines = whole(_csv(stream, source) if table else _json(stream), source)
        classifier = load(model, device=device)
        if embedding and classifier.card.story is None:
            typer.echo(
                f"--embedding: model {classifier.name} has no story embedding; see `tapewatch models show`", err=True
            )
            raise typer.Exit(2)
        try:
            while chunk := list(islice(lines, CHUNK)):
                failed = _chunk(classifier, chunk, embedding, why) or failed
        finally:
            classifier.close()
    if failed:
        raise typer.Exit(1)


def _chunk(classifier: OnnxClassifier, chunk: list[Line], embedding: bool, why: bool) -> bool:
    good = [line for line in chunk if line.bad is None]
    readings = [read(line.text) for line in good]
    texts = [reading.text for reading in readings]
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
    for line, prediction, reading, text, spans in zip(good, found, readings, texts, mentions, strict=True):
        if prediction is not None:
            answer = _answer(classifier, line, prediction)
            if line.compare is not None and not _compare(classifier, answer, line, text):
                continue
            if why:
                _explain(classifier, answer, reading, spans)
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
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


def _compare(classifier: OnnxClassifier, answer: dict[str, Any], line: Line, text: str) -> bool:
    """Adds how likely the line's other text tells the same story; False, and the line is bad, where that can't be
    told."""
    head = classifier.card.story
    if head is None:
        line.bad = f"compare: model {classifier.name} has no story embedding; leave it out, or name another model"
        return False
    texts = [text, scoring_text(line.compare or "")]
    try:
        one, other = (prediction.story or b"" for prediction in classifier.predict(texts, story=True))
    except ClassifierError as error:
        line.bad = f"compare: {error}"
        return False
    answer["same_story"] = {
        "probability": round(p_same(one, other, head), 6),
        "cosine": round(cosine(one, other), 6),
    }
    return True


def _explain(
    classifier: Classifier, answer: dict[str, Any], reading: ScoringText, mentions: Sequence[Sequence[Span]]
) -> None:
    """Adds why the text is bad news, and why it is for each company; for one that was not judged, as for all."""
    of_all = _why(classifier, reading, ())
    for entity, spans in zip(answer["entities"], mentions, strict=True):
        entity.update(_why(classifier, reading, spans) if entity["basis"] == "entity" else of_all)
    answer.update(of_all)


def _why(classifier: Classifier, reading: ScoringText, spans: Sequence[Span]) -> dict[str, Any]:
    """The phrases, by their places in the text as it was given."""
    try:
        phrases = carriers(classifier, reading.text, spans)
    except TooLong:
        return {"why": None, "unexplained": "length"}
    if phrases is None:
        return {"why": None, "unexplained": "not_bad"}
    return {
        "why": [
            {
                "text": reading.text[start:end],
                "start": reading.title[start],
                "end": reading.title[end - 1] + 1,
                "weight": weight,
            }
            for start, end, weight in phrases
        ]
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


def whole(entries: Iterable[T], source: str) -> Iterator[T]:
    """What is read of ``source``; exit code 1, and why, where it can't be read to its end."""
    try:
        yield from entries
    except (OSError, EOFError, zlib.error) as error:
        typer.echo(f"{source}: can't be read to its end: {error}", err=True)
        raise typer.Exit(1) from None


def _json(stream: Iterable[bytes]) -> Iterator[Line]:
    for number, raw in enumerate(stream, 1):
        if not raw.strip():
            continue
        try:
            yield _line(number, msgspec.json.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Line(number, bad=f'not JSON ({error}); write a line as {{"text": "Shares plunge"}}')


def _line(number: int, fields: Any) -> Line:
    if not isinstance(fields, dict):
        return Line(number, bad='not an object; write a line as {"text": "Shares plunge"}')
    text = fields.get("text", fields.get("headline"))
    entities = fields.get("entities") or []
    if not isinstance(text, str):
        return Line(number, bad="text is missing or no text")
    if not isinstance(entities, list) or not all(isinstance(name, str) for name in entities):
        return Line(number, bad="entities is no list of names")
    compare = fields.get("compare")
    if compare is not None and not (isinstance(compare, str) and compare.strip()):
        return Line(number, bad="compare is no text")
    return Line(number, fields.get("id"), text, entities, compare)


def _csv(stream: IO[bytes], source: str) -> Iterator[Line]:
    # Bytes that are no UTF-8 come as surrogates: only the line that holds them is bad.
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    rows = rows_of(text)
    columns = _columns(next(rows, (1, list[str]())), source)
    wanted = next(column for column in COLUMNS if column in columns)
    for number, row in rows:
        yield Line(number, bad=str(row)) if isinstance(row, Exception) else _row(number, columns, row, wanted)


def _columns(first: tuple[int, list[str] | Exception], source: str) -> list[str]:
    """A table's columns, known by its first row."""
    number, columns = first
    if isinstance(columns, Exception):
        problem = f"line {number}: {columns}"
    elif not columns:
        problem = "is empty"
    elif any(_is_broken(column) for column in columns):
        problem = f"line {number}: the names of the columns are no UTF-8 text; save the file as UTF-8"
    elif not set(COLUMNS) & set(columns):
        problem = f"line {number}: columns {', '.join(columns)[:200]}: none is text or headline; name them in this line"
    else:
        return columns
    typer.echo(f"{source}: {problem}", err=True)
    raise typer.Exit(2)


def _row(number: int, columns: list[str], row: list[str], wanted: str) -> Line:
    if len(row) > len(columns):
        many = f"{len(row)} fields for {len(columns)} columns"
        return Line(number, bad=f'{many}; put what holds commas in quotes, as in "Up, then down"')
    fields = dict(zip(columns, row, strict=False))
    if wanted not in fields:
        return Line(number, bad=f"column {wanted}: missing, the row ends after {len(row)} of {len(columns)} columns")
    for column in (wanted, "id"):
        if _is_broken(fields.get(column, "")):
            return Line(number, bad=f"column {column}: no UTF-8 text; save the file as UTF-8")
    return Line(number, fields.get("id"), fields[wanted])


def _is_broken(text: str) -> bool:
    """Whether its bytes were no UTF-8, or UTF-16, which is full of zeros."""
    return any("\udc80" <= letter <= "\udcff" or letter == "\0" for letter in text)
