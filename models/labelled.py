"""Written material in lines under headings, and the labelled texts that are composed of it.

A heading gives the labels of the lines below it, as far as the next one:

    == negative / Legal | Regulation / fraud,arrest

Sentiment, topic, adverse events; "?" where one is not judged, "-" for no event. Lines that begin with "# " are
comments.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol, TypeVar

from models.labels import RISKS, SENTIMENTS, TOPICS
from models.risk.records import Span, ordered

NONE, UNJUDGED = "-", "?"
FIELDS = ("sentiment", "topic", "risks")
SIGNS = {"-": "negative", "0": "neutral", "+": "positive", "?": None}
"""How a slot marks the sentiment toward its company."""
EACH, HELD = 10, 7
"""One template in so many is of the validation part: those whose sum leaves this remainder, which has every kind."""
PER_TEMPLATE = 4
SAME = 2
"""Texts that differ in names and figures only: as many are kept of a template."""
TRIES = 3
"""Fillings tried for each text wanted, before the template counts as exhausted."""


class MaterialError(Exception):
    """A file of the material can't be read as it stands: names file, line, field, value and remedy."""


class Place(NamedTuple):
    """A line of a file, for its refusals."""

    path: Path
    line: int

    def refuse(self, field: str, value: str, remedy: str) -> NoReturn:
        raise MaterialError(f"{self.path}, line {self.line}, {field}: {value!r} {remedy}")


class Labels(NamedTuple):
    """What a heading says; None where a thing is not judged."""

    sentiment: str | None
    topic: str | None
    risks: tuple[str, ...] | None


class Standing(NamedTuple):
    """How an entity fares: the sentiment toward it and what happens to it; None where a thing is not judged."""

    sentiment: str | None
    risks: tuple[str, ...] | None


class Entity(NamedTuple):
    """Somebody whom the text mentions. ``sentiment``: toward it. None where a thing is not judged."""

    name: str
    spans: tuple[Span, ...]
    """Half-open character ranges of its mentions, in order."""
    sentiment: str | None
    risks: tuple[str, ...] | None


class Text(NamedTuple):
    """A text of one split ("train" or "valid"); None where a thing is not judged."""

    split: str
    text: str
    sentiment: str | None
    topic: str | None
    risks: tuple[str, ...] | None
    """Every adverse event it tells, to anybody."""
    entities: tuple[Entity, ...]
    origin: str
    """The template: folder, file and line."""


def lines_of(path: Path) -> Iterator[tuple[Place, Labels, str]]:
    """The lines of a file with their labels. Raises MaterialError."""
    labels = None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MaterialError(f"{path}: {error}; it has to be a readable file in UTF-8") from error
    for number, line in enumerate(lines, 1):
        place = Place(path, number)
        if line.startswith("== "):
            labels = _labels(place, line[3:])
        elif line and not line.startswith("# "):
            if labels is None:
                place.refuse("heading", line, "has none above it; write '== sentiment / topic / risks' first")
            if line != line.strip():
                place.refuse("text", line, "has blanks at an end; take them away")
            yield place, labels, line


def _labels(place: Place, heading: str) -> Labels:
    fields = heading.split(" / ")
    if len(fields) != len(FIELDS):
        place.refuse("heading", heading, f"has {len(fields)} fields; write {' / '.join(FIELDS)}")
    sentiment, topic, risks = fields
    return Labels(
        _one_of(place, "sentiment", sentiment, SENTIMENTS), _one_of(place, "topic", topic, TOPICS), kinds(place, risks)
    )


def _one_of(place: Place, field: str, value: str, known: tuple[str, ...]) -> str | None:
    if value == UNJUDGED:
        return None
    if value not in known:
        place.refuse(field, value, f"is unknown; write one of {', '.join(known)}, or '{UNJUDGED}'")
    return value


def kinds(place: Place, value: str) -> tuple[str, ...] | None:
    """Adverse events in the order of the label set, None where they are not judged. Raises MaterialError."""
    if value == UNJUDGED:
        return None
    found = [] if value == NONE else value.split(",")
    unknown = [kind for kind in found if kind not in RISKS]
    if unknown:
        place.refuse("risks", unknown[0], f"is unknown; write labels of models/labels.py, '{NONE}' or '{UNJUDGED}'")
    if len(set(found)) < len(found):
        place.refuse("risks", value, "says a thing twice; write each label once")
    return ordered(found)


def standing(place: Place, labels: Labels, sign: str | None, events: str) -> Standing:
    """How a company fares by the mark of its slot: unmarked as its text; negative with the text's events, unless the
    mark names some of them or "none"; else without any. Raises MaterialError."""
    if sign is None:
        return Standing(labels.sentiment, labels.risks)
    if not events:
        return Standing(SIGNS[sign], labels.risks if sign == "-" else ())
    risks = kinds(place, NONE if events == "none" else events) or ()
    alien = set(risks) - set(labels.risks or risks)
    if alien:
        place.refuse("risks", min(alien), "is told of a company alone; add it to the heading")
    return Standing(SIGNS[sign], risks)


class _Filled(Protocol):
    @property
    def text(self) -> str: ...


Filled = TypeVar("Filled", bound=_Filled)


def varied(fill: Callable[[], Filled], masked: Callable[[Filled], str]) -> Iterator[Filled]:
    """Fillings of one template, as different as it allows. ``masked``: a text without its names and figures."""
    seen, alike = set[str](), Counter[str]()
    for _ in range(PER_TEMPLATE * TRIES):
        draft = fill()
        bare = masked(draft)
        if draft.text in seen or alike[bare] >= SAME:
            continue
        seen.add(draft.text)
        alike[bare] += 1
        yield draft
        if len(seen) == PER_TEMPLATE:
            return


def split_of(line: str) -> str:
    """Which part a template is of, by its words: an added one moves no other."""
    return "valid" if zlib.crc32(line.encode()) % EACH == HELD else "train"


def opposite(text: Text) -> bool:
    """Whether it tells good of one company and bad of another."""
    return {"negative", "positive"} <= {entity.sentiment for entity in text.entities}


def counts(texts: Sequence[Text]) -> dict[str, dict[str, int]]:
    """How many texts there are, and how many templates, of what."""
    templates = list({text.origin: text for text in texts}.values())
    return {
        "texts": dict(Counter(text.split for text in texts)),
        "templates": dict(Counter(text.split for text in templates)),
        "events": {
            "adverse": sum(bool(text.risks) for text in templates),
            "harmless": sum(text.risks == () for text in templates),
            "opposite": sum(opposite(text) for text in templates),
        },
        "sentiments": {one: sum(text.sentiment == one for text in templates) for one in SENTIMENTS},
        "topics": {one: sum(text.topic == one for text in templates) for one in TOPICS},
    }
