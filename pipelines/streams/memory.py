"""An engine in memory, hostile on request: what a stage must bear from any engine, made likely.

With ``hostile`` every topic has several partitions, batches have random sizes, a batch is now and then handled
twice (its state and outputs kept, its offset not, as after a crash between them), and every value goes through
bytes between two batches. Without it, it is the engine of ``replay``: one partition, in order, nothing twice.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from pipelines.documents import Watermark, decode, encode, epoch, iso
from pipelines.streams.base import WATERMARK, Output, Record, Stage

V = TypeVar("V")

ONE_PARTITION = frozenset(
    {"candidates", "commands", "deliveries", "alerts", "outbox", "dead-letters", "profiles", "sources", "series"}
)
"""Topics of low volume that have one partition on every engine."""

BROADCAST = frozenset({"profiles", "sources"})
"""Topics that every partition of a stage reads."""


class MemoryTable(Generic[V]):
    """A table whose values are bytes between two batches."""

    def __init__(self, kind: type[V]) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._rows: dict[str, bytes] = {}
        self._live: dict[str, V] = {}

    def get(self, key: str) -> V | None:
        if key not in self._live:
            if key not in self._rows:
                return None
            self._live[key] = self._decode(self._rows[key])
        return self._live[key]

    def put(self, key: str, value: V) -> None:
        self._live[key] = value
        self._rows[key] = b""  # its bytes are made by freeze

    def delete(self, key: str) -> None:
        self._live.pop(key, None)
        self._rows.pop(key, None)

    def items(self, below: str | None = None, limit: int | None = None) -> Iterator[tuple[str, V]]:
        for key in [key for key in sorted(self._rows) if below is None or key < below][:limit]:
            value = self.get(key)
            if value is not None:
                yield key, value

    def freeze(self, *, forget: bool) -> None:
        """Turns what was put into bytes; with ``forget`` nothing decoded is kept."""
        for key, value in self._live.items():
            if self._rows.get(key) == b"":
                self._rows[key] = self._encode(value)
        if forget:
            self._live.clear()


class MemoryState:
    def __init__(self, stage: Stage) -> None:
        self.generation = 0
        self.tables: dict[str, MemoryTable[Any]] = {name: MemoryTable(kind) for name, kind in stage.tables.items()}

    def table(self, name: str) -> MemoryTable[Any]:
        return self.tables[name]


class _Task:
    """One stage in one partition."""

    def __init__(self, stage: Stage, partition: int) -> None:
        self.stage = stage
        self.partition = partition
        self.state = MemoryState(stage)
        self.position = dict.fromkeys(stage.inputs, 0)
        self.marks: dict[tuple[str, int], float] = {}
        self.passed = float("-inf")


class MemoryEngine:
    """Runs stages until nothing waits; the caller's thread does the work."""

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        hostile: bool = False,
        seed: int = 0,
        partitions: int = 3,
        batch: int = 256,
    ) -> None:
        self._rng = random.Random(seed)  # noqa: S311 (chooses faults, no secrets)
        self._hostile = hostile
        self._partitions = partitions if hostile else 1
        self._batch = batch
        self.topics: dict[str, list[list[tuple[Record, int]]]] = {}
        self._next = 0
        self.redelivered = 0
        """Batches that were handled twice: a test of redelivery asks that there were some."""
        self._tasks = [
            _Task(stage, partition)
            for stage in stages
            for partition in range(1 if stage.inputs[0] in ONE_PARTITION else self._partitions)
        ]
        for task in self._tasks:
            self._write(task.stage.recovered(task.state), 0)

    def append(self, outputs: Iterable[Output]) -> None:
        self._write(outputs, 0)

    def records(self, topic: str) -> list[Record]:
        """Everything written to ``topic`` so far, in the order of writing, without watermarks."""
        everything = [record for partition in self._logs(topic) for record, _ in partition]
        return sorted((r for r in everything if r.key != WATERMARK), key=lambda record: record.offset)

    def state(self, stage: str, partition: int = 0) -> MemoryState:
        return next(t.state for t in self._tasks if t.stage.name == stage and t.partition == partition)

    def forget(self, topic: str) -> None:
        """Drops what every task is past: bounds the memory of a long replay."""
        for number, partition in enumerate(self._logs(topic)):
            readers = [t.position[topic] for t in self._tasks if topic in t.position and self._reads(t, topic, number)]
            if not readers or min(readers) >= len(partition):
                partition.clear()
                for task in self._tasks:
                    if topic in task.position and self._reads(task, topic, number):
                        task.position[topic] = 0

    def run(self) -> None:
        """Works until no task has anything waiting."""
        busy = True
        while busy:
            busy = False
            tasks = list(self._tasks)
            if self._hostile:
                self._rng.shuffle(tasks)
            for task in tasks:
                busy = self._step(task) or busy

    def _logs(self, topic: str) -> list[list[tuple[Record, int]]]:
        if topic not in self.topics:
            count = 1 if topic in ONE_PARTITION else self._partitions
            self.topics[topic] = [[] for _ in range(count)]
        return self.topics[topic]

    def _reads(self, task: _Task, topic: str, number: int) -> bool:
        return topic in BROADCAST or topic in ONE_PARTITION or number == task.partition

    def _write(self, outputs: Iterable[Output], origin: int) -> None:
        for output in outputs:
            logs = self._logs(output.topic)
            if output.key == WATERMARK:
                targets = list(range(len(logs)))
            else:
                targets = [zlib.crc32(output.key.encode()) % len(logs)]
            for target in targets:
                self._next += 1
                logs[target].append((Record(output.topic, output.key, output.value, self._next, target), origin))

    def _step(self, task: _Task) -> bool:
        batch: list[Record] = []
        position = dict(task.position)
        size = self._rng.randint(1, 7) if self._hostile else self._batch
        while len(batch) < size:
            heads = []
            for topic in task.stage.inputs:
                log = self._logs(topic)[task.partition if len(self._logs(topic)) > 1 else 0]
                if position[topic] < len(log):
                    heads.append((log[position[topic]][0].offset, topic, log[position[topic]]))
            if not heads:
                break
            _, topic, (record, origin) = min(heads)
            position[topic] += 1
            aligned = self._align(task, record, origin)
            if aligned is not None:
                batch.append(aligned)
        if batch:
            again = self._hostile and self._rng.random() < 0.15
            for _ in range(2 if again else 1):
                self._write(task.stage.handle(batch, task.state), task.partition)
                for table in task.state.tables.values():
                    table.freeze(forget=self._hostile)
                task.state.generation += self._hostile
            self.redelivered += again
        moved = position != task.position
        task.position = position
        return moved

    def _align(self, task: _Task, record: Record, origin: int) -> Record | None:
        """A watermark speaks for the partition it came from; a reader may believe the least of them."""
        if record.key != WATERMARK:
            return record
        task.marks[record.topic, origin] = _seconds(record)
        if record.topic != task.stage.inputs[0]:
            return None
        origins = self._partitions if record.topic == "evidence" else 1
        marks = [at for (topic, _), at in task.marks.items() if topic == record.topic]
        if len(marks) < origins or min(marks) <= task.passed:
            return None
        task.passed = min(marks)
        return record._replace(value=_mark(task.passed))


def _seconds(record: Record) -> float:
    return epoch(decode(Watermark, record.value).at)


def _mark(at: float) -> bytes:
    return encode(Watermark(at=iso(at)))
