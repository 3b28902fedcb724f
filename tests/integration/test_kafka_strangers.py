"""Records of other producers: larger than a dead letter may be, since they came compressed; or within transactions,
whose marks take offsets and are nothing that a watchdog should wait for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP
from kafka import KafkaProducer
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

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
from tests.kafka_topic import Topic

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


async def test_records_compressed_in_any_way_are_read(kafka: str, tmp_path: Path) -> None:
    """By kafka-python, as sources and the page read them, and a stage what it was not handed."""
    bench = KafkaBench(tmp_path, kafka, [_score()])
    codecs = ("gzip", "snappy", "lz4", "zstd")
    for codec in codecs:
        async with AIOKafkaProducer(bootstrap_servers=kafka, compression_type=codec) as producer:
            # A batch that does not shrink is sent as it is.
            await producer.send_and_wait(bench.layout.topic(DOCUMENTS), key=codec.encode(), value=b"x" * 10_000)
    records = await bench.records(DOCUMENTS)
    assert sorted(record.key for record in records) == sorted(codecs)


def _transactions(bench: KafkaBench) -> KafkaProducer:
    producer = KafkaProducer(bootstrap_servers=bench.address, transactional_id=bench.prefix)
    producer.init_transactions()
    return producer


def _begin(bench: KafkaBench, producer: KafkaProducer, key: str) -> None:
    """A transaction with one document, which the broker has."""
    producer.begin_transaction()
    producer.send(bench.layout.topic(DOCUMENTS), key=key.encode(), value=_document(key)).get(timeout=60)


async def _lag(bench: KafkaBench, wanted: Callable[[float, int], bool]) -> None:
    """Returns when the seconds and records that the stage is behind are what is wanted."""
    async with asyncio.timeout(PATIENCE):
        while not wanted(*bench.engine.lag()["score"]):
            assert bench.engine.fatal is None, bench.engine.fatal
            await asyncio.sleep(0.1)


async def _scored(bench: KafkaBench) -> list[str]:
    return sorted(record.key for record in await bench.records(SCORES))


async def test_what_is_in_a_transaction_counts_when_it_is_committed_and_never_when_it_is_aborted(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its marks are the last in their partition while ingest, which writes watermarks, is away: no stage waits for
    these, and what is not settled yet is lag and no reason for a process to end."""
    monkeypatch.setattr(watchdog, "STALL", 2.0)
    bench = KafkaBench(tmp_path, kafka, [_score()])
    await bench.start(lambda: [_score()])
    producer = await asyncio.to_thread(_transactions, bench)
    try:
        await asyncio.to_thread(_begin, bench, producer, "aborted")
        await asyncio.to_thread(producer.abort_transaction)
        await asyncio.to_thread(_begin, bench, producer, "committed")
        await asyncio.to_thread(producer.commit_transaction)
        await bench.drained()
        await _lag(bench, lambda seconds, records: (seconds, records) == (0.0, 0))
        assert await _scored(bench) == ["committed"]
        await asyncio.to_thread(_begin, bench, producer, "under way")
        await _lag(bench, lambda seconds, records: records == 1 and seconds > 2 * watchdog.STALL)
        assert await _scored(bench) == ["committed"]
        await asyncio.to_thread(producer.commit_transaction)
        async with asyncio.timeout(PATIENCE):
            while await _scored(bench) != ["committed", "under way"]:
                assert bench.engine.fatal is None, bench.engine.fatal
    finally:
        await asyncio.to_thread(producer.close)
        await bench.stop()


async def test_records_that_are_gone_before_a_stage_read_them_are_counted(kafka: str, tmp_path: Path) -> None:
    bench = KafkaBench(tmp_path, kafka, [_score()])
    await bench.start(lambda: [_score()])
    try:
        await bench.append([Output(DOCUMENTS, "k", _document("k"))])
        await bench.drained()
        [there] = await bench.records(DOCUMENTS)
        topic = bench.layout.topic(DOCUMENTS)
        await bench.stop()
        await asyncio.to_thread(_send, bench, *[("k", _document("k"))] * 6)
        await asyncio.to_thread(Topic(kafka, topic).remove, there.partition, there.offset + 6)
        before = _gone()
        with capture_logs() as logged:
            await bench.start(lambda: [_score()])
            async with asyncio.timeout(PATIENCE):
                while _gone() == before:
                    await asyncio.sleep(0.1)
        assert _gone() - before == 5
        [told] = [entry for entry in logged if entry["event"] == "records_gone"]
        assert (told["stage"], told["place"], told["first"], told["gone"]) == (
            "score", f"{topic}[{there.partition}]", there.offset + 1, 5,
        )  # fmt: skip
        await bench.drained()
        assert len(await bench.records(SCORES)) == 2
    finally:
        await bench.stop()


def _gone() -> float:
    return REGISTRY.get_sample_value("tapewatch_stage_gone_total", {"stage": "score"}) or 0.0


async def test_a_partition_that_is_assigned_and_never_fetched_ends_the_process(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust has ways to leave one alone without a word, here it is told to; the others go on meanwhile."""
    monkeypatch.setattr(watchdog, "STALL", 2.0)
    bench = KafkaBench(tmp_path, kafka, [_score()])
    await bench.start(lambda: [_score()])
    try:
        await bench.append([Output(DOCUMENTS, "k", _document("k"))])
        await bench.drained()
        [there] = await bench.records(DOCUMENTS)
        topic = bench.layout.topic(DOCUMENTS)
        consumer = bench.engine._workers["score"].app.consumer
        consumer.pause_partitions({TP(topic, there.partition)})
        async with asyncio.timeout(PATIENCE):
            while bench.engine.fatal is None:
                await bench.append([Output(DOCUMENTS, key, _document(key)) for key in "klmnopqrs"])
                await asyncio.sleep(0.1)
        assert f"records wait in {topic}[{there.partition}] and none is fetched for 2 s" in str(bench.engine.fatal)
    finally:
        await bench.stop()
