"""The engine that the settings name."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from models.registry import Registry
from monitor.settings import Settings, SettingsError
from pipelines.clock import Clock
from pipelines.streams.base import Claim, Engine, LogReader
from pipelines.streams.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from pipelines.streams.kafka import Connection, Layout

INPUT_PARTITIONS = Gauge(
    "tapewatch_stage_input_partitions",
    "Partitions of a stage's input, on Kafka: all processes' tapewatch_stage_partitions should come to this.",
    ["stage"],
)

WATERMARKS = {"embedded": 1.0, "kafka": 0.25}
"""Seconds between two watermarks, by engine: on Kafka a reader believes the least of several, so they come closer."""

MARKS = 1_000.0
"""Watermarks on evidence a second, at most: each partition of documents speaks to each of evidence, so that they
grow with the square of the partitions."""

SELDOM = 10.0
"""Seconds between two watermarks at most: no alert should wait longer for its end."""

KAFKA_PACKAGES = (
    "faust-streaming",
    "kafka-python",
    "rocksdict",
    "crc32c",
    "lz4",
    "python-snappy",
    "zstandard",
    "cramjam",
)
"""All of them: without the last, for one, compressed records stop a worker without a word."""


def check_engine(settings: Settings) -> None:
    """Raises SettingsError where this installation has no such engine, or can't read a source."""
    wanting = ["engine.kind"] if settings.engine.kind == "kafka" else []
    wanting += [f"sources ({entry.name}): kind" for entry in settings.sources if entry.kind == "kafka"]
    for name in KAFKA_PACKAGES if wanting else ():
        try:
            distribution(name)
        except PackageNotFoundError:
            raise SettingsError(
                f"{settings.file}: {wanting[0]} = \"kafka\" needs the package {name}: pip install 'tapewatch[kafka]'"
            ) from None


def claim(settings: Settings) -> Claim:
    """What makes this process the only one on its store, or on its data folder. Raises SettingsError, StoreLocked."""
    check_engine(settings)
    try:
        if settings.engine.kind == "kafka":
            from pipelines.streams.kafka import KafkaEngine

            return KafkaEngine.claim(settings.engine.kafka.data_dir)
        return EmbeddedEngine.claim(settings.engine.path)
    except OSError as error:
        kafka = settings.engine.kind == "kafka"
        where = f'kafka.data_dir = "{settings.engine.kafka.data_dir}"' if kafka else f'path = "{settings.engine.path}"'
        raise SettingsError(
            f"{settings.file}: engine.{where}: {error.strerror or error}; give a place where this process may write"
        ) from None


def build_engine(settings: Settings, *, clock: Clock, claimed: Claim) -> Engine:
    """The engine that the settings name; it holds its resources and does nothing yet. ``claimed``: as
    ``claim`` gives it, and then the engine's. Raises EngineError."""
    if settings.engine.kind == "kafka":
        from monitor.stages import STAGES  # which ask of the model, and that where the engine keeps the registry
        from pipelines.streams.kafka import KafkaEngine

        layout = kafka_layout(settings)
        for stage in STAGES:
            INPUT_PARTITIONS.labels(stage.name).set(layout.count(stage.inputs[0]))
        return KafkaEngine(
            kafka_connection(settings),
            layout,
            settings.engine.kafka.data_dir,
            clock=clock,
            claimed=claimed,
        )
    return EmbeddedEngine(
        settings.engine.path,
        clock=clock,
        retention=settings.engine.retention,
        texts=settings.retention.texts,
        claimed=claimed,
    )


def kafka_connection(settings: Settings) -> Connection:
    """How the brokers are reached."""
    from pipelines.streams.kafka import Connection

    kafka = settings.engine.kafka
    return Connection(
        brokers=kafka.brokers,
        tls=kafka.encrypted,
        ca_file=_text(kafka.ca_file),
        cert_file=_text(kafka.cert_file),
        key_file=_text(kafka.key_file),
        mechanism=kafka.sasl,
        username=kafka.username,
        secret=kafka.credential,
    )


def kafka_layout(settings: Settings) -> Layout:
    """How topics and groups are named and cut."""
    from pipelines.streams.kafka import Layout

    kafka = settings.engine.kafka
    return Layout(
        topic_prefix=kafka.topic_prefix,
        group_prefix=kafka.group_prefix,
        partitions=kafka.partitions,
        replication=kafka.replication,
        retention=settings.engine.retention,
        texts=settings.retention.texts,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def between_watermarks(settings: Settings) -> float:
    """Seconds from one watermark of ingest to the next."""
    interval = WATERMARKS[settings.engine.kind]
    if settings.engine.kind == "kafka":
        interval = max(interval, min(settings.engine.kafka.partitions**2 / MARKS, SELDOM))
    return interval


def view_path(settings: Settings) -> Path:
    """Where this process keeps its read model."""
    engine = settings.engine
    if engine.kind == "kafka":
        return engine.kafka.data_dir / "view"
    return _beside(settings, ".view")


def registry(settings: Settings) -> Registry:
    """The models that this installation has."""
    return Registry(settings.model.registry or _beside(settings, ".models"))


def _beside(settings: Settings, ending: str) -> Path:
    """A place beside the engine's state."""
    engine = settings.engine
    state = engine.kafka.data_dir if engine.kind == "kafka" else engine.path
    return state.with_name(state.name + ending)


def log_reader(settings: Settings) -> LogReader:
    """A way through the log of a daemon that may run beside this process, or not. Raises SettingsError."""
    if settings.engine.kind == "kafka":
        from pipelines.streams.kafka import KafkaReader

        check_engine(settings)
        return KafkaReader(kafka_connection(settings), kafka_layout(settings))
    path = settings.engine.path
    if not path.is_file():
        raise SettingsError(f"{path}: there is no store yet; `tapewatch run` fills one, or name files of documents")
    return EmbeddedEngine.log(path)
