"""Stories: what a key remembers of the documents it counted, and how new another one is to it.

Novelty is per key, but many keys count the same document: the market, its topic, its lists, its companies. So one
index over all keys in memory finds what resembles a document, once, and each key's memory takes from that what it
has counted itself. The index is derived: it is made again from the keys' buckets, which are the state.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Container, Iterable
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np

from pipelines.signatures import PER_DAY, PER_JACCARD, p_same, word_set

WINDOW = 48 * 3600.0
"""A story told again later than this is news again."""

BUCKET = {"news": 12 * 3600.0, "social": 1800.0}
"""Width of a key's time buckets, in seconds."""

ENTRIES = 128
"""Entries of one bucket: a table row stays below 20 kB, so that an item rewrites little."""

PARTS = 8
"""Buckets that one stretch of time may fill before its oldest entries are evicted, and counted."""

SAME = 0.5
"""P(same story) from which an item joins a story instead of opening its own."""

FAINT = 0.2
"""Share of an item's words below which likeness is passed over: P(same story) is then mostly under one in ten."""

_CERTAIN = 1e6
"""Rank of a text that says the same words, whenever it did."""

NEAREST = 12
"""Documents that are ranked at once: a key mostly finds its own nearest one among them."""

FEW = 400
"""Places of an item's words up to which they are counted one by one: beyond, arrays are quicker."""


class Entry(msgspec.Struct, array_like=True, gc=False):
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


@lru_cache(1_024)  # every key that a document is about asks for it
def id64(name: str) -> int:
    """63 bits of a document's id: of its hash, since other producers' ids may differ in their last digits alone."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def width_of(class_: str) -> float:
    """Width of a class's time buckets, in seconds."""
    return BUCKET["social" if class_ == "social" else "news"]


def bucket_start(class_: str, at: float) -> float:
    return at - at % width_of(class_)


WIDEST = max(BUCKET.values())


# -- what all keys remember -------------------------------------------------------------------------------


class Known(msgspec.Struct, eq=False, gc=False):
    """A document in the index: ``keys`` counts the keys that remember it."""

    id: int
    at: float
    mark: bytes
    slot: int
    keys: int = 0


class Likeness(NamedTuple):
    """A document that resembles the one asked about, and how many seconds lie between them."""

    known: Known
    jaccard: float
    gap: float


_Ranked = tuple[float, float, int, int, float, float]
"""Rank downwards, then time and id, which make an order; slot, Jaccard similarity, gap."""


class _Answer(NamedTuple):
    """What resembles one document: the nearest ones in order, and all of them by slot where those are not all."""

    nearest: list[_Ranked]
    slots: Any
    """int64 [n], ascending; None where ``nearest`` is all."""
    ranks: Any
    """float64 [n] as the others; -inf beyond the window."""
    jaccards: Any
    gaps: Any


_NOTHING = _Answer([], None, None, None, None)


class Index:
    """Words to the documents they stand in, over all keys.

    Documents have slots in their order of arrival; a word knows the slots it stands in. A document that no key
    remembers any more leaves its slot dead, and the index is made anew once most slots are.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, float, bytes], Known] = {}
        self._asked: tuple[int, bytes, float] | None = None
        self._answer = _NOTHING
        self._by_slot: Any = None
        """The answer's ranks by slot, made when first needed."""
        self.generation = 0
        """Changes whenever documents get other slots."""
        self._clear()

    def __len__(self) -> int:
        return len(self._known)

    def take(self, name: int, at: float, mark: bytes) -> Known:
        """The document, added where it is new, for one more key."""
        identity = (name, at, mark)
        known = self._known.get(identity)
        if known is None:
            known = self._known[identity] = self._add(Known(name, at, mark, 0))
            if self._asked is not None and self._asked[0] != name:
                self._asked = None
        known.keys += 1
        return known

    def release(self, known: Known) -> None:
        """One key less remembers it."""
        known.keys -= 1
        if known.keys:
            return
        del self._known[known.id, known.at, known.mark]
        self._times[known.slot] = -math.inf  # beyond any window
        if len(self._slots) > 2 * len(self._known) + ENTRIES:
            self._clear()
            for one in self._known.values():
                self._add(one)
            self._asked = None
            self.generation += 1

    def like(self, name: int, mark: bytes, at: float, entries: Container[Known]) -> tuple[Likeness | None, bool]:
        """Which of ``entries`` resembles a document within the window and is most likely to tell the same story, equals
        by their time and id; and whether that is known. Where it is not, ``nearest_among`` knows.

        One document is asked about by one key after the other, so the last answer is kept until another document
        comes in. What it still names and no key remembers any more is in none of their memories.
        """
        if self._asked != (name, mark, at):
            self._answer = self._find(word_set(mark), at)
            self._by_slot = None
            self._asked = (name, mark, at)
        slots = self._slots
        for _, _, _, slot, jaccard, gap in self._answer.nearest:
            known = slots[slot]
            if known in entries:
                return Likeness(known, jaccard, gap), True
        return None, self._answer.slots is None

    def nearest_among(self, slots: array[int]) -> Likeness | None:
        """The first, in the same order, among the documents in ``slots``, of what the last question found."""
        answer = self._answer
        if self._by_slot is None:
            self._by_slot = np.full(len(self._slots), -np.inf)
            self._by_slot[answer.slots] = answer.ranks
        mine = np.frombuffer(slots, np.int64)
        ranks = self._by_slot[mine]
        top = ranks.max()
        if top == -np.inf:
            return None
        tied = mine[ranks == top]
        slot = min(tied.tolist(), key=lambda slot: (self._times[slot], self._ids[slot], slot))
        place = int(np.searchsorted(answer.slots, slot))
        return Likeness(self._slots[slot], float(answer.jaccards[place]), float(answer.gaps[place]))

    def _find(self, mine: frozenset[int], at: float) -> _Answer:
        by_word = self._by_word
        places = [by_word[word] for word in mine if word in by_word]
        if not places:
            return _NOTHING
        return self._find_few(mine, places, at) if sum(map(len, places)) <= FEW else self._find_many(mine, places, at)

    def _find_few(self, mine: frozenset[int], places: list[array[int]], at: float) -> _Answer:
        least, count, found = len(mine) * FAINT, len(mine), list[_Ranked]()
        shares = Counter(chain.from_iterable(places))
        for slot, shared in [pair for pair in shares.items() if pair[1] >= least]:
            gap = abs(at - self._times[slot])
            if gap <= WINDOW:
                jaccard = shared / (count + self._sizes[slot] - shared)
                rank = _CERTAIN if jaccard >= 1.0 else PER_JACCARD * jaccard + gap * (PER_DAY / 86_400.0)
                found.append((-rank, self._times[slot], self._ids[slot], slot, jaccard, gap))
        found.sort()
        return _Answer(found, None, None, None, None)

    def _find_many(self, mine: frozenset[int], places: list[array[int]], at: float) -> _Answer:
        """What ``_find_few`` finds, by as few calls of arrays as will do: each costs as much as hundreds of items."""
        joint = array("q")
        for place in places:
            joint += place
        counts = np.bincount(np.frombuffer(joint, np.int64))
        likely = (counts >= max(1, math.ceil(len(mine) * FAINT))).nonzero()[0]
        gaps = np.abs(np.frombuffer(self._times, np.float64)[likely] - at)
        shared = counts[likely]
        jaccards = shared / (np.frombuffer(self._sizes, np.int64)[likely] + (len(mine) - shared))
        ranks = PER_JACCARD * jaccards
        ranks += gaps * (PER_DAY / 86_400.0)
        ranks[jaccards >= 1.0] = _CERTAIN
        ranks[gaps > WINDOW] = -math.inf
        top: Any = slice(None)
        whole = len(likely) <= NEAREST
        if not whole:
            ordered = ranks.copy()
            ordered.partition(-NEAREST)
            top = (ranks >= ordered[-NEAREST]).nonzero()[0]
        near = (likely[top].tolist(), ranks[top].tolist(), jaccards[top].tolist(), gaps[top].tolist())
        found: list[_Ranked] = [
            (-rank, self._times[slot], self._ids[slot], slot, jaccard, gap)
            for slot, rank, jaccard, gap in zip(*near, strict=True)
            if rank > -math.inf
        ]
        found.sort()
        return _Answer(found[:NEAREST], None if whole else likely, ranks, jaccards, gaps)

    def _clear(self) -> None:
        self._slots: list[Known] = []
        self._sizes = array("q")
        self._times = array("d")
        self._ids = array("q")
        self._by_word: dict[int, array[int]] = {}

    def _add(self, known: Known) -> Known:
        slot = known.slot = len(self._slots)
        mine = word_set(known.mark)
        self._slots.append(known)
        self._sizes.append(len(mine))
        self._times.append(known.at)
        self._ids.append(known.id)
        by_word = self._by_word
        for word in mine:
            places = by_word.get(word)
            if places is None:
                by_word[word] = array("q", (slot,))
            else:
                places.append(slot)
        return known


# -- what one key remembers -------------------------------------------------------------------------------


class Memory:
    """A view over a key's buckets of the last 48 hours; ``close`` it when it is let go of."""

    def __init__(self, buckets: Iterable[Bucket], index: Index) -> None:
        self.buckets: dict[float, Bucket] = {bucket.start: bucket for bucket in buckets}
        self._index = index
        self._oldest = min(self.buckets, default=math.inf)
        self._filled: dict[float, int] = {}
        """Start of a stretch to how many of its buckets are known to be full, which they stay."""
        self._known: dict[int, Known] = {}
        self._entry: dict[Known, Entry] = {}
        self._slots: array[int] | None = None
        """Where its documents are in the index of this generation; None where that is to be looked up."""
        self._generation = index.generation
        for bucket in self.buckets.values():
            for entry in bucket.entries:
                self._hold(entry)

    def __len__(self) -> int:
        return len(self._known)

    def close(self) -> None:
        """Takes its documents out of the index."""
        for known in self._known.values():
            self._index.release(known)

    def judge(self, name: int, mark: bytes, at: float) -> Novelty:
        """How new an item is; an item whose id was counted is a duplicate and weighs nothing."""
        known = self._known.get(name)
        if known is not None:
            return Novelty(0.0, True, self._entry[known].story, False, 1.0)
        like = self._nearest(name, mark, at) if self._entry else None
        if like is None:
            return Novelty(1.0, False, name, True, 0.0)
        same = p_same(like.jaccard, like.gap)
        told = same >= SAME
        return Novelty(1.0 - same, False, self._entry[like.known].story if told else name, not told, like.jaccard)

    def _nearest(self, name: int, mark: bytes, at: float) -> Likeness | None:
        """What this key counted that is most likely to tell the same story."""
        like, certain = self._index.like(name, mark, at, self._entry)
        if certain:
            return like
        if self._slots is None or self._generation != self._index.generation:
            self._slots = array("q", (known.slot for known in self._entry))
            self._generation = self._index.generation
        return self._index.nearest_among(self._slots)

    def remember(self, class_: str, name: int, mark: bytes, at: float, story: int) -> Bucket:
        """Adds a counted item and returns the one bucket that changed."""
        bucket = self._room(class_, at)
        if len(bucket.entries) >= ENTRIES:
            bucket.evicted += 1
            self._drop(bucket.entries.pop(0))
        entry = Entry(name, at, story, mark)
        bucket.entries.append(entry)
        self._hold(entry)
        return bucket

    def _room(self, class_: str, at: float) -> Bucket:
        """The bucket that takes an item: its stretch's first with room, else the one with the oldest entry."""
        width, start = width_of(class_), bucket_start(class_, at)
        part = self._filled.get(start, 0)
        while part < PARTS:
            place = start + width * part / PARTS
            bucket = self.buckets.get(place)
            if bucket is None:
                bucket = self.buckets[place] = Bucket(place)
                self._oldest = min(self._oldest, place)
            if len(bucket.entries) < ENTRIES:
                return bucket
            part += 1
            self._filled[start] = part
        oldest = self.buckets[start]
        for part in range(1, PARTS):
            bucket = self.buckets[start + width * part / PARTS]
            if bucket.entries[0].at < oldest.entries[0].at:
                oldest = bucket
        return oldest

    def expire(self, before: float) -> list[float]:
        """Lets go of the buckets that ended before ``before``; returns their starts."""
        if self._oldest + WIDEST >= before:
            return []
        gone = [start for start in self.buckets if start + WIDEST < before]
        for start in gone:
            for entry in self.buckets.pop(start).entries:
                self._drop(entry)
        self._oldest = min(self.buckets, default=math.inf)
        self._filled.clear()
        return gone

    def _hold(self, entry: Entry) -> None:
        known = self._index.take(entry.id, entry.at, entry.mark)
        self._known[entry.id] = known
        self._entry[known] = entry
        if self._slots is not None and self._generation == self._index.generation:
            self._slots.append(known.slot)

    def _drop(self, entry: Entry) -> None:
        known = self._known.pop(entry.id, None)
        if known is not None:
            del self._entry[known]
            self._slots = None
            self._index.release(known)
