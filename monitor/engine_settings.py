"""The engine's section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from monitor.kafka_settings import KafkaAccess
from monitor.sections import UNITS, Positive, Section, most

Prefix = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{0,100}$")]


class Kafka(KafkaAccess):
    """Apache Kafka, for `kind = "kafka"`. TLS always checks the brokers' host names."""

    topic_prefix: Prefix = Field("tapewatch.", description="What every topic's name begins with.")
    group_prefix: Prefix = Field("tapewatch-", description="What every consumer group's name begins with.")
    partitions: int = Field(
        6, ge=1, le=1_000, description="Partitions of documents, evidence and what goes with them: most score workers."
    )
    replication: int = Field(3, ge=1, le=15, description="Copies of each record; 1 where there is one broker.")
    data_dir: Path = Field(
        Path("tapewatch-data"), description="Folder of this process's tables and read model; a process needs its own."
    )


class Engine(Section):
    """Where records are kept."""

    kind: Literal["embedded", "kafka"] = Field(
        "embedded", description="embedded: one process and one SQLite file; kafka: many processes on Apache Kafka."
    )
    path: Path = Field(Path("tapewatch.db"), description="The embedded engine's file.")
    retention: Positive = Field(7 * 86_400.0, description="How long records are kept in the log.")
    drain: Annotated[Positive, most(UNITS["h"])] = Field(
        20.0, description="Longest time that a stop may take; at most 1h."
    )
    kafka: Kafka = Field(Kafka(), description="How Kafka is reached.")

    @model_validator(mode="after")
    def _reachable(self) -> Engine:
        if self.kind == "kafka" and not self.kafka.brokers:
            raise ValueError('kind = "kafka" needs [engine.kafka] brokers, as in ["kafka-1.example:9093"]')
        return self
