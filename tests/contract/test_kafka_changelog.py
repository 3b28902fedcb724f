"""What a real broker keeps of the topics that `kafka init` makes: of a changelog, and of a compacted topic, the last
of each key, so that what must be read again does not grow with time; of all else what is younger than the retention."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.structs import TopicPartition

from pipelines.aggregate import Aggregate
from pipelines.streams.kafka import Layout
from pipelines.streams.kafka.topics import ROLL, create, differences
from tests.conftest import need_kafka
from tests.kafka_cluster import Cluster

ROWS, WIDE = 50, 8_000
PATIENCE = 60.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that looks at once what may go: by default the cleaner looks every 15 s, retention every 5 minutes."""
    need_kafka()
    soon = {"log.cleaner.backoff.ms": 200, "log.retention.check.interval.ms": 200, "log.initial.task.delay.ms": 0}
    with Cluster(tmp_path_factory.mktemp("kafka"), extra=soon) as cluster:
        yield cluster.address


def _make(address: str, layout: Layout) -> None:
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.wait_for_topics(create(admin, layout, [Aggregate]))
    assert differences(admin, layout, [Aggregate]) == []
    admin.close()


def _write(address: str, topic: str, rows: Iterable[int], wide: int, keys: int) -> None:
    producer = KafkaProducer(bootstrap_servers=address)
    for number in rows:
        producer.send(topic, key=b"%d" % (number % keys), value=b"%08d" % number * (wide // 8))
    producer.flush(timeout=PATIENCE)
    producer.close()


def _wait_until_few(address: str, topic: str, few: int) -> list[tuple[int, bytes]]:
    deadline = time.monotonic() + PATIENCE
    while len(left := _read(address, topic)) > few:
        assert time.monotonic() < deadline, f"{topic}: {len(left)} records are still to be read"
        time.sleep(0.5)
    return left


def test_changes_to_the_same_rows_are_compacted_within_a_few_segments(broker: str) -> None:
    layout = Layout(partitions=1, replication=1)
    _make(broker, layout)
    topic, written = layout.changelog("aggregate"), 4 * ROLL // WIDE
    _write(broker, topic, range(written), WIDE, ROWS)
    left = _wait_until_few(broker, topic, written // 2)
    last = {key: number for number, key in left}
    assert last == {b"%d" % (number % ROWS): number for number in range(written - ROWS, written)}


def test_what_is_older_than_the_retention_goes_and_of_a_compacted_topic_all_but_the_last_of_each_key(
    broker: str,
) -> None:
    layout = Layout(topic_prefix="short.", partitions=1, replication=1, retention=1.0)
    _make(broker, layout)
    documents, sources = layout.topic("documents"), layout.topic("sources")
    soon = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, sources, configs=soon)])
    admin.close()
    for topic in (documents, sources):
        _write(broker, topic, range(100), 80, 3)
    assert _wait_until_few(broker, documents, 0) == []
    _write(broker, sources, [100], 80, 3)  # only a record closes the segment before it
    left = _wait_until_few(broker, sources, 10)
    assert {key: number for number, key in left} == {b"0": 99, b"1": 100, b"2": 98}


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
