"""How page and API follow the log: a consumer without a group that keeps its own place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from kafka import KafkaConsumer
from kafka.errors import KafkaError
from kafka.structs import TopicPartition

from pipelines.streams.base import Record
from pipelines.streams.kafka.connection import Connection
from pipelines.streams.kafka.signin import refusal
from pipelines.streams.kafka.topics import Layout
from pipelines.streams.layout import BROADCAST

log = structlog.get_logger(__name__)

PATIENCE = 0.5
"""Seconds to wait for the first record."""

SIGN_IN = 2.0
"""Seconds that a broker may take for each step of a sign-in: a stop waits for it."""

Offsets = dict[str, dict[str, int]]
"""Topic to partition, in digits, to the offset of the next record: a position, as JSON."""


class KafkaReader:
    """A LogReader. Used on one thread."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection = connection
        self._layout = layout
        self._consumer: Any = None
        self._position = ""

    def read(self, topics: Sequence[str], position: str, limit: int) -> tuple[list[Record], str]:
        """Up to ``limit`` records beyond ``position``, of every partition in its order, and where they end.

        What is written to every partition is read from the first. Where the broker does not answer there is nothing.
        """
        try:
            if self._consumer is None and (why := refusal(self._connection, SIGN_IN)) is not None:
                log.warning("log_unreadable", action="wait", error=why)
                time.sleep(PATIENCE)
                return [], position
            if self._consumer is None or position != self._position:
                self._turn_to(topics, position)
            found = self._consumer.poll(timeout_ms=int(PATIENCE * 1000), max_records=limit)
        except KafkaError as error:
            log.warning("log_unreadable", action="wait", error=repr(error))
            time.sleep(PATIENCE)
            return [], position
        offsets = _parse(position)
        records: list[Record] = []
        for place, batch in found.items():
            topic = self._layout.plain(place.topic)
            records.extend(
                Record(topic, (one.key or b"").decode(errors="replace"), one.value or b"", one.offset, place.partition)
                for one in batch
            )
            if batch:
                offsets.setdefault(topic, {})[str(place.partition)] = batch[-1].offset + 1
        self._position = msgspec.json.encode(offsets).decode() if records else position
        return records, self._position

    def _turn_to(self, topics: Sequence[str], position: str) -> None:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **self._connection.client(),
                group_id=None,
                enable_auto_commit=False,
                # A place whose records the broker has let go of: on from the first that it still has.
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                reconnect_backoff_max_ms=1_000,
            )
        offsets = _parse(position)
        places = [
            TopicPartition(self._layout.topic(topic), number)
            for topic in topics
            for number in range(1 if topic in BROADCAST else self._layout.count(topic))
        ]
        self._consumer.assign(places)
        begins = self._consumer.beginning_offsets(places)
        for place in places:
            known = offsets.get(self._layout.plain(place.topic), {}).get(str(place.partition))
            if known is None:
                self._consumer.seek_to_beginning(place)
            else:
                if known < begins[place]:
                    where, gone = f"{place.topic}[{place.partition}]", begins[place] - known
                    log.error("records_gone", action="go_on", stage="view", place=where, first=known, gone=gone)
                self._consumer.seek(place, known)
        self._position = position

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(KafkaError):
                consumer.close()


def _parse(position: str) -> Offsets:
    """Raises nothing: a position of another engine is the beginning."""
    try:
        return msgspec.json.decode(position.encode(), type=Offsets) if position else {}
    except (msgspec.DecodeError, msgspec.ValidationError):
        return {}
