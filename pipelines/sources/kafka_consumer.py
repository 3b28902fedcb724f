"""The blocking side of a Kafka source: a topic's partitions from given offsets on. Needs the extra ``kafka``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from kafka import KafkaConsumer
from kafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError, for_code
from kafka.structs import OffsetAndMetadata, TopicPartition

from pipelines.streams.kafka.connection import Connection
from pipelines.streams.kafka.probe import ANSWER, Probe
from pipelines.streams.kafka.quiet import calm
from pipelines.streams.kafka.signin import refusal

RECORDS = 500
"""Records of one read at most."""

FETCH_BYTES = 8 * 2**20
"""Bytes that a broker may send at once: with one fetch kept in advance, what bounds memory."""

WAIT = 1.0
"""Seconds that a read waits for a first record before it asks whether the brokers still answer."""

LOOK_EVERY = 10.0
"""Seconds after which partitions and their ends are looked at, however much there is to read."""

Offsets = dict[int, int]
"""Partition to the offset of the next record to read."""


class TopicMissing(Exception):
    """The topic is not there, or this user may not know of it."""


class Refused(Exception):
    """No broker lets this client in; its text says why and what to do."""


class Gap(msgspec.Struct, frozen=True):
    """Offsets that can't be read any more: ``first`` to before ``end``; ``anew``: the topic was made anew."""

    partition: int
    first: int
    end: int
    anew: bool = False


class Found(msgspec.Struct, frozen=True):
    """What a read brought, each partition in its order, and where the next begins."""

    records: list[Any]
    offsets: Offsets
    gaps: list[Gap]


class TopicReader:
    """Reads ``topic``; used on one thread. What it raises ends its connections; the next read makes new ones.

    There is no consumer group: the one who reads keeps the offsets. Aborted transactions are passed over.
    """

    def __init__(self, connection: Connection, topic: str, *, start: str) -> None:
        calm()
        self._connection = connection
        self._topic = topic
        self._start = start
        self._probe = Probe(connection)
        self._consumer: Any = None
        self._assigned: Offsets = {}
        self._looked: float | None = None

    def read(self, offsets: Mapping[int, int] | None) -> Found:
        """Records from ``offsets`` on, None at the very first start. A partition that is not among them is new and read
        from its beginning. Raises KafkaError, EngineError, OSError,
        Refused or TopicMissing."""
        try:
            return self._read(offsets)
        except BaseException:  # whatever ends it, no half consumer may stay
            self.close()
            raise

    def _read(self, offsets: Mapping[int, int] | None) -> Found:
        now, gaps = time.monotonic(), list[Gap]()
        places = dict(offsets or {})
        if offsets is None or self._looked is None or now - self._looked > LOOK_EVERY:
            places, gaps = self._look(offsets)
        self._turn_to(places)
        try:
            found = self._consumer.poll(timeout_ms=0 if gaps else int(WAIT * 1_000), max_records=RECORDS)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError):
            found = {}
        if not found and not gaps:
            # A consumer says nothing of brokers that are gone: it has no records then, and asks on.
            places, gaps = self._look(places)
        records = [record for batch in found.values() for record in batch]
        for record in records:
            places[record.partition] = record.offset + 1
            self._assigned[record.partition] = record.offset + 1
        return Found(records, places, gaps)

    def _look(self, offsets: Mapping[int, int] | None) -> tuple[Offsets, list[Gap]]:
        """Where to read on in each partition that there is, and what is lost between."""
        if self._consumer is None and (why := refusal(self._connection)) is not None:
            raise Refused(why)
        topic = self._probe.admin.describe_topics([self._topic])[0]
        if topic["error_code"]:
            raise TopicMissing(f"{for_code(topic['error_code']).__name__}: topic {self._topic} can't be read")
        places = [(self._topic, one["partition_index"]) for one in topic["partitions"]]
        begins, ends = self._probe.beginnings(places), self._probe.ends(places)
        self._looked = time.monotonic()
        found, gaps = Offsets(), list[Gap]()
        for place in sorted(places):
            number, begin, end = place[1], begins[place], ends[place]
            if offsets is None:
                found[number] = end if self._start == "latest" else begin
            elif number not in offsets:
                found[number] = begin
            elif begin <= offsets[number] <= end:
                found[number] = offsets[number]
            else:
                found[number] = begin
                gaps.append(Gap(number, offsets[number], begin, anew=offsets[number] > end))
        return found, gaps

    def _turn_to(self, places: Offsets) -> None:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **self._connection.client(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",  # a place that is gone is told, not replaced
                isolation_level="read_committed",
                allow_auto_create_topics=False,
                max_poll_records=RECORDS,
                fetch_max_bytes=FETCH_BYTES,
                reconnect_backoff_max_ms=1_000,
                request_timeout_ms=2 * ANSWER,
                bootstrap_timeout_ms=ANSWER,
            )
            self._assigned = {}
        if places.keys() != self._assigned.keys():
            self._consumer.assign([TopicPartition(self._topic, number) for number in places])
            self._assigned = {}
        for number, offset in places.items():
            if self._assigned.get(number) != offset:
                self._consumer.seek(TopicPartition(self._topic, number), offset)
        self._assigned = dict(places)

    def show(self, group: str, offsets: Mapping[int, int]) -> None:
        """Commits ``offsets`` under ``group``, for tools that show lag. Raises KafkaError."""
        committed = {TopicPartition(self._topic, number): OffsetAndMetadata(at) for number, at in offsets.items()}
        for error in self._probe.admin.alter_group_offsets(group, committed).values():
            if error.errno:
                raise error()

    def close(self) -> None:
        """Ends the connections."""
        consumer, self._consumer, self._looked = self._consumer, None, None
        if consumer is not None:
            with contextlib.suppress(Exception):  # it may be the reason for closing it
                consumer.close(autocommit=False, timeout_ms=1_000)
        self._probe.close()
