"""Documents from a topic of the user's own, whatever their format, through a mapping of fields."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import structlog

from pipelines.sources.base import (
    GONE,
    Batch,
    LineError,
    RawItem,
    SourceClass,
    SourceConfigError,
    SourceStatus,
    Tools,
)
from pipelines.sources.files import item_of
from pipelines.sources.lines import LINE_LIMIT
from pipelines.sources.schedule import Health, is_frozen, note_failure, note_success, state_of

if TYPE_CHECKING:
    from pipelines.sources.kafka_consumer import Found, Gap, Offsets, TopicReader

log = structlog.get_logger(__name__)

T = TypeVar("T")

BACKOFF_TO = 60.0
"""Seconds between two trials at most: brokers come back, and whoever reads them is waited for."""

USUAL = 1.0
"""Seconds between two looks for records where there are none."""

LIVE = 600.0
"""Seconds in the topic beyond which a record is history that is caught up with: it counts from its own date, lest an
hour's news look like a burst."""

SHOW_EVERY = 5.0
"""Seconds between two commits for display."""

TOLD_FOR = 3_600.0
"""Seconds for which the status tells of records that are gone."""

RAW = 2_000
"""Bytes kept of a record that doesn't fit; the topic has them all."""

Sasl = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]


class Paths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a document's fields are in a record: names of objects within objects, with dots between them."""

    id: str | None = None
    url: str | None = None
    title: str | None = None
    text: str | None = None
    published: str | None = None
    publisher: str | None = None
    author: str | None = None
    language: str | None = None


class KafkaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Kafka source's settings. ``secret``: the password or token, asked for at each sign-in; ``group``: where the
    place is shown to others, who may change nothing by it."""

    name: str
    brokers: tuple[str, ...]
    topic: str
    fields: Paths
    start: Literal["latest", "earliest"] = "latest"
    group: str | None = None
    publisher: str | None = None
    class_: SourceClass = "news"
    timezone: str | None = None
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    sasl: Sasl | None = None
    username: str | None = None
    secret: Callable[[], str] | None = None


class Cursor(msgspec.Struct, array_like=True):
    """What is saved of a topic; another one in the settings starts anew."""

    topic: str
    offsets: dict[int, int]
    health: Health = msgspec.field(default_factory=Health)


class KafkaSource:
    """One topic. Its place is saved with ingest's tables when the log has the documents, never by a group."""

    kind = "kafka"
    interval = USUAL

    def __init__(self, options: KafkaOptions, tools: Tools) -> None:
        self.name = options.name
        self.class_: SourceClass = options.class_
        self.publisher = options.publisher
        self._options = options
        self._tools = tools
        self._reader = _reader(options)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"kafka:{options.name}")
        self._offsets: Offsets | None = None
        self._health = Health()
        self._reason: str | None = None
        self._unfit: str | None = None
        """Why the records of the last read don't fit, where none does: that is a mapping's fault."""
        self._gone: tuple[float, str] | None = None
        self._next: float | None = None
        self._new = 0
        self._shown = 0.0
        self._refused_show = False

    @property
    def status(self) -> SourceStatus:
        now, health = self._tools.clock.time(), self._health
        frozen = is_frozen(health, self.interval)
        gone = self._gone[1] if self._gone is not None and now - self._gone[0] < TOLD_FOR else None
        return SourceStatus(
            source=self.name,
            class_=self.class_,
            state=state_of(health, frozen=frozen),
            at=now,
            last_success=health.last_success,
            last_new=health.last_new,
            interval=self.interval,
            streak=health.streak,
            next_poll=self._next,
            reason=self._reason or self._unfit or gone or ("nothing new for far longer than usual" if frozen else None),
            items_total=health.items,
            frozen=frozen,
        )

    def report(self, new: int) -> None:
        self._new = new

    async def batches(self, cursor: bytes | None) -> AsyncIterator[Batch]:
        self._restore(cursor)
        self.status.measure()
        clock = self._tools.clock
        try:
            while True:
                yield await self._poll()
                if self._reason is None:
                    # Only ingest knows what was new; it has told by now, and the log has it.
                    self._health = note_success(self._health, clock.time(), self._new)
                    await self._show()
                self.status.measure()
                if self._next is not None:
                    await clock.sleep(max(0.0, self._next - clock.time()))
        finally:
            # Not waited for: with the brokers hung it takes its time, and nothing of it is still needed.
            self._thread.submit(self._reader.close)
            self._thread.shutdown(wait=False)

    def _restore(self, cursor: bytes | None) -> None:
        if cursor is None:
            return
        try:
            saved = msgspec.msgpack.decode(cursor, type=Cursor)
        except msgspec.DecodeError:
            log.warning("cursor_unreadable", action="start_anew", source=self.name)
            return
        if saved.topic == self._options.topic:
            self._offsets, self._health = saved.offsets, saved.health

    async def _poll(self) -> Batch:
        """One read: never raises for the brokers' troubles."""
        self._new, self._next = 0, None
        try:
            found = await self._on_thread(partial(self._reader.read, self._offsets))
        except Exception as error:  # the client's errors, certificates, a password's file: all one to the source
            self._fail(error)
            return Batch(previous_success=self._health.last_success)
        self._reason = None
        for gap in found.gaps:
            self._tell(gap)
        moved = found.offsets != self._offsets
        self._offsets = dict(found.offsets)
        return self._batch(found, moved=moved)

    def _batch(self, found: Found, *, moved: bool) -> Batch:
        now = self._tools.clock.time()
        items: list[RawItem] = []
        errors: list[LineError] = []
        for record in found.records:
            try:
                items.append(item_of_record(record, self._options, now))
            except (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
                errors.append(_misfit(record, self._options, error))
        if found.records:
            self._unfit = errors[-1].reason if not items else None
        saved = Cursor(self._options.topic, dict(found.offsets), msgspec.structs.replace(self._health, streak=0))
        live = all(now - (record.timestamp or 0) / 1_000 < LIVE for record in found.records)
        return Batch(
            items=items,
            errors=errors,
            cursor=msgspec.msgpack.encode(saved) if moved else None,
            previous_success=now if live else None,
        )

    def _fail(self, error: Exception) -> None:
        self._reason = _reason(error, self._options)
        self._health = note_failure(self._health)
        wait = min(BACKOFF_TO, 2.0 ** min(self._health.streak - 1, 10)) * (1.0 + 0.2 * self._tools.draw())
        self._next = self._tools.clock.time() + wait
        log.warning("source_failed", action="back_off", source=self.name, reason=self._reason)

    def _tell(self, gap: Gap) -> None:
        place = f"{self._options.topic}[{gap.partition}]"
        if gap.anew:
            what = f"{place} ended before offset {gap.first}: the topic was made anew, read from its beginning"
        else:
            what = f"{place}: offsets {gap.first} to {gap.end - 1} were removed unread; raise its retention.ms"
            GONE.labels(self.name).inc(gap.end - gap.first)
        self._gone = self._tools.clock.time(), what
        log.warning("records_gone", action="read_on", source=self.name, reason=what)

    async def _show(self) -> None:
        """Shows the place to others, now and then. Whether that works is of no matter to the place itself."""
        now, group = self._tools.clock.time(), self._options.group
        if group is None or self._offsets is None or now - self._shown < SHOW_EVERY:
            return
        self._shown = now
        try:
            await self._on_thread(partial(self._reader.show, group, self._offsets))
            self._refused_show = False
        except Exception as error:  # whatever it is, the documents are in the log
            if not self._refused_show:
                log.warning("place_not_shown", action="go_on", source=self.name, group=group, error=repr(error)[:200])
            self._refused_show = True

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _reader(options: KafkaOptions) -> TopicReader:
    """Raises SourceConfigError where the extra is missing."""
    try:
        from pipelines.sources.kafka_consumer import TopicReader
        from pipelines.streams.base import EngineError
        from pipelines.streams.kafka.connection import Connection
    except ImportError as error:
        raise SourceConfigError(
            f"source {options.name!r}: kind = \"kafka\" needs the package {error.name}: pip install 'tapewatch[kafka]'"
        ) from error
    try:
        connection = Connection(
            brokers=options.brokers,
            tls=options.tls,
            ca_file=options.ca_file,
            cert_file=options.cert_file,
            key_file=options.key_file,
            mechanism=options.sasl,
            username=options.username,
            secret=options.secret,
        )
    except EngineError as error:
        raise SourceConfigError(f"source {options.name!r}: {error}") from error
    return TopicReader(connection, options.topic, start=options.start)


def item_of_record(record: Any, options: KafkaOptions, fetched: float) -> RawItem:
    """A record of the topic as an item. Raises ValueError naming the field and where it was looked for."""
    value: bytes | None = record.value
    if value is None:
        raise ValueError("no value (a tombstone): this is no topic of documents")
    if len(value) > LINE_LIMIT:
        raise ValueError(f"longer than {LINE_LIMIT} bytes")
    fields = msgspec.json.decode(value)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (one kind of error a record)
    found = {name: _at(fields, path) for name, path in msgspec.structs.asdict(options.fields).items() if path}
    if found.get("published") in (None, ""):
        found["published"] = record.timestamp
    if found.get("id") in (None, ""):
        found["id"] = f"{record.topic}-{record.partition}-{record.offset}"
    return item_of(found, fetched=fetched, timezone=options.timezone)


def _at(fields: Mapping[str, Any], path: str) -> Any:
    """What is at a path, None where there is nothing. A name may hold dots itself."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _misfit(record: Any, options: KafkaOptions, error: Exception) -> LineError:
    """A record that doesn't fit, with its place and what to do."""
    place = f"{record.topic}[{record.partition}]"
    paths = ", ".join(f"{name} = {path}" for name, path in msgspec.structs.asdict(options.fields).items() if path)
    remedy = f"correct fields ({paths}), or what writes the topic"
    reason = f"{place} offset {record.offset}: {str(error)[:200]}; {remedy}"
    return LineError(record.offset, reason, (record.value or b"")[:RAW], place)


def _reason(error: Exception, options: KafkaOptions) -> str:
    """An error in a line, with what to do where that is known."""
    name, text = type(error).__name__, " ".join(str(error).split())
    brokers = ", ".join(options.brokers)
    if name == "Refused":
        return f"{text}; then reading goes on by itself"[:300]
    if name == "TopicMissing":
        return f"{text}: create it, or grant {options.username or 'this client'} the right to describe and read it"
    if "Authentication" in name or "Authorization" in name:
        return f"{brokers}: {name}: {text}: correct sasl, username and password, or the topic's rights"[:300]
    if name in ("NoBrokersAvailable", "KafkaTimeoutError", "KafkaConnectionError", "NodeNotReadyError"):
        return f"no broker of {brokers} answers ({name}): reading goes on when one does"
    return f"{brokers}: {name}: {text}"[:300]
