"""The reader of the story pairs. The head of ``pairs.tsv`` explains its four columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
APART = ("other_event", "same_theme")
"""Phenomena without likeness; the pairs of all other ones that are different are near misses."""

SAME_SHARE, NEAR_SHARE = 0.05, 0.15
"""Of two headlines about one company within 48 hours: how many tell one item, and how many of the others nearly do.
The first was counted, the second chosen among tenths and halves of them (docs/stories.md)."""


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


def weights(of: Sequence[Pair]) -> list[float]:
    """For how many pairs each one stands where the kinds of pairs are as frequent as in the field; their sum is the
    number of pairs. The set has as many near misses as retellings, the field twenty that tell two items to one that
    tells one twice."""
    kinds = [_kind(pair) for pair in of]
    counts = Counter(kinds)
    return [_SHARES[kind] * len(of) / counts[kind] for kind in kinds]


_SHARES = {
    SAME: SAME_SHARE,
    "near": (1 - SAME_SHARE) * NEAR_SHARE,
    "apart": (1 - SAME_SHARE) * (1 - NEAR_SHARE),
}


def _kind(pair: Pair) -> str:
    if pair.same:
        return SAME
    return "apart" if pair.phenomenon in APART else "near"


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
