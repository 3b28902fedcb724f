"""What the files of the challenge sets have in common: lines, fields with what may stand in them, marked texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from models.brackets import unmarked
from models.labels import RISKS, SENTIMENTS

ANY = frozenset(SENTIMENTS)
"""What is expected where nothing is judged."""
NONE, UNJUDGED = "-", "?"


class ChallengeError(Exception):
    """A line of a set can't be read as it stands: names file, line, field, value and remedy."""


class Entity(NamedTuple):
    """Somebody whom a text mentions. ``sentiments`` toward it that are right: all three where nothing is judged."""

    name: str
    spans: tuple[tuple[int, int], ...]
    """Half-open character ranges of its mentions, in order."""
    sentiments: frozenset[str]


class Place(NamedTuple):
    """A line of a file, for its refusals."""

    path: Path
    line: int

    def refusal(self, field: str, value: str, remedy: str) -> ChallengeError:
        return ChallengeError(f"{self.path}, line {self.line}, {field}: {value!r} {remedy}")


def lines(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[Place, list[str]]]:
    """The lines that are neither empty nor comments, cut at their tabs. Raises ChallengeError."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ChallengeError(f"{path}: {error}; it has to be a readable file in UTF-8") from error
    for number, line in enumerate(content.splitlines(), 1):
        if line and not line.startswith("#"):
            place, fields = Place(path, number), line.split("\t")
            if len(fields) != len(columns):
                raise place.refusal(
                    "columns", str(len(fields)), f"is not {len(columns)}; put one tab between {', '.join(columns)}"
                )
            yield place, fields


def one_of(place: Place, field: str, value: str, known: Iterable[str]) -> None:
    """Raises ChallengeError unless the value is known."""
    if value not in known:
        raise place.refusal(field, value, f"is unknown; write one of {', '.join(known)}")


def sentiments(place: Place, field: str, value: str) -> frozenset[str]:
    """The labels that are right. Raises ChallengeError."""
    if value == UNJUDGED:
        return ANY
    one_of(place, field, value, (*SENTIMENTS, *(f"!{label}" for label in SENTIMENTS), UNJUDGED))
    return ANY - {value[1:]} if value.startswith("!") else frozenset({value})


def risks(place: Place, value: str) -> tuple[str, ...] | None:
    """The adverse events in the order of the label set, None where they are not judged. Raises ChallengeError."""
    if value == UNJUDGED:
        return None
    labels = [] if value == NONE else value.split(",")
    for label in labels:
        one_of(place, "risks", label, (*RISKS, NONE, UNJUDGED))
    if len(set(labels)) < len(labels) or {NONE, UNJUDGED} & set(labels):
        raise place.refusal(
            "risks", value, f"says a thing twice; write each label once, or '{NONE}' or '{UNJUDGED}' alone"
        )
    return tuple(sorted(labels, key=RISKS.index))


def text_and_entities(place: Place, marked: str) -> tuple[str, tuple[Entity, ...]]:
    """The plain text and whom it mentions. Raises ChallengeError."""
    try:
        text, mentions = unmarked(marked)
    except ValueError as error:
        raise place.refusal("text", marked, f"has {error}; write [name] or [name|sentiment]") from None
    if not text.strip() or text != text.strip():
        raise place.refusal("text", marked, "is empty or has blanks at an end; write the headline alone")
    spans, marks = dict[str, list[tuple[int, int]]](), dict[str, frozenset[str]]()
    for name, span, mark in mentions:
        spans.setdefault(name, []).append(span)
        expected = sentiments(place, f"sentiment toward {name}", mark or UNJUDGED)
        if marks.setdefault(name, expected) != expected:
            raise place.refusal(f"sentiment toward {name}", mark, "differs from its mention before; mark both alike")
    return text, tuple(Entity(name, tuple(spans[name]), marks[name]) for name in spans)
