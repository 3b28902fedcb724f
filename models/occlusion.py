"""The words that make a text bad news, by occlusion: what has to be taken out for it to be bad news no longer.

A window of neighbouring words is moved over the text (Zeiler and Fergus 2014), and what it covers is erased (Li, Monroe
and Jurafsky 2016): the text is judged again without it. The window that lowers the badness most is taken out for good,
and the search goes on in what is left, until the text is not bad any more. Single words would not do: without "fraud" a
"fraud probe" is still a probe, and of two bad news in one headline each hides the other.

Deterministic: the same model says the same of the same text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from statistics import fmean
from typing import NamedTuple

from models.predictions import BAD, Classifier, Prediction, bad_news
from models.reading import Span

PIECES = 64
"""Words, or characters of a script without spaces, of a text that is searched: a headline of 200 characters has fewer
words. Some 70 texts are judged a round then."""

ROUNDS = 3
"""Phrases that are looked for."""

NEARLY = 0.8
"""Share of the largest fall that a shorter window may have, to be taken for the longer one."""

WORTH = 0.05
"""Weight from which a phrase is told: less is as much the rest of the text as the phrase."""

_RANGES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED = re.compile(f"[{_RANGES}]")
"""Scripts without spaces, whose characters are taken one by one: Han and kana."""
_PIECE = re.compile(rf"[{_RANGES}]|[^\s{_RANGES}]+")

WORDS = 3
"""Words that are taken out together at first."""
SIGNS = 4
STEP = 2
"""Characters: set phrases are mostly of four, and words of two. Windows of four are moved by two; where in the best one
a word begins is found by smaller steps, so that no dictionary is needed."""


class Phrase(NamedTuple):
    """A part of a text, in characters, and its weight: the part of the badness that goes with it."""

    start: int
    end: int
    weight: float


class TooLong(Exception):
    """The text has more than ``PIECES`` words."""


class _Piece(NamedTuple):
    start: int
    end: int
    unspaced: bool


class _Text:
    """A text of which pieces can be taken out. The company that it is about stays."""

    def __init__(self, classifier: Classifier, text: str, mentions: Sequence[Span]) -> None:
        self._classifier = classifier
        self._negative = classifier.sentiments.index("negative")
        self.text = text
        self._mentions = mentions
        pieces = (_trimmed(text, found.span()) for found in _PIECE.finditer(text))
        self.pieces = list(islice((piece for piece in pieces if piece is not None), PIECES + 1))
        if len(self.pieces) > PIECES:
            raise TooLong(f"more than {PIECES} words")
        self._named = {
            place
            for place, piece in enumerate(self.pieces)
            if any(start < piece.end and end > piece.start for start, end in mentions)
        }

    def windows(self, gone: Collection[int]) -> list[tuple[int, ...]]:
        """Neighbouring pieces that can be taken out together of what is left."""
        found = []
        for run in self._runs(gone):
            size, step = (SIGNS, STEP) if self.pieces[run[0]].unspaced else (WORDS, 1)
            starts = [*range(0, len(run) - size, step), max(0, len(run) - size)]
            found += [tuple(run[start : start + size]) for start in starts]
        return found

    def parts(self, window: tuple[int, ...], gone: Collection[int]) -> list[tuple[int, ...]]:
        """What a window may be narrowed to; one of characters moved to as well, for it came two by two."""
        if not self.pieces[window[0]].unspaced:
            return [window[at : at + size] for size in range(1, len(window)) for at in range(len(window) - size + 1)]
        run = next(run for run in self._runs(gone) if window[0] in run)
        at = run.index(window[0])
        near = run[max(0, at - STEP) : at + SIGNS + STEP]
        return [tuple(near[at : at + size]) for size in (STEP, SIGNS) for at in range(len(near) - size + 1)]

    def _runs(self, gone: Collection[int]) -> list[list[int]]:
        """Pieces that stand side by side and are of one kind, without the company and what is gone."""
        runs: list[list[int]] = []
        for place, piece in enumerate(self.pieces):
            if place in gone or place in self._named:
                continue
            if runs and runs[-1][-1] == place - 1 and self.pieces[place - 1].unspaced == piece.unspaced:
                runs[-1].append(place)
            else:
                runs.append([place])
        return runs

    def bad_without(self, each: Sequence[Collection[int]]) -> list[float]:
        """The badness without these pieces, for each collection of them; judged in one batch."""
        texts, mentions = [], []
        for gone in each:
            text, spans = self._without(sorted(gone))
            texts.append(text)
            mentions.append([spans] if spans else [])
        return [self._bad(answer) for answer in self._classifier.predict(texts, mentions)]

    def _without(self, gone: Sequence[int]) -> tuple[str, list[Span]]:
        kept, spans, done, lost = [], list(self._mentions), 0, 0
        for place in gone:
            start, end, _ = self.pieces[place]
            end += self.text[end : end + 1] == " "
            kept.append(self.text[done:start])
            spans = [(a - (end - start), b - (end - start)) if a >= end - lost else (a, b) for a, b in spans]
            lost += end - start
            done = end
        return "".join(kept) + self.text[done:], spans

    def _bad(self, answer: Prediction) -> float:
        said = next((one for one in answer.mentions if one is not None), None) or answer
        return bad_news(said.sentiment[self._negative], said.risk.probability if said.risk is not None else 0.0)


def carriers(classifier: Classifier, text: str, mentions: Sequence[Span] = ()) -> tuple[Phrase, ...] | None:
    """The phrases that make ``text`` bad news, in their order; None where it is none.

    ``mentions``: where the company stands toward which it is judged; without them the text as a whole is. The weights
    add up to no more than the badness; none are told where no few words carry it. Raises TooLong, ClassifierError,
    DeviceError.
    """
    whole = _Text(classifier, text, mentions)
    bad = whole.bad_without([()])[0]
    if bad < BAD:
        return None
    found, falls = _erased(whole, bad)
    weights = _weights(whole, bad, found, falls)
    phrases = (
        Phrase(whole.pieces[window[0]].start, whole.pieces[window[-1]].end, round(weight, 3))
        for window, weight in zip(found, weights, strict=True)
        if weight >= WORTH
    )
    return tuple(sorted(phrases))


def _erased(whole: _Text, bad: float) -> tuple[list[tuple[int, ...]], list[float]]:
    """The windows that were taken out one after the other, and how far the badness fell with each."""
    found: list[tuple[int, ...]] = []
    falls: list[float] = []
    gone: set[int] = set()
    while len(found) < ROUNDS and bad >= BAD and (windows := whole.windows(gone)):
        left = dict(zip(windows, whole.bad_without([gone.union(one) for one in windows]), strict=True))
        parts = whole.parts(min(windows, key=left.__getitem__), gone)
        left |= zip(parts, whole.bad_without([gone.union(one) for one in parts]), strict=True)
        if min(left.values()) >= bad:
            break
        window, after = _best(whole, left, bad)
        found.append(window)
        falls.append(bad - after)
        gone.update(window)
        bad = after
    return found, falls


def _best(whole: _Text, left: Mapping[tuple[int, ...], float], bad: float) -> tuple[tuple[int, ...], float]:
    """The shortest of the windows without which little badness is left. Of characters, of those as short the one whose
    neighbours lower it too: a window beside a word cuts the word in two, and that may do as much."""
    enough = bad - NEARLY * (bad - min(left.values()))
    near = [window for window, rest in left.items() if rest <= enough]
    size = min(map(len, near))

    def rank(window: tuple[int, ...]) -> tuple[float, float, tuple[int, ...]]:
        around = [rest - bad for one, rest in left.items() if len(one) == size and not set(one).isdisjoint(window)]
        return round(fmean(around), 9) if whole.pieces[window[0]].unspaced else 0.0, left[window], window

    best = min((window for window in near if len(window) == size), key=rank)
    return best, left[best]


def _weights(whole: _Text, bad: float, found: Sequence[tuple[int, ...]], falls: Sequence[float]) -> Iterator[float]:
    """Each phrase's fall, the mean of taking them out in their order and in the opposite one.

    In one order alone the last of several bad news would have all the weight: for two this is Shapley's value.
    """
    if not found:
        return
    backwards = list(reversed(found))
    gone: list[set[int]] = [{place for window in backwards[:upto] for place in window} for upto in range(1, len(found))]
    steps = [bad, *(whole.bad_without(gone) if gone else []), bad - sum(falls)]
    other = [before - after for before, after in pairwise(steps)]
    yield from (max(0.0, (one + two) / 2) for one, two in zip(falls, reversed(other), strict=True))


def _trimmed(text: str, span: Span) -> _Piece | None:
    """Without the signs around it; None where it is nothing but signs."""
    start, end = span
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    return _Piece(start, end, _UNSPACED.match(text, start) is not None) if start < end else None
