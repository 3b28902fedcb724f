"""Records of other producers that no topic of ours takes as they are: large ones, which their broker took compressed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from kafka import KafkaProducer

from models.classifier import FakeClassifier
from pipelines.clock import SystemClock
from pipelines.documents import Document, encode, iso
from pipelines.entities import EntityIndex
from pipelines.letters import KEPT
from pipelines.score import Score
from pipelines.streams.base import DEAD_LETTERS, DOCUMENTS, SCORES, Output
from pipelines.watch import Watch
from tests.contract.engine_bench import KafkaBench

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
