"""A stage's changelog on a real broker: what a worker that has lost its tables must read does not grow with time."""

from __future__ import annotations

import time
from pathlib import Path

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.structs import TopicPartition

from pipelines.aggregate import Aggregate
from pipelines.streams.kafka import Layout
from pipelines.streams.kafka.topics import ROLL, create, differences
from tests.conftest import need_kafka
from tests.kafka_cluster import Cluster

ROWS, WIDE = 50, 8_000
PATIENCE = 60.0


def test_changes_to_the_same_rows_are_compacted_within_a_few_segments(tmp_path: Path) -> None:
    need_kafka()
    layout = Layout(partitions=1, replication=1)
    # The cleaner looks every 15 s by default.
    with Cluster(tmp_path, extra={"log.cleaner.backoff.ms": 200}) as cluster:
        admin = KafkaAdminClient(bootstrap_servers=cluster.address)
        create(admin, layout, [Aggregate])
        assert differences(admin, layout, [Aggregate]) == []
        admin.close()
        written = 4 * ROLL // WIDE
        producer = KafkaProducer(bootstrap_servers=cluster.address)
        for number in range(written):
            producer.send(
                layout.changelog("aggregate"), key=b"%d" % (number % ROWS), value=b"%08d" % number * (WIDE // 8)
            )
        producer.flush(timeout=PATIENCE)
        producer.close()

        deadline = time.monotonic() + PATIENCE
        while True:
            left = _read(cluster.address, layout.changelog("aggregate"))
            if len(left) < written // 2:
                break
            assert time.monotonic() < deadline, f"of {written} changes {len(left)} are still to be read"
            time.sleep(1.0)
    last = {key: number for number, key in left}
    assert last == {b"%d" % (number % ROWS): number for number in range(written - ROWS, written)}


def _read(address: str, topic: str) -> list[tuple[int, bytes]]:
    """(number, row) of every change that a restored worker would read, in their order."""
    consumer = KafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
    try:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        (end,) = consumer.end_offsets([place]).values()
        found: list[tuple[int, bytes]] = []
        while consumer.position(place) < end:
            for batch in consumer.poll(timeout_ms=1_000).values():
                found.extend((int(record.value[:8]), record.key) for record in batch)
        return found
    finally:
        consumer.close()
