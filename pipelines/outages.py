"""Outages: when a source, a class of sources, or everything could not be seen. Pure: seconds as the log has them."""

from __future__ import annotations

import msgspec

SILENCE = 900.0
"""Seconds between two records of a source, which come every 15 s, from which nobody was reading."""

KEPT = 4
"""Ended outages that are kept with their times; of older ones only the sum matters."""

LONGEST = 7 * 86_400.0
"""An outage this long is no outage any more: what is left of a key's sources is then its usual."""


class Outages(msgspec.Struct, array_like=True):
    """When something could not be seen: the outage that goes on, and those that ended."""

    told: float | None = None
    """When the log last spoke of it."""
    open: float | None = None
    """Since when it can't be seen."""
    kept: list[tuple[float, float]] = []
    gone: float = 0.0
    """Seconds of ended outages that are no longer kept."""

    def tell(self, at: float, since: float | None, silence: float = SILENCE) -> bool:
        """The log says at ``at`` that it can't be seen ``since`` then, or can (None). Whether that changed anything.
        ``silence``: seconds without a word from which nobody was reading."""
        silent, self.told = self.told, at
        if since is not None:
            if self.open is not None:
                return False
            self.open = self._after(since)
            return True
        if self.open is not None:
            self._end(at)
            return True
        if silent is not None and at - silent > silence:
            self.open = self._after(silent)
            self._end(at)
            return True
        return False

    def bring(self, at: float, fetched: float) -> bool:
        """It brought something from ``at``, ``fetched`` then. Whether that changed anything."""
        changed = False
        if self.open is not None:
            if self.told is not None and fetched <= self.told:
                return False  # fetched before the outage was known, and only now judged
            self._end(fetched)
            self.told = fetched
            changed = True
        for place, (start, end) in enumerate(self.kept):
            # What is dated by its fetching was brought live; only what is older than that comes from a backlog.
            if start < at < end and at < fetched:
                self.kept[place] = (start, at)
                changed = True
        return changed

    def _after(self, start: float) -> float:
        """A start that overlaps no outage before."""
        return max(start, self.kept[-1][1]) if self.kept else start

    def _end(self, at: float) -> None:
        start, self.open = self.open, None
        if start is not None and at > start:
            self.kept.append((start, min(at, start + LONGEST)))
        while len(self.kept) > KEPT:
            first, last = self.kept.pop(0)
            self.gone += last - first

    def seconds(self, t: float) -> float:
        """Seconds up to ``t`` in which it could not be seen."""
        total = self.gone
        for start, end in self.kept:
            if t > start:
                total += min(t, end) - start
        if self.open is not None and t > self.open:
            total += min(t - self.open, LONGEST)
        return total


def share_of(outages: Outages, since: float, until: float) -> float:
    """Share of the time between two moments in which it could not be seen."""
    return (outages.seconds(until) - outages.seconds(since)) / (until - since)
