"""How topics lie in partitions, on every engine that has more than one."""

from __future__ import annotations

from pipelines.streams.base import (
    ALERTS,
    CANDIDATES,
    COMMANDS,
    DEAD_LETTERS,
    DELIVERIES,
    DOCUMENTS,
    EVIDENCE,
    OUTBOX,
    PROFILES,
    READINGS,
    SERIES,
    SOURCES,
)

ONE_PARTITION = frozenset({CANDIDATES, COMMANDS, DELIVERIES, ALERTS, OUTBOX, DEAD_LETTERS, SERIES, READINGS})
"""Topics of low volume, whose records meet in one place. What notify reads and keeps lies there."""

BROADCAST = frozenset({PROFILES, SOURCES})
"""Topics that every partition of a stage reads."""

SPOKEN_FOR_BY = {EVIDENCE: DOCUMENTS}
"""Topic to the one whose partitions its watermarks speak for, where these are several."""


def partitions(topic: str, count: int) -> int:
    """Partitions of ``topic`` where those of the documents are ``count``."""
    return 1 if topic in ONE_PARTITION else count


def origins(topic: str, count: int) -> int:
    """How many partitions speak for one of ``topic`` by watermarks."""
    source = SPOKEN_FOR_BY.get(topic)
    return 1 if source is None else partitions(source, count)
