"""The engine that the settings name."""

from __future__ import annotations

from pathlib import Path

from monitor.settings import Settings, SettingsError
from pipelines.clock import Clock
from pipelines.streams.base import Engine
from pipelines.streams.embedded import EmbeddedEngine


def check_engine(settings: Settings) -> None:
    """Raises SettingsError where this installation has no such engine."""
    if settings.engine.kind == "kafka":
        raise SettingsError(f'{settings.file}: engine.kind = "kafka": not in this version; allowed: "embedded"')


def build_engine(settings: Settings, *, clock: Clock, watermark_interval: float) -> Engine:
    """The engine that the settings name; it holds its resources and does nothing yet. Raises SettingsError."""
    check_engine(settings)
    return EmbeddedEngine(
        settings.engine.path,
        clock=clock,
        retention=settings.engine.retention,
        watermark_interval=watermark_interval,
    )


def view_path(settings: Settings) -> Path:
    """Where this process keeps its read model."""
    engine = settings.engine
    if engine.kind == "kafka":
        return engine.kafka.data_dir / "view"
    return engine.path.with_name(engine.path.name + ".view")
