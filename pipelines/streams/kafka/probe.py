"""What only the broker knows: where the log ends, what groups have committed, and whether it answers at all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.admin import OffsetSpec
from kafka.protocol.consumer import IsolationLevel
from kafka.structs import TopicPartition

from pipelines.streams.kafka.connection import Connection

Place = tuple[str, int]
"""A broker's topic and a partition."""

ANSWER = 5_000
"""Milliseconds that an answer may take."""


STRETCH = 1_000
"""Records that are read from the log at once."""


class Stretch(NamedTuple):
    """What a place holds from where it was read up to ``end``, exclusive."""

    records: Sequence[Any]
    """As kafka-python has them."""
    end: int


class Probe:
    """Asks on one thread. Every question may raise kafka.errors.KafkaError, and connects where it must."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client: KafkaAdminClient | None = None
        self._log: KafkaConsumer | None = None

    @property
    def admin(self) -> KafkaAdminClient:
        if self._client is None:
            self._client = KafkaAdminClient(
                **self._connection.client(),
                request_timeout_ms=ANSWER,
                bootstrap_timeout_ms=ANSWER,
                reconnect_backoff_max_ms=1_000,
            )
        return self._client

    def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset after the last record of each place."""
        return self._offsets(places, OffsetSpec.LATEST)

    def settled(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset up to which stages may read: where the first open transaction begins, else the end."""
        return self._offsets(places, OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)

    def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset of the first record of each place."""
        return self._offsets(places, OffsetSpec.EARLIEST)

    def _offsets(
        self, places: Iterable[Place], spec: Any, level: IsolationLevel = IsolationLevel.READ_UNCOMMITTED
    ) -> dict[Place, int]:
        asked = {TopicPartition(*place): spec for place in places}
        if not asked:
            return {}
        found = self.admin.list_partition_offsets(asked, isolation_level=level, timeout_ms=ANSWER)
        return {(tp.topic, tp.partition): answer.offset for tp, answer in found.items()}

    def holds_records(self, places: Mapping[Place, int]) -> bool:
        """Whether a reader finds a record at these offsets or after them: marks of transactions take offsets too, as
        does what was aborted."""
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(*place) for place in places])
            for place, offset in places.items():
                consumer.seek(TopicPartition(*place), offset)
            return bool(consumer.poll(timeout_ms=ANSWER, max_records=1))
        finally:
            consumer.close()

    def read(self, place: Place, begin: int, end: int) -> Stretch:
        """What stages may read of a place from ``begin`` up to ``end``, exclusive, where it is known to hold a record
        before ``end``; or a part of the way, if that is long or the broker slow."""
        if self._log is None:
            self._log = self._consumer()
        tp = TopicPartition(*place)
        try:
            self._log.assign([tp])
            self._log.seek(tp, begin)
            found: list[Any] = []
            at, until = begin, time.monotonic() + ANSWER / 1_000
            while at < end and len(found) < STRETCH and time.monotonic() < until:
                for batch in self._log.poll(timeout_ms=ANSWER // 5).values():
                    found.extend(record for record in batch if begin <= record.offset < end)
                at = self._log.position(tp)
            return Stretch(found, max(begin, min(at, end)))
        except BaseException:
            self._close_log()
            raise

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            **self._connection.client(),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    def committed(self, group: str) -> Mapping[Place, int]:
        """What a group has committed: the offset of the next record of each place."""
        found = self.admin.list_group_offsets({group: None}).get(group, {})
        return {(tp.topic, tp.partition): answer.offset for tp, answer in found.items() if answer.offset >= 0}

    def _close_log(self) -> None:
        consumer, self._log = self._log, None
        if consumer is not None:
            with contextlib.suppress(Exception):  # it may be the reason for closing it
                consumer.close()

    def close(self) -> None:
        self._close_log()
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # it may be the reason for closing it
                client.close()
