"""The notify stage on event time: each of its records is decided at the record's own moment."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipelines.clock import ManualClock
from pipelines.documents import epoch
from pipelines.notify import Notify
from pipelines.streams.base import CANDIDATES, READINGS, Output, Record, State


class _Timed(msgspec.Struct):
    decided: str = ""
    """Of a candidate."""
    at: str = ""
    """Of an operation or a reading."""


class PunctualNotify(Notify):
    """Turns ``clock``, which it is given as its own, to the moment of each record that may ring before it handles it.

    A daemon handles a record when it comes; a replay hands on hundreds at once, and a silence may begin or end between
    two of them.
    """

    def __init__(self, *arguments: object, clock: ManualClock, **more: object) -> None:
        super().__init__(*arguments, clock=clock, **more)  # type: ignore[arg-type]
        self._hands = clock

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        outputs: list[Output] = []
        waiting: list[Record] = []
        for record in batch:
            at = _moment(record)
            if at is not None:
                outputs += super().handle(waiting, state) if waiting else []
                waiting = []
                self._hands.set(at)
            waiting.append(record)
        return outputs + (super().handle(waiting, state) if waiting else [])


def _moment(record: Record) -> float | None:
    """When a record that may ring was decided; None where it rings nothing, or can't be read."""
    if record.topic not in (CANDIDATES, READINGS):
        return None
    try:
        told = msgspec.json.decode(record.value, type=_Timed)
        return epoch(told.decided or told.at)
    except (msgspec.DecodeError, ValueError):
        return None  # a dead letter, when its turn comes
