"""The reader of the English challenge sets. The head of ``headlines.tsv`` explains its six columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.challenge.fields import NONE, Entity, Place, lines, one_of, risks, sentiments, text_and_entities

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


def headlines(path: Path = FILE, phenomena: Sequence[str] = PHENOMENA) -> list[Headline]:
    """A set in the order of its file, the first one unless another is named. Raises ChallengeError."""
    rows = [_headline(place, fields, phenomena) for place, fields in lines(path, COLUMNS)]
    groups = dict[str, list[Headline]]()
    for row in rows:
        if row.group:
            groups.setdefault(row.group, []).append(row)
    for members in groups.values():
        _check_group(path, members)
    return rows


def _headline(place: Place, fields: list[str], phenomena: Sequence[str]) -> Headline:
    phenomenon, kind, named, sentiment, events, marked = fields
    one_of(place, "phenomenon", phenomenon, phenomena)
    one_of(place, "kind", kind, KINDS)
    group, rank = _group(place, kind, named)
    right, told = sentiments(place, "sentiment", sentiment), risks(place, events)
    text, entities = text_and_entities(place, marked)
    return Headline(place.line, phenomenon, kind, group, rank, right, told, text, entities)


def _group(place: Place, kind: str, named: str) -> tuple[str, int]:
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


def _check_group(path: Path, members: list[Headline]) -> None:
    """The lines of a group stand for one test: same phenomenon and kind, and what makes it a test."""
    first, last = members[0], members[-1]
    place = Place(path, last.line)
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
