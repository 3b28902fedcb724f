"""The embedded engine: every stage a task of one process, one SQLite file, exactly once.

One thread owns the store. A stage's batch is read there, handled (on that thread where the stage has state, on
a thread of its own where it has none) and committed there: outputs, state and offset in one transaction. A
stage that writes wakes the stages that read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from prometheus_client import Gauge

from pipelines import tally
from pipelines.clock import Clock
from pipelines.documents import Watermark, encode, iso
from pipelines.ingest import TABLES as INGEST_TABLES
from pipelines.streams.backlog import Backlog
from pipelines.streams.base import (
    INGEST,
    WATERMARK,
    Behind,
    Claim,
    EngineError,
    Output,
    Record,
    Stage,
    State,
    StoreTorn,
    Unwritable,
)
from pipelines.streams.refusals import Refusals
from pipelines.streams.retention import Retention
from pipelines.streams.soundness import guarded
from pipelines.streams.store import Lock, LogTail, Store, Transaction
from pipelines.streams.tables import StageState
from pipelines.streams.units import StageRaised, attempt, emit, handle, raised, recover

log = structlog.get_logger(__name__)

STORE_BYTES = Gauge("tapewatch_store_bytes", "Size of the embedded engine's file.")

BATCH = 512
"""Records a stage is handed at once: the classifier's length-sorted batches gain little beyond."""

IN_FLIGHT = 2
"""Batches of a stage without state that may be worked on at once: one computes while the other is written."""

BACKLOG = 20_000
"""Documents that may wait for the score stage before ingest is held back: some 20 s of work, some 40 MB."""

REFUSED_RETRY = 1.0
"""Seconds between tries while the disk is full or fails."""

T = TypeVar("T")


class EmbeddedEngine:
    """Runs stages over a Store. ``clock`` stamps what is written and paces retries; records are kept for ``retention``
    seconds, dead letters and notes for ``texts``. ``claimed``: what ``claim`` gave for ``path``."""

    name = "embedded"
    stands_by: Collection[str] = ()
    """No stage: one process has all there is."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        retention: float = 7 * 86400.0,
        texts: float | None = None,
        backlog: int = BACKLOG,
        batch: int = BATCH,
        claimed: Claim | None = None,
    ) -> None:
        self._clock = clock
        self._backlog = Backlog(backlog)
        self._batch = batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._workers = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="stage")
        self.store = Store(path, now=clock.time, claimed=claimed)
        self._retention = Retention(self.store, self._on_store, self._past, records=retention, texts=texts)
        self._handing_out = asyncio.Lock()
        self._handled: set[asyncio.Future[list[Output]]] = set()  # batches that stages without state are at
        self._stages: list[Stage] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._wake: dict[str, asyncio.Event] = {}
        self._tails: list[LogTail] = []
        self._listeners: list[Callable[[Sequence[Output]], None]] = []
        self._news = asyncio.Event()
        self._refusals = Refusals()
        self._fatal: BaseException | None = None
        self._stopping = asyncio.Event()

    @staticmethod
    def claim(path: Path) -> Lock:
        """What makes this process the only one on ``path``. Raises StoreLocked."""
        return Lock(path)

    @staticmethod
    def log(path: Path) -> LogTail:
        """A way through the log of a store that another process may have open."""
        return LogTail(path)

    # -- what others ask ----------------------------------------------------------------------------------

    @property
    def fatal(self) -> BaseException | None:
        """Why a stage ended that should not have, if one did."""
        return self._fatal

    def waiting_for(self) -> str | None:
        """Why nothing can be written: the last write failed for want of room, or because the disk does."""
        return self._refusals.told()

    def lag(self) -> dict[str, tuple[float, int]]:
        """Stage to (seconds, records) that it is behind."""
        return self._backlog.lag(self._clock.time())

    def on_commit(self, listener: Callable[[Sequence[Output]], None]) -> None:
        """``listener`` is called on the event loop with what each committed unit wrote."""
        self._listeners.append(listener)

    async def append(self, outputs: Iterable[Output]) -> None:
        """Writes records from outside the stages; durable when it returns."""
        rows = list(outputs)
        await self.transact(lambda unit: unit.emit(rows))

    async def transact(self, work: Callable[[Transaction], T], by: str = "") -> T:
        """Runs ``work`` on the store's thread as one unit and tells the readers of what it wrote. ``by``: the stage
        whose it is."""
        try:
            outcome: tuple[T, list[Output]] = await self._on_store(self._transact, work)
        except Unwritable as error:
            self._refusals.note(by, error)
            raise
        self._refusals.over(by)
        self._announce(outcome[1])
        return outcome[0]

    async def ask(self, question: Callable[[Store], T]) -> T:
        """Runs a reading ``question`` on the store's thread."""
        return await self._on_store(question, self.store)

    async def take_in(self, work: Callable[[State], tuple[T, Iterable[Output]]]) -> T:
        """Ingest's tables and what it writes, as one unit."""

        def unit_of(unit: Transaction) -> T:
            result, outputs = work(self.store.state(INGEST, INGEST_TABLES))
            unit.emit(outputs)
            return result

        return await self.transact(unit_of)

    async def inspect(self, owner: str, question: Callable[[State], T]) -> T:
        """What ``question`` reads in the tables of ``owner``, between two batches."""
        tables = INGEST_TABLES if owner == INGEST else self._stage(owner).tables
        return await self.ask(lambda store: question(store.state(owner, tables)))

    def _stage(self, name: str) -> Stage:
        found = next((stage for stage in self._stages if stage.name == name), None)
        if found is None:
            raise EngineError(f"stage {name} does not run here")
        return found

    async def between_batches(self, change: Callable[[], None]) -> None:
        """Runs ``change`` on the store's thread, where stages with state work, once those without are at nothing."""
        async with self._handing_out:
            if self._handled:
                await asyncio.wait(self._handled)
            await self._on_store(change)

    def reader(self) -> LogTail:
        """A reader of its own; what it has not read yet is kept."""
        tail = LogTail(self.store.path)
        self._tails.append(tail)
        return tail

    async def news(self) -> None:
        """Returns once something was written since the last time that it returned. For one reader."""
        await self._news.wait()
        self._news.clear()

    def admit(self) -> None:
        """Raises Behind while the score stage has more waiting than the backlog allows."""
        self._backlog.admit()

    async def admitted(self) -> None:
        """Waits until there is room for more documents."""
        while True:
            try:
                self.admit()
            except Behind:
                await self._clock.sleep(0.2)
            else:
                return

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self, stages: Sequence[Stage]) -> None:
        """Restores the stages' states, sends again what they ask for, and sets them to work."""
        self._stages = list(stages)
        self._backlog.watch(self._stages)
        self._wake = {stage.name: asyncio.Event() for stage in stages}
        for stage in stages:
            state = await self._on_store(self.store.state, stage.name, stage.tables)
            await self.transact(recover(stage, state))
        for stage in stages:
            await self._measure(stage)
            run = self._run_stateful if stage.tables else self._run_stateless
            self._spawn(run(stage), stage.name)
        self._spawn(self._keep_house(), "housekeeping")

    async def drained(self) -> None:
        """Returns when no stage has anything waiting (new input may come at any time)."""
        while any(waiting for _, waiting in self.lag().values()):
            self._raise_fatal()
            await asyncio.sleep(0.02)
        self._raise_fatal()

    async def watermark(self, topic: str, at: float) -> None:
        """Says that ``topic`` is complete up to ``at``."""
        await self.append([Output(topic, WATERMARK, encode(Watermark(at=iso(at))))])

    async def stop(self, budget: float = 20.0) -> None:
        """Lets the batches under way finish within ``budget`` seconds, then closes the store."""
        self._stopping.set()
        for event in self._wake.values():
            event.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=budget)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._workers.shutdown(wait=False, cancel_futures=True)
        await self._on_store(self.store.close)
        self._thread.shutdown()

    # -- running a stage ----------------------------------------------------------------------------------

    async def _run_stateful(self, stage: Stage) -> None:
        state = self.store.state(stage.name, stage.tables)
        position = await self._on_store(self.store.offset, stage.name)
        while not self._stopping.is_set():
            batch = await self._on_store(self.store.read, stage.inputs, position, self._batch)
            if not batch:
                await self._idle(stage)
                continue
            try:
                await self._persist(stage, handle(stage, state, batch))
            except StageRaised:
                await self._one_by_one(stage, state, batch)
            position = batch[-1].offset
            await self._progress(stage, len(batch))

    async def _one_by_one(self, stage: Stage, state: State, batch: Sequence[Record]) -> None:
        """A record that the stage raises on goes to the dead letters, its batch mates do not."""
        for record in batch:
            try:
                await self._persist(stage, handle(stage, state, [record]))
            except StageRaised as error:
                await self._persist(stage, emit(stage, [record], [raised(stage, record, error, self._clock.time())]))

    async def _run_stateless(self, stage: Stage) -> None:
        position = await self._on_store(self.store.offset, stage.name)
        under_way: deque[tuple[Sequence[Record], asyncio.Future[list[Output]]]] = deque()
        try:
            while not self._stopping.is_set() or under_way:
                batch: Sequence[Record] = []
                if not self._stopping.is_set():
                    batch = await self._on_store(self.store.read, stage.inputs, position, self._batch)
                if batch:
                    position = batch[-1].offset
                    under_way.append((batch, await self._hand_out(stage, batch)))
                if under_way and (not batch or len(under_way) >= IN_FLIGHT):
                    done, outcome = under_way.popleft()
                    await self._persist(stage, emit(stage, done, await outcome))
                    await self._progress(stage, len(done))
                elif not batch:
                    await self._idle(stage)
        finally:
            for _, outcome in under_way:
                outcome.cancel()

    async def _hand_out(self, stage: Stage, batch: Sequence[Record]) -> asyncio.Future[list[Output]]:
        work = partial(attempt, stage, batch, StageState({}), self._clock.time)
        async with self._handing_out:
            handled = asyncio.get_running_loop().run_in_executor(self._workers, work)
        self._handled.add(handled)
        handled.add_done_callback(self._handled.discard)
        return handled

    async def _persist(self, stage: Stage, work: Callable[[Transaction], None]) -> None:
        """Commits a unit; waits while the disk is full or fails."""
        while True:
            try:
                return await self.transact(work, stage.name)
            except Unwritable:
                if self._stopping.is_set():
                    raise
                await self._clock.sleep(REFUSED_RETRY)

    async def _idle(self, stage: Stage) -> None:
        event = self._wake[stage.name]
        self._backlog.measured(stage.name, 0, None)
        if not self._stopping.is_set():
            await event.wait()
        event.clear()

    async def _measure(self, stage: Stage) -> None:
        def look(store: Store) -> tuple[int, float | None]:
            offset = store.offset(stage.name)
            return store.count(stage.inputs, offset), store.oldest_after(stage.inputs, offset)

        self._backlog.measured(stage.name, *await self.ask(look))

    async def _progress(self, stage: Stage, handled: int) -> None:
        self._backlog.handled(stage.name, handled)
        if self._backlog.waiting(stage.name) > self._batch:
            await self._measure(stage)

    # -- the rest -----------------------------------------------------------------------------------------

    def _transact(self, work: Callable[[Transaction], T]) -> tuple[T, list[Output]]:
        with tally.once_it_holds(), self.store.transaction() as unit:
            result = work(unit)
        return result, unit.outputs

    def _announce(self, outputs: Sequence[Output]) -> None:
        if not outputs:
            return
        for stage in self._backlog.written(outputs, self._clock.time()):
            self._wake[stage].set()
        self._news.set()
        for listener in self._listeners:
            listener(outputs)

    async def _on_store(self, work: Callable[..., T], *arguments: Any) -> T:
        work = guarded(self.store.path)(work)
        try:
            result: T = await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *arguments))
            return result
        except StoreTorn as error:
            self._fatal = self._fatal or error  # whoever met it, a stage or a POST: nothing more can be written
            raise

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def to_its_end() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                # The daemon watches ``fatal`` and ends: a stage that is gone must not look like silence.
                log.exception("stage_ended", action="stop", stage=name)
                self._fatal = error

        self._tasks.append(asyncio.create_task(to_its_end(), name=name))

    def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise EngineError(f"a stage ended: {self._fatal}") from self._fatal

    async def _keep_house(self) -> None:
        """Lag figures each second, retention in small bites, so that no batch waits long for it."""
        next_trim = self._clock.monotonic() + 60.0
        while not self._stopping.is_set():
            self._backlog.show(self._clock.time())
            with contextlib.suppress(FileNotFoundError):
                STORE_BYTES.set(self.store.path.stat().st_size)
            if self._clock.monotonic() >= next_trim:
                with contextlib.suppress(Unwritable):
                    await self._retention.sweep(self._clock.time())
                next_trim = self._clock.monotonic() + 60.0
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def retain(self, before: float) -> int:
        """Drops what was written before ``before`` and every reader is past; returns how many records."""
        return await self._retention.drop(before)

    def _past(self, topic: str) -> int:
        stages = [self.store.offset(stage.name) for stage in self._stages if topic in stage.inputs]
        return min([*stages, *(tail.past for tail in self._tails if not tail.closed)], default=self.store.head)
