"""The engine that the settings name."""

from __future__ import annotations

from pathlib import Path

from monitor.settings import Settings
from pipelines.clock import Clock
from pipelines.streams.base import Engine
from pipelines.streams.embedded import EmbeddedEngine


def build_engine(settings: Settings, *, clock: Clock, watermark_interval: float) -> Engine:
    """The engine that the settings name; it holds its resources and does nothing yet."""
    return EmbeddedEngine(
        settings.engine.path,
        clock=clock,
        retention=settings.engine.retention,
        watermark_interval=watermark_interval,
    )


def view_path(settings: Settings) -> Path:
    """Where this process keeps its read model."""
    return settings.engine.path.with_name(settings.engine.path.name + ".view")
