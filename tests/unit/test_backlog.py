"""What may wait for a stage before the input is held back."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pipelines.streams.backlog import PER_DOCUMENT, Backlog
from pipelines.streams.base import DOCUMENTS, EVIDENCE, Behind, Output, Record, State


class Reads:
    tables: Mapping[str, type[Any]] = {}

    def __init__(self, name: str, topic: str) -> None:
        self.name = name
        self.inputs: tuple[str, ...] = (topic,)

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        return []

    def recovered(self, state: State) -> list[Output]:
        return []


def written(topic: str, count: int) -> list[Output]:
    return [Output(topic, "k", b"{}") for _ in range(count)]


@pytest.mark.parametrize(
    ("stage", "topic", "most"), [("score", DOCUMENTS, 3), ("aggregate", EVIDENCE, 3 * PER_DOCUMENT)]
)
def test_any_stage_that_falls_behind_holds_the_input_back(stage: str, topic: str, most: int) -> None:
    backlog = Backlog(3)
    backlog.watch([Reads("score", DOCUMENTS), Reads("aggregate", EVIDENCE)])
    backlog.written(written(topic, most), now=1.0)
    backlog.admit()
    backlog.written(written(topic, 1), now=2.0)
    with pytest.raises(Behind) as behind:
        backlog.admit()
    assert behind.value.retry_after >= 1.0
    assert backlog.lag(11.0)[stage] == (10.0, most + 1)
    backlog.handled(stage, 1)
    backlog.admit()
