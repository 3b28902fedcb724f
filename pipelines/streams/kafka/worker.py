"""One stage of this process as a Faust worker in our own event loop.

Rules that the measured ways of Faust 0.15.3 dictate, and that hold here:

- An exception in an agent is the loss of its batch. So the agent's body never raises: what can't be written ends the
  process, and nothing of it is committed.
- Events come late, twice, out of turn or never around a rebalance: ``order`` says what is next.
- What is committed is what this worker has handled and the brokers have acknowledged, not what Faust counts.
- Before a rebalance hands a partition on, the unit under way ends: the listener waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, cast

import faust
import structlog
from faust.types import TP
from kafka.errors import KafkaError

from pipelines.streams.alignment import Alignment
from pipelines.streams.base import EngineError, Output, Record, Stage, State
from pipelines.streams.kafka.apps import SESSION, Site, embed
from pipelines.streams.kafka.order import Arrival, Order, by_partition
from pipelines.streams.kafka.progress import Progress
from pipelines.streams.kafka.state import Lost, PartitionState
from pipelines.streams.kafka.topics import LARGE
from pipelines.streams.kafka.writer import Row, size_of
from pipelines.streams.layout import ONE_PARTITION, origins
from pipelines.streams.tables import StageState
from pipelines.streams.units import attempt, raised

log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH = 512
"""Records a stage is handed at once: the classifier's length-sorted batches gain little beyond."""

WITHIN = 0.05
"""Seconds that a batch waits for more records: the price of batches in latency, paid once a stage."""

IN_FLIGHT = 2
"""Batches of a stage without state that may wait for their acknowledgement while the next is computed."""

HANDOVER = 8.0
"""Seconds that a rebalance waits for the unit under way, before the session ends."""

PAUSE = 0.5
"""Seconds until the brokers are asked again what the log holds."""

DOUBT = SESSION / 2
"""Seconds after which a worker makes sure that it is still in its group: it may have been frozen in between."""


class Worker:
    """Runs ``stage`` for the partitions that its group gives this process."""

    def __init__(self, stage: Stage, site: Site) -> None:
        self.stage = stage
        self._site = site
        self._layout = site.layout
        self._app: faust.App | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=stage.name)
        self._lock = asyncio.Lock()
        """Held while a unit is under way: who holds it sees no half of one."""
        self._under_way: set[asyncio.Task[bool]] = set()
        self._last: asyncio.Task[bool] | None = None  # of a stage without state: settles the batch begun last
        self.partitions: dict[int, PartitionState | None] = {}
        """Those assigned here; None where the stage keeps no state."""
        self._alignments: dict[int, Alignment] = {}
        self.progress = Progress()
        self._order = Order(stage.name, self._layout, self.progress, site.read)
        self._sure = 0.0
        """When this worker was known to be in its group, in monotonic seconds."""
        self._handing_over = True
        """Whether a rebalance is under way, as is so until the first has ended: no unit begins."""
        self._given_in = 0
        """The rebalance, by Faust's count, in which partitions were assigned last."""
        self._handling = False
        self._assigned = asyncio.Event()
        self._relied_on = False
        self._ended = asyncio.Event()

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the app; partitions come later, by the group's decision."""
        (self._site.data / self.stage.name).mkdir(parents=True, exist_ok=True)
        self._app, self._table = embed(self.stage, self._site, self._body, self._handled)
        self.app.on_partitions_revoked.connect(self._revoked, weak=False)
        self.app.on_partitions_assigned.connect(self._given, weak=False)
        self.app.on_rebalance_complete.connect(self._rebalanced, weak=False)
        self.app.finalize()
        await self.app.start()

    async def stop(self) -> None:
        """Ends the unit under way and leaves the group. With the broker down this hangs: bound it."""
        async with self._lock:
            self._ended.set()
        if self._under_way:
            await asyncio.wait(self._under_way)
        if self._app is not None:
            await self._app.stop()
        self._thread.shutdown(wait=False)

    @property
    def app(self) -> faust.App:
        if self._app is None:
            raise EngineError(f"stage {self.stage.name} was not started")
        return self._app

    # -- assignment ---------------------------------------------------------------------------------------

    async def _revoked(self, *_: Any, **__: Any) -> None:
        """Waits for what is under way: its partition may go to another worker as soon as this returns. What Faust has
        handed out already, and only now would begin, is read again."""
        self._handing_over = True
        try:
            async with asyncio.timeout(HANDOVER):
                async with self._lock:
                    if self._under_way:
                        await asyncio.wait(self._under_way)
        except TimeoutError:
            log.warning("slow_handover", action="go_on", stage=self.stage.name, seconds=HANDOVER)

    async def _given(self, *_: Any, **__: Any) -> None:
        self._given_in = self.app.rebalancing_count

    async def _rebalanced(self, *_: Any, **__: Any) -> None:
        """Takes up the partitions that were assigned, whose tables Faust has restored by now. Where a later rebalance
        has begun, this is the end of one that nobody needs any more, and the tables are not those of its partitions."""
        recovery = cast("Any", self.app.tables).recovery
        if self._given_in != self.app.rebalancing_count or recovery.signal_recovery_start.is_set():
            return
        try:
            async with self._lock:
                await self._take_up()
            self._sure, self._handing_over = 0.0, False
        except Exception as error:  # whatever it is, nothing more may be acknowledged
            self._fail(error)

    async def _take_up(self) -> None:
        main = self._layout.topic(self.stage.inputs[0])
        assigned = {tp.partition for tp in self.app.consumer.assignment() if tp.topic == main}
        for number in self.partitions.keys() - assigned:
            self._lose(number)
        for number in sorted(assigned):
            if number in self.partitions:
                state = self.partitions[number]
                if state is not None and await self._on_thread(state.is_current):
                    continue
                if state is not None:
                    self._lose(number)
            await self._welcome(number)
        if assigned:
            self._assigned.set()
        else:
            self._assigned.clear()
        log.info("partitions", action="assign", stage=self.stage.name, partitions=sorted(assigned))

    def _lose(self, number: int) -> None:
        """Lets go of what another worker has, or had meanwhile. Raises EngineError where that is relied on: what was
        taken from it, as what is owed to channels, lacks what the other wrote."""
        if self._relied_on:
            raise EngineError(
                f"stage {self.stage.name} went on in another process; this one knows too little, and ends"
            )
        self.partitions.pop(number, None)
        self._alignments.pop(number, None)
        self.progress.drop(number)

    async def _welcome(self, number: int) -> None:
        topic = self.stage.inputs[0]
        self._alignments[number] = Alignment(topic, origins(topic, self._layout.partitions))
        state = None
        if self._table is not None:
            state = await self._on_thread(partial(PartitionState, self.stage, self._table, number))
        if not await self._place(number, state.applied if state is not None else {}):
            return
        self.partitions[number] = state
        if state is not None:
            await self._say_again(number, state)

    async def _place(self, number: int, applied: Mapping[str, int]) -> bool:
        """Finds where each input goes on; False when nobody can tell any more."""
        inputs = {(self._layout.topic(topic), number): topic for topic in self.stage.inputs}
        starts = await self._site.starts(self._layout.group(self.stage.name), list(inputs))
        for place, topic in inputs.items():
            if place in starts:
                offset = max(starts[place], applied.get(topic, 0))
                self.progress.begin((topic, number), offset, self._site.clock.time())
        return bool(starts)

    async def _say_again(self, number: int, state: PartitionState) -> None:
        outputs = await self._on_thread(partial(self.stage.recovered, state))
        await self._site.writer.write(outputs, self.stage.name)
        if rows := await self._on_thread(partial(state.changes, ())):
            await self._persist(number, state, (), rows)
        self._site.announce(outputs)

    # -- batches ------------------------------------------------------------------------------------------

    async def _body(self, stream: Any) -> None:
        batches: AsyncIterator[Sequence[Any]] = stream.noack_take(BATCH, within=WITHIN)
        async for events in batches:
            self._handling = True
            try:
                for together in by_partition(events) if self.stage.tables else [events]:
                    while await self._step(together):
                        pass
                for event in events:
                    await stream.ack(event)
                self._handling = False
            except Exception as error:  # whatever it is, nothing more may be committed
                self._fail(error)
            if self._ended.is_set():
                # Neither raise nor return nor ask for more: Faust would go on.
                await asyncio.Event().wait()

    async def _step(self, events: Sequence[Any]) -> bool:
        """Handles what is next in the places of ``events``; whether there was anything."""
        async with self._lock:
            if self._ended.is_set() or not (current := self._current(events)):
                return False
            try:
                arrivals = await self._order.next(current)
            except KafkaError as error:
                log.debug("no_answer", action="ask_again", stage=self.stage.name, error=repr(error))
                await asyncio.sleep(PAUSE)
                return True
            if not arrivals:
                return self._order.waits(current)
            if not self._under_way:  # else older records are being handled still
                for arrival in reversed(arrivals):
                    self.progress.wait(arrival.place, arrival.written)
            if self.stage.tables:
                await self._with_state(current[0].message.partition, arrivals)
                return True
            await self._without_state(arrivals)
        while len(self._under_way) >= IN_FLIGHT:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        return True

    def _current(self, events: Sequence[Any]) -> list[Any]:
        """Events of partitions that are this worker's. Until a rebalance has ended there are none: its end says from
        where the log is handled."""
        if self._handing_over:
            return []
        return [event for event in events if event.message.partition in self.partitions]

    async def _without_state(self, arrivals: Sequence[Arrival]) -> None:
        records = self._aligned(arrivals)
        outputs = await self._on_thread(partial(attempt, self.stage, records, StageState({}), self._site.clock.time))
        acknowledged = await self._site.writer.begin(outputs, self.stage.name)
        self._last = task = asyncio.create_task(self._settle(arrivals, outputs, acknowledged, self._last))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _settle(
        self,
        arrivals: Sequence[Arrival],
        outputs: Sequence[Output],
        acknowledged: Any,
        before: asyncio.Task[bool] | None,
    ) -> bool:
        """Whether a batch is done. It is not until the one ``before`` it is, which other brokers may acknowledge later,
        or never: what is committed would be beyond that."""
        try:
            await acknowledged
            self._site.announce(outputs)
            if before is None or await before:
                self._done(arrivals)
                return True
        except Exception as error:  # whatever it is, nothing more may be committed
            self._fail(error)
        return False

    async def _with_state(self, number: int, arrivals: Sequence[Arrival]) -> None:
        state = cast("PartitionState", self.partitions[number])
        try:
            await self._unit(number, state, self._aligned(arrivals))
        except Lost as lost:
            log.warning("partition_lost", action="drop", stage=self.stage.name, partition=number, why=str(lost))
            self._lose(number)
        else:
            self._done(arrivals)

    def _aligned(self, arrivals: Iterable[Arrival]) -> list[Record]:
        taken = (self._alignments[one.record.partition].take(one.record, one.origin) for one in arrivals)
        return [record for record in taken if record is not None]

    def _done(self, arrivals: Iterable[Arrival]) -> None:
        for arrival in arrivals:
            self.progress.done(arrival.place, arrival.record.offset, arrival.written)

    def _handled(self, tp: TP) -> int | None:
        """Up to where ``tp`` may be committed; None where that is not this worker's to say."""
        if self._handing_over or tp.partition not in self.partitions:
            return None
        return self.progress.position((self._layout.plain(tp.topic), tp.partition)) or None

    def _fail(self, error: BaseException) -> None:
        self._ended.set()
        log.error("stage_ended", action="stop", stage=self.stage.name, exc_info=error)
        self._site.failed(error)

    # -- a unit -------------------------------------------------------------------------------------------

    async def _unit(self, number: int, state: PartitionState, records: Sequence[Record]) -> None:
        """Handles records and makes state and outputs durable; in parts where one would be too large."""
        if not records:
            return
        try:
            outputs, rows = await self._on_thread(partial(self._handle, state, records))
        except Exception as error:  # a record on which the stage raises becomes a dead letter, whatever it raises
            state.forget()
            if len(records) > 1:
                for record in records:
                    await self._unit(number, state, [record])
                return
            outputs = [raised(self.stage, records[0], error, self._site.clock.time())]
            rows = state.changes(records)
        if size_of(rows) > LARGE // 2 and len(records) > 1:
            state.forget()
            half = len(records) // 2
            await self._unit(number, state, records[:half])
            await self._unit(number, state, records[half:])
            return
        # Outputs first, then the state: what is cut off in between is said again, never left unsaid.
        await self._site.writer.write(outputs, self.stage.name)
        await self._persist(number, state, records, rows)
        self._site.announce(outputs)

    def _handle(self, state: PartitionState, records: Sequence[Record]) -> tuple[list[Output], list[Row]]:
        outputs = self.stage.handle(records, state)
        return outputs, state.changes(records)

    async def _persist(
        self, number: int, state: PartitionState, records: Sequence[Record], rows: Sequence[Row]
    ) -> None:
        await self._make_sure(number, records)
        offset = await self._site.writer.append(self.stage.name, number, rows)
        await self._on_thread(partial(state.settle, rows, records, offset))

    async def _make_sure(self, number: int, records: Sequence[Record]) -> None:
        """Raises Lost where the partition is no longer this worker's.

        A process that was frozen learns late that others have its partitions, and could write old state over theirs;
        the broker refuses its commit at once. A commit that it takes renews the session.
        """
        if number not in self.partitions:
            raise Lost("it was assigned to another worker")
        now = time.monotonic()
        if not records or now - self._sure < DOUBT:
            return
        tp = TP(self._layout.topic(records[0].topic), number)
        if not await cast("Any", self.app.consumer)._commit({tp: records[0].offset}):
            raise Lost("its group has gone on without this worker")
        self._sure = now

    # -- what others ask ----------------------------------------------------------------------------------

    async def _on_thread(self, work: Callable[[], T]) -> T:
        result: T = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        return result

    async def inspect(self, question: Callable[[State], T]) -> T:
        """What ``question`` reads in the tables of the lowest partition here, between two units.

        Who asks relies on having all of a stage that has one partition: should another process take it, this one ends.
        """
        self._relied_on = self.stage.inputs[0] in ONE_PARTITION
        while True:
            await self._assigned.wait()
            async with self._lock:
                state = next((one for _, one in sorted(self.partitions.items()) if one is not None), None)
                if state is not None:
                    return await self._on_thread(partial(question, state))

    @property
    def stands_by(self) -> bool:
        """Whether its group gave every partition to others."""
        return not self._handing_over and not self.partitions

    @property
    def between(self) -> asyncio.Lock:
        """Whoever holds it has no unit under way."""
        return self._lock

    @property
    def busy(self) -> bool:
        """Whether a batch is under way."""
        return self._handling or bool(self._under_way)
