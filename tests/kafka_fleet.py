"""Every stage as a process of its own on a real Kafka, as an institution would run it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from pipelines.streams.base import WATERMARK
from tests.daemon_bench import Daemon, wait_for

PATIENCE = 90.0
"""Seconds for what takes some: a killed worker's partitions are given away after the session of 10 s."""
PARTS = ("ingest", "score", "aggregate", "notify", "view")


class Fleet:
    """One process for each part, all in ``folder``, on the brokers at ``address`` under a prefix of their own.

    ``settings``: what they have in common beside the engine.
    """

    def __init__(
        self, folder: Path, address: str, settings: str, *, parts: Sequence[str] = PARTS, partitions: int = 2
    ) -> None:
        self.address = address
        self.prefix = f"t{uuid.uuid4().hex[:10]}."
        folder.mkdir(exist_ok=True)
        self._folder, self._settings, self._partitions = folder, settings, partitions
        self.daemons = {part: self.daemon(part, part) for part in parts}

    def daemon(self, name: str, only: str) -> Daemon:
        """Another process, not started yet."""
        brokers = ", ".join(f'"{broker}"' for broker in self.address.split(","))
        engine = (
            f'[engine]\nkind = "kafka"\n[engine.kafka]\nbrokers = [{brokers}]\nreplication = 1\n'
            f'partitions = {self._partitions}\ntopic_prefix = "{self.prefix}"\ngroup_prefix = "{self.prefix}"\n'
        )
        return Daemon(self._folder / name, engine + self._settings, only=only)

    def __getitem__(self, part: str) -> Daemon:
        return self.daemons[part]

    def __enter__(self) -> Fleet:
        made = self.daemon("init", "").cli("kafka", "init")
        assert made.returncode == 0, made.stderr
        for daemon in self.daemons.values():
            daemon.start(ready=False)
        try:
            self.ready()
        except BaseException:  # no process of it may outlive the test
            self.__exit__()
            raise
        return self

    def ready(self) -> None:
        for part, daemon in self.daemons.items():
            wait_for(daemon._is_ready, f"readiness of {part}", PATIENCE)

    def __exit__(self, *_: object) -> None:
        for daemon in self.daemons.values():
            daemon.__exit__()

    # -- looking into the log -----------------------------------------------------------------------------

    def records(self, topic: str) -> list[Any]:
        """Everything in a topic, watermarks apart, each partition in its order."""
        consumer = KafkaConsumer(bootstrap_servers=self.address, auto_offset_reset="earliest")
        try:
            numbers = consumer.partitions_for_topic(self.prefix + topic) or set()
            places = [TopicPartition(self.prefix + topic, number) for number in sorted(numbers)]
            consumer.assign(places)
            ends = consumer.end_offsets(places)
            found: list[Any] = []
            while any(consumer.position(place) < end for place, end in ends.items()):
                for batch in consumer.poll(timeout_ms=1_000).values():
                    found.extend(record for record in batch if record.key != WATERMARK.encode())
            return found
        finally:
            consumer.close()
