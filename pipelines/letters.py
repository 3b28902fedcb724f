"""Dead letters: a record that could not be handled, kept with its reason and bytes, and counted."""

from __future__ import annotations

from collections.abc import Collection

import structlog
from prometheus_client import Counter

from pipelines import tally
from pipelines.documents import DeadLetter, encode, iso
from pipelines.streams.base import DEAD_LETTERS, Output, Record

log = structlog.get_logger(__name__)

DEAD = Counter("tapewatch_dead_letters_total", "Records that could not be handled.", ["stage", "reason"])

REASONS = {
    "score": ("undecodable", "unknown_schema", "classifier_failed", "stage_raised"),
    "aggregate": ("undecodable", "unknown_schema", "stage_raised"),
    "notify": ("undecodable", "unknown_schema", "stage_raised"),
}
for _stage, _reasons in REASONS.items():  # a rate needs the zero before the first
    for _reason in _reasons:
        DEAD.labels(_stage, _reason)

DETAIL = 500
"""Characters of the explanation: an error may quote a whole text."""


def dead_letter(stage: str, record: Record, reason: str, detail: str, now: float) -> Output:
    """The dead letter of ``record``. ``reason`` is from a closed set, ``now`` in seconds since 1970."""
    tally.inc(DEAD.labels(stage, reason))
    log.warning("dead_letter", action="dead_letter", stage=stage, reason=reason, topic=record.topic, key=record.key)
    letter = DeadLetter(
        id=record.key,
        stage=stage,
        reason=reason,
        detail=detail[:DETAIL],
        at=iso(now),
        topic=record.topic,
        payload=record.value,
    )
    return Output(DEAD_LETTERS, record.key, encode(letter))


def about(letter: DeadLetter, documents: Collection[str]) -> bool:
    """Whether the record that could not be handled was one of ``documents``, or spoke of one."""
    return letter.id in documents or any(name.encode() in letter.payload for name in documents)
