"""The reader of the story pairs. The head of ``pairs.tsv`` explains its four columns."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from models.challenge.fields import Place, lines, one_of

FILE = Path(__file__).with_name("pairs.tsv")
COLUMNS = ("phenomenon", "label", "first", "second")
SAME, DIFFERENT = "same", "different"
PHENOMENA = {
    "paraphrase": SAME,
    "sentence": SAME,
    "register": SAME,
    "voice": SAME,
    "figures": SAME,
    "post": SAME,
    "update": SAME,
    "reaction": SAME,
    "naming": SAME,
    "side": SAME,
    "quote": SAME,
    "flash": SAME,
    "reprint": SAME,
    "other_event": DIFFERENT,
    "other_company": DIFFERENT,
    "other_authority": DIFFERENT,
    "other_period": DIFFERENT,
    "other_amount": DIFFERENT,
    "development": DIFFERENT,
    "denial": DIFFERENT,
    "reversal": DIFFERENT,
    "other_party": DIFFERENT,
    "other_place": DIFFERENT,
    "namesake": DIFFERENT,
    "background": DIFFERENT,
    "same_theme": DIFFERENT,
}
"""What the pairs try, to the label that all pairs of it have."""


class Pair(NamedTuple):
    """A line of the set."""

    line: int
    phenomenon: str
    same: bool
    """Whether both texts tell one news item."""
    first: str
    second: str


def pairs(path: Path = FILE) -> list[Pair]:
    """The set in the order of the file. Raises ChallengeError."""
    return [_pair(place, fields) for place, fields in lines(path, COLUMNS)]


def _pair(place: Place, fields: list[str]) -> Pair:
    phenomenon, label, first, second = fields
    one_of(place, "phenomenon", phenomenon, PHENOMENA)
    one_of(place, "label", label, (SAME, DIFFERENT))
    if label != PHENOMENA[phenomenon]:
        raise place.refusal(
            "label", label, f"does not fit {phenomenon}; write {PHENOMENA[phenomenon]}, or another phenomenon"
        )
    for field, text in (("first", first), ("second", second)):
        if not text.strip() or text != text.strip():
            raise place.refusal(field, text, "is empty or has blanks at an end; write the text alone")
    if first.casefold() == second.casefold():
        raise place.refusal("second", second, "is the first text again; write it in other words")
    return Pair(place.line, phenomenon, label == SAME, first, second)
