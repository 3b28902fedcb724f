"""What the model reads of a text: one function for training and for scoring, so that both see the same."""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

URL = re.compile(r"(?:https?://|www\.)\S+|\bt\.co/\S+", re.IGNORECASE)
SPACE = re.compile(r"\s{2,}|[^\S ]")
REFERENCE = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")
"""What HTML takes for a character's reference."""

READ = 1_000
"""Characters read: three times what the model's window of 64 to 128 tokens holds of English."""

TAIL = 4
"""Of what is too long, this part of what is kept is its end, where posts and comments often come to the point."""

T = TypeVar("T")

Span = tuple[int, int]
"""Half-open, in characters."""


class ScoringText(NamedTuple):
    """What is read of a title and a text, and where each of its characters came from."""

    text: str
    title: Sequence[int]
    """Places in the title of the characters read from the start on."""
    body: Sequence[int]
    """Places in the text of the characters read from ``body_at`` on."""
    body_at: int

    def spans(self, title: Iterable[Span], body: Iterable[Span] = ()) -> tuple[Span, ...]:
        """Spans of the title and of the text as spans of ``self.text``: sorted, without what is not read."""
        found = {self._moved(span, self.title, 0) for span in title}
        found |= {self._moved(span, self.body, self.body_at) for span in body}
        return tuple(sorted(span for span in found if span[0] < span[1]))

    def _moved(self, span: Span, places: Sequence[int], at: int) -> Span:
        start, end = (at + bisect_left(places, edge) for edge in span)
        return min(start, len(self.text)), min(end, len(self.text))


def read(title: str, text: str = "") -> ScoringText:
    """Title, then the text where it adds something, without addresses and with plain spaces.

    A text that repeats the title (as feeds often do in their description) is read once.
    """
    head, body = _plain(title), _plain(text)
    if not body.text or (head.text and body.text.casefold().startswith(head.text.casefold().rstrip(".… "))):
        longer = body if len(body.text) > len(head.text) else head
        return _within(longer.text, head.places, body.places, 0)
    if not head.text:
        return _within(body.text, (), body.places, 0)
    joint = " " if head.text[-1] in ".!?:;…" else ". "
    return _within(f"{head.text}{joint}{body.text}", head.places, body.places, len(head.text) + len(joint))


def scoring_text(title: str, text: str = "") -> str:
    """What ``read`` reads."""
    return read(title, text).text


def spans_of(name: str, text: str) -> tuple[Span, ...]:
    """Where a name stands in a text as whole words, in any case; scripts without spaces know no whole words."""
    name = name.strip()
    if not name:
        return ()
    left = r"(?<!\w)" if name[0].isascii() else ""
    right = r"(?!\w)" if name[-1].isascii() else ""
    return tuple(found.span() for found in re.finditer(left + re.escape(name) + right, text, re.IGNORECASE))


def tokens_of(spans: Sequence[Span], offsets: Sequence[Span]) -> tuple[int, ...]:
    """The places of the tokens that overlap any span; special tokens have empty offsets and never do."""
    return tuple(
        place
        for place, (start, end) in enumerate(offsets)
        if end > start and any(start < last and end > first for first, last in spans)
    )


def ends_of(values: Sequence[T], room: int) -> Sequence[T]:
    """At most ``room`` values: of more the first and, a quarter of the room, the last."""
    if len(values) <= room:
        return values
    tail = room // TAIL
    return [*values[: room - tail], *values[len(values) - tail :]]


def _within(whole: str, title: Sequence[int], body: Sequence[int], body_at: int) -> ScoringText:
    """A text of at most READ characters, with what was traced of it."""
    if len(whole) <= READ:
        return ScoringText(whole, title, body, body_at)
    first, last = READ - READ // TAIL, len(whole) - READ // TAIL
    text = whole[:first] + whole[last:]

    def left(places: Sequence[int], at: int) -> list[int]:
        return [*places[: max(0, first - at)], *places[max(0, last - at) :]]

    return ScoringText(text, left(title, 0), left(body, body_at), min(body_at, first + max(0, body_at - last)))


class _Traced(NamedTuple):
    """A text, and for each character its place in the text that it was made from."""

    text: str
    places: Sequence[int]


def _plain(text: str) -> _Traced:
    if not text:
        return _Traced("", ())
    places: Sequence[int] = ends_of(range(len(text)), 4 * READ)
    traced = _Traced(text if len(places) == len(text) else "".join(ends_of(text, 4 * READ)), places)
    if "&" in text:
        traced = _replace(traced, REFERENCE, lambda found: html.unescape(found[0]))
    if any(sign in traced.text for sign in ("http", "www.", "t.co/", "HTTP")):
        traced = _replace(traced, URL, lambda _: " ")
    if "  " in traced.text or not traced.text.isprintable():  # of all white space only the plain one is printable
        traced = _replace(traced, SPACE, lambda _: " ")
    start = len(traced.text) - len(traced.text.lstrip())
    plain = traced.text.strip()
    return _Traced(plain, traced.places[start : start + len(plain)])


def _replace(traced: _Traced, pattern: re.Pattern[str], by: Callable[[re.Match[str]], str]) -> _Traced:
    """What replaces a match came from where the match begins."""
    parts: list[str] = []
    places: list[int] = []
    done = 0
    for found in pattern.finditer(traced.text):
        new = by(found)
        parts += traced.text[done : found.start()], new
        places += traced.places[done : found.start()]
        places += [traced.places[found.start()]] * len(new)
        done = found.end()
    if not done:
        return traced
    return _Traced("".join(parts) + traced.text[done:], [*places, *traced.places[done:]])
