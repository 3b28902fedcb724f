"""A stage's Faust app, embedded in our own event loop.

No command line, web server, log set-up or topic declaration of Faust's; no windowed tables (one close marker for the
whole table, expiry by the wall clock) and no ``exactly_once`` (not dependable): at least once, and idempotent by ids.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from faust.transport.drivers import aiokafka
from faust.types import TP

from pipelines.clock import Clock
from pipelines.streams.base import Output, Stage
from pipelines.streams.kafka.connection import ANSWER, Connection
from pipelines.streams.kafka.order import ReadLog
from pipelines.streams.kafka.topics import Layout
from pipelines.streams.kafka.writer import Writer

BUFFER = 1_024
"""Records fetched ahead of a stage: what bounds the memory under any backlog."""

SESSION = 10.0
"""Seconds without a heartbeat after which the group gives a worker's partitions to others."""

RAW: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}


class _Thread(aiokafka.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class _Consumer(aiokafka.Consumer):
    """Faust's, but for what it commits. Faust counts acknowledged events, and where one was never handed out it commits
    beyond it with the next (``_new_offset`` lets one offset be missing, ``_add_gap`` any number)."""

    transport: _Transport

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self.assignment() if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self.transport.handled(tp)

    def ack(self, message: Any) -> bool:
        """Faust lets go of the message; nothing follows for what is committed."""
        fresh = not message.acked
        message.acked = True
        self._unacked_messages.discard(message)
        return fresh

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nobody asks for gaps."""


class _Transport(aiokafka.Transport):
    """Faust's, but for what is committed, and for what other producers write within transactions: Faust reads only what
    was committed of it where it writes in transactions itself, and has no setting for it."""

    Consumer = _Consumer
    handled: Handled


Handled = Callable[[TP], int | None]
"""Asked for the offset up to which a partition is handled; None while that is not known."""


@dataclass(frozen=True)
class Site:
    """What the workers of one process share. ``data``: a folder of this process's own."""

    connection: Connection
    layout: Layout
    writer: Writer
    data: Path
    clock: Clock
    announce: Callable[[Sequence[Output]], None]
    """Told on the loop of what was written."""
    failed: Callable[[BaseException], None]
    """Told why a stage ended that should not have."""
    starts: Callable[[str, Sequence[tuple[str, int]]], Awaitable[dict[tuple[str, int], int]]]
    """Asked where a group goes on in places (a broker's topic, a partition). Empty when the engine stops."""
    read: ReadLog


def embed(stage: Stage, site: Site, body: Callable[[Any], Any], handled: Handled) -> tuple[faust.App, Any]:
    """The app of ``stage``, whose agent is ``body``, and its table; None where the stage keeps no state."""
    layout = site.layout
    (site.data / stage.name).mkdir(parents=True, exist_ok=True)
    app = faust.App(
        layout.group(stage.name),
        **site.connection.worker(),
        datadir=str(site.data / stage.name),
        store="rocksdb://",
        autodiscover=False,
        web_enabled=False,  # it listens on all interfaces, with open endpoints
        worker_redirect_stdouts=False,
        topic_allow_declare=False,  # `tapewatch kafka init` makes the topics, with the right settings
        topic_disable_leader=True,
        topic_partitions=layout.count(stage.inputs[0]),
        processing_guarantee="at_least_once",
        table_standby_replicas=0,  # a standby's RocksDB would lie in the way when its partition comes
        stream_wait_empty=False,
        stream_buffer_maxsize=BUFFER,
        stream_recovery_delay=0.0,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION,
        broker_request_timeout=ANSWER,
        broker_heartbeat_interval=3.0,
        broker_commit_interval=1.0,
        broker_max_poll_records=500,
        producer_acks=-1,
        producer_linger=0.005,
    )
    app.transport = transport = _Transport(app.conf.broker_consumer, app)
    transport.handled = handled
    topics = app.topic(*(layout.topic(topic) for topic in stage.inputs), **RAW)
    app.agent(topics, name=stage.name, concurrency=1)(body)
    return app, _table(app, stage, layout) if stage.tables else None


def _table(app: faust.App, stage: Stage, layout: Layout) -> Any:
    """One table for all of a stage's: its changelog is then one log of whole units of work."""
    count = layout.count(stage.inputs[0])
    changelog = app.topic(
        layout.changelog(stage.name),
        partitions=count,
        acks=False,
        internal=True,
        maxsize=131_072,
        allow_empty=True,
        **RAW,
    )
    # Faust's defaults are a block cache of 2 GB and write buffers of 192 MB for each partition.
    options = {"block_cache_size": 16 << 20, "write_buffer_size": 8 << 20, "max_write_buffer_number": 2}
    return app.Table(
        "state", partitions=count, key_type=bytes, value_type=bytes, changelog_topic=changelog, options=options
    )
