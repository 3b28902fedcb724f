"""Faust leaves records out, hands them out twice and out of turn, as it does around rebalances; here it is made to, all
the time, and brokers fail or are slow when the log is read instead. The stages see the log, and nothing is committed
that is not handled."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import faust
import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaTimeoutError

from pipelines.streams.base import DOCUMENTS, SERIES, WATERMARK, Output, Record, Stage, State
from pipelines.streams.kafka import KafkaEngine
from pipelines.streams.kafka.probe import Place, Stretch
from pipelines.streams.kafka.writer import WriteFailed
from tests.contract.engine_bench import Counting, KafkaBench, make_topics, summary
from tests.kafka_load import Count

KEYS = 7
NUMBERS = 400
WHAT = ("nothing", "left out", "twice", "some", "turned around")
ASIDE = "k0"
"""The key whose one record, the last, is left out to the end."""


class Passing:
    """Says each number again; keeps nothing."""

    name = "passing"
    inputs: tuple[str, ...] = (DOCUMENTS,)
    tables: Mapping[str, type[Any]] = {}

    def recovered(self, state: State) -> list[Output]:
        return []

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        return [Output(SERIES, record.key, record.value) for record in batch if record.key != WATERMARK]


class Tampering:
    """Between Faust and the stage."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._real = faust.Stream.noack_take
        self.did: Counter[str] = Counter()
        self.aside: bytes | None = None
        """The record that is left out whenever it comes."""

    async def take(self, stream: Any, many: int, within: float) -> AsyncIterator[Sequence[Any]]:
        async for events in self._real(stream, many, within):
            await asyncio.sleep(0)
            kept = list(events)
            what = WHAT[self.did.total() % len(WHAT)]
            if what == "left out":
                kept.remove(self._rng.choice(kept))
            elif what == "twice":
                kept += kept
            elif what == "turned around":
                kept.reverse()
            elif what == "some":
                kept = self._rng.sample(kept, len(kept) // 2)
            self.did[what] += 1
            yield [event for event in kept if event.message.value != self.aside]


@pytest.fixture
def tampering(monkeypatch: pytest.MonkeyPatch) -> Tampering:
    between = Tampering(7)

    def take(stream: Any, many: int, within: float) -> AsyncIterator[Sequence[Any]]:
        return between.take(stream, many, within)

    monkeypatch.setattr(faust.Stream, "noack_take", take)
    return between


@pytest.fixture
def unreliable(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Every fifth read of the log fails, every other fifth brings nothing in its time."""
    did: Counter[str] = Counter()
    read = KafkaEngine._read

    async def sometimes(engine: KafkaEngine, place: Place, begin: int, end: int) -> Stretch:
        did["reads"] += 1
        if did["reads"] % 5 == 0:
            did["failed"] += 1
            raise KafkaTimeoutError("no answer")
        if did["reads"] % 5 == 3:
            did["empty"] += 1
            return Stretch([], begin)
        return await read(engine, place, begin, end)

    monkeypatch.setattr(KafkaEngine, "_read", sometimes)
    monkeypatch.setattr("pipelines.streams.kafka.worker.PAUSE", 0.01)
    return did


async def _append(bench: KafkaBench) -> None:
    for number in range(0, NUMBERS, 4):
        await bench.append(
            [Output(DOCUMENTS, f"k{one % KEYS}", str(one).encode()) for one in range(number, number + 4)]
        )
        await asyncio.sleep(0.01)


async def _logged(bench: KafkaBench) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in await bench.records(DOCUMENTS):
        found.setdefault(record.key, []).append(int(record.value))
    return found


@pytest.mark.parametrize("stage", [Counting, Passing])
async def test_stages_see_the_log_whatever_faust_hands_out(
    stage: Callable[[], Stage],
    tampering: Tampering,
    unreliable: Counter[str],
    kafka: str,
    tmp_path: Path,
    counted: Count,
) -> None:
    bench = KafkaBench(tmp_path, kafka, [stage()])
    await bench.start(lambda: [stage()])
    try:
        await _append(bench)
        await _complete(bench)
        await bench.restart()
        await _append(bench)
        await _complete(bench)
        said: dict[str, list[bytes]] = {}
        for record in await bench.records(SERIES):
            said.setdefault(record.key, []).append(record.value)
        for key, numbers in (await _logged(bench)).items():
            handled = json.loads(said[key][-1])[1] if stage is Counting else len(said[key])
            assert handled >= 2 * (NUMBERS // KEYS)
            if stage is Counting:  # the last to be appended, after which nothing is waited for, may be missing
                assert json.loads(said[key][-1]) == [0, *summary(numbers[:handled])]
            else:
                assert [int(value) for value in said[key]] == numbers[:handled]
        counted("Faust hands out", **{what.replace(" ", "_"): times for what, times in tampering.did.items()})
        assert min(tampering.did.values()) > 2 and len(tampering.did) == len(WHAT)
        counted("reads of the log", **unreliable)
    finally:
        await bench.stop()


async def _complete(bench: KafkaBench) -> None:
    """Appends until what was left out last has been noticed, which the next record of each partition does."""
    draining = asyncio.create_task(bench.drained())
    while not draining.done():
        await bench.append([Output(DOCUMENTS, f"k{key}", b"1") for key in range(KEYS)])
        await asyncio.wait([draining], timeout=0.2)
    await draining


async def test_nothing_is_committed_beyond_a_record_that_was_left_out(
    tampering: Tampering, kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = KafkaBench(tmp_path, kafka, [Passing()])
    await bench.start(lambda: [Passing()])
    try:
        await bench.append([Output(DOCUMENTS, ASIDE, str(one).encode()) for one in range(5)])
        await bench.drained()
        tampering.aside = b"5"
        await bench.append([Output(DOCUMENTS, ASIDE, b"5")])
        await asyncio.sleep(0.5)
        asked, slow = asyncio.Event(), asyncio.Event()
        order = bench.engine._workers["passing"]._order
        read = order._read

        async def unreadable(place: Place, begin: int, end: int) -> Stretch:
            if slow.is_set():
                monkeypatch.setattr(order, "_read", read)
                return Stretch([], begin)
            asked.set()
            raise KafkaTimeoutError("no answer")

        monkeypatch.setattr(order, "_read", unreadable)
        await bench.append([Output(DOCUMENTS, ASIDE, b"6")])
        await asyncio.wait_for(asked.wait(), 10.0)
        await asyncio.sleep(2.5)  # Faust commits each second
        [last] = [record for record in await bench.records(DOCUMENTS) if record.value == b"5"]
        assert await asyncio.to_thread(_committed, kafka, bench, last.partition) == last.offset
        slow.set()
        await asyncio.wait_for(bench.drained(), 20.0)  # no other record has to come for it
    finally:
        await bench.stop()


async def test_nothing_is_committed_beyond_a_batch_that_was_not_acknowledged(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later of two batches is, by the leader of another partition; the earlier one fails in the end."""
    bench = KafkaBench(tmp_path, kafka, [Passing()])
    await bench.start(lambda: [Passing()])
    try:
        begin, fails, begun = bench.engine._writer.begin, asyncio.Event(), asyncio.Queue[None]()

        async def failing(outputs: Sequence[Output], stage: str) -> Any:
            acknowledged = await begin(outputs, stage)

            async def late() -> None:
                await acknowledged
                await fails.wait()
                raise WriteFailed("not acknowledged")

            begun.put_nowait(None)
            return late() if begun.qsize() == 1 else acknowledged

        monkeypatch.setattr(bench.engine._writer, "begin", failing)
        for number in range(2):
            await bench.append([Output(DOCUMENTS, ASIDE, str(number).encode())])
            while begun.qsize() <= number:
                await asyncio.sleep(0.02)
        logged = [await bench.records(topic) for topic in (DOCUMENTS, SERIES)]
        await asyncio.sleep(2.5)  # Faust commits each second
        fails.set()
        while bench.engine.fatal is None:
            await asyncio.sleep(0.02)
    finally:
        await bench.stop()
    assert [[record.value for record in records] for records in logged] == [[b"0", b"1"]] * 2
    assert await asyncio.to_thread(_committed, kafka, bench, logged[0][0].partition) == 0


async def test_a_topic_that_was_made_anew_under_a_stage_is_told(kafka: str, tmp_path: Path) -> None:
    """What is written there has offsets that look handled: else it would be passed over in silence."""
    bench = KafkaBench(tmp_path, kafka, [Counting()])
    await bench.start(lambda: [Counting()])
    try:
        await bench.append([Output(DOCUMENTS, f"k{one % KEYS}", str(one).encode()) for one in range(60)])
        await bench.drained()
        await bench.stop()
        await asyncio.to_thread(_make_anew, kafka, bench)
        await bench.start(lambda: [Counting()])
        async with asyncio.timeout(40.0):
            while bench.engine.fatal is None:
                await asyncio.sleep(0.1)
        assert bench.layout.topic(DOCUMENTS) in str(bench.engine.fatal)
        assert "made anew" in str(bench.engine.fatal)
    finally:
        await bench.stop()


def _make_anew(kafka: str, bench: KafkaBench) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.delete_topics([bench.layout.topic(DOCUMENTS)])
        while bench.layout.topic(DOCUMENTS) in admin.list_topics():
            time.sleep(0.1)
    finally:
        admin.close()
    make_topics(kafka, bench.layout, [Counting()])


def _committed(kafka: str, bench: KafkaBench, partition: int) -> int:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        group = bench.layout.group("passing")
        found = admin.list_group_offsets({group: None})[group]
        return next((int(at.offset) for place, at in found.items() if place.partition == partition), 0)
    finally:
        admin.close()
