"""Which texts are held back to judge by: never one that tells nearly the same as a text to learn from. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

EVERY = 5
"""One group in five is held back."""
SHINGLE = 2
"""Words; headlines are short."""
BANDS, WIDTH = 32, 5
"""Texts are joined where all minima of a band agree (MinHash with bands: Broder 1997, Leskovec et al. 2014): of those
with a Jaccard similarity of .7 all but .3 %, of those with .2 one in a hundred."""
_PRIME = (1 << 31) - 1


def groups(texts: Sequence[str]) -> list[int]:
    """For each text the place of the first one that tells nearly the same, its own where there is none."""
    leader = list(range(len(texts)))

    def first(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    seen: dict[tuple[int, bytes], int] = {}
    for place, text in enumerate(texts):
        for mark in _marks(text):
            other = seen.setdefault(mark, place)
            a, b = sorted((first(place), first(other)))
            leader[b] = a
    return [first(place) for place in range(len(texts))]


def held_back(texts: Sequence[str], labels: Sequence[Sequence[str]], together: Sequence[int]) -> set[int]:
    """Places of the texts to judge by: of the groups with each label one in EVERY, by the hash of the first text.

    ``labels``: all labels of each text; a group counts for its rarest one, so that rare labels are on both sides.
    """
    count = Counter(label for own in labels for label in own)
    members: dict[int, list[int]] = {}
    for place, leader in enumerate(together):
        members.setdefault(leader, []).append(place)
    strata: dict[str, list[int]] = {}
    for leader, places in members.items():
        own = [label for place in places for label in labels[place]]
        strata.setdefault(min(own, key=lambda label: (count[label], label), default=""), []).append(leader)
    found: set[int] = set()
    for leaders in strata.values():
        leaders.sort(key=lambda leader: hashlib.sha256(texts[leader].encode()).digest())
        found.update(place for leader in leaders[EVERY // 2 :: EVERY] for place in members[leader])
    return found


_rng = np.random.default_rng(7)
_FACTORS = _rng.integers(1, _PRIME, (BANDS * WIDTH, 1))
_OFFSETS = _rng.integers(0, _PRIME, (BANDS * WIDTH, 1))


def _marks(text: str) -> list[tuple[int, bytes]]:
    """A text's bands. Figures are no difference: an edition of a story often has others."""
    words = re.sub(r"\d+", "0", text.casefold())
    found = re.findall(r"\w+", words) or [words]
    shingles = {" ".join(found[i : i + SHINGLE]) for i in range(max(1, len(found) - SHINGLE + 1))}
    hashes = [int.from_bytes(hashlib.blake2b(one.encode(), digest_size=4).digest()) % _PRIME for one in shingles]
    minima = ((_FACTORS * np.array(sorted(hashes), np.int64) + _OFFSETS) % _PRIME).min(1).reshape(BANDS, WIDTH)
    return [(number, band.tobytes()) for number, band in enumerate(minima)]
