"""Numbers appended without end and workers that count them, on a real Kafka: what fault tests run in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pipelines.streams.base import DOCUMENTS, SERIES, Output, Record, Unwritable
from pipelines.streams.kafka import KafkaEngine
from tests.contract.engine_bench import KafkaBench, command, summary

Count = Callable[..., None]
"""The fixture ``counted``."""

PATIENCE = 90.0
CATCH_UP = 180.0
"""Seconds until the state is the log: the watchdog ends a worker that stands still after 60."""
OUTAGE = float(os.environ.get("TAPEWATCH_TEST_OUTAGE", "15"))
"""Seconds without a broker."""


class Workers:
    """Processes that count, each with a folder of its own."""

    def __init__(self, bench: KafkaBench, folder: Path) -> None:
        self._bench, self._folder = bench, folder
        self.running: list[subprocess.Popen[bytes]] = []
        self.started = 0
        self.ended = 0
        """Those that ended by themselves, as the daemon does where only a new start helps."""

    async def join(self) -> subprocess.Popen[bytes]:
        """Starts one and waits until it has taken part."""
        folder = self._folder / f"worker{self.started}"
        folder.mkdir(exist_ok=True)
        self.started += 1
        arguments = command("kafka", folder, self._bench.address, self._bench.prefix)
        with (folder / "log").open("ab") as err:
            worker = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)
        self.running.append(worker)
        assert worker.stdout is not None
        ready = await asyncio.wait_for(asyncio.to_thread(worker.stdout.readline), PATIENCE)
        assert ready == b"ready\n", (folder / "log").read_text()[-2000:]
        return worker

    async def leave(self, worker: subprocess.Popen[bytes]) -> int:
        """Lets one end by itself; its exit code."""
        self.running.remove(worker)
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.close()
        code = await asyncio.to_thread(worker.wait, PATIENCE)
        worker.stdout.close()
        return code

    async def replace_ended(self) -> None:
        """What a supervisor does."""
        for worker in [one for one in self.running if one.poll() is not None]:
            self.running.remove(worker)
            with worker:
                self.ended += 1
            await self.join()

    def kill(self) -> None:
        for worker in self.running:
            worker.send_signal(signal.SIGCONT)
            worker.kill()
            with worker:  # closes its pipes and waits
                pass
        self.running.clear()


class Load:
    """Numbers appended one batch after the other, by an engine without stages, as ingest does it."""

    def __init__(self, engine: KafkaEngine, pause: float = 0.02) -> None:
        self._engine, self._pause = engine, pause
        self.acknowledged: list[int] = []
        self.slowest = 0.0
        self.refused = 0
        self.ended = asyncio.Event()

    async def run(self) -> None:
        number = 0
        while not self.ended.is_set():
            batch = [Output(DOCUMENTS, f"k{one % 7}", str(one).encode()) for one in range(number, number + 10)]
            begun = time.monotonic()
            try:
                self._engine.admit()
            except Unwritable:
                self.refused += 1
            await self._engine.append(batch)
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.acknowledged.extend(range(number, number + 10))
            number += 10
            await asyncio.sleep(self._pause)


@asynccontextmanager
async def under_load(
    bench: KafkaBench, folder: Path, counted: Count, patience: float = CATCH_UP
) -> AsyncIterator[tuple[Load, Workers]]:
    """Load and workers; at the end the load stops, and the state is compared with the log, which it may take
    ``patience`` seconds to reach."""
    engine = bench.engine = bench.build()
    await engine.start([])
    load, workers = Load(engine), Workers(bench, folder)
    running = asyncio.create_task(load.run())
    try:
        yield load, workers
        load.ended.set()
        await asyncio.wait_for(running, PATIENCE)
        if not workers.running:
            await workers.join()
        await compare(bench, load, workers, counted, patience)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        workers.kill()
        await bench.stop()


async def compare(bench: KafkaBench, load: Load, workers: Workers, counted: Count, patience: float = CATCH_UP) -> None:
    """Waits until the last lists say what the log has, and looks at how they came about."""
    log = by_key(await bench.records(DOCUMENTS))
    assert set(load.acknowledged) <= {number for numbers in log.values() for number in numbers}
    wanted = {key: list(summary(numbers)) for key, numbers in log.items()}
    deadline = time.monotonic() + patience
    while True:
        said = await bench.records(SERIES)
        last = {record.key: json.loads(record.value) for record in said}
        if {key: what for key, (_, *what) in last.items()} == wanted:
            break
        assert time.monotonic() < deadline, f"said {last}, logged {wanted}"
        await workers.replace_ended()
        await asyncio.sleep(0.5)
    count = sum(map(len, log.values()))
    ended = {"workers_ended": workers.ended} if workers.ended else {}
    counted("state is the log", acknowledged=len(load.acknowledged), logged=count, said=len(said), **ended)
    assert sum(again for again, *_ in last.values()) == 0, "a record was handed over although the state had it"


def by_key(records: Sequence[Record]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in records:
        found.setdefault(record.key, []).append(int(record.value))
    return found


async def grow(load: Load, by: int) -> None:
    """Waits until more was acknowledged."""
    wanted = len(load.acknowledged) + by
    async with asyncio.timeout(PATIENCE):
        while len(load.acknowledged) < wanted:
            await asyncio.sleep(0.05)
