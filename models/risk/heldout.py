"""The test set: written by hand, apart from the grammar and its words.

``test.tsv`` has a text a line: the document's labels (comma-separated, "-" for none), a tab, the text with every
company in brackets, its labels after a bar: ``[Acme|fraud] sues [Bolt]``.
"""

from __future__ import annotations

from pathlib import Path

from models.brackets import unmarked
from models.labels import RISKS
from models.risk.material import FOLDER, RiskDataError
from models.risk.records import Entity, Span, Text, ordered

FILE = FOLDER / "test.tsv"


def held_out(path: Path = FILE) -> list[Text]:
    """The test set. Raises RiskDataError."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_text(path, number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]


def _text(path: Path, number: int, line: str) -> Text:
    where = f"{path}, line {number}"
    labels, tab, marked = line.partition("\t")
    if not tab or not marked.strip():
        raise RiskDataError(f"{where}: expected the labels or '-', a tab, and the text")
    risks = _labels(where, "" if labels == "-" else labels)
    try:
        plain, mentions = unmarked(marked)
    except ValueError as error:
        raise RiskDataError(f"{where}: {error}") from None
    spans, marks = dict[str, list[Span]](), dict[str, tuple[str, ...]]()
    for name, span, mark in mentions:
        spans.setdefault(name, []).append(span)
        marks[name] = ordered(marks.get(name, ()) + _labels(where, mark))
    missing = {risk for mark_ in marks.values() for risk in mark_} - set(risks)
    if missing:
        raise RiskDataError(f"{where}: {min(missing)!r} is marked on a company but is not among the text's labels")
    entities = tuple(Entity(name, tuple(spans[name]), marks[name]) for name in spans)
    return Text("test", plain, risks, entities, f"{path.name}:{number}")


def _labels(where: str, names: str) -> tuple[str, ...]:
    labels = names.split(",") if names else []
    unknown = [label for label in labels if label not in RISKS]
    if unknown:
        raise RiskDataError(f"{where}: {unknown[0]!r} is none of {', '.join(RISKS)}")
    return ordered(labels)
