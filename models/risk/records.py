"""What a labelled text is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from models.labels import RISKS

Span = tuple[int, int]


class Entity(NamedTuple):
    """Somebody whom the text mentions. ``risks`` are the events that are adverse to it: none for a bystander."""

    name: str
    spans: tuple[Span, ...]
    """Half-open character ranges of its mentions, in order."""
    risks: tuple[str, ...]
    tag: str = ""
    """The cashtag of a company of the grammar."""


class Text(NamedTuple):
    """A text of one split ("train", "valid" or "test"). ``risks``: every adverse event it tells, to anybody."""

    split: str
    text: str
    risks: tuple[str, ...]
    entities: tuple[Entity, ...]
    origin: str
    """The template (file, section, number) or templates it was made from, or the line of the test file."""


def ordered(risks: Iterable[str]) -> tuple[str, ...]:
    """Each label once, in the order of the label set."""
    return tuple(sorted(set(risks), key=RISKS.index))
