"""The story memories of a partition's keys: decoded while there is room, read from their buckets again when not."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache

import msgspec
from prometheus_client import Counter

from pipelines import tally
from pipelines.documents import Evidence
from pipelines.stories import WINDOW, Bucket, Index, Memory, Novelty
from pipelines.streams.base import State, Table

EVICTED = Counter("tapewatch_story_evictions_total", "Entries dropped from full story memories.")

MEMORIES = 4_000
REMEMBERED = 200_000
"""Story memories kept decoded, and documents in them, some 200 MB; what is let go is read from its buckets again."""


class Starts(msgspec.Struct, array_like=True):
    """The starts of a key's story buckets."""

    starts: list[float]


class Memories:
    """Over the tables ``starts`` and ``buckets`` of one partition's state; void where that is rolled back."""

    def __init__(self) -> None:
        self._decoded: OrderedDict[str, Memory] = OrderedDict()
        self._index = Index()

    def of(self, key: str, state: State, partitions: int) -> Memory:
        """A key's memory. ``partitions``: among how many the room for what is decoded is shared."""
        memory = self._decoded.get(key)
        if memory is None:
            starts: Starts | None = state.table("starts").get(key)
            buckets: Table[Bucket] = state.table("buckets")
            found = [buckets.get(_bucket_key(key, start)) for start in (starts.starts if starts else ())]
            known = (bucket for bucket in found if bucket is not None)
            memory = self._decoded[key] = Memory(known, self._index)
            self._let_go(max(1, partitions))
        else:
            self._decoded.move_to_end(key)
        return memory

    def _let_go(self, partitions: int) -> None:
        """Drops the memories used longest ago beyond this partition's share of what may be kept."""
        while len(self._decoded) > 1 and (
            len(self._decoded) > MEMORIES // partitions or len(self._index) > REMEMBERED // partitions
        ):
            self._decoded.popitem(last=False)[1].close()


def remember(evidence: Evidence, number: int, memory: Memory, novelty: Novelty, at: float, state: State) -> None:
    """Notes what a key was told, lets go of what is older than the window, and puts both into the state."""
    key, buckets = evidence.key, state.table("buckets")
    gone = memory.expire(at - WINDOW)
    for start in gone:
        buckets.delete(_bucket_key(key, start))
    known = len(memory.buckets)
    bucket = memory.remember(evidence.class_, number, evidence.signature, at, novelty.story)
    buckets.put(_bucket_key(key, bucket.start), bucket)
    if gone or len(memory.buckets) != known:
        state.table("starts").put(key, Starts(sorted(memory.buckets)))
    if bucket.evicted:
        tally.inc(EVICTED, bucket.evicted)
        bucket.evicted = 0


@lru_cache(4_096)  # a key's items mostly fall into one bucket
def _bucket_key(key: str, start: float) -> str:
    return f"{key}|{int(start):012d}"
