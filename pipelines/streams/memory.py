"""An engine in memory, hostile on request: what a stage must bear from any engine, made likely.

With ``hostile`` every topic has several partitions, batches have random sizes, a batch is now and then handled
twice (its outputs kept and its offset not, its state kept or lost, as after a crash between any two of them), and every
value goes through bytes between two batches. Without it, it is the engine of ``replay``: one partition, in order,
nothing twice.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from pipelines.streams.alignment import Alignment
from pipelines.streams.base import WATERMARK, Output, Record, Stage
from pipelines.streams.layout import BROADCAST, ONE_PARTITION, origins
from pipelines.streams.layout import partitions as partitions_of

V = TypeVar("V")


class MemoryTable(Generic[V]):
    """A table whose values are bytes between two batches."""

    def __init__(self, kind: type[V]) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._rows: dict[str, bytes] = {}
        self._live: dict[str, V] = {}
        self._before: dict[str, bytes | None] = {}
        """The bytes of what changed since the last freeze."""

    def get(self, key: str) -> V | None:
        if key not in self._live:
            if key not in self._rows:
                return None
            self._live[key] = self._decode(self._rows[key])
        return self._live[key]

    def put(self, key: str, value: V) -> None:
        self._before.setdefault(key, self._rows.get(key))
        self._live[key] = value
        self._rows[key] = b""  # its bytes are made by freeze

    def delete(self, key: str) -> None:
        self._before.setdefault(key, self._rows.get(key))
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
        self._before.clear()
        if forget:
            self._live.clear()

    def lose(self) -> None:
        """Undoes what was changed since the last ``freeze``."""
        for key, row in self._before.items():
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
        self._before.clear()
        self._live.clear()


class MemoryState:
    def __init__(self, stage: Stage) -> None:
        self.generation = 0
        self.tables: dict[str, MemoryTable[Any]] = {name: MemoryTable(kind) for name, kind in stage.tables.items()}

    def table(self, name: str) -> MemoryTable[Any]:
        return self.tables[name]


class _Task:
    """One stage in one partition."""

    def __init__(self, stage: Stage, partition: int, partitions: int) -> None:
        self.stage = stage
        self.partition = partition
        self.state = MemoryState(stage)
        self.position = dict.fromkeys(stage.inputs, 0)
        self.alignment = Alignment(stage.inputs[0], origins(stage.inputs[0], partitions))


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
        """Topic to its partitions, each a list of (record, the partition that a watermark speaks for)."""
        self._next = 0
        self.redelivered = 0
        """Batches that were handled twice: a test of redelivery asks that there were some."""
        self._tasks = [
            _Task(stage, partition, self._partitions)
            for stage in stages
            for partition in range(partitions_of(stage.inputs[0], self._partitions))
        ]
        for task in self._tasks:
            self._write(task.stage.recovered(task.state))

    def append(self, outputs: Iterable[Output]) -> None:
        self._write(outputs)

    def restart(self, stages: Sequence[Stage]) -> None:
        """Goes on with fresh stages of the same names, as after the end of a process."""
        fresh = {stage.name: stage for stage in stages}
        for task in self._tasks:
            task.stage = fresh[task.stage.name]
            task.alignment = Alignment(task.stage.inputs[0], origins(task.stage.inputs[0], self._partitions))
            self._write(task.stage.recovered(task.state))
            self._settle(task, lost=False)

    def records(self, *topics: str, marks: bool = False) -> list[Record]:
        """Everything written to ``topics`` so far, in the order of writing; watermarks only with ``marks``."""
        everything = [record for topic in topics for partition in self._logs(topic) for record, _ in partition]
        return sorted((r for r in everything if marks or r.key != WATERMARK), key=lambda record: record.offset)

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
            count = 1 if topic in BROADCAST else partitions_of(topic, self._partitions)
            self.topics[topic] = [[] for _ in range(count)]
        return self.topics[topic]

    def _reads(self, task: _Task, topic: str, number: int) -> bool:
        return topic in BROADCAST or topic in ONE_PARTITION or number == task.partition

    def _write(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            logs = self._logs(output.topic)
            if output.key == WATERMARK:
                targets = list(range(len(logs)))
            else:
                targets = [zlib.crc32((output.together or output.key).encode()) % len(logs)]
            for target in targets:
                self._next += 1
                logs[target].append((Record(output.topic, output.key, output.value, self._next, target), output.origin))

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
            aligned = task.alignment.take(record, origin)
            if aligned is not None:
                batch.append(aligned)
        if batch:
            self._handle(task, batch)
        moved = position != task.position
        task.position = position
        return moved

    def _handle(self, task: _Task, batch: Sequence[Record]) -> None:
        again = self._hostile and self._rng.random() < 0.15
        if again:
            self._write(task.stage.handle(batch, task.state))
            self._settle(task, lost=self._rng.random() < 0.5)
            self.redelivered += 1
        self._write(task.stage.handle(batch, task.state))
        self._settle(task, lost=False)

    def _settle(self, task: _Task, *, lost: bool) -> None:
        for table in task.state.tables.values():
            if lost:
                table.lose()
            else:
                table.freeze(forget=self._hostile)
        task.state.generation += self._hostile
