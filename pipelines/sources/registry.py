"""The registry of sources: a kind and settings make a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import available_timezones

import msgspec

from pipelines.sources.base import Source, SourceConfigError, Tools
from pipelines.sources.feeds import FeedOptions, FeedSource
from pipelines.sources.follow import FileOptions, FileSource
from pipelines.sources.kafka_topic import KafkaOptions, KafkaSource
from pipelines.sources.stdin import StdinOptions, StdinSource

OPTIONS: dict[str, type[msgspec.Struct]] = {
    "feed": FeedOptions,
    "file": FileOptions,
    "stdin": StdinOptions,
    "kafka": KafkaOptions,
}


def build(kind: str, options: Mapping[str, Any], tools: Tools) -> Source:
    """A source from its settings; durations in seconds. Raises SourceConfigError naming the field."""
    if kind not in OPTIONS:
        raise SourceConfigError(f"kind {kind!r} is unknown; allowed: {', '.join(OPTIONS)}")
    fields = {("class_" if name == "class" else name): value for name, value in options.items() if value is not None}
    zone = fields.get("timezone")
    if zone is not None and zone not in available_timezones():
        raise SourceConfigError(f"source {options.get('name')!r}: timezone {zone!r} is unknown; one is Asia/Shanghai")
    try:
        if kind == "feed":
            return FeedSource(msgspec.convert(fields, FeedOptions), tools)
        if kind == "stdin":
            return StdinSource(msgspec.convert(fields, StdinOptions), tools)
        if kind == "kafka":
            return KafkaSource(msgspec.convert(fields, KafkaOptions), tools)
        return FileSource(msgspec.convert(fields, FileOptions), tools)
    except msgspec.ValidationError as error:
        raise SourceConfigError(f"source {options.get('name')!r}: {error}") from error
