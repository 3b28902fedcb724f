"""Looks twice a second how far the stages of a process are behind, whether they move, and whether brokers answer.

Faust has ways to stand still without a word: a partition that is assigned and never fetched (faust-streaming issues 602
and 629), a fetcher that gave up, commits that a recovery blocks (596). Only a restart helps: so the process ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import structlog
from kafka.errors import KafkaError
from prometheus_client import Gauge

from pipelines.streams.backlog import Backlog
from pipelines.streams.base import DOCUMENTS, EngineError
from pipelines.streams.kafka.probe import Place, Probe
from pipelines.streams.kafka.publisher import WATCHDOG, Publisher
from pipelines.streams.kafka.topics import Layout
from pipelines.streams.kafka.worker import Worker

log = structlog.get_logger(__name__)

PARTITIONS = Gauge("tapewatch_stage_partitions", "Partitions of a stage's input that are this process's.", ["stage"])
COMMIT_AGE = Gauge(
    "tapewatch_commit_age_seconds",
    "How long a stage has handled records whose offsets are not committed, on Kafka; a restart repeats them.",
    ["stage"],
)

EVERY = 0.5
"""Seconds between two looks."""

COMMITS = 10
"""Looks from one at committed offsets to the next."""

STALL = 60.0
"""Seconds in which records wait, none is under way, none is handled and no table restored, after which the process
ends."""

T = TypeVar("T")


class Ask(Protocol):
    def __call__(self, question: Callable[[], T]) -> Awaitable[T]: ...


class Watchdog:
    """``ask`` runs a question to ``probe`` on its thread; ``fail`` ends the process."""

    def __init__(
        self,
        layout: Layout,
        workers: Mapping[str, Worker],
        publisher: Publisher,
        backlog: Backlog,
        probe: Probe,
        ask: Ask,
        fail: Callable[[BaseException], None],
        now: Callable[[], float],
    ) -> None:
        self._layout, self._workers, self._publisher = layout, workers, publisher
        self._backlog, self._probe, self._ask, self._fail, self._now = backlog, probe, ask, fail, now
        self.answered: float | None = None
        """When a broker last answered, in monotonic seconds."""
        self._moved: dict[str, tuple[tuple[dict[Place, int], int], float]] = {}
        """Stage to its positions, how far its tables are restored, and since when neither has moved."""
        self._behind: dict[str, float] = {}
        """Stage to when its committed offsets last moved, or had nothing to move to."""
        self._committed: dict[str, Mapping[Place, int]] = {}
        self._looks = 0

    async def run(self) -> None:
        """Looks for good."""
        while True:
            try:
                await self._look()
                self.answered = time.monotonic()
            except KafkaError as error:
                log.debug("no_answer", action="wait", error=repr(error))
            self._backlog.show(self._now())
            for worker in self._workers.values():
                if (reason := worker.crashed()) is not None:
                    self._fail(reason)
            if self._publisher.oldest() > WATCHDOG:
                self._fail(EngineError(f"no record was acknowledged for {WATCHDOG:.0f} s"))
            await asyncio.sleep(EVERY)

    async def _look(self) -> None:
        documents = [(self._layout.topic(DOCUMENTS), number) for number in range(self._layout.count(DOCUMENTS))]
        places = {place for worker in self._workers.values() for place in places_of(worker, self._layout)}
        ends = await self._ask(partial(self._probe.ends, places | set(documents)))
        if "score" not in self._workers:
            # Ingest is held back by what waits for the score stage, wherever that runs.
            committed = await self._ask(partial(self._probe.committed, self._layout.group("score")))
            waiting = sum(max(0, ends[place] - committed.get(place, 0)) for place in documents)
            self._backlog.measured("score", waiting, None)
        for name, worker in self._workers.items():
            PARTITIONS.labels(name).set(len(worker.partitions))
            mine = places_of(worker, self._layout)
            await self._progress(name, worker, {place: ends[place] for place in mine if place in ends})
        self._looks += 1
        if self._looks % COMMITS == 0:
            await self._commits()

    async def _progress(self, name: str, worker: Worker, ends: Mapping[Place, int]) -> None:
        positions = {place: position_of(worker, self._layout, place) for place in ends}
        waiting = sum(max(0, end - positions[place]) for place, end in ends.items())
        self._backlog.measured(name, waiting, worker.oldest() or None)
        now = time.monotonic()
        # A worker that takes over partitions handles nothing until their tables are filled again.
        state = (positions, restored_by(worker))
        before, since = self._moved.get(name, (None, now))
        moves = worker.busy or not waiting or state != before
        self._moved[name] = (state, now if moves else since)
        if not moves and now - since > STALL:
            await self._stalled(name, worker, {place: at for place, at in positions.items() if at < ends[place]}, ends)

    async def _stalled(
        self, name: str, worker: Worker, waiting: Mapping[Place, int], ends: Mapping[Place, int]
    ) -> None:
        """Ends the process, unless nothing but marks of a producer's transactions is left to read."""
        if await self._ask(partial(self._probe.holds_records, waiting)):
            records = sum(ends[place] - at for place, at in waiting.items())
            self._fail(EngineError(f"stage {name}: {records} records wait and none is fetched for {STALL:.0f} s"))
            return
        for place in waiting:
            worker.positions[self._layout.plain(place[0]), place[1]] = ends[place]

    async def _commits(self) -> None:
        now = time.monotonic()
        for name, worker in self._workers.items():
            committed = await self._ask(partial(self._probe.committed, self._layout.group(name)))
            places = places_of(worker, self._layout)
            behind = any(committed.get(place, 0) < position_of(worker, self._layout, place) for place in places)
            moved = committed != self._committed.get(name)
            self._committed[name] = committed
            if moved or not behind:
                self._behind[name] = now
            COMMIT_AGE.labels(name).set(now - self._behind.get(name, now) if behind else 0.0)


def places_of(worker: Worker, layout: Layout) -> list[Place]:
    """Where the inputs of a stage come from, in the partitions that are this process's."""
    return [(layout.topic(topic), number) for topic in worker.stage.inputs for number in worker.partitions]


def position_of(worker: Worker, layout: Layout, place: Place) -> int:
    """The offset of the next record that the stage handles there."""
    return worker.position(layout.plain(place[0]), place[1])


def restored_by(worker: Worker) -> int:
    """How far the changelogs of a stage's tables have been read here; grows while Faust restores them."""
    offsets = cast("Any", worker.app.tables).recovery.active_offsets
    return sum(offset for offset in offsets.values() if offset is not None)
