"""What a stage is handed next: every record of its partitions once, in the order of the log.

Faust 0.15.3 does not promise that around a rebalance: what it had handed out is read again or not, comes twice or out
of turn, and a record that was left out is committed with the one after it. So its events only tell that there is
something to handle: where they are not what comes next in the log, the log itself is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import structlog
from kafka.errors import KafkaError
from prometheus_client import Counter

from pipelines.streams.base import Record
from pipelines.streams.kafka.probe import Place, Stretch
from pipelines.streams.kafka.progress import Progress
from pipelines.streams.kafka.spread import origin_of
from pipelines.streams.kafka.topics import Layout

log = structlog.get_logger(__name__)

LEFT_OUT = Counter(
    "tapewatch_stage_left_out_total",
    "Records that were not handed to a stage in their turn, and that it read from Kafka itself.",
    ["stage"],
)

ReadLog = Callable[[Place, int, int], Awaitable[Stretch]]
"""Reads a broker's place from an offset up to another, exclusive, or a part of the way. Raises KafkaError."""


class Arrival(NamedTuple):
    """A record in its turn."""

    record: Record
    origin: int
    """The partition that it speaks for, if it is a watermark."""
    written: float
    """When the broker got it, in seconds since 1970; 0.0 where that is not known."""

    @property
    def place(self) -> Place:
        return self.record.topic, self.record.partition


class Order:
    """Of one stage in one process."""

    def __init__(self, stage: str, layout: Layout, progress: Progress, read: ReadLog) -> None:
        self._stage, self._layout, self._progress, self._read = stage, layout, progress, read

    async def next(self, events: Sequence[Any]) -> list[Arrival]:
        """What comes next in the places of Faust's ``events``, up to the last of them or a part of the way: ask again
        while there is something or it ``waits``. What it returns counts as taken. Raises KafkaError where it would
        return nothing."""
        places: dict[Place, list[Any]] = {}
        for event in events:
            places.setdefault((event.message.topic, event.message.partition), []).append(event.message)
        arrivals = []
        for place, messages in places.items():
            try:
                arrivals.extend(await self._of_place(place, messages))
            except KafkaError:
                if not arrivals:
                    raise
                break  # what is taken must be handled; who asks again is told then
        return arrivals

    def waits(self, events: Iterable[Any]) -> bool:
        """Whether one of ``events`` is still to be taken: the broker may have been too slow."""
        return any(
            event.message.offset
            >= self._progress.taken((self._layout.plain(event.message.topic), event.message.partition))
            for event in events
        )

    async def _of_place(self, place: Place, messages: Sequence[Any]) -> list[Arrival]:
        plain = (self._layout.plain(place[0]), place[1])
        begin = self._progress.taken(plain)
        fresh = [message for message in messages if message.offset >= begin]
        if not fresh:
            return []  # all of it was taken before
        end = max(message.offset for message in fresh) + 1
        if [message.offset for message in fresh] == list(range(begin, end)):
            self._progress.take(plain, end)
            return [_arrival(plain, message, message.timestamp) for message in fresh]
        return await self._from_log(place, plain, end, {message.offset for message in fresh})

    async def _from_log(self, place: Place, plain: Place, end: int, handed: set[int]) -> list[Arrival]:
        """From what was taken up to ``end``, exclusive, of which Faust handed out the offsets ``handed``."""
        stretch = await self._read(place, self._progress.taken(plain), end)
        if stretch.records:
            self._progress.take(plain, stretch.end)
        else:
            self._progress.skip(plain, stretch.end)
        if missing := [record.offset for record in stretch.records if record.offset not in handed]:
            LEFT_OUT.labels(self._stage).inc(len(missing))
            log.warning(
                "left_out", action="read", stage=self._stage, place=list(place), first=missing[0], records=len(missing)
            )
        return [_arrival(plain, record, (record.timestamp or 0) / 1_000) for record in stretch.records]


def by_partition(events: Iterable[Any]) -> list[list[Any]]:
    """Faust's events, those of each partition apart."""
    runs: dict[int, list[Any]] = {}
    for event in events:
        runs.setdefault(event.message.partition, []).append(event)
    return list(runs.values())


def _arrival(plain: Place, message: Any, written: float | None) -> Arrival:
    """Of Faust's message or kafka-python's record."""
    record = Record(
        topic=plain[0],
        key=(message.key or b"").decode(errors="replace"),
        value=message.value or b"",
        offset=message.offset,
        partition=plain[1],
    )
    return Arrival(record, origin_of(message.headers), written or 0.0)
