"""Near-duplicate signatures: which words a text uses, and how likely two such sets tell the same story.

The signature is the set of a text's content-word stems, hashed to 32 bits: at most 31 of them, so that the
Jaccard similarity of two headlines is exact but for hash collisions. It carries its kind and version.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from functools import lru_cache
from itertools import islice

KIND = b"L1"
"""Lexical, version 1; signatures of other kinds never match these."""

WORDS = 31
"""31 words of 4 bytes and the kind make 126 bytes."""

# Logistic fit of P(same story | word Jaccard, gap in days) on 190 pairs of headlines about one company within 48 h,
# judged by eye and weighted to their frequency; docs/stories.md has the table.
INTERCEPT, PER_JACCARD, PER_DAY = -3.58, 11.74, -0.71

_WORD = re.compile(r"\d+(?:\.\d+)?(?:bn|m|%)?|[^\W_]+(?:['’][^\W_]+)?", re.UNICODE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_SCALE = re.compile(
    r"(?<=\d)\s?(?:(?P<bn>(?:billion|bln|bn|b)\b)|(?P<m>(?:million|mln|mn|m)\b)|(?P<percent>percent|per cent|pct|%))"
)
_DIGIT = re.compile(r"\d")
_STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "on",
        "for",
        "and",
        "or",
        "as",
        "at",
        "by",
        "with",
        "from",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "has",
        "have",
        "had",
        "will",
        "would",
        "could",
        "may",
        "might",
        "after",
        "before",
        "over",
        "under",
        "amid",
        "into",
        "out",
        "up",
        "down",
        "about",
        "than",
        "says",
        "say",
        "said",
        "sees",
        "see",
        "new",
        "more",
        "not",
        "no",
        "but",
        "his",
        "her",
        "their",
        "our",
        "your",
        "my",
        "we",
        "you",
        "they",
        "he",
        "she",
        "i",
        "who",
        "what",
        "why",
        "how",
        "when",
        "where",
        "s",
        "t",
        "u",
        "update",
        "exclusive",
        "breaking",
        "live",
        "report",
        "reports",
        "reuters",
        "cnbc",
        "guardian",
        "brief",
        "factbox",
    ]
)
_HAN = re.compile("[\u4e00-\u9fff]+")
_ENDINGS = ("ingly", "edly", "ings", "ing", "ies", "ed", "es", "ly", "s")


def words(text: str) -> list[str]:
    """Content-word stems of ``text`` in their order, numbers in one spelling; Chinese as pairs of characters."""
    text = text.lower()
    if _DIGIT.search(text):
        text = _SCALE.sub(_short, _THOUSANDS.sub("", text) if "," in text else text)
    if not text.isascii() and _HAN.search(text):
        return [stem for word in _WORD.findall(text) for stem in _stems(word)]
    return [stem for word in _WORD.findall(text) if (stem := _stem(word))]


def _short(scale: re.Match[str]) -> str:
    return "%" if scale.lastgroup == "percent" else scale.lastgroup or ""


def _stems(word: str) -> list[str]:
    if not _HAN.search(word):
        return [stem] if (stem := _stem(word)) else []
    return [word[i : i + 2] for i in range(max(1, len(word) - 1))]


@lru_cache(16_384)  # most words of a text were in the texts before it
def _stem(word: str) -> str:
    """A word without its ending; nothing for a word that says nothing."""
    word = word.split("'")[0].split("’")[0]
    if word[0].isdigit():
        return word
    if word in _STOP or len(word) < 2:
        return ""
    if len(word) < 5:
        return word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def signature(title: str, text: str = "") -> bytes:
    """The signature of a story: of its title, filled up from the text where the title is short."""
    seen = dict.fromkeys(words(title))
    if len(seen) < 5 and text:
        seen |= dict.fromkeys(words(text[:400]))
    hashes = sorted({zlib.crc32(word.encode()) for word in islice(seen, WORDS)})
    return KIND + struct.pack(f"<{len(hashes)}I", *hashes)


_UNPACK = [struct.Struct(f"<{count}I").unpack_from for count in range(WORDS + 1)]


@lru_cache(64)  # a text is looked for, and then taken in
def word_set(mark: bytes) -> frozenset[int]:
    """The hashed words of a signature, none where it is of another kind."""
    if mark[:2] != KIND:
        return frozenset()
    return frozenset(_UNPACK[min((len(mark) - 2) // 4, WORDS)](mark, 2))


def similarity(a: bytes, b: bytes) -> float:
    """Jaccard similarity of two signatures' words, 0 where there are none to compare."""
    x, y = word_set(a), word_set(b)
    return len(x & y) / len(x | y) if x and y else 0.0


def p_same(jaccard: float, gap: float = 0.0) -> float:
    """Probability that two texts about one company, ``gap`` seconds apart, tell the same story."""
    if jaccard >= 1.0:
        return 1.0
    if jaccard <= 0.0:
        return 0.0
    return 1.0 / (1.0 + math.exp(-(INTERCEPT + PER_JACCARD * jaccard + PER_DAY * abs(gap) / 86_400.0)))
