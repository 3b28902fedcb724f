"""The reader of the challenge set. The head of ``headlines.tsv`` explains its six columns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from models.brackets import Mention, unmarked
from models.labels import RISKS, SENTIMENTS

FILE = Path(__file__).with_name("headlines.tsv")
COLUMNS = ("phenomenon", "kind", "group", "sentiment", "risks", "text")
KINDS = ("mft", "inv", "dir")
PHENOMENA = (
    "negation",
    "less_bad",
    "rescue",
    "litigation",
    "rating",
    "layoffs",
    "oil",
    "opposite",
    "numbers",
    "question",
    "rumour",
    "sarcasm",
    "old_news",
    "look_alike",
    "capitals",
    "ticker",
    "guidance",
    "mixed",
    "regulation",
    "currency",
    "insider",
    "safety",
)
ANY = frozenset(SENTIMENTS)
"""What is expected where nothing is judged."""
NONE, UNJUDGED = "-", "?"


class ChallengeError(Exception):
    """A line of the set can't be read as it stands: names file, line, field, value and remedy."""


class Entity(NamedTuple):
    """Somebody whom a headline mentions. ``sentiments`` toward it that are right: all three where nothing is judged."""

    name: str
    spans: tuple[tuple[int, int], ...]
    """Half-open character ranges of its mentions, in order."""
    sentiments: frozenset[str]


class Headline(NamedTuple):
    """A line of the set."""

    line: int
    phenomenon: str
    kind: str
    group: str
    """Empty for "mft"."""
    rank: int
    """For "dir" from 1 (worst) up, else 0."""
    sentiments: frozenset[str]
    """Of the text, those that are right: all three where it is not judged."""
    risks: tuple[str, ...] | None
    """Adverse events that the text tells, in the order of the label set; None where they are not judged."""
    text: str
    entities: tuple[Entity, ...]


class _Place(NamedTuple):
    path: Path
    line: int

    def refusal(self, field: str, value: str, remedy: str) -> ChallengeError:
        return ChallengeError(f"{self.path}, line {self.line}, {field}: {value!r} {remedy}")


def headlines(path: Path = FILE) -> list[Headline]:
    """The set in the order of the file. Raises ChallengeError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ChallengeError(f"{path}: {error}; it has to be a readable file in UTF-8") from error
    rows = [_headline(_Place(path, i), line) for i, line in enumerate(lines, 1) if line and not line.startswith("#")]
    groups = dict[str, list[Headline]]()
    for row in rows:
        if row.group:
            groups.setdefault(row.group, []).append(row)
    for members in groups.values():
        _check_group(path, members)
    return rows


def _headline(place: _Place, line: str) -> Headline:
    fields = line.split("\t")
    if len(fields) != len(COLUMNS):
        raise place.refusal(
            "columns", str(len(fields)), f"is not {len(COLUMNS)}; put one tab between {', '.join(COLUMNS)}"
        )
    phenomenon, kind, named, sentiment, risks, marked = fields
    _one_of(place, "phenomenon", phenomenon, PHENOMENA)
    _one_of(place, "kind", kind, KINDS)
    group, rank = _group(place, kind, named)
    sentiments, events = _sentiments(place, "sentiment", sentiment), _risks(place, risks)
    try:
        text, mentions = unmarked(marked)
    except ValueError as error:
        raise place.refusal("text", marked, f"has {error}; write [name] or [name|sentiment]") from None
    if not text.strip() or text != text.strip():
        raise place.refusal("text", marked, "is empty or has blanks at an end; write the headline alone")
    return Headline(place.line, phenomenon, kind, group, rank, sentiments, events, text, _entities(place, mentions))


def _one_of(place: _Place, field: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise place.refusal(field, value, f"is unknown; write one of {', '.join(known)}")


def _group(place: _Place, kind: str, named: str) -> tuple[str, int]:
    """The group's name and the line's rank in it."""
    if kind == "mft":
        if named != NONE:
            raise place.refusal("group", named, f"stands at an mft line; write '{NONE}', or another kind")
        return "", 0
    name, colon, rank = named.partition(":")
    if not name.isidentifier():
        raise place.refusal(
            "group", named, f"is no name for a group of kind {kind}; use letters, digits and underscores"
        )
    if kind == "inv" and not colon:
        return name, 0
    if kind == "dir" and rank.isdecimal() and int(rank):
        return name, int(rank)
    raise place.refusal("group", named, "does not fit its kind; write name for inv, name:1, name:2, ... for dir")


def _sentiments(place: _Place, field: str, value: str) -> frozenset[str]:
    if value == UNJUDGED:
        return ANY
    _one_of(place, field, value, (*SENTIMENTS, *(f"!{label}" for label in SENTIMENTS), UNJUDGED))
    return ANY - {value[1:]} if value.startswith("!") else frozenset({value})


def _risks(place: _Place, value: str) -> tuple[str, ...] | None:
    if value == UNJUDGED:
        return None
    labels = [] if value == NONE else value.split(",")
    for label in labels:
        _one_of(place, "risks", label, (*RISKS, NONE, UNJUDGED))
    if len(set(labels)) < len(labels) or {NONE, UNJUDGED} & set(labels):
        raise place.refusal(
            "risks", value, f"says a thing twice; write each label once, or '{NONE}' or '{UNJUDGED}' alone"
        )
    return tuple(sorted(labels, key=RISKS.index))


def _entities(place: _Place, mentions: list[Mention]) -> tuple[Entity, ...]:
    spans, marks = dict[str, list[tuple[int, int]]](), dict[str, frozenset[str]]()
    for name, span, mark in mentions:
        spans.setdefault(name, []).append(span)
        expected = _sentiments(place, f"sentiment toward {name}", mark or UNJUDGED)
        if marks.setdefault(name, expected) != expected:
            raise place.refusal(f"sentiment toward {name}", mark, "differs from its mention before; mark both alike")
    return tuple(Entity(name, tuple(spans[name]), marks[name]) for name in spans)


def _check_group(path: Path, members: list[Headline]) -> None:
    """The lines of a group stand for one test: same phenomenon and kind, and what makes it a test."""
    first, last = members[0], members[-1]
    place = _Place(path, last.line)
    if len(members) < 2:
        raise place.refusal("group", first.group, "has this line only; give it another one")
    if len({(row.phenomenon, row.kind) for row in members}) > 1:
        raise place.refusal(
            "group", first.group, f"is taken in line {first.line} by another kind or phenomenon; rename one"
        )
    if first.kind == "inv" and len({(row.sentiments, row.risks) for row in members}) > 1:
        raise place.refusal(
            "group", first.group, f"has other labels in line {first.line}; invariant lines are labelled alike"
        )
    if first.kind == "dir" and sorted(row.rank for row in members) != list(range(1, len(members) + 1)):
        ranks = ", ".join(str(row.rank) for row in members)
        raise place.refusal(
            "group", first.group, f"has the ranks {ranks}; number its lines 1, 2, ... from worst to best"
        )
