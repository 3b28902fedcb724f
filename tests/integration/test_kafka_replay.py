"""A replay of the log that lies on a real Kafka."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kafka import KafkaProducer

from models.classifier import FakeClassifier
from monitor.assembly import assemble
from monitor.replay.log import Log
from monitor.replay.player import Player
from monitor.settings import load
from pipelines.clock import ManualClock
from pipelines.documents import Document, decode, encode
from pipelines.streams.base import DOCUMENTS, SCORES, Record
from tests.contract.engine_bench import PARTITIONS, KafkaBench
from tests.stream_bench import DAY, T0, Tape, stages, watermark


async def test_the_log_is_replayed_from_the_brokers(kafka: str, tmp_path: Path) -> None:
    """Partitions are merged by their clocks, scores are taken, and a log that grows on is read up to now."""
    tape, model = Tape(3), FakeClassifier()
    stories = [*tape.poisson(T0, T0 + 10 * DAY, 12.0, "wire", "Acme")]
    stories += [tape.story(T0 + 9 * DAY + n * 700.0, "wire", "Acme", bad=True) for n in range(12)]
    told = [decode(Document, story.output().value) for story in sorted(stories)]
    bench = KafkaBench(tmp_path, kafka, stages(ManualClock(T0)))
    (tmp_path / "tapewatch.toml").write_text(
        f'[engine]\nkind = "kafka"\n[engine.kafka]\nbrokers = ["{kafka}"]\ntopic_prefix = "{bench.prefix}"\n'
        f'partitions = {PARTITIONS}\nplaintext = true\ndata_dir = "{tmp_path / "data"}"\n'
        '[[watchlists]]\nname = "mine"\nentities = [{ name = "Acme Corp", aliases = ["Acme"] }]\n'
    )
    given = load(tmp_path / "tapewatch.toml", {})
    parts, scores = assemble(given, model.topics), list[Record]()
    player = Player(given, parts, model, None, takers=[scores.extend])
    alerts = [bytes(alert.body) for alert in player.play(told)]

    def fill() -> None:
        producer = KafkaProducer(bootstrap_servers=kafka.split(","))
        for number, one in enumerate(told):
            place = bench.layout.topic(DOCUMENTS), number * 7 % PARTITIONS
            producer.send(place[0], key=one.id.encode(), value=encode(one), partition=place[1])
        for record in scores:
            if record.topic == SCORES:
                producer.send(bench.layout.topic(SCORES), key=record.key.encode(), value=record.value)
        mark = watermark(T0 + 11 * DAY)
        for number in range(PARTITIONS):
            producer.send(bench.layout.topic(DOCUMENTS), key=mark.key.encode(), value=mark.value, partition=number)
        producer.close()

    def replayed() -> tuple[list[Document], list[bytes], int, float]:
        log = Log(given, T0 + 11 * DAY)
        again = Player(given, parts, model, None, known=log.scores.known({"": model.name}))
        bodies = [bytes(alert.body) for alert in again.play(log.feed(None, None, history=False))]
        entries = [one for one in log.feed(None, None, history=False) if isinstance(one, Document)]
        log.close()
        return entries, bodies, log.scores.reused, log.end

    await asyncio.to_thread(fill)
    entries, bodies, reused, end = await asyncio.to_thread(replayed)
    assert [one.id for one in entries] == [one.id for one in told]
    assert reused == len(told) and end == T0 + 11 * DAY
    assert bodies[: len(alerts)] == alerts and any(b'"alert.firing"' in body for body in alerts)
