"""How far a stage has come in each partition of its input, and since when what waits there has waited."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

Place = tuple[str, int]
"""A topic, without its prefix, and a partition."""


class Gap(NamedTuple):
    """Offsets of a place from ``first`` up to ``after``, exclusive, that came with no record."""

    place: Place
    first: int
    after: int


class Progress:
    """Of one stage in one process. Times in seconds since 1970."""

    def __init__(self) -> None:
        self._taken: dict[Place, int] = {}
        self._next: dict[Place, int] = {}
        self._since: dict[Place, float] = {}
        """When the oldest record that waits was written, at the earliest."""
        self.gaps: list[Gap] = []
        """Passed over since somebody looked: marks of transactions, what was aborted or compacted, or what the broker
        let go of unread."""

    def begin(self, place: Place, offset: int, now: float) -> None:
        """``place`` is taken up at ``offset``, or where it was left if that is further on. How old that is shows when
        it is read: until then it waits since now."""
        self._taken[place] = self._next[place] = max(offset, self._next.get(place, 0))
        self._since[place] = now

    def take(self, place: Place, end: int) -> None:
        """Records before ``end`` are being handled."""
        self._taken[place] = end

    def wait(self, place: Place, written: float) -> None:
        """The next record of ``place`` to be handled was written then."""
        self._since[place] = written

    def done(self, place: Place, offset: int, written: float) -> None:
        """The record at ``offset`` is handled, and its offset may be committed."""
        self._pass(place, offset)
        self._next[place] = offset + 1
        self._since[place] = written

    def skip(self, place: Place, offset: int) -> None:
        """No record that is still to be taken is before ``offset``: marks of transactions take offsets, and so does
        what was aborted."""
        if self.position(place) == self.taken(place) < offset:
            self._pass(place, offset)
            self._next[place] = offset
        self._taken[place] = max(offset, self.taken(place))

    def _pass(self, place: Place, offset: int) -> None:
        if self._next.get(place, offset) < offset:
            self.gaps.append(Gap(place, self._next[place], offset))

    def drop(self, partition: int) -> None:
        """The partition is another worker's."""
        for known in (self._taken, self._next, self._since):
            for place in [place for place in known if place[1] == partition]:
                del known[place]

    def taken(self, place: Place) -> int:
        """The offset of the next record to begin with."""
        return self._taken.get(place, 0)

    def position(self, place: Place) -> int:
        """The offset of the first record that is not handled: what the group may commit."""
        return self._next.get(place, 0)

    def oldest(self, places: Iterable[Place]) -> float | None:
        """When the oldest record that waits in ``places`` was written, at the earliest; None where nobody knows."""
        return min((self._since[place] for place in places if self._since.get(place, 0.0) > 0.0), default=None)
