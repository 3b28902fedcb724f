"""The Kafka engine: what the daemon asks of any engine, asked of brokers, Faust workers and ingest's own store."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from kafka.errors import KafkaError

from pipelines.clock import Clock
from pipelines.documents import Watermark, encode, iso
from pipelines.streams.backlog import Backlog
from pipelines.streams.base import (
    INGEST,
    WATERMARK,
    Behind,
    Claim,
    EngineError,
    Output,
    Stage,
    State,
    Unwritable,
)
from pipelines.streams.kafka.apps import Site
from pipelines.streams.kafka.connection import Connection
from pipelines.streams.kafka.intake import Intake
from pipelines.streams.kafka.probe import Place, Probe, Stretch
from pipelines.streams.kafka.publisher import Publisher
from pipelines.streams.kafka.quiet import calm
from pipelines.streams.kafka.reader import KafkaReader
from pipelines.streams.kafka.signin import refusal
from pipelines.streams.kafka.topics import Layout, differences, group_rights
from pipelines.streams.kafka.watchdog import Watchdog, places_of, position_of
from pipelines.streams.kafka.worker import Worker
from pipelines.streams.kafka.writer import Writer
from pipelines.streams.store import Lock

log = structlog.get_logger(__name__)

T = TypeVar("T")

BACKLOG = 20_000
"""Documents that may wait for the score stage before ingest is held back."""

SILENT = 5.0
"""Seconds without an answer or an acknowledgement from which brokers count as unreachable."""


class KafkaEngine:
    """``data``: a folder for this process alone; what is in it can be lost and is then restored from the brokers.
    ``claimed``: what ``claim`` gave for it."""

    name = "kafka"

    def __init__(
        self,
        connection: Connection,
        layout: Layout,
        data: Path,
        *,
        clock: Clock,
        backlog: int = BACKLOG,
        claimed: Claim | None = None,
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._clock = clock
        self._lock = claimed or self.claim(data)
        self._intake = Intake(data / "ingest.db", clock, self._failed)
        self._backlog = Backlog(backlog)
        self._probe = Probe(connection)
        self._probing = ThreadPoolExecutor(1, thread_name_prefix="probe")
        self._publisher = Publisher(connection, layout)
        self._writer = Writer(connection, layout, clock.time)
        self._site = Site(
            connection, layout, self._writer, data, clock, self._announce, self._failed, self._starts, self._read
        )
        self._workers: dict[str, Worker] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Callable[[Sequence[Output]], None]] = []
        self._watchdog: Watchdog | None = None
        self._refusal: str | None = None
        """Why brokers don't let this process in, while it waits for them to."""
        self._fatal: BaseException | None = None
        self._stopped = False

    @staticmethod
    def claim(data: Path) -> Lock:
        """What makes this process the only one on ``data``. Raises StoreLocked."""
        return Lock(data / "worker", "[engine.kafka] data_dir")

    # -- what others ask ----------------------------------------------------------------------------------

    @property
    def fatal(self) -> BaseException | None:
        """Why a part ended that should not have, if one did."""
        return self._fatal

    def waiting_for(self) -> str | None:
        """Why nothing can be written now: no broker answers, or acknowledges."""
        watched = self._watchdog.answered if self._watchdog is not None else None
        answers = [at for at in (watched, self._publisher.answered) if at is not None]
        if answers and time.monotonic() - max(answers) < SILENT and self._publisher.oldest() < SILENT:
            return None
        silent = f"no broker of {', '.join(self._connection.brokers)} answers" if answers else "the stages are starting"
        why = self._refusal or silent
        return f"{why}; until then nothing is accepted, and work resumes by itself"

    @property
    def stands_by(self) -> Collection[str]:
        """Stages that run here and whose partitions are all with other processes."""
        return [name for name, worker in self._workers.items() if worker.stands_by]

    def lag(self) -> dict[str, tuple[float, int]]:
        """Stage to (seconds, records) that it is behind, in the partitions that are this process's."""
        return self._backlog.lag(self._clock.time())

    def on_commit(self, listener: Callable[[Sequence[Output]], None]) -> None:
        """``listener`` is called on the event loop with what each unit wrote, once that is acknowledged."""
        self._listeners.append(listener)

    async def append(self, outputs: Iterable[Output]) -> None:
        """Writes records from outside the stages; acknowledged by all replicas in sync when it returns."""
        rows = list(outputs)
        await self._publisher.publish(rows)
        self._announce(rows)

    async def watermark(self, topic: str, at: float) -> None:
        """Says to every partition that ``topic`` is complete up to ``at``."""
        await self._publisher.publish([Output(topic, WATERMARK, encode(Watermark(at=iso(at))))])

    def admit(self) -> None:
        """Raises Behind while the score stage has more waiting than the backlog allows, Unwritable without brokers."""
        if (why := self.waiting_for()) is not None:
            raise Unwritable(why)
        self._backlog.admit()

    async def admitted(self) -> None:
        """Waits until there is room for more documents."""
        while True:
            try:
                self.admit()
            except (Behind, Unwritable):
                await self._clock.sleep(0.2)
            else:
                return

    async def take_in(self, work: Callable[[State], tuple[T, Iterable[Output]]]) -> T:
        """What ``work`` says is written and acknowledged first; then ingest's tables take effect, on this disk."""
        result, outputs = await self._intake.take_in(work, self._publisher.publish)
        self._announce(outputs)
        return result

    async def inspect(self, owner: str, question: Callable[[State], T]) -> T:
        """What ``question`` reads in the tables of ``owner``, between two units; waits for a partition of its."""
        if owner == INGEST:
            return await self._intake.inspect(question)
        worker = self._workers.get(owner)
        if worker is None:
            raise EngineError(f"stage {owner} does not run here")
        return await worker.inspect(question)

    async def between_batches(self, change: Callable[[], None]) -> None:
        """Runs ``change`` with no unit under way."""
        async with contextlib.AsyncExitStack() as held:
            for worker in self._workers.values():
                await held.enter_async_context(worker.between)
            change()

    def reader(self) -> KafkaReader:
        """A reader of its own."""
        return KafkaReader(self._connection, self._layout)

    async def news(self) -> None:
        """Returns at once: the reader itself waits for records."""

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self, stages: Sequence[Stage]) -> None:
        """Waits for brokers, makes sure that the topics are as they must be, and sets the stages to work."""
        calm()
        try:
            await self._start(stages)
        except BaseException:  # whatever ends the start, what it began ends too
            await self.stop(5.0)
            raise

    async def _start(self, stages: Sequence[Stage]) -> None:
        await self._meet(stages)
        self._backlog.watch(stages)
        await self._writer.start()
        await self._publisher.start()
        self._workers = {stage.name: Worker(stage, self._site) for stage in stages}
        await asyncio.gather(*(worker.start() for worker in self._workers.values()))
        self._watchdog = Watchdog(
            self._layout,
            self._workers,
            self._publisher,
            self._backlog,
            self._probe,
            self._ask,
            self._failed,
            self._clock.time,
        )
        self._spawn(self._watchdog.run(), "watchdog")

    async def _meet(self, stages: Sequence[Stage]) -> None:
        while True:
            why = await self._ask(partial(refusal, self._connection))
            try:
                if why is None:
                    wrong = await self._ask(lambda: differences(self._probe.admin, self._layout, stages))
                    barred = await self._ask(lambda: group_rights(self._probe.admin, self._layout, stages))
                    break
            except KafkaError as error:
                why = f"{', '.join(self._connection.brokers)}: {error!r}"
            if why != self._refusal:
                log.warning("kafka_unreachable", action="wait", why=why)
                self._refusal = why
            await asyncio.sleep(1.0)
        self._refusal = None
        grave = [one.text for one in wrong if one.grave] + barred
        if grave:
            raise EngineError("; ".join(grave))
        for one in wrong:
            log.warning("topic_differs", action="go_on", what=one.text)

    async def drained(self) -> None:
        """Returns when the stages that run here have handled what was written before, one after the other."""
        for worker in self._workers.values():
            ends = await self._ask(partial(self._probe.settled, places_of(worker, self._layout)))
            while any(
                position_of(worker, self._layout, place) < end
                for place, end in ends.items()
                if place[1] in worker.partitions
            ):
                self._raise_fatal()
                await asyncio.sleep(0.02)
        self._raise_fatal()

    async def stop(self, budget: float = 20.0) -> None:
        """Leaves the groups within ``budget`` seconds. With the brokers down Faust would hang: it is then left."""
        if self._stopped:
            return
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        parts = [worker.stop() for worker in self._workers.values()]
        await self._bounded(asyncio.gather(*parts), budget * 0.6)
        await self._bounded(asyncio.gather(self._writer.stop(), self._publisher.stop(budget * 0.2)), budget * 0.3)
        await self._bounded(self._ask(self._probe.close), 1.0)
        self._probing.shutdown(wait=False)
        await self._intake.close()
        self._lock.release()

    async def _bounded(self, work: Awaitable[Any], seconds: float) -> None:
        try:
            await asyncio.wait_for(work, seconds)
        except TimeoutError:
            log.warning("stop_cut_short", action="leave", seconds=round(seconds, 1))
        except Exception as error:  # the rest must stop all the same
            log.warning("stop_failed", action="leave", error=repr(error))

    async def _starts(self, group: str, places: Sequence[Place]) -> dict[Place, int]:
        """Where a group goes on: what it has committed, be it gone by now, else the first record that there is."""
        while not self._stopped:
            try:
                found = await self._ask(partial(self._probe.beginnings, places))
                committed = await self._ask(partial(self._probe.committed, group))
            except KafkaError as error:
                log.debug("no_answer", action="ask_again", error=repr(error))
                await asyncio.sleep(0.5)
            else:
                return {place: committed.get(place, found.get(place, 0)) for place in places}
        return {}

    async def _read(self, place: Place, begin: int, end: int) -> Stretch:
        return await self._ask(partial(self._probe.read, place, begin, end))

    # -- the rest -----------------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[], T]) -> T:
        result: T = await asyncio.get_running_loop().run_in_executor(self._probing, question)
        return result

    def _announce(self, outputs: Sequence[Output]) -> None:
        if outputs:
            for listener in self._listeners:
                listener(outputs)

    def _failed(self, error: BaseException) -> None:
        if self._fatal is None:
            log.error("engine_failed", action="stop", error=str(error))
            self._fatal = error

    def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise EngineError(f"a stage ended: {self._fatal}") from self._fatal

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def to_its_end() -> None:
            try:
                await work
            except Exception as error:  # whatever ends a task ends the engine: silence would look like work
                self._failed(error)

        self._tasks.append(asyncio.create_task(to_its_end(), name=name))
