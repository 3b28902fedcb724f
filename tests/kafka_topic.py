"""A topic of somebody else's on a real broker: what a test writes there, and what it makes of it."""

from __future__ import annotations

import json
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewPartitions, NewTopic
from kafka.structs import TopicPartition


def make_topic(address: str, name: str, partitions: int = 1) -> None:
    """A topic that is there when it returns."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    try:
        admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])
        admin.wait_for_topics([name])
    finally:
        admin.close()


class Topic:
    """Writes to ``name``, and plays its owner."""

    def __init__(self, address: str, name: str) -> None:
        self.address, self.name = address, name

    def write(self, *records: Any, partition: int | None = None, at: float | None = None) -> None:
        """Writes records, all acknowledged when it returns: bytes as they are, None as a tombstone, all else as JSON.
        ``at``: the records' own time in seconds since 1970."""
        producer = KafkaProducer(bootstrap_servers=self.address, acks="all")
        try:
            stamp = None if at is None else int(at * 1_000)
            sent = [
                producer.send(self.name, value=_bytes(one), key=b"k", partition=partition, timestamp_ms=stamp)
                for one in records
            ]
            for future in sent:
                future.get(timeout=30)
        finally:
            producer.close()

    def transact(self, *records: Any, commit: bool) -> None:
        """Writes records within a transaction, which is then committed or aborted."""
        producer = KafkaProducer(bootstrap_servers=self.address, transactional_id=self.name)
        try:
            producer.init_transactions()
            producer.begin_transaction()
            for one in records:
                producer.send(self.name, value=_bytes(one)).get(timeout=30)
            end = producer.commit_transaction if commit else producer.abort_transaction
            end()
        finally:
            producer.close()

    def widen(self, partitions: int) -> None:
        """Adds partitions, as an owner does whose topic grows."""
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        try:
            admin.create_partitions({self.name: NewPartitions(partitions)})
        finally:
            admin.close()

    def remove(self, partition: int, before: int) -> None:
        """Lets go of the records before an offset, as retention does."""
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        try:
            admin.delete_records({TopicPartition(self.name, partition): before})
        finally:
            admin.close()

    def delete(self) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        try:
            admin.delete_topics([self.name])
        finally:
            admin.close()


def _bytes(record: Any) -> bytes | None:
    return record if record is None or isinstance(record, bytes) else json.dumps(record).encode()
