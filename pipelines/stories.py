"""Near-duplicate stories: a lexical signature, and each key's bounded memory of what it has counted.

The signature is the set of a text's content-word stems, hashed to 32 bits: at most 31 of them, so that the
Jaccard similarity of two headlines is exact but for hash collisions. It carries its kind and version.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

KIND = b"L1"
"""Lexical, version 1; signatures of other kinds never match these."""

WORDS = 31
"""31 words of 4 bytes and the kind make 126 bytes."""

WINDOW = 48 * 3600.0
"""A story told again later than this is news again."""

BUCKET = {"news": 12 * 3600.0, "social": 1800.0}
"""Width of a key's time buckets: a table row stays some ten kilobytes on a busy key."""

ENTRIES = 256
"""Entries of one bucket; beyond it the oldest are evicted, and counted."""

# Logistic fit of P(same story | word Jaccard) on 132 judged pairs of headlines about one company within 48 h
# (best F1 at .25, near-copies certain); docs/stories.md has the table.
_CENTRE, _SLOPE = 0.30, 14.0

SAME = 0.5
"""P(same story) from which an item joins a story instead of opening its own."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[$€£¥%]", re.UNICODE)
_STOP = frozenset(
    ["a", "an", "the", "of", "to", "in", "on", "for", "and", "or", "as", "at", "by", "with", "from", "is", "are", "was", "were", "be", "been", "it", "its", "this", "that", "these", "those", "has", "have", "had", "will", "would", "could", "may", "might", "after", "before", "over", "under", "amid", "into", "out", "up", "down", "about", "than", "says", "say", "said", "sees", "see", "new", "more", "not", "no", "but", "his", "her", "their", "our", "your", "my", "we", "you", "they", "he", "she", "i", "who", "what", "why", "how", "when", "where", "s", "t", "u", "update", "exclusive", "breaking", "live", "report", "reports", "reuters", "cnbc", "guardian", "brief", "factbox"]
)
_HAN = re.compile("[\u4e00-\u9fff]+")


def words(text: str) -> list[str]:
    """Content-word stems of ``text`` in their order; Chinese as pairs of characters."""
    found: list[str] = []
    for match in _WORD.findall(text.lower()):
        word = match.split("'")[0].split("’")[0]
        if _HAN.search(word):
            found.extend(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif word not in _STOP and (len(word) > 1 or word in "$€£¥%"):
            found.append(_stem(word))
    return found


def _stem(word: str) -> str:
    if word.isdigit() or len(word) < 5:
        return word
    for ending in ("ingly", "edly", "ings", "ing", "ies", "ed", "es", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def signature(title: str, text: str = "") -> bytes:
    """The signature of a story: of its title, filled up from the text where the title is short."""
    seen = dict.fromkeys(words(title))
    if len(seen) < 5 and text:
        seen |= dict.fromkeys(words(text[:400]))
    hashes = sorted({zlib.crc32(word.encode()) for word in list(seen)[:WORDS]})
    return KIND + struct.pack(f"<{len(hashes)}I", *hashes)


def _set(mark: bytes) -> frozenset[int]:
    if mark[:2] != KIND:
        return frozenset()
    return frozenset(struct.unpack(f"<{(len(mark) - 2) // 4}I", mark[2 : 2 + (len(mark) - 2) // 4 * 4]))


def similarity(a: bytes, b: bytes) -> float:
    """Jaccard similarity of two signatures' words, 0 where there are none to compare."""
    x, y = _set(a), _set(b)
    return len(x & y) / len(x | y) if x and y else 0.0


def p_same(jaccard: float) -> float:
    """Probability that two texts about one company within 48 hours tell the same story."""
    if jaccard >= 1.0:
        return 1.0
    return 1.0 / (1.0 + math.exp(-_SLOPE * (jaccard - _CENTRE))) if jaccard > 0 else 0.0


def publisher_key(publisher: str | None, source: str, url: str | None) -> str:
    """A publisher as one name: its own, else its host's, else the source's."""
    if publisher:
        name = re.sub(r"\b(?:inc|ltd|llc|plc|news|online|com|www|the)\b", " ", publisher.lower())
        name = re.sub(r"[\W_]+", " ", name).strip()
        if name:
            return name[:60]
    if url:
        host = (urlsplit(url).hostname or "").removeprefix("www.")
        if host:
            return host[:60]
    return source[:60]


# -- a key's memory ---------------------------------------------------------------------------------------


class Entry(msgspec.Struct, array_like=True):
    """One counted document: 64-bit id, when, its story, its signature."""

    id: int
    at: float
    story: int
    mark: bytes


class Bucket(msgspec.Struct, array_like=True):
    """What a key counted in one stretch of time."""

    start: float
    entries: list[Entry] = []
    evicted: int = 0


class Novelty(NamedTuple):
    """What the memory says of an item. ``weight``: 1 - P(a counted item told the same story)."""

    weight: float
    duplicate: bool
    story: int
    new_story: bool
    similarity: float


def id64(name: str) -> int:
    """The first 63 bits of a document's id."""
    try:
        return int(name[:16], 16) >> 1
    except ValueError:
        return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def bucket_start(class_: str, at: float) -> float:
    width = BUCKET["social" if class_ == "social" else "news"]
    return at - at % width


class Memory:
    """A view over a key's buckets of the last 48 hours, with an index on words that is rebuilt from them."""

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self.buckets: dict[float, Bucket] = {}
        self._ids: dict[int, int] = {}
        self._by_word: dict[int, list[tuple[float, int, int]]] = {}
        self._sizes: dict[tuple[float, int, int], int] = {}
        for bucket in buckets:
            self.buckets[bucket.start] = bucket
            for entry in bucket.entries:
                self._index(entry)

    def judge(self, name: int, mark: bytes, at: float) -> Novelty:
        """How new an item is; an item whose id was counted is a duplicate and weighs nothing."""
        if name in self._ids:
            return Novelty(0.0, True, self._ids[name], False, 1.0)
        best, story = 0.0, name
        mine = _set(mark)
        shared: dict[tuple[float, int, int], int] = {}
        for word in mine:
            for reference in self._by_word.get(word, ()):
                if abs(at - reference[0]) <= WINDOW:
                    shared[reference] = shared.get(reference, 0) + 1
        for reference, count in shared.items():
            jaccard = count / (len(mine) + self._sizes[reference] - count)
            if jaccard > best or (jaccard == best and reference[2] < story):
                best, story = jaccard, reference[2]
        same = p_same(best)
        if same < SAME:
            return Novelty(1.0 - same, False, name, True, best)
        return Novelty(1.0 - same, False, story, False, best)

    def remember(self, class_: str, name: int, mark: bytes, at: float, story: int) -> Bucket:
        """Adds a counted item and returns the bucket that changed."""
        start = bucket_start(class_, at)
        bucket = self.buckets.get(start)
        if bucket is None:
            bucket = self.buckets[start] = Bucket(start)
        entry = Entry(name, at, story, mark)
        bucket.entries.append(entry)
        if len(bucket.entries) > ENTRIES:
            bucket.evicted += 1
            self._drop(bucket.entries.pop(0))
        self._index(entry)
        return bucket

    def expire(self, before: float) -> Iterator[float]:
        """Lets go of the buckets that ended before ``before``; yields their starts."""
        for start in [s for s in self.buckets if s + max(BUCKET.values()) < before]:
            for entry in self.buckets.pop(start).entries:
                self._drop(entry)
            yield start

    def _index(self, entry: Entry) -> None:
        self._ids[entry.id] = entry.story
        mine = _set(entry.mark)
        reference = (entry.at, entry.id, entry.story)
        self._sizes[reference] = len(mine)
        for word in mine:
            self._by_word.setdefault(word, []).append(reference)

    def _drop(self, entry: Entry) -> None:
        self._ids.pop(entry.id, None)
        reference: Any = (entry.at, entry.id, entry.story)
        self._sizes.pop(reference, None)
        for word in _set(entry.mark):
            references = self._by_word.get(word)
            if references and reference in references:
                references.remove(reference)
                if not references:
                    del self._by_word[word]
