"""A batch as one unit of work, and what becomes of a record on which a stage raises.

A stage handles bad records itself; what still gets here is a defect, and one record's defect must not hold up the rest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import structlog

from pipelines.letters import dead_letter
from pipelines.streams.base import EngineError, Output, Record, Stage, StageUnable, State
from pipelines.streams.store import Transaction

log = structlog.get_logger(__name__)

Unit = Callable[[Transaction], None]


class StageRaised(EngineError):
    """A stage's handler raised on a batch; its cause is the handler's exception."""


def recover(stage: Stage, state: State) -> Unit:
    """What a stage says again after a start."""

    def work(unit: Transaction) -> None:
        unit.emit(stage.recovered(state))

    return work


def handle(stage: Stage, state: State, batch: Sequence[Record]) -> Unit:
    """A batch of a stage with state. Raises StageRaised."""

    def work(unit: Transaction) -> None:
        try:
            outputs = stage.handle(batch, state)
        except sqlite3.Error:
            raise  # the store's trouble, not the record's
        except Exception as error:  # a stage may raise anything on a record that it does not expect
            raise StageRaised(str(error)) from error
        unit.emit(outputs)
        unit.advance(stage.name, batch[-1].offset)

    return work


def emit(stage: Stage, batch: Sequence[Record], outputs: Sequence[Output]) -> Unit:
    """A batch whose outputs are there already."""

    def work(unit: Transaction) -> None:
        unit.emit(outputs)
        unit.advance(stage.name, batch[-1].offset)

    return work


def attempt(stage: Stage, batch: Sequence[Record], state: State, now: Callable[[], float]) -> list[Output]:
    """The outputs of a stage without state; a record on which it raises becomes a dead letter. Raises StageUnable."""
    try:
        return stage.handle(batch, state)
    except StageUnable:
        raise
    except Exception as error:  # as above
        if len(batch) == 1:
            return [raised(stage, batch[0], error, now())]
        return [output for record in batch for output in attempt(stage, [record], state, now)]


def raised(stage: Stage, record: Record, error: Exception, now: float) -> Output:
    """The dead letter of a record on which a stage raised."""
    log.exception("stage_raised", action="dead_letter", stage=stage.name, topic=record.topic, key=record.key)
    detail = f"{type(error.__cause__ or error).__name__}: {error}"
    return dead_letter(stage.name, record, "stage_raised", detail, now)
