"""Faust leaves records out, hands them out twice and out of turn, as it does around rebalances; here it is made to, all
the time. The stages see the log, and nothing is committed that is not handled."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import faust
import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaTimeoutError

from pipelines.streams.base import DOCUMENTS, SERIES, WATERMARK, Output, Record, Stage, State
from tests.contract.engine_bench import Counting, KafkaBench, summary
from tests.kafka_load import Count

KEYS = 7
NUMBERS = 400
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
            what = self._rng.choice(["nothing", "left out", "twice", "turned around", "some"])
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
    stage: Callable[[], Stage], tampering: Tampering, kafka: str, tmp_path: Path, counted: Count
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
            if stage is Counting:
                assert said[key][-1].decode() == str([0, *summary(numbers)])
            else:
                assert [int(value) for value in said[key]] == numbers
        counted("Faust hands out", **{what.replace(" ", "_"): times for what, times in tampering.did.items()})
        assert min(tampering.did.values()) > 5 and len(tampering.did) == 5
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
        asked = asyncio.Event()

        async def unreadable(*_: Any) -> Any:
            asked.set()
            raise KafkaTimeoutError("no answer")

        monkeypatch.setattr(bench.engine._workers["passing"]._order, "_read", unreadable)
        await bench.append([Output(DOCUMENTS, ASIDE, b"6")])
        await asyncio.wait_for(asked.wait(), 10.0)
        await asyncio.sleep(2.5)  # Faust commits each second
        [last] = [record for record in await bench.records(DOCUMENTS) if record.value == b"5"]
        assert await asyncio.to_thread(_committed, kafka, bench, last.partition) == last.offset
    finally:
        await bench.stop()


def _committed(kafka: str, bench: KafkaBench, partition: int) -> int:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        group = bench.layout.group("passing")
        found = admin.list_group_offsets({group: None})[group]
        return next(int(at.offset) for place, at in found.items() if place.partition == partition)
    finally:
        admin.close()
