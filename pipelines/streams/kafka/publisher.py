"""How records from outside the stages are written: kafka-python's idempotent producer.

Rules that the measured ways of kafka-python 3.0.12 dictate, and that hold here:

- Its idempotent producer wedges for ever after an outage longer than ``delivery_timeout_ms``: futures are never
  resolved and ``send`` goes on accepting. So that time is an hour, and long before it the watchdog ends the process,
  which starts anew with a fresh producer.
- It has no ``buffer_memory`` and ``send`` never blocks: records in flight are bounded here.
- A failed send may still have been written; all that goes this way is idempotent by its id.
- Without the ``crc32c`` package it is six to fifteen times slower; lz4 needs ``lz4``.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from kafka import KafkaProducer

from pipelines.streams.base import Output, Unwritable
from pipelines.streams.kafka.connection import Connection
from pipelines.streams.kafka.spread import Posting, spread
from pipelines.streams.kafka.topics import LARGE, Layout

log = structlog.get_logger(__name__)

IN_FLIGHT = 4_000
"""Records that may wait for their acknowledgement: some 20 MB of documents."""

CHUNK = 500
"""Records sent in one go."""

DELIVERY_TIMEOUT = 3_600.0
"""Seconds after which the producer itself gives a record up, and wedges."""

WATCHDOG = DELIVERY_TIMEOUT * 0.8
"""Seconds without an acknowledgement after which the process ends."""


class Publisher:
    """The producer of what comes from outside the stages. All of it but ``_send`` runs on the event loop."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection = connection
        self._layout = layout
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publish")
        self._room = asyncio.Semaphore(IN_FLIGHT // CHUNK)
        self._waiting: dict[int, float] = {}
        """Chunk to the monotonic second in which it was sent."""
        self._chunks = itertools.count()
        self._producer: Any = None
        self.answered: float | None = None
        """When a broker last acknowledged something, in monotonic seconds."""

    async def start(self) -> None:
        self._producer = await self._on_thread(self._connect)

    def _connect(self) -> KafkaProducer:
        return KafkaProducer(
            **self._connection.client(),
            acks="all",
            enable_idempotence=True,
            delivery_timeout_ms=int(DELIVERY_TIMEOUT * 1000),
            linger_ms=20,
            batch_size=65_536,
            max_request_size=LARGE,
            compression_type="lz4",
            reconnect_backoff_max_ms=1_000,
        )

    async def stop(self, budget: float) -> None:
        if self._producer is not None:
            await self._on_thread(self._producer.close, budget)
        self._thread.shutdown(wait=False)

    def oldest(self) -> float:
        """Seconds that the oldest unacknowledged record has waited."""
        return time.monotonic() - min(self._waiting.values()) if self._waiting else 0.0

    async def publish(self, outputs: Iterable[Output]) -> None:
        """Returns when all of ``outputs`` are acknowledged, sent in their order. Raises Unwritable."""
        postings = [posting for output in outputs for posting in spread(output, self._layout)]
        acknowledged = []
        for start in range(0, len(postings), CHUNK):
            await self._room.acquire()
            acknowledged.append(await self._begin(postings[start : start + CHUNK]))
        results = await asyncio.gather(*acknowledged, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise Unwritable(f"the broker did not take it: {result!r}") from result

    async def _begin(self, chunk: Sequence[Posting]) -> asyncio.Future[None]:
        """Sends a chunk; the future ends with its last acknowledgement, or the first failure."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        number = next(self._chunks)
        self._waiting[number] = time.monotonic()

        def end(error: BaseException | None) -> None:
            if self._waiting.pop(number, None) is not None:
                self._room.release()
            if not done.done():
                if error is None:
                    self.answered = time.monotonic()
                    done.set_result(None)
                else:
                    done.set_exception(error)

        try:
            sent = await self._on_thread(self._send, chunk)
        except Exception as error:  # whoever waits for the result gets it
            end(error)
            return done
        _when_all(sent, loop, end)
        return done

    def _send(self, chunk: Sequence[Posting]) -> list[Any]:
        return [
            self._producer.send(
                posting.topic,
                value=posting.value,
                key=posting.key,
                headers=posting.headers,
                partition=posting.partition,
            )
            for posting in chunk
        ]

    async def _on_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _when_all(sent: Sequence[Any], loop: asyncio.AbstractEventLoop, end: Any) -> None:
    """Calls ``end`` on the loop with None when all are acknowledged, or with the first failure."""
    left = len(sent)

    def tell(error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(end, error)
        except RuntimeError:
            log.debug("late_acknowledgement", action="ignore")  # the loop has ended

    def one(_: Any) -> None:
        nonlocal left
        left -= 1  # on the producer's own thread alone
        if left == 0:
            tell(None)

    for future in sent:
        future.add_callback(one)
        future.add_errback(tell)
