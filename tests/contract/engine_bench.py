"""Engines on the bench: one way to drive the one in memory, the embedded one and Kafka, and a child to be killed."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
from kafka import KafkaAdminClient, KafkaConsumer
from kafka.structs import TopicPartition

from monitor import log as logs
from pipelines.clock import SystemClock
from pipelines.streams.base import DOCUMENTS, SERIES, WATERMARK, Engine, Output, Record, Stage, State
from pipelines.streams.embedded import EmbeddedEngine
from pipelines.streams.kafka import Connection, KafkaEngine, Layout
from pipelines.streams.kafka.topics import create
from pipelines.streams.memory import MemoryEngine

PARTITIONS = 3
PATIENCE = 60.0


class Seen(msgspec.Struct, array_like=True):
    """What was made of a key's numbers, and the offset up to which they have been taken."""

    applied: int = -1
    again: int = 0
    """Records that were handed over although the state had them."""
    count: int = 0
    digest: int = 0
    """Of the numbers in their order."""

    def add(self, number: int) -> None:
        self.count += 1
        self.digest = zlib.crc32(str(number).encode(), self.digest)


def summary(numbers: Iterable[int]) -> tuple[int, int]:
    """(count, digest) of numbers that were taken once each, in this order."""
    seen = Seen()
    for number in numbers:
        seen.add(number)
    return seen.count, seen.digest


class Counting:
    """Takes each record's number and says aloud what it has of the key. Raises on poison."""

    name = "counting"
    inputs: tuple[str, ...] = (DOCUMENTS,)
    tables: Mapping[str, type[Any]] = {"seen": Seen}

    def recovered(self, state: State) -> list[Output]:
        return []

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        outputs = []
        for record in batch:
            if record.key == WATERMARK:
                continue
            if record.value == b"poison":
                raise ValueError("poison")
            seen: Seen = state.table("seen").get(record.key) or Seen()
            if record.offset <= seen.applied:
                seen.again += 1
            else:
                seen.applied = record.offset
                seen.add(int(record.value))
            state.table("seen").put(record.key, seen)
            outputs.append(Output(SERIES, record.key, json.dumps([seen.again, seen.count, seen.digest]).encode()))
        return outputs


class Bench(Protocol):
    """An engine under test, with everything that was written to its log."""

    doubles: bool
    """Whether outputs may be written twice."""
    exact: bool
    """Whether a record that is in the state is never handed over again."""

    async def start(self, make: Callable[[], Sequence[Stage]]) -> None: ...
    async def append(self, outputs: Iterable[Output]) -> None: ...
    async def drained(self) -> None: ...
    async def restart(self) -> None:
        """Ends and begins again with fresh stages on what was durable."""
        ...

    async def records(self, topic: str) -> list[Record]:
        """Without watermarks, each partition's in its order."""
        ...

    def prove(self) -> None:
        """Fails where the hostility that is promised did not happen."""
        ...

    async def stop(self) -> None: ...


class MemoryBench:
    """The hostile engine in memory."""

    doubles = True
    exact = False

    def __init__(self, seed: int = 3) -> None:
        self._seed = seed

    async def start(self, make: Callable[[], Sequence[Stage]]) -> None:
        self._make = make
        self.engine = MemoryEngine(make(), hostile=True, seed=self._seed, partitions=PARTITIONS)

    async def append(self, outputs: Iterable[Output]) -> None:
        for number, output in enumerate(outputs):
            self.engine.append([output])
            if number % 5 == 0:
                self.engine.run()

    async def drained(self) -> None:
        self.engine.run()

    async def restart(self) -> None:
        self.engine.restart(self._make())

    async def records(self, topic: str) -> list[Record]:
        return self.engine.records(topic)

    def prove(self) -> None:
        assert self.engine.redelivered > 5, "no batch was handled twice: the bench proved nothing"

    async def stop(self) -> None: ...


class _EngineBench:
    doubles = False
    exact = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine: Any = None

    def build(self) -> Any:
        raise NotImplementedError

    async def start(self, make: Callable[[], Sequence[Stage]]) -> None:
        self._make = make
        self.engine = self.build()
        await self.engine.start(make())

    async def append(self, outputs: Iterable[Output]) -> None:
        await self.engine.append(outputs)

    async def drained(self) -> None:
        await asyncio.wait_for(self.engine.drained(), PATIENCE)

    async def restart(self) -> None:
        await self.stop()
        await self.start(self._make)

    async def records(self, topic: str) -> list[Record]:
        reader = self.engine.reader()
        try:
            return await asyncio.to_thread(_everything, reader, topic)
        finally:
            reader.close()

    def prove(self) -> None: ...

    async def stop(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            await engine.stop(20.0)


class EmbeddedBench(_EngineBench):
    """The engine on SQLite, with small batches."""

    def build(self) -> EmbeddedEngine:
        return EmbeddedEngine(self.folder / "store.db", clock=SystemClock(), batch=16)


class KafkaBench(_EngineBench):
    """The engine on a real broker at ``address``, with topics of its own."""

    doubles = True

    def __init__(self, folder: Path, address: str, stages: Sequence[Stage], prefix: str | None = None) -> None:
        super().__init__(folder)
        self.address = address
        self.prefix = prefix or f"t{uuid.uuid4().hex[:10]}."
        if prefix is None:
            make_topics(address, self.layout, stages)

    @property
    def layout(self) -> Layout:
        return Layout(topic_prefix=self.prefix, group_prefix=self.prefix, partitions=PARTITIONS, replication=1)

    def build(self) -> KafkaEngine:
        connection = Connection(brokers=tuple(self.address.split(",")))
        return KafkaEngine(connection, self.layout, self.folder / "kafka", clock=SystemClock())

    async def records(self, topic: str) -> list[Record]:
        return await asyncio.to_thread(read_all, self.address, self.layout, topic)

    def lose_disk(self) -> None:
        """What was kept beside the brokers is gone."""
        shutil.rmtree(self.folder / "kafka")


def read_all(address: str, layout: Layout, topic: str) -> list[Record]:
    """Everything in a topic up to where it ended when it was asked, without watermarks."""
    consumer = KafkaConsumer(bootstrap_servers=address.split(","), auto_offset_reset="earliest")
    try:
        places = [TopicPartition(layout.topic(topic), number) for number in range(layout.count(topic))]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        found = []
        while any(consumer.position(place) < end for place, end in ends.items()):
            for place, batch in consumer.poll(timeout_ms=1_000).items():
                found.extend(Record(topic, one.key.decode(), one.value, one.offset, place.partition) for one in batch)
        return [record for record in found if record.key != WATERMARK]
    finally:
        consumer.close()


def make_topics(address: str, layout: Layout, stages: Sequence[Stage]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=address)
    try:
        admin.wait_for_topics(create(admin, layout, stages))
    finally:
        admin.close()


def _everything(reader: Any, topic: str) -> list[Record]:
    found: list[Record] = []
    position, empty = "", 0
    while empty < 2:
        records, position = reader.read([topic], position, 5_000)
        empty = 0 if records else empty + 1
        found.extend(record for record in records if record.key != WATERMARK)
    return found


# -- a child, to be killed --------------------------------------------------------------------------------


async def child(engine: Engine) -> None:
    """Appends what comes on standard input, a JSON list of (key, number) a line, and says on standard output when that
    is durable. Its end is a kill, or the end of the input, after which it drains."""
    await engine.start([Counting()])
    watching = asyncio.create_task(_end_if_it_fails(engine))
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        pairs = json.loads(line)
        await engine.append([Output(DOCUMENTS, key, str(number).encode()) for key, number in pairs])
        print(json.dumps(pairs), flush=True)
    await asyncio.wait_for(engine.drained(), PATIENCE)
    watching.cancel()
    await engine.stop(20.0)


async def _end_if_it_fails(engine: Engine) -> None:
    """As the daemon does."""
    while engine.fatal is None:
        await asyncio.sleep(0.2)
    os._exit(1)


def command(kind: str, folder: Path, address: str = "", prefix: str = "") -> list[str]:
    """The command line of a child."""
    return [sys.executable, "-m", "tests.contract.engine_bench", kind, str(folder), address, prefix]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("kind", "folder", "address", "prefix"):
        parser.add_argument(name)
    options = parser.parse_args()
    logs.configure("json")  # standard output is for what is acknowledged
    folder = Path(options.folder)
    if options.kind == "embedded":
        bench: _EngineBench = EmbeddedBench(folder)
    else:
        bench = KafkaBench(folder, options.address, [Counting()], prefix=options.prefix)
    asyncio.run(_run(bench))


async def _run(bench: _EngineBench) -> None:
    await child(bench.build())


def counting() -> list[Stage]:
    return [Counting()]


def feed(start: int, stop: int) -> list[Output]:
    return [Output(DOCUMENTS, f"k{number % 7}", str(number).encode()) for number in range(start, stop)]


def expected(count: int) -> dict[str, tuple[int, int]]:
    return {f"k{key}": summary(n for n in range(count) if n % 7 == key) for key in range(min(7, count))}


def last(records: Sequence[Record]) -> dict[str, tuple[int, int]]:
    """By key, what was said of it last."""
    return {record.key: tuple(json.loads(record.value)[1:]) for record in records}


def handed_again(records: Sequence[Record]) -> int:
    return sum({record.key: json.loads(record.value)[0] for record in records}.values())


class Child:
    """A process that appends what it is told, and can be killed."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        with log.open("ab") as err:
            self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)
        self._log = log
        assert self.read() == b"ready\n", log.read_text()[-2000:]

    def read(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def append(self, pairs: list[tuple[str, int]]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(pairs).encode() + b"\n")
        self.process.stdin.flush()

    def acknowledged(self, batch: list[tuple[str, int]]) -> set[int]:
        """The numbers that were acknowledged up to those of ``batch``, for which it waits."""
        found: set[int] = set()
        while batch[-1][1] not in found:
            found.update(number for _, number in json.loads(self.read()))
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._close()

    def end(self) -> None:
        """Lets it drain and end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(2 * PATIENCE) == 0, self._log.read_text()[-3000:]
        self._close()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def numbers() -> Iterator[list[tuple[str, int]]]:
    place = 0
    while True:
        yield [(f"k{number % 7}", number) for number in range(place, place + 20)]
        place += 20


if __name__ == "__main__":
    main()
