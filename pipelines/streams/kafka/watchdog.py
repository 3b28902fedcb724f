"""Looks twice a second how far the stages of a process are behind, whether they move, and whether brokers answer.

Faust has ways to stand still without a word: a partition that is assigned and never fetched (faust-streaming issues 602
and 629), a fetcher that gave up, commits that a recovery blocks (596). Only a restart helps: so the process ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import structlog
from kafka.errors import KafkaError
from prometheus_client import Counter, Gauge

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

GONE = Counter(
    "tapewatch_stage_gone_total",
    "Records that Kafka let go of before a stage had read them.",
    ["stage"],
)

EVERY = 0.5
"""Seconds between two looks."""

COMMITS = 10
"""Looks from one at committed offsets to the next."""

STALL = 60.0
"""Seconds in which records of a partition wait, none is under way, none of them is handled and no table restored, after
which the process ends."""

SHORT = 10
"""Looks in a row that find a log shorter than what was handled of it, before that is believed: a broker that is no
longer the leader may say so for a moment."""

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
        self._stood: dict[str, dict[Place, tuple[int, int]]] = {}
        """Stage to each place's position and the looks that found it there, with records waiting and nothing else to
        do. Looks, not seconds: while no broker answers there are none."""
        self._short = 0
        """Looks in a row that found a log shorter than what was handled of it."""
        self._restored: dict[str, int] = {}
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
                if (reason := crashed(worker)) is not None:
                    self._fail(reason)
            if self._publisher.oldest() > WATCHDOG:
                self._fail(EngineError(f"no record was acknowledged for {WATCHDOG:.0f} s"))
            await asyncio.sleep(EVERY)

    async def _look(self) -> None:
        documents = [(self._layout.topic(DOCUMENTS), number) for number in range(self._layout.count(DOCUMENTS))]
        handled = {
            place: position_of(worker, self._layout, place)
            for worker in self._workers.values()
            for place in places_of(worker, self._layout)
        }
        ends = await self._ask(partial(self._probe.ends, handled.keys() | set(documents)))
        self._shortened(handled, ends)
        if "score" not in self._workers:
            # Ingest is held back by what waits for the score stage, wherever that runs.
            committed = await self._ask(partial(self._probe.committed, self._layout.group("score")))
            waiting = sum(max(0, ends[place] - committed.get(place, 0)) for place in documents)
            self._backlog.measured("score", waiting, None)
        for name, worker in self._workers.items():
            PARTITIONS.labels(name).set(len(worker.partitions))
            mine = places_of(worker, self._layout)
            await self._progress(name, worker, {place: ends[place] for place in mine if place in ends})
            await self._gone(name, worker)
        self._looks += 1
        if self._looks % COMMITS == 0:
            await self._commits()

    def _shortened(self, handled: Mapping[Place, int], ends: Mapping[Place, int]) -> None:
        """Ends the process where a log no longer reaches up to what was handled of it: what is written there now has
        offsets that look handled, and no stage would see it."""
        short = [place for place, at in sorted(handled.items()) if at > ends[place]]
        self._short = self._short + 1 if short else 0
        if self._short > SHORT:
            what = ", ".join(f"{_named([place])} at {ends[place]} instead of {handled[place]}" for place in short)
            self._fail(
                EngineError(
                    f"topics end before what was handled of them, {what}: they were made anew, or brokers lost "
                    "records. Give [engine.kafka] another topic_prefix and an empty data_dir, and run "
                    "`tapewatch kafka init`"
                )
            )

    async def _progress(self, name: str, worker: Worker, ends: Mapping[Place, int]) -> None:
        positions = {place: position_of(worker, self._layout, place) for place in ends}
        waiting = {place: at for place, at in positions.items() if at < ends[place]}
        records = sum(ends[place] - at for place, at in waiting.items())
        oldest = worker.progress.oldest(_plain(self._layout, place) for place in waiting)
        self._backlog.measured(name, records, oldest)
        # A worker that takes over partitions handles nothing until their tables are filled again.
        restored = restored_by(worker)
        restores, self._restored[name] = restored != self._restored.get(name), restored
        before, stood = self._stood.get(name, {}), dict[Place, tuple[int, int]]()
        for place, at in waiting.items():
            since, looks = before.get(place, (at, 0))
            stood[place] = (at, 0 if restores or since != at else looks + (not worker.busy))
        self._stood[name] = stood
        still = {place: at for place, (at, looks) in stood.items() if looks * EVERY > STALL}
        if still:
            await self._stalled(name, worker, still, ends)

    async def _stalled(self, name: str, worker: Worker, still: Mapping[Place, int], ends: Mapping[Place, int]) -> None:
        """Ends the process, unless there is nothing that it may read yet, or ever: what other producers wrote within
        transactions that are under way or were aborted, and the marks of their ends."""
        settled = await self._ask(partial(self._probe.settled, still))
        readable = {place: at for place, at in still.items() if at < settled[place]}
        found = await self._ask(lambda: bool(readable) and self._probe.holds_records(readable))
        if found:
            records = sum(ends[place] - at for place, at in still.items())
            what = f"{records} records wait in {_named(still)} and none is fetched for {STALL:.0f} s"
            self._fail(EngineError(f"stage {name}: {what}"))
            return
        for place in still:
            worker.progress.skip(_plain(self._layout, place), settled[place])
            self._stood[name].pop(place, None)
        if held := [place for place in still if settled[place] < ends[place]]:
            log.warning("transaction_open", action="wait", stage=name, places=_named(held))

    async def _gone(self, name: str, worker: Worker) -> None:
        """Tells what of the offsets that were passed over is records that are lost to the stage."""
        if not worker.progress.gaps:
            return
        gaps = [((self._layout.topic(gap.place[0]), gap.place[1]), gap) for gap in worker.progress.gaps]
        begins = await self._ask(partial(self._probe.beginnings, {place for place, _ in gaps}))
        del worker.progress.gaps[: len(gaps)]
        for place, gap in gaps:
            if (gone := min(gap.after, begins[place]) - gap.first) > 0:
                GONE.labels(name).inc(gone)
                log.error("records_gone", action="go_on", stage=name, place=_named([place]), first=gap.first, gone=gone)

    async def _commits(self) -> None:
        now = time.monotonic()
        for name, worker in self._workers.items():
            committed = await self._ask(partial(self._probe.committed, self._layout.group(name)))
            places = places_of(worker, self._layout)
            handled = {place: position_of(worker, self._layout, place) for place in places}
            behind = any(committed.get(place, 0) < offset for place, offset in handled.items())
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
    return worker.progress.position(_plain(layout, place))


def _plain(layout: Layout, place: Place) -> Place:
    return layout.plain(place[0]), place[1]


def _named(places: Iterable[Place]) -> str:
    return ", ".join(f"{topic}[{number}]" for topic, number in sorted(places))


def crashed(worker: Worker) -> BaseException | None:
    """Why Faust gave up, if it did: it says so in its services, and else nowhere."""
    app = worker.app
    services = (app, app.consumer, getattr(app.consumer, "_thread", None), app._fetcher)
    for service in services:
        if service is not None and service.crashed:
            reason: BaseException | None = service.crash_reason
            return reason or EngineError(f"stage {worker.stage.name}: Faust ended without a reason")
    return None


def restored_by(worker: Worker) -> int:
    """How far the changelogs of a stage's tables have been read here; grows while Faust restores them."""
    offsets = cast("Any", worker.app.tables).recovery.active_offsets
    return sum(offset for offset in offsets.values() if offset is not None)
