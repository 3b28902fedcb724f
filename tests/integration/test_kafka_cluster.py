"""The broker that other tests stand on: what it acknowledged outlives its kill -9."""

from __future__ import annotations

import signal

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.structs import TopicPartition

from tests.kafka_cluster import Cluster


def test_acknowledged_records_outlive_a_killed_broker(own_kafka: Cluster) -> None:
    admin = KafkaAdminClient(bootstrap_servers=own_kafka.address)
    admin.create_topics([NewTopic("t", num_partitions=1, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=own_kafka.address, acks="all", compression_type="lz4")
    for number in range(1_000):
        producer.send("t", str(number).encode())
    producer.flush(timeout=30)
    producer.close()

    own_kafka.nodes[0].signal(signal.SIGKILL)
    assert not own_kafka.nodes[0].alive()
    own_kafka.start()

    consumer = KafkaConsumer(bootstrap_servers=own_kafka.address, auto_offset_reset="earliest")
    partition = TopicPartition("t", 0)
    consumer.assign([partition])
    found: list[int] = []
    while len(found) < 1_000:
        for record in consumer.poll(timeout_ms=10_000)[partition]:
            found.append(int(record.value))
    consumer.close()
    assert found == list(range(1_000))
