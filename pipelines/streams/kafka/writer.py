"""How the stages write: their outputs, and the changes of their tables as one append.

Not with Faust's own producer, which sends a table's changes one by one: a crash would leave any mixture of them
behind. Kafka appends a record batch as a whole or not at all, so the changes of one unit of work, with the offsets
that it has handled, are one record batch of the changelog.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from pipelines.letters import dead_letter
from pipelines.streams.base import DEAD_LETTERS, EngineError, Output, Record
from pipelines.streams.kafka.connection import ANSWER, Connection
from pipelines.streams.kafka.spread import Posting, spread
from pipelines.streams.kafka.topics import LARGE, Layout

log = structlog.get_logger(__name__)

Row = tuple[bytes, bytes | None]
"""A key of a changelog and its value; None where the key goes."""

OVERHEAD = 64
"""Bytes that a record takes beside key and value, at most."""

_SETTINGS: dict[str, Any] = {
    # Idempotent: retried until it is written, never expired, and in order. Faust's own is not.
    "enable_idempotence": True,
    "acks": "all",
    "compression_type": "lz4",
    "request_timeout_ms": int(ANSWER * 1_000),
}


class WriteFailed(EngineError):
    """Neither an output nor its dead letter could be written: nothing may be acknowledged."""


class Writer:
    """The producer of the stages of one process. ``now`` in seconds since 1970, for dead letters."""

    def __init__(self, connection: Connection, layout: Layout, now: Callable[[], float]) -> None:
        self._connection = connection
        self._layout = layout
        self._now = now
        self._started: list[Any] = []

    async def start(self) -> None:
        # A batch of outputs must fit what a topic takes (1 MiB), one of table changes may be as large as a unit.
        self._outputs = AIOKafkaProducer(
            **self._connection.async_client(),
            **_SETTINGS,
            linger_ms=5,
            max_batch_size=256 << 10,
            max_request_size=LARGE,
        )
        self._changes = AIOKafkaProducer(
            **self._connection.async_client(), **_SETTINGS, max_batch_size=LARGE, max_request_size=LARGE
        )
        for producer in (self._outputs, self._changes):
            self._started.append(producer)
            await producer.start()

    async def stop(self) -> None:
        """Writes what is queued. With the brokers down this hangs: bound it."""
        started, self._started = self._started, []
        for producer in started:
            await producer.stop()

    async def begin(self, outputs: Sequence[Output], stage: str) -> Awaitable[None]:
        """Queues ``outputs`` in their order; what is returned ends when all of them are acknowledged.

        An output that no topic takes for its size becomes a dead letter. Raises WriteFailed.
        """
        sent = []
        for output in outputs:
            for posting in spread(output, self._layout):
                sent.append((output, await self._send(posting)))
        return self._acknowledged(sent, stage)

    async def write(self, outputs: Sequence[Output], stage: str) -> None:
        """``begin`` and its end."""
        await (await self.begin(outputs, stage))

    async def _send(self, posting: Posting) -> asyncio.Future[Any]:
        try:
            sending: asyncio.Future[Any] = await self._outputs.send(
                posting.topic, posting.value, posting.key, posting.partition, headers=posting.headers
            )
        except KafkaError as error:
            sending = asyncio.get_running_loop().create_future()
            sending.set_exception(error)
        return sending

    async def _acknowledged(self, sent: Sequence[tuple[Output, asyncio.Future[Any]]], stage: str) -> None:
        results = await asyncio.gather(*(sending for _, sending in sent), return_exceptions=True)
        letters = []
        for (output, _), result in zip(sent, results, strict=True):
            if isinstance(result, MessageSizeTooLargeError) and output.topic != DEAD_LETTERS:
                record = Record(output.topic, output.key, output.value, -1)
                letters.append(dead_letter(stage, record, "too_large", str(result), self._now()))
            elif isinstance(result, BaseException):
                raise WriteFailed(f"{self._layout.topic(output.topic)} can't be written: {result!r}") from result
        if letters:
            await self.write(letters, stage)

    async def append(self, stage: str, partition: int, rows: Sequence[Row]) -> int:
        """Appends the changes of a unit to the stage's changelog, as one record batch: all of them or none.

        Returns the last offset, -1 where the broker does not tell it. Raises WriteFailed.
        """
        last = -1
        parts = list(_parts(rows))
        if len(parts) > 1:
            log.warning("large_unit", action="split", stage=stage, rows=len(rows), parts=len(parts))
        for part in parts:
            batch = self._changes.create_batch()
            for key, value in part:
                batch.append(key=key, value=value, timestamp=None)
            batch.close()
            try:
                sending = await self._changes.send_batch(batch, self._layout.changelog(stage), partition=partition)
                written = await sending
            except KafkaError as error:
                raise WriteFailed(f"{self._layout.changelog(stage)} can't be written: {error!r}") from error
            last = -1 if written.offset < 0 else written.offset + len(part) - 1
        return last


def size_of(rows: Iterable[Row]) -> int:
    """Bytes that rows take in a record batch, at most."""
    return sum(len(key) + len(value or b"") + OVERHEAD for key, value in rows)


def _parts(rows: Sequence[Row]) -> Iterable[list[Row]]:
    """Rows in parts of which each fits into a record batch: mostly one."""
    part: list[Row] = []
    size = 0
    for row in rows:
        more = size_of([row])
        if part and size + more > LARGE - 4096:
            yield part
            part, size = [], 0
        part.append(row)
        size += more
    if part:
        yield part
