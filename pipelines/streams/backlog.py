"""How far the stages of this process are behind the log: counted along, so that nobody need ask the log each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import Gauge

from pipelines.streams.base import DOCUMENTS, Behind, Output, Stage

LAG_SECONDS = Gauge("tapewatch_stage_lag_seconds", "Age of the oldest record a stage has not handled.", ["stage"])
LAG_RECORDS = Gauge("tapewatch_stage_lag_records", "Records a stage has not handled.", ["stage"])


PER_DOCUMENT = 5
"""Records of later stages that a document leads to at most, commonly: what may wait there is as many times more."""


class Backlog:
    """What waits for each stage. Times in seconds since 1970; ``limit``: documents that may wait to be scored."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._stages: Sequence[Stage] = ()
        self._waiting: dict[str, int] = {}
        self._oldest: dict[str, float | None] = {}

    def watch(self, stages: Sequence[Stage]) -> None:
        """Begins with these stages; ``measured`` says where each stands."""
        self._stages = stages

    def lag(self, now: float) -> dict[str, tuple[float, int]]:
        """Stage to (seconds, records) that it is behind."""
        report = {}
        for stage in self._stages:
            oldest, waiting = self._oldest.get(stage.name), self.waiting(stage.name)
            report[stage.name] = (max(0.0, now - oldest) if oldest is not None and waiting else 0.0, waiting)
        return report

    def show(self, now: float) -> None:
        """Sets the metrics."""
        for stage, (seconds, records) in self.lag(now).items():
            LAG_SECONDS.labels(stage).set(seconds)
            LAG_RECORDS.labels(stage).set(records)

    def waiting(self, stage: str) -> int:
        return self._waiting.get(stage, 0)

    def written(self, outputs: Iterable[Output], now: float) -> list[str]:
        """Counts what was written at ``now``; returns the stages that read of it."""
        counts: dict[str, int] = {}
        for output in outputs:
            counts[output.topic] = counts.get(output.topic, 0) + 1
        readers = []
        for stage in self._stages:
            added = sum(counts.get(topic, 0) for topic in stage.inputs)
            if added:
                if not self.waiting(stage.name):
                    self._oldest[stage.name] = now
                self._waiting[stage.name] = self.waiting(stage.name) + added
                readers.append(stage.name)
        return readers

    def handled(self, stage: str, records: int) -> None:
        self._waiting[stage] = max(0, self.waiting(stage) - records)

    def measured(self, stage: str, waiting: int, oldest: float | None) -> None:
        """Corrects the count by what the log itself says."""
        self._waiting[stage], self._oldest[stage] = waiting, oldest

    def admit(self) -> None:
        """Raises Behind while a stage has more waiting than the limit allows: no stage may fall behind for ever."""
        for stage in self._stages:
            waiting = self.waiting(stage.name)
            each = 1 if DOCUMENTS in stage.inputs else PER_DOCUMENT
            if waiting > self._limit * each:
                raise Behind(retry_after=max(1.0, waiting / each / 1000.0))
