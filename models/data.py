"""Training texts: from a folder that the caller names, none of which is part of the project, and events of our own.

Files (columns ``split``, ``text``, ``label``): ``sentiment_twitter.csv``, ``topic_twitter.csv``,
``sentiment_sentfin.csv``; with a column ``entity`` besides: ``entity_sentiment_sentfin.csv``, whose rows are mentions
in the headlines of the third. docs/models.md names the public sets they come from. The texts about adverse events are
composed by ``models.risk``.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from models.chinese import compose as compose_chinese
from models.labelled import Text as Labelled
from models.labels import MIXED, RISKS, SENTIMENTS, TOPICS
from models.moods import compose as compose_moods
from models.reading import scoring_text, spans_of
from models.risk import Text, compose, held_out

SETS = ("sentiment_twitter", "topic_twitter", "sentiment_sentfin")
ENTITIES = "entity_sentiment_sentfin"
EVENTS = "events"
MOODS = "moods"
CHINESE = "chinese"

Soft = tuple[float, ...]
"""A distribution over labels, where a negative share says that nobody knows whether that label applies."""


class DataError(Exception):
    """A training file is missing or not as expected."""


class Mention(NamedTuple):
    """An entity in a text: half-open character spans, and the targets toward it, None where none is known.

    ``risks``: the probability of any adverse event, then of every kind; negative where it is not known.
    """

    spans: tuple[tuple[int, int], ...]
    sentiment: Soft | None = None
    risks: Soft | None = None


class Row(NamedTuple):
    """A text with the targets it has: a distribution over SENTIMENTS, an index into the topics or a distribution over
    them, risks as a mention's."""

    text: str
    sentiment: Soft | None
    topic: int | Soft | None
    origin: str
    risks: Soft | None = None
    mentions: tuple[Mention, ...] = ()


def load(folder: Path, name: str, split: str) -> list[Row]:
    """The rows of one set and split ("train" or "valid")."""
    return [_row(where, name, entry) for where, entry in _entries(folder, name, ("label",), split)]


def mentions(folder: Path, split: str) -> list[Row]:
    """The headlines of SEntFiN with the companies in them, a row a headline, without a sentiment of the whole.

    An entity that is not to be found in its headline (the published file has some such) is left out.
    """
    found: dict[str, list[Mention]] = {}
    for where, entry in _entries(folder, ENTITIES, ("entity", "label"), split):
        text = scoring_text(entry["text"])
        known = found.setdefault(text, [])
        spans = spans_of(entry["entity"], text)
        if spans:
            known.append(Mention(spans, _soft(where, entry["label"])))
    return [Row(text, None, None, ENTITIES, mentions=tuple(known)) for text, known in found.items() if known]


def with_mentions(rows: Sequence[Row], mentioned: Sequence[Row]) -> list[Row]:
    """Rows joined with the mentions in the same text."""
    known = {row.text: row.mentions for row in mentioned}
    return [row._replace(mentions=known.get(row.text, ())) for row in rows]


def events(split: str, seed: int = 7) -> list[Row]:
    """The project's own texts about adverse events and their look-alikes: "train", "valid" or "test"."""
    texts = held_out() if split == "test" else [text for text in compose(seed) if text.split == split]
    return [_event(text) for text in texts]


def _event(text: Text) -> Row:
    read = scoring_text(text.text)
    known = []
    for entity in text.entities:
        spans = tuple(span for span in entity.spans if read[slice(*span)] == text.text[slice(*span)])
        if spans:
            known.append(Mention(spans, risks=indicators(entity.risks)))
    return Row(read, None, None, EVENTS, indicators(text.risks), tuple(known))


def chinese(split: str, seed: int = 7) -> list[Row]:
    """The project's own Chinese texts, with every target that they have: "train" or "valid"."""
    return [_labelled(text, CHINESE) for text in compose_chinese(seed) if text.split == split]


def moods(split: str, seed: int = 7) -> list[Row]:
    """The project's own English texts about moods, with every target that they have: "train" or "valid"."""
    return [_labelled(text, MOODS) for text in compose_moods(seed) if text.split == split]


def _labelled(text: Labelled, origin: str) -> Row:
    read = scoring_text(text.text)
    known = [
        Mention(spans, None if one.sentiment is None else _certain(one.sentiment), _told(one.risks))
        for one in text.entities
        if (spans := tuple(span for span in one.spans if read[slice(*span)] == text.text[slice(*span)]))
    ]
    sentiment = None if text.sentiment is None else _certain(text.sentiment)
    topic = None if text.topic is None else TOPICS.index(text.topic)
    return Row(read, sentiment, topic, origin, _told(text.risks), tuple(known))


def by_target(rows: Sequence[Row], name: str) -> dict[str, list[Row]]:
    """Rows with several targets as sets of one each, named as the other sets are: sentiment, topic, events, entity."""
    bare = [row._replace(sentiment=None, topic=None, risks=None, mentions=()) for row in rows]
    pairs = list(zip(rows, bare, strict=True))
    toward = [tuple(one for one in row.mentions if one.sentiment) for row in rows]
    told = [tuple(one for one in row.mentions if one.risks) for row in rows]
    return {
        f"sentiment_{name}": [b._replace(sentiment=row.sentiment) for row, b in pairs if row.sentiment],
        f"topic_{name}": [b._replace(topic=row.topic) for row, b in pairs if row.topic is not None],
        f"entity_sentiment_{name}": [b._replace(mentions=m) for (_, b), m in zip(pairs, toward, strict=True) if m],
        f"{EVENTS}_{name}": [
            b._replace(risks=row.risks, mentions=m) for (row, b), m in zip(pairs, told, strict=True) if row.risks
        ],
    }


def _certain(label: str) -> Soft:
    place = SENTIMENTS.index(label)
    return (float(place == 0), float(place == 1), float(place == 2))


def _told(risks: Sequence[str] | None) -> Soft | None:
    return None if risks is None else indicators(risks)


def indicators(risks: Sequence[str], kinds: Sequence[str] = RISKS) -> Soft:
    """0 or 1: any, then every kind."""
    return (float(bool(risks)), *(float(kind in risks) for kind in kinds))


def _entries(folder: Path, name: str, columns: Sequence[str], split: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(file and line, row) of one split."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        needed = ", ".join(f"{one}.csv" for one in (*SETS, ENTITIES))
        raise DataError(f"{path}: not found; --data must name the folder with {needed}")
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        missing = {"split", "text", *columns} - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"{path}: column {min(missing)!r} is missing")
        for entry in reader:
            if entry["split"] == split:
                yield f"{path}, line {reader.line_num}", entry


def _row(where: str, name: str, entry: dict[str, str]) -> Row:
    text, label = scoring_text(entry["text"]), entry["label"]
    if name.startswith("topic"):
        if label not in TOPICS:
            raise DataError(f"{where}: label {label!r} is not one of the {len(TOPICS)} topics")
        return Row(text, None, TOPICS.index(label), name)
    return Row(text, _soft(where, label), None, name)


def _soft(where: str, label: str) -> Soft:
    if label == MIXED:
        return (0.5, 0.0, 0.5)
    if label not in SENTIMENTS:
        raise DataError(f"{where}: label {label!r} is not one of {', '.join((*SENTIMENTS, MIXED))}")
    return _certain(label)


def pure(rows: Sequence[Row]) -> list[Row]:
    """Rows without the mixed ones, which have no single right answer."""
    return [row for row in rows if row.sentiment is None or max(row.sentiment) == 1.0]


def truth(rows: Sequence[Row]) -> list[int]:
    """The right label of each row: of its topic where it has one, else of its sentiment."""
    return [row.topic if isinstance(row.topic, int) else best(row.sentiment or (0.0, 0.0, 0.0)) for row in rows]


def best(values: Sequence[float]) -> int:
    """The place of the largest."""
    return max(range(len(values)), key=values.__getitem__)


def sampled(rows: Sequence[Row], count: int, rng: random.Random) -> list[Row]:
    """At most ``count`` rows, each once."""
    return rng.sample(list(rows), min(count, len(rows)))
