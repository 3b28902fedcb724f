"""The Kafka engine: the same stages, each a Faust worker of its own consumer group, on a real Apache Kafka.

Inside a stage Faust reads, keeps group and tables, and commits offsets; a unit of work is written by ``writer`` and
``partition``. What comes from outside the stages (documents, attempts, commands, watermarks) goes through the
kafka-python producer in ``publisher``; page and API follow the log with ``reader``.
"""

from pipelines.streams.kafka.connection import Connection
from pipelines.streams.kafka.engine import KafkaEngine
from pipelines.streams.kafka.reader import KafkaReader
from pipelines.streams.kafka.topics import Layout

__all__ = ["Connection", "KafkaEngine", "KafkaReader", "Layout"]
