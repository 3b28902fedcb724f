"""What a source is, what it brings, and what it is given.

SourceError
+-- SourceConfigError    settings that can't work; raised when the source is built
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Literal, Protocol

import msgspec
from prometheus_client import Counter, Gauge

from pipelines.clock import Clock

UP = Gauge(
    "tapewatch_source_up", "1 while a source can be read, or was read to its end; 0 until it was read once.", ["source"]
)
STALE = Gauge("tapewatch_source_stale", "1 while a source brings nothing new for far longer than usual.", ["source"])
LAST_SUCCESS = Gauge(
    "tapewatch_source_last_success_timestamp_seconds", "When a source was last read without error.", ["source"]
)
LAST_NEW = Gauge("tapewatch_source_last_new_timestamp_seconds", "When a source last brought something new.", ["source"])

STREAK = Gauge("tapewatch_source_failures", "Failures of a source in a row.", ["source"])
INTERVAL = Gauge("tapewatch_source_interval_seconds", "Time between two polls of a source as it is now.", ["source"])

LEFT_OUT = Counter(
    "tapewatch_source_left_out_total", "Items of one answer beyond the number that is read of a feed.", ["source"]
)

GONE = Counter(
    "tapewatch_source_gone_total", "Records of a topic that were removed before they could be read.", ["source"]
)

SourceClass = Literal["news", "filing", "social"]
SourceState = Literal["up", "stale", "down", "stopped"]


class SourceError(Exception):
    """A source's trouble."""


class SourceConfigError(SourceError):
    """The settings of a source can't work."""


class RawItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item as a source gave it. Times in seconds since 1970."""

    guid: str | None = None
    url: str | None = None
    title: str = ""
    body: str = ""
    markup: bool = False
    """Whether title and body may hold HTML."""
    published: float | None = None
    precision: Literal["second", "day"] = "second"
    updated: float | None = None
    publisher: str | None = None
    author: str | None = None
    engagement: dict[str, int] = {}
    language: str | None = None
    fetched: float
    at: float | None = None
    """Stored detection time; only files have it."""
    class_: SourceClass | None = None
    """The item's own class, where its source lets items say so."""
    zoned: bool = True
    """Whether its time said where it holds; else it was taken for the source's zone, UTC if that has none."""


class LineError(msgspec.Struct, frozen=True):
    """A line that could not be read; the rest went in."""

    line: int
    reason: str
    raw: bytes = b""
    file: str = ""


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A source's health. Times in seconds since 1970."""

    source: str
    class_: SourceClass
    state: SourceState = "up"
    at: float
    last_success: float | None = None
    last_new: float | None = None
    interval: float = 0.0
    streak: int = 0
    """Failures in a row."""
    next_poll: float | None = None
    reason: str | None = None
    items_total: int = 0
    frozen: bool = False

    @property
    def ended(self) -> bool:
        """A file that was read to its end is no trouble."""
        return self.state == "stopped" and self.reason is None

    @property
    def unread(self) -> bool:
        """Neither read once so far nor failed: nothing is known of it."""
        return self.state == "up" and self.last_success is None and not self.items_total

    def measure(self) -> None:
        """Shows the status in the metrics."""
        UP.labels(self.source).set((self.state in ("up", "stale") and not self.unread) or self.ended)
        STALE.labels(self.source).set(self.state == "stale")
        STREAK.labels(self.source).set(self.streak)
        INTERVAL.labels(self.source).set(self.interval)
        LEFT_OUT.labels(self.source)
        GONE.labels(self.source)
        if self.last_success is not None:
            LAST_SUCCESS.labels(self.source).set(self.last_success)
        if self.last_new is not None:
            LAST_NEW.labels(self.source).set(self.last_new)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one read brought. ``cursor`` is saved once the items are in the log."""

    items: list[RawItem] = []
    errors: list[LineError] = []
    cursor: bytes | None = None
    previous_success: float | None = None
    """The source's last success before this one."""


class Source(Protocol):
    """Where documents come from.

    ``batches`` is asked for the next batch only when the last one is in the log. Errors never leave it: they become
    a status, and the source backs off alone. ``report`` is told, by the one who runs it, what ingest made of a batch.
    """

    name: str
    kind: str
    class_: SourceClass
    publisher: str | None

    @property
    def interval(self) -> float: ...
    @property
    def status(self) -> SourceStatus: ...
    def batches(self, cursor: bytes | None) -> AsyncIterator[Batch]: ...
    def report(self, new: int) -> None: ...


class HttpResponse(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def moved(self) -> str | None: ...


class HttpClient(Protocol):
    """The guarded client; what it raises carries a ``reason``."""

    async def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int, deadline: float) -> HttpResponse: ...


class Tools(msgspec.Struct, frozen=True):
    """What a source is given."""

    http: HttpClient
    parser: FeedParser
    clock: Clock
    draw: Draw


class Draw(Protocol):
    """Randomness: a number in [0, 1)."""

    def __call__(self) -> float: ...


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed feed."""

    title: str = ""
    language: str | None = None
    ttl: float | None = None
    """Seconds between polls that the feed asks for."""
    skip_hours: tuple[int, ...] = ()
    items: list[RawItem] = []
    left_out: int = 0
    """Items beyond the number that is read."""


class FeedParser(Protocol):
    """The parsing jail."""

    async def parse(self, body: bytes, *, content_type: str, fetched: float, timezone: str | None) -> Feed: ...
