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
    "score": ("undecodable", "unknown_schema", "classifier_failed", "stage_raised", "too_large"),
    "aggregate": ("undecodable", "unknown_schema", "stage_raised", "too_large"),
    "notify": ("undecodable", "unknown_schema", "stage_raised", "too_large"),
}
for _stage, _reasons in REASONS.items():  # a rate needs the zero before the first
    for _reason in _reasons:
        DEAD.labels(_stage, _reason)

DETAIL = 500
"""Characters of the explanation: an error may quote a whole text."""


KEPT = 3 << 20
"""Bytes of a record that are kept: with what base64 adds they must fit a record of any engine's log. Only a record that
came compressed is larger, and its topic has it whole."""


def dead_letter(stage: str, record: Record, reason: str, detail: str, now: float) -> Output:
    """The dead letter of ``record``. ``reason`` is from a closed set, ``now`` in seconds since 1970."""
    tally.inc(DEAD.labels(stage, reason))
    log.warning("dead_letter", action="dead_letter", stage=stage, reason=reason, topic=record.topic, key=record.key)
    size = len(record.value)
    cut = f"of {size} bytes the first {KEPT} are kept: " if size > KEPT else ""
    letter = DeadLetter(
        id=record.key,
        stage=stage,
        reason=reason,
        detail=(cut + detail)[:DETAIL],
        at=iso(now),
        topic=record.topic,
        payload=record.value[:KEPT],
    )
    return Output(DEAD_LETTERS, record.key, encode(letter))


def about(letter: DeadLetter, documents: Collection[str]) -> bool:
    """Whether the record that could not be handled was one of ``documents``, or spoke of one."""
    return letter.id in documents or any(name.encode() in letter.payload for name in documents)
