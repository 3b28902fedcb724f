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
from array import array
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np

KIND = b"L1"
"""Lexical, version 1; signatures of other kinds never match these."""

WORDS = 31
"""31 words of 4 bytes and the kind make 126 bytes."""

WINDOW = 48 * 3600.0
"""A story told again later than this is news again."""

BUCKET = {"news": 12 * 3600.0, "social": 1800.0}
"""Width of a key's time buckets, in seconds."""

ENTRIES = 128
"""Entries of one bucket: a table row stays below 20 kB, so that an item rewrites little."""

PARTS = 8
"""Buckets that one stretch of time may fill before its oldest entries are evicted, and counted."""

# Logistic fit of P(same story | word Jaccard, gap in days) on 190 pairs of headlines about one company within 48 h,
# judged by eye and weighted to their frequency; docs/stories.md has the table.
_INTERCEPT, _JACCARD, _PER_DAY = -3.58, 11.74, -0.71

SAME = 0.5
"""P(same story) from which an item joins a story instead of opening its own."""

_WORD = re.compile(r"\d+(?:\.\d+)?(?:bn|m|%)?|[^\W_]+(?:['’][^\W_]+)?", re.UNICODE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_SCALES = (
    (re.compile(r"(?<=\d)\s?(?:billion|bln|bn|b)\b"), "bn"),
    (re.compile(r"(?<=\d)\s?(?:million|mln|mn|m)\b"), "m"),
    (re.compile(r"(?<=\d)\s?(?:percent|per cent|pct|%)"), "%"),
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


def words(text: str) -> list[str]:
    """Content-word stems of ``text`` in their order, numbers in one spelling; Chinese as pairs of characters."""
    text = text.lower()
    if _DIGIT.search(text):
        text = _THOUSANDS.sub("", text)
        for scale, short in _SCALES:
            text = scale.sub(short, text)
    found: list[str] = []
    for match in _WORD.findall(text):
        word = match.split("'")[0].split("’")[0]
        if _HAN.search(word):
            found.extend(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif word[0].isdigit():
            found.append(word)
        elif word not in _STOP and len(word) > 1:
            found.append(_stem(word))
    return found


def _stem(word: str) -> str:
    if len(word) < 5:
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


def p_same(jaccard: float, gap: float = 0.0) -> float:
    """Probability that two texts about one company, ``gap`` seconds apart, tell the same story."""
    if jaccard >= 1.0:
        return 1.0
    if jaccard <= 0.0:
        return 0.0
    return 1.0 / (1.0 + math.exp(-(_INTERCEPT + _JACCARD * jaccard + _PER_DAY * abs(gap) / 86_400.0)))


_PUBLISHERS = {
    "ft": "financialtimes",
    "wsj": "wallstreetjournal",
    "nyt": "newyorktimes",
    "nytimes": "newyorktimes",
    "ap": "associatedpress",
    "apnews": "associatedpress",
    "bbci": "bbc",
    "prnewswire": "prnewswire",
}
"""Short names of papers, by the long ones."""

_NOISE = re.compile(r"\b(?:inc|ltd|llc|plc|news|online|com|www|the|rss|feed)\b")
_FRONT = re.compile(r"^(?:www\d?|feeds?|rss|m|mobile|amp|edition|news|uk|us|en)\.")
_SECOND_LEVEL = frozenset(("co", "com", "org", "net", "gov", "ac"))


def publisher_key(publisher: str | None, source: str, url: str | None) -> str:
    """A publisher as one name, however it is written: its own, else its host's, else the source's."""
    if publisher:
        name = _host_name(publisher.lower()) if re.fullmatch(r"[\w-]+(?:\.[\w-]+)+", publisher) else publisher.lower()
        name = re.sub(r"[\W_]+", "", _NOISE.sub(" ", name)) or re.sub(r"[\W_]+", "", name)
        if name:
            return _PUBLISHERS.get(name, name)[:60]
    host = _host(url) if url else ""
    return (_host_name(host) if host else source)[:60]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _host_name(host: str) -> str:
    """ "feeds.theguardian.com" is "guardian": the label that names the site."""
    if re.fullmatch(r"[\d.:]+", host):
        return host
    while _FRONT.match(host) and host.count(".") > 1:
        host = _FRONT.sub("", host)
    labels = host.split(".")
    place = -3 if len(labels) > 2 and labels[-2] in _SECOND_LEVEL else -2
    name = labels[place] if len(labels) >= -place else labels[0]
    if name.startswith("the") and len(name) > 6:
        name = name[3:]
    return _PUBLISHERS.get(name, name)


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
    """63 bits of a document's id: of its hash, since other producers' ids may differ in their last digits alone."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def bucket_start(class_: str, at: float) -> float:
    width = BUCKET["social" if class_ == "social" else "news"]
    return at - at % width


WIDEST = max(BUCKET.values())
_CERTAIN = 1e6
"""Rank of a text that says the same words, whenever it did."""

FAINT = 0.2
"""Share of an item's words below which likeness is passed over: P(same story) is then mostly under one in ten."""


class Memory:
    """A view over a key's buckets of the last 48 hours, with an index on words that is rebuilt from them.

    Entries have slots in their order of arrival; a word knows the slots it occurs in. An entry that goes leaves its
    slot dead, and the index is made anew once most slots are.
    """

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self.buckets: dict[float, Bucket] = {bucket.start: bucket for bucket in buckets}
        self._oldest = min(self.buckets, default=math.inf)
        self._reindex()

    def __len__(self) -> int:
        return len(self._slot_of)

    def judge(self, name: int, mark: bytes, at: float) -> Novelty:
        """How new an item is; an item whose id was counted is a duplicate and weighs nothing."""
        slot = self._slot_of.get(name)
        if slot is not None:
            return Novelty(0.0, True, self._entries[slot].story, False, 1.0)
        same, nearest, jaccard = self._nearest(_set(mark), at)
        if nearest is None or same < SAME:
            return Novelty(1.0 - same, False, name, True, jaccard)
        return Novelty(1.0 - same, False, nearest.story, False, jaccard)

    def _nearest(self, mine: frozenset[int], at: float) -> tuple[float, Entry | None, float]:
        """(P same, entry, Jaccard) of the entry most likely to tell the same story, the earliest among equals."""
        by_word = self._by_word
        places = [np.frombuffer(by_word[word], np.int64) for word in mine if word in by_word]
        if not places:
            return 0.0, None, 0.0
        counts = np.bincount(np.concatenate(places))
        likely = np.flatnonzero(counts >= max(1.0, len(mine) * FAINT))
        if not len(likely):
            return 0.0, None, 0.0
        shared = counts[likely]
        jaccards = shared / (len(mine) + np.frombuffer(self._sizes, np.int32)[likely] - shared)
        gaps = np.abs(at - np.frombuffer(self._times, np.float64)[likely])
        ranks = np.where(jaccards >= 1.0, _CERTAIN, _JACCARD * jaccards + gaps * (_PER_DAY / 86_400.0))
        ranks[gaps > WINDOW] = -np.inf
        top = ranks.max()
        if top == -np.inf:
            return 0.0, None, 0.0
        entries = self._entries
        ties = np.flatnonzero(ranks == top).tolist()
        place = ties[0] if len(ties) == 1 else min(ties, key=lambda i: (entries[likely[i]].at, entries[likely[i]].id))
        jaccard = float(jaccards[place])
        return p_same(jaccard, float(gaps[place])), entries[likely[place]], jaccard

    def remember(self, class_: str, name: int, mark: bytes, at: float, story: int) -> Bucket:
        """Adds a counted item and returns the one bucket that changed."""
        bucket = self._room(class_, at)
        if len(bucket.entries) >= ENTRIES:
            bucket.evicted += 1
            self._drop(bucket.entries.pop(0))
        entry = Entry(name, at, story, mark)
        bucket.entries.append(entry)
        self._index(entry)
        return bucket

    def _room(self, class_: str, at: float) -> Bucket:
        """The bucket that takes an item: the first with room, else the one with the oldest entry."""
        start = bucket_start(class_, at)
        width = BUCKET["social" if class_ == "social" else "news"]
        full = []
        for part in range(PARTS):
            place = start + width * part / PARTS
            bucket = self.buckets.get(place)
            if bucket is None:
                bucket = self.buckets[place] = Bucket(place)
                self._oldest = min(self._oldest, place)
            if len(bucket.entries) < ENTRIES:
                return bucket
            full.append(bucket)
        return min(full, key=lambda bucket: (bucket.entries[0].at, bucket.start))

    def expire(self, before: float) -> list[float]:
        """Lets go of the buckets that ended before ``before``; returns their starts."""
        if self._oldest + WIDEST >= before:
            return []
        gone = [start for start in self.buckets if start + WIDEST < before]
        for start in gone:
            for entry in self.buckets.pop(start).entries:
                self._drop(entry)
        self._oldest = min(self.buckets, default=math.inf)
        return gone

    def _reindex(self) -> None:
        self._slot_of: dict[int, int] = {}
        self._entries: list[Entry] = []
        self._sizes = array("i")
        self._times = array("d")
        self._by_word: dict[int, array[int]] = {}
        for bucket in self.buckets.values():
            for entry in bucket.entries:
                self._index(entry)

    def _index(self, entry: Entry) -> None:
        slot = len(self._entries)
        mine = _set(entry.mark)
        self._entries.append(entry)
        self._sizes.append(len(mine))
        self._times.append(entry.at)
        self._slot_of[entry.id] = slot
        by_word = self._by_word
        for word in mine:
            places = by_word.get(word)
            if places is None:
                by_word[word] = array("q", (slot,))
            else:
                places.append(slot)

    def _drop(self, entry: Entry) -> None:
        slot = self._slot_of.pop(entry.id, None)
        if slot is None:
            return
        self._times[slot] = -math.inf  # beyond any window
        if len(self._entries) > 2 * len(self._slot_of) + ENTRIES:
            self._reindex()
