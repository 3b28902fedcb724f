"""Records of other producers: larger than a dead letter may be, since they came compressed; or within transactions,
whose marks take offsets and are nothing that a watchdog should wait for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from kafka import KafkaProducer

from models.classifier import FakeClassifier
from pipelines.clock import SystemClock
from pipelines.documents import Document, encode, iso
from pipelines.entities import EntityIndex
from pipelines.letters import KEPT
from pipelines.score import Score
from pipelines.streams.base import DEAD_LETTERS, DOCUMENTS, SCORES, Output
from pipelines.streams.kafka import watchdog
from pipelines.watch import Watch
from tests.contract.engine_bench import PATIENCE, KafkaBench

LARGE = 12 << 20


def _score() -> Score:
    model = FakeClassifier()
    return Score(model, EntityIndex([]), Watch([], model.topics), clock=SystemClock())


def _document(title: str) -> bytes:
    when = iso(SystemClock().time())
    return encode(
        Document(
            id=title, source="wire", class_="news", title=title, language="en", published=when, fetched=when, at=when
        )
    )


def _send(bench: KafkaBench, *records: tuple[str, bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=bench.address, compression_type="gzip", max_request_size=2 * LARGE)
    try:
        for key, value in records:
            producer.send(bench.layout.topic(DOCUMENTS), key=key.encode(), value=value).get(timeout=60)
    finally:
        producer.close()


async def test_a_record_too_large_for_the_dead_letters_costs_its_end_and_no_worker(kafka: str, tmp_path: Path) -> None:
    bench = KafkaBench(tmp_path, kafka, [_score()])
    await bench.start(lambda: [_score()])
    try:
        await asyncio.to_thread(_send, bench, ("k", b"x" * LARGE))
        await bench.append([Output(DOCUMENTS, "k", _document("k"))])
        await bench.drained()
        [letter] = [json.loads(record.value) for record in await bench.records(DEAD_LETTERS)]
        assert (letter["id"], letter["reason"], letter["topic"]) == ("k", "undecodable", DOCUMENTS)
        assert f"of {LARGE} bytes the first {KEPT} are kept" in letter["detail"]
        assert len(letter["payload"]) == KEPT * 4 // 3
        assert [record.key for record in await bench.records(SCORES)] == ["k"]
    finally:
        await bench.stop()


def _transact(bench: KafkaBench, key: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bench.address, transactional_id=bench.prefix)
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(bench.layout.topic(DOCUMENTS), key=key.encode(), value=value)
        producer.commit_transaction()
    finally:
        producer.close()


async def test_the_mark_of_a_transaction_is_no_record_that_waits(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the last in its partition while ingest, which writes watermarks, is away."""
    monkeypatch.setattr(watchdog, "STALL", 3.0)
    bench = KafkaBench(tmp_path, kafka, [_score()])
    await bench.start(lambda: [_score()])
    try:
        await asyncio.to_thread(_transact, bench, "k", _document("k"))
        async with asyncio.timeout(PATIENCE):
            while not await bench.records(SCORES) or bench.engine.lag()["score"][1]:
                assert bench.engine.fatal is None, bench.engine.fatal
                await asyncio.sleep(0.2)
        await bench.drained()
    finally:
        await bench.stop()


async def test_a_partition_that_is_assigned_and_never_fetched_ends_the_process(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust has ways to leave one alone without a word; here it is told to."""
    monkeypatch.setattr(watchdog, "STALL", 3.0)
    bench = KafkaBench(tmp_path, kafka, [_score()])
    await bench.start(lambda: [_score()])
    try:
        await bench.append([Output(DOCUMENTS, "k", _document("k"))])
        await bench.drained()
        consumer = bench.engine._workers["score"].app.consumer
        consumer.pause_partitions(consumer.assignment())
        await bench.append([Output(DOCUMENTS, "k", _document("k"))])
        async with asyncio.timeout(PATIENCE):
            while bench.engine.fatal is None:
                await asyncio.sleep(0.1)
        assert "stage score: 1 records wait and none is fetched for 3 s" in str(bench.engine.fatal)
    finally:
        await bench.stop()
