"""The reader of the Chinese challenge sets. The head of ``chinese.tsv`` explains its five columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.challenge.fields import UNJUDGED, Entity, Place, lines, one_of, risks, sentiments, text_and_entities
from models.labels import TOPICS

FILE = Path(__file__).with_name("chinese.tsv")
COLUMNS = ("phenomenon", "sentiment", "risks", "topic", "text")
CHINESE_PHENOMENA = (
    "policy",
    "idiom",
    "blow_up",
    "probe",
    "holders",
    "delisting",
    "results",
    "operations",
    "denial",
    "irony",
    "code_mixed",
    "look_alike",
    "good_news",
    "traditional",
    "full_width",
    "opposite",
    "negation",
    "long_post",
)


class Post(NamedTuple):
    """A line of the set."""

    line: int
    phenomenon: str
    sentiments: frozenset[str]
    """Of the text, those that are right: all three where it is not judged."""
    risks: tuple[str, ...] | None
    """Adverse events that the text tells, in the order of the label set; None where they are not judged."""
    topic: str | None
    """None where more than one would do."""
    text: str
    entities: tuple[Entity, ...]


def chinese(path: Path = FILE, phenomena: Sequence[str] = CHINESE_PHENOMENA) -> list[Post]:
    """A set in the order of its file, the first one unless another is named. Raises ChallengeError."""
    return [_post(place, fields, phenomena) for place, fields in lines(path, COLUMNS)]


def _post(place: Place, fields: list[str], phenomena: Sequence[str]) -> Post:
    phenomenon, sentiment, events, topic, marked = fields
    one_of(place, "phenomenon", phenomenon, phenomena)
    one_of(place, "topic", topic, (*TOPICS, UNJUDGED))
    text, entities = text_and_entities(place, marked)
    return Post(
        place.line,
        phenomenon,
        sentiments(place, "sentiment", sentiment),
        risks(place, events),
        None if topic == UNJUDGED else topic,
        text,
        entities,
    )
