"""Where an output goes: one record, or a copy for each partition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kafka.partitioner.default import murmur2

from pipelines.streams.base import WATERMARK, Output
from pipelines.streams.kafka.topics import Layout
from pipelines.streams.layout import BROADCAST

ORIGIN = "origin"
"""Header of a watermark: the partition that it speaks for, in digits."""


class Posting(NamedTuple):
    """A record for the broker. ``partition`` None: by the hash of its key, as every Kafka client does it."""

    topic: str
    key: bytes
    value: bytes
    partition: int | None
    headers: list[tuple[str, bytes]]


def spread(output: Output, layout: Layout) -> Iterator[Posting]:
    """The records that an output stands for.

    A watermark goes to every partition of its topic: every reader must hear of the time. What is read by every
    partition is written to each: a consumer group gives a partition to one worker only.
    """
    topic, key = layout.topic(output.topic), output.key.encode()
    if output.key == WATERMARK:
        headers = [(ORIGIN, str(output.origin).encode())]
        for partition in range(layout.count(output.topic)):
            yield Posting(topic, key, output.value, partition, headers)
    elif output.topic in BROADCAST:
        for partition in range(layout.count(output.topic)):
            yield Posting(topic, key, output.value, partition, [])
    elif output.together:
        partition = (murmur2(output.together.encode()) & 0x7FFFFFFF) % layout.count(output.topic)
        yield Posting(topic, key, output.value, partition, [])
    else:
        yield Posting(topic, key, output.value, None, [])


def origin_of(headers: object) -> int:
    """The partition that a watermark speaks for; 0 where nothing readable says so."""
    if isinstance(headers, list | tuple):
        for name, value in headers:
            if name == ORIGIN and isinstance(value, bytes) and value.isdigit():
                return int(value)
    return 0
