"""Sentiment indices of keys: as they stand, and how they stood at the end of each half hour that moved them.

An index is the mean of p_positive - p_negative over a key's documents, each weighed by its relevance and by half for
every day that passed since.
"""

from __future__ import annotations

import sqlite3

from pipelines.gauges import KeyGauges

HALF_LIFE = 86_400.0
STEP = 1_800.0
"""Seconds of one value of the history: as long as a block of the series."""
KEEP = 20_000
"""Indices kept in memory, some 4 MB; the others are read when they are needed."""


class Moods:
    """The tables ``moods`` and ``mood_series`` of the read model; nothing is durable before its transaction is."""

    def __init__(self, db: sqlite3.Connection, gauges: KeyGauges) -> None:
        self._db = db
        self._gauges = gauges
        self._known: dict[str, tuple[float, float, float]] = {}
        """Key to (time, weight, total), as far as they were needed."""
        self._moved: set[str] = set()
        self._steps: dict[tuple[str, float], float] = {}

    def add(self, key: str, at: float, weight: float, mood: float) -> None:
        """A document of ``at`` (seconds since 1970) about ``key``: ``weight`` from 0 to 1, ``mood`` from -1 to 1."""
        known = self._known.get(key)
        if known is None:
            row = self._db.execute("SELECT at, weight, total FROM moods WHERE key = ?", (key,)).fetchone()
            known = row if row is not None else (at, 0.0, 0.0)
        before, heft, total = known
        keep = 0.5 ** (max(0.0, at - before) / HALF_LIFE)
        now, heft, total = max(at, before), heft * keep + weight, total * keep + weight * mood
        self._known[key] = (now, heft, total)
        self._moved.add(key)
        if heft > 0:
            self._steps[key, now - now % STEP] = total / heft

    def write(self) -> None:
        """Writes what moved, inside the transaction that is open."""
        rows = [(key, *self._known[key]) for key in self._moved]
        self._db.executemany("INSERT OR REPLACE INTO moods VALUES (?, ?, ?, ?)", rows)
        steps = [(key, start, index) for (key, start), index in self._steps.items()]
        self._db.executemany("INSERT OR REPLACE INTO mood_series VALUES (?, ?, ?)", steps)
        for key, _, heft, total in rows:
            if heft > 0:
                self._gauges.mood(key, total / heft)
        self._moved.clear()
        self._steps.clear()
        if len(self._known) > KEEP:
            self._known.clear()

    def forget(self) -> None:
        """After a roll-back."""
        self._known.clear()
        self._moved.clear()
        self._steps.clear()
