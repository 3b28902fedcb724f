"""Builds the stages from settings, starts and stops them, and answers what page and API ask."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog
from prometheus_client import Gauge

from alerts.channels import Channel
from alerts.channels import build as build_channel
from alerts.delivery import DeliveryLoop
from alerts.detector import VERSION as DETECTOR_VERSION
from alerts.detector import Detector
from alerts.evidence import ping
from alerts.outbox import DeliveryAttempt, Endpoint, Obligation
from alerts.rules import Matcher, Route, Silence
from models.classifier import Classifier, load
from monitor import __version__
from monitor.http import USER_AGENT, GuardedClient
from monitor.settings import Settings, SettingsError, WatchListSettings
from pipelines.aggregate import Aggregate
from pipelines.clock import Clock, SystemClock
from pipelines.coverage import BLIND
from pipelines.documents import Command, DeadLetter, Operation, SourceRecord, decode, encode, iso
from pipelines.entities import EntityConfigError, EntityIndex, resolve
from pipelines.ingest import Ingest, Origin, Outcome
from pipelines.notify import OPERATION, Context, Notify
from pipelines.parse import Jail
from pipelines.score import Score
from pipelines.sources import registry
from pipelines.sources.base import Batch, LineError, RawItem, Source, SourceStatus, Tools
from pipelines.sources.files import parse_body, read_documents
from pipelines.streams.base import (
    CANDIDATES,
    COMMANDS,
    DELIVERIES,
    DOCUMENTS,
    INGEST,
    OUTBOX,
    SOURCES,
    Engine,
    EngineError,
    LogReader,
    Output,
    State,
    Unwritable,
)
from pipelines.streams.embedded import EmbeddedEngine
from pipelines.text import day_spread
from pipelines.universe import Entity, load_universe
from pipelines.view import TOPICS as VIEW_TOPICS
from pipelines.view import ReadModel
from pipelines.watch import Watch, WatchList

log = structlog.get_logger(__name__)

BUILD = Gauge("tapewatch_build_info", "1, with the version.", ["version"])
CONFIG = Gauge("tapewatch_config_info", "1, with the settings' hash.", ["sha256"])
MODEL = Gauge("tapewatch_model_info", "1, with the model.", ["model"])

PUSH = "api"
"""The source of documents that come over POST."""

LAG_ALARM = 60.0
"""Seconds of lag, kept up for LAG_PATIENCE seconds, that are an operational event."""
LAG_PATIENCE = 30.0
STATUS_EVERY = 15.0
VIEW_BATCH = 1_000
RELOADABLE = ("watchlists", "routes", "silences")
SUBSCRIBER_QUEUE = 1_000


class Accepted(msgspec.Struct):
    """What became of the documents of a POST or of files. ``empty``: nothing readable in them."""

    accepted: int = 0
    duplicate: int = 0
    revision: int = 0
    stale: int = 0
    oversize: int = 0
    empty: int = 0
    invalid: list[dict[str, Any]] = []

    def add(self, outcome: Outcome) -> None:
        for name in ("accepted", "duplicate", "revision", "stale", "oversize"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.empty += outcome.invalid


class Parts(msgspec.Struct):
    """What the settings' lists became."""

    watch: Watch
    entities: EntityIndex
    routes: tuple[Route, ...]
    silences: tuple[Silence, ...]


def assemble(settings: Settings, topics: Sequence[str]) -> Parts:
    """Watch-lists, routes and silences from settings. Raises SettingsError with the key that can't work."""
    universe = load_universe()
    lists = [
        _watchlist(f"{settings.file}: watchlists #{number} ({entry.name})", entry, universe, topics)
        for number, entry in enumerate(settings.watchlists, 1)
    ]
    watch = Watch(lists, topics)
    routes = tuple(
        Route(
            types=entry.types,
            watchlists=entry.watchlists,
            keys=entry.keys,
            severities=entry.severities,
            channels=entry.channels,
        )
        for entry in settings.routes
    )
    # The user's own companies come first: where names clash, theirs is meant.
    return Parts(watch, EntityIndex([*watch.entities(), *universe]), routes, _silences(settings))


def _watchlist(where: str, entry: WatchListSettings, universe: Sequence[Entity], topics: Sequence[str]) -> WatchList:
    entities = []
    for spec in entry.entities:
        try:
            entities.append(resolve(spec if isinstance(spec, str) else spec.model_dump(exclude_none=True), universe))
        except EntityConfigError as error:
            raise SettingsError(f"{where}: entities: {error}") from None
    for label in entry.topics:
        if label not in topics:
            raise SettingsError(f"{where}: topics: {label!r} is none of the model's topics: {', '.join(topics)}")
    return WatchList(
        name=entry.name, entities=tuple(entities), topics=entry.topics, budget=entry.false_alarms_per_key_month
    )


def _silences(settings: Settings) -> tuple[Silence, ...]:
    found = []
    for number, entry in enumerate(settings.silences, 1):
        where = f"{settings.file}: silences #{number}: until {entry.until!r}"
        try:
            until = datetime.fromisoformat(entry.until)
        except ValueError:
            raise SettingsError(f"{where} is not ISO 8601") from None
        if until.tzinfo is None:
            raise SettingsError(f"{where} needs an offset, as in 2026-01-31T12:00:00Z")
        match = Matcher(keys=entry.keys, watchlists=entry.watchlists, severities=entry.severities)
        expires = until.timestamp()
        found.append(Silence(id=f"settings-{number}", match=match, created=0.0, expires=expires, comment=entry.comment))
    return tuple(found)


def build_engine(settings: Settings, *, clock: Clock, watermark_interval: float) -> Engine:
    """The engine that the settings name; it holds its resources and does nothing yet."""
    return EmbeddedEngine(
        settings.engine.path,
        clock=clock,
        retention=settings.engine.retention,
        watermark_interval=watermark_interval,
    )


class Daemon:
    """One daemon, on whatever engine.

    ``path`` and ``classifier`` replace what the settings name (tests, the demo). Start it inside an event loop.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        classifier: Classifier | None = None,
        rng: random.Random | None = None,
        watermark_interval: float = 1.0,
        reread: Callable[[], Settings] | None = None,
    ) -> None:
        self.settings = settings
        self._reread = reread
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 (jitter, no secrets)
        self._own_classifier = classifier is None
        self._classifier = classifier
        self._watermark_interval = watermark_interval
        self._tasks: list[asyncio.Task[None]] = []
        self._subscribers: set[asyncio.Queue[tuple[str, Any]]] = set()
        self._statuses: dict[str, SourceStatus] = {}
        self._told: dict[str, tuple[str, float]] = {}
        self._started = 0.0
        self._ending = asyncio.Event()
        self._lagging_since: float | None = None
        self._lag_told = False
        self._ready = False

    # -- life ---------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Opens model, store and stages, without sources and deliveries: what backfill needs."""
        settings = self.settings
        if self._classifier is None:
            self._classifier = await asyncio.to_thread(
                load,
                settings.model.name,
                device=settings.model.device,
                threads=settings.model.threads,
                memory_mb=settings.model.memory_mb,
            )
        self.parts = assemble(settings, self._classifier.topics)
        BUILD.labels(__version__).set(1)
        CONFIG.labels(settings.sha256()).set(1)
        MODEL.labels(self._classifier.name).set(1)
        self.engine = build_engine(settings, clock=self._clock, watermark_interval=self._watermark_interval)
        view_path = settings.engine.path.with_name(settings.engine.path.name + ".view")
        self._loop = asyncio.get_running_loop()
        self.read_model = ReadModel(view_path, self.parts.watch, listener=self._heard)
        self._view_thread = ThreadPoolExecutor(1, thread_name_prefix="view")
        self._reader = self.engine.reader()
        self.engine.on_commit(self._committed)
        self._delivery: DeliveryLoop | None = None
        await self.engine.start(self._stages())
        self._started = self._clock.time()
        self._spawn(self._follow(self._reader), "view")

    def _stages(self) -> list[Any]:
        settings, classifier = self.settings, self.classifier
        detection = settings.detection
        self._detector = Detector(
            budget=detection.false_alarms_per_key_month, min_open=detection.min_open, lateness=detection.lateness
        )
        self._score = Score(classifier, self.parts.entities, self.parts.watch, clock=self._clock)
        self._aggregate = Aggregate(
            self._detector,
            self.parts.watch,
            clock=self._clock,
            model=classifier.name,
            sources=[source.name for source in settings.sources],
        )
        self._notify = Notify(
            self.parts.watch,
            context=_context(settings),
            routes=self.parts.routes,
            channels=[channel.name for channel in settings.channels],
            silences=self.parts.silences,
            resend={entry.name: entry.resends for entry in settings.channels if entry.resends is not None},
            clock=self._clock,
        )
        return [self._score, self._aggregate, self._notify]

    @property
    def classifier(self) -> Classifier:
        if self._classifier is None:
            raise EngineError("the daemon is not open")
        return self._classifier

    async def start(self) -> None:
        """Opens everything and sets sources and deliveries to work."""
        await self.open()
        await self.begin()

    async def begin(self) -> None:
        """Sets sources and deliveries of an open daemon to work."""
        network = self.settings.network
        self._http = GuardedClient(
            network.allow_private,
            proxy=network.proxy,
            ca_file=str(network.ca_file) if network.ca_file else None,
            user_agent=network.user_agent or USER_AGENT,
        )
        self._jail = Jail()
        self._channels: dict[str, Channel] = {
            entry.name: build_channel(entry.kind, entry.name, entry.options(), self._http)
            for entry in self.settings.channels
        }
        await self._start_delivery()
        tools = Tools(self._http, self._jail, self._clock, self._rng.random)
        self.sources: list[Source] = [
            registry.build(entry.kind, _source_options(entry), tools) for entry in self.settings.sources
        ]
        told = await self.engine.inspect(INGEST, _told)
        # A file that was read to its end is stopped as well, and no trouble.
        ended = {source.name for source in self.sources if source.kind == "file"}
        self._told = {name: one for name, one in told.items() if name not in ended or one[0] != "stopped"}
        for source in self.sources:
            self._spawn(self._run_source(source), f"source:{source.name}")
        self._spawn(self._watch_sources(), "sources")
        self._spawn(self._tick(), "watermarks")
        self._ready = True
        log.info("started", action="start", version=__version__, model=self.classifier.name, sources=len(self.sources))

    async def _start_delivery(self) -> None:
        def owed(state: State) -> tuple[list[Obligation], list[Endpoint]]:
            pending = [one for _, one in state.table("outbox").items() if one.open]
            return pending, [endpoint for _, endpoint in state.table("endpoints").items()]

        pending, endpoints = await self.engine.inspect(Notify.name, owed)
        self._delivery = DeliveryLoop(
            self._channels, clock=self._clock, record=self._record_attempt, rng=self._rng, read=self._read_body
        )
        self._delivery.start(pending, endpoints)

    async def _read_body(self, event: str, channel: str) -> bytes | None:
        """The body that is still owed, for the delivery loop's long queues."""

        def read(state: State) -> bytes | None:
            known: Obligation | None = state.table("outbox").get(f"{event}|{channel}")
            return known.body if known is not None and known.open else None

        return await self.engine.inspect(Notify.name, read)

    async def stop(self) -> None:
        """Stops within the drain budget: sources first, then what is in the stages, then deliveries."""
        budget = self.settings.engine.drain
        self._ready = False
        started = time.monotonic()
        for task in self._tasks:
            if task.get_name() != "view":
                task.cancel()
        if self._delivery is not None:
            await self._delivery.stop(max(1.0, budget / 2))
        with contextlib.suppress(TimeoutError, EngineError):
            async with asyncio.timeout(max(0.5, budget / 2 - (time.monotonic() - started))):
                await self.engine.drained()
        self._ending.set()
        for task in self._tasks:
            if task.get_name() == "view":
                await asyncio.wait([task], timeout=2.0)
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.engine.stop(max(1.0, budget - (time.monotonic() - started)))
        self._view_thread.shutdown()
        self._reader.close()
        self.read_model.close()
        if hasattr(self, "_http"):
            await self._http.close()
            await self._jail.close()
        if self._own_classifier:
            self.classifier.close()
        log.info("stopped", action="stop", seconds=round(time.monotonic() - started, 2))

    async def failed(self) -> BaseException:
        """Returns when a part ended that should not have."""
        while True:
            if self.engine.fatal is not None:
                return self.engine.fatal
            for task in self._tasks:
                if task.done() and not task.cancelled() and task.exception() is not None:
                    return task.exception() or EngineError(task.get_name())
            await asyncio.sleep(0.5)

    def _spawn(self, work: Any, name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    # -- ingest -------------------------------------------------------------------------------------------

    async def _run_source(self, source: Source) -> None:
        cursor: bytes | None = await self.engine.inspect(INGEST, lambda state: state.table("cursors").get(source.name))
        async for batch in source.batches(cursor):
            outcome = await self._take_in(source, batch)
            source.report(outcome.accepted + outcome.revision)

    async def _take_in(self, source: Source, batch: Batch) -> Outcome:
        """Documents, ids and cursor as one unit; waits while the pipeline is behind or the disk full."""
        origin = Origin(
            source=source.name,
            class_=source.class_,
            publisher=source.publisher,
            interval=source.interval,
            last_success=batch.previous_success,
        )
        if not batch.items and not batch.errors and batch.cursor is None:
            return Outcome()
        for error in batch.errors:
            log.warning("bad_line", action="skip", source=source.name, line=error.line, reason=error.reason)
        while True:
            await self.engine.admitted()
            try:
                return await self._commit(batch.items, origin, batch.cursor)
            except Unwritable:
                await self._clock.sleep(1.0)

    async def _commit(
        self, items: Sequence[RawItem], origin: Origin, cursor: bytes | None, *, ingest: Ingest | None = None
    ) -> Outcome:
        rule = ingest or Ingest(max_age=self.settings.detection.max_age)
        now = self._clock.time()

        def work(state: State) -> tuple[Outcome, list[Output]]:
            outcome = rule.accept(items, origin, state, now)
            if cursor is not None:
                state.table("cursors").put(origin.source, cursor)
            return outcome, outcome.outputs

        return await self.engine.take_in(work)

    async def accept(self, body: bytes, content_type: str) -> Accepted:
        """Takes in a POST's documents; durable when it returns. Raises Behind or Unwritable."""
        self.engine.admit()
        now = self._clock.time()
        items, errors = parse_body(body, content_type, now)
        result = Accepted(invalid=[{"line": error.line, "reason": error.reason} for error in errors])
        for class_ in ("news", "filing", "social"):
            part = [item for item in items if (item.class_ or "news") == class_]
            if part:
                # Pushed documents are live: there is no feed whose silence could have delayed them.
                origin = Origin(source=PUSH, class_=class_, interval=600.0, last_success=now)
                result.add(await self._commit(part, origin, None))
        return result

    async def backfill(
        self, paths: Sequence[Path | str], *, source: str = "backfill"
    ) -> tuple[Accepted, list[LineError]]:
        """Fills baselines from files; nothing rings. Returns what became of them and the lines that failed."""
        items, errors = await asyncio.to_thread(_sorted_items, paths, self._clock.time())
        ingest = Ingest(max_age=None, backfill=True)
        result = Accepted()
        for start in range(0, len(items), 1_000):
            await self.engine.admitted()
            part = items[start : start + 1_000]
            for class_, run in _runs(part):
                result.add(await self._commit(run, Origin(source=source, class_=class_), None, ingest=ingest))
        await self.engine.drained()
        return result, errors

    # -- time, health -------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(self._watermark_interval)
            with contextlib.suppress(Unwritable):
                await self.engine.watermark(DOCUMENTS, self._clock.time())

    async def _watch_sources(self) -> None:
        while True:
            with contextlib.suppress(Unwritable):
                await self._tell_sources()
                await self._tell_lag()
            await self._clock.sleep(1.0)

    async def _tell_sources(self) -> None:
        outputs: list[Output] = []
        now = self._clock.time()
        for source in self.sources:
            status = source.status
            state, at = self._told.get(source.name, ("", 0.0))
            if status.state == state and now - at < STATUS_EVERY:
                continue
            bad, was_bad = status.state in BLIND and status.reason is not None, state in BLIND
            if was_bad and not bad and (status.last_success or 0.0) < self._started:
                continue  # just started and not read yet: what was told before the start still holds
            self._told[source.name] = (status.state, now)
            outputs.append(Output(SOURCES, source.name, encode(_source_record(status))))
            if bad and not was_bad:
                outputs.append(_source_operation(status, "ops.source_stale"))
            elif was_bad and status.state == "up":
                outputs.append(_source_operation(status, "ops.source_recovered"))
        if outputs:
            await self.engine.take_in(lambda state: (_note(self._told, state), outputs))

    async def _tell_lag(self) -> None:
        now, lag = self._clock.time(), self.engine.lag()
        worst, (seconds, records) = max(lag.items(), key=lambda entry: entry[1][0])
        if seconds < LAG_ALARM:
            self._lagging_since = None
            self._lag_told = self._lag_told and seconds > LAG_ALARM / 2
            return
        self._lagging_since = self._lagging_since or now
        if self._lag_told or now - self._lagging_since < LAG_PATIENCE:
            return
        self._lag_told = True
        operation = Operation(
            type="ops.pipeline_lag",
            at=iso(now),
            subject=worst,
            summary=f"stage {worst} is {seconds:.0f} s and {records} records behind",
            details={"seconds": round(seconds, 1), "records": records},
        )
        await self.engine.append([Output(CANDIDATES, OPERATION + worst, encode(operation))])

    # -- deliveries ---------------------------------------------------------------------------------------

    async def _record_attempt(self, attempt: DeliveryAttempt) -> None:
        await self.engine.append([Output(DELIVERIES, f"{attempt.event}|{attempt.channel}", encode(attempt))])

    def _committed(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if output.topic == OUTBOX and self._delivery is not None:
                self._delivery.offer(decode(Obligation, output.value))

    # -- view ---------------------------------------------------------------------------------------------

    async def _follow(self, reader: LogReader) -> None:
        """Fills the read model, in its own thread: page and API never hold up the stages."""

        def step() -> int:
            records, position = reader.read(VIEW_TOPICS, self.read_model.position, VIEW_BATCH)
            self.read_model.apply(records, position)
            return len(records)

        while True:
            try:
                count = await self._loop.run_in_executor(self._view_thread, step)
            except sqlite3.OperationalError as error:
                # Most likely the disk: the read model goes on where it stands when there is room again.
                log.warning("view_waits", action="wait", error=str(error))
                if self._ending.is_set():
                    return
                await asyncio.sleep(1.0)
                continue
            if count < VIEW_BATCH:
                if self._ending.is_set():
                    return
                await self._news()

    async def _news(self) -> None:
        """Until there is something to read, or the daemon stops."""
        # A little patience: a page needs no hundred updates a second, and larger batches cost less.
        await asyncio.sleep(0.1)
        waits = [asyncio.create_task(self.engine.news()), asyncio.create_task(self._ending.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _heard(self, kind: str, body: Any) -> None:
        self._loop.call_soon_threadsafe(self._publish, kind, body)

    def _publish(self, kind: str, body: Any) -> None:
        for queue in list(self._subscribers):
            try:
                queue.put_nowait((kind, body))
            except asyncio.QueueFull:
                # Too slow to follow: it is told to start anew rather than shown a tape with holes.
                self._subscribers.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(("reset", {}))

    def subscribe(self) -> asyncio.Queue[tuple[str, Any]]:
        """Events for a page, (kind, body), until ``unsubscribe``."""
        queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(SUBSCRIBER_QUEUE)
        self._subscribers.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[tuple[str, Any]]) -> None:
        self._subscribers.discard(queue)

    # -- what the API asks --------------------------------------------------------------------------------

    def readiness(self) -> list[str]:
        """Why the daemon can't do its work; nothing when it can."""
        reasons = []
        if not self._ready:
            reasons.append("starting or stopping")
        if (why := self.engine.waiting_for()) is not None:
            reasons.append(why)
        if self.engine.fatal is not None:
            reasons.append(f"a stage ended: {self.engine.fatal}")
        return reasons

    def status(self) -> dict[str, Any]:
        sources = getattr(self, "sources", [])
        states = [source.status.state for source in sources]
        return {
            "version": __version__,
            "uptime_seconds": round(self._clock.time() - self._started, 1),
            "time": iso(self._clock.time()),
            "engine": self.engine.name,
            "model": self.classifier.name,
            "languages": list(self.classifier.languages),
            "configuration": self.settings.sha256()[:12],
            "ready": not self.readiness(),
            "reasons": self.readiness(),
            "lag": {
                name: {"seconds": round(seconds, 2), "records": records}
                for name, (seconds, records) in self.engine.lag().items()
            },
            "coverage": {"expected": len(states), "healthy": states.count("up")},
            "watched_keys": len(self.parts.watch.keys),
            "outbox": self._delivery.pending() if self._delivery is not None else {},
            "min_open_seconds": self.settings.detection.min_open,
            "false_alarms_per_key_month": self.settings.detection.false_alarms_per_key_month,
        }

    def now(self) -> float:
        return self._clock.time()

    async def command(self, kind: Any, subject: str, details: dict[str, Any] | None = None) -> str:
        """Writes an operator's command; durable when it returns."""
        command = Command(kind=kind, at=iso(self._clock.time()), subject=subject, details=details or {})
        await self.engine.append([Output(COMMANDS, subject, encode(command))])
        return subject

    async def reload(self) -> list[str]:
        """Reads the settings file again and takes over what may change while running: watch-lists, routes, silences
        (budgets of lists too). Everything is validated before anything changes; what needs a restart is refused."""
        if self._reread is None:
            raise SettingsError("this daemon was not started from a settings file")
        fresh = self._reread()
        changed = [name for name in type(fresh).model_fields if getattr(fresh, name) != getattr(self.settings, name)]
        fixed = [name for name in changed if name not in RELOADABLE]
        if fixed:
            raise SettingsError(f"{', '.join(fixed)} changed: that takes a restart; nothing was taken over")
        parts = assemble(fresh, self.classifier.topics)

        def switch() -> None:
            self.settings, self.parts = fresh, parts
            self._score.adopt(parts.entities, parts.watch)
            self._aggregate.adopt(parts.watch)
            self._notify.adopt(parts.watch, _context(fresh), parts.routes, parts.silences)

        await self.engine.between_batches(switch)
        self.read_model.adopt(parts.watch)
        CONFIG.clear()
        CONFIG.labels(fresh.sha256()).set(1)
        log.info("reloaded", action="reload", changed=changed)
        return changed

    async def add_silence(self, match: dict[str, Any], expires: float, author: str, comment: str) -> str:
        details = {"match": match, "expires": expires, "author": author, "comment": comment}
        return await self.command("silence", secrets.token_hex(6), details)

    async def silences(self) -> list[dict[str, Any]]:
        made = await asyncio.to_thread(self.read_model.silences)
        return [*(msgspec.to_builtins(one) for one in self.parts.silences), *made]

    async def deliveries(self, state: str | None, limit: int = 200) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self.read_model.deliveries, state, limit)

    async def delivery(self, name: str) -> str | None:
        """The state of a delivery, None where there is none."""
        return await asyncio.to_thread(self.read_model.delivery, name)

    async def dead_letters(self, limit: int = 100) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self.read_model.dead_letters, limit)

    async def retry_dead_letter(self, number: int) -> bool:
        """Writes a dead letter's bytes to its topic again and lets go of it; False where there is none."""
        found = await asyncio.to_thread(self.read_model.dead_letter, number)
        if found is None:
            return False
        letter = decode(DeadLetter, found)
        command = Command(kind="retry_dead_letter", at=iso(self._clock.time()), subject=str(number))
        again = Output(letter.topic, letter.id, letter.payload)
        await self.engine.append([again, Output(COMMANDS, command.subject, encode(command))])
        return True

    async def test_channel(self, name: str) -> dict[str, Any] | None:
        """Sends a signed test event at once, past the outbox; None where there is no such channel."""
        channel = self._channels.get(name)
        if channel is None:
            return None
        now = self._clock.time()
        alert = ping(name, now)
        outcome = await channel.send(alert.id, alert.body, now)
        return dict(msgspec.to_builtins(outcome))


def _context(settings: Settings) -> Context:
    return Context(
        version=__version__,
        detector=DETECTOR_VERSION,
        configuration=settings.sha256()[:12],
        budget=settings.detection.false_alarms_per_key_month,
        external_url=settings.web.external_url,
        grafana_url=settings.web.grafana_url,
    )


def _source_options(entry: Any) -> dict[str, Any]:
    fields = {name: getattr(entry, name) for name in type(entry).model_fields if name != "kind"}
    fields = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
    return {name: value for name, value in fields.items() if value is not None}


def _told(state: State) -> dict[str, tuple[str, float]]:
    """Each source's state as it was last told, so that a start neither repeats nor forgets a dead feed."""
    return {name: (told, 0.0) for name, told in state.table("told").items()}


def _note(told: Mapping[str, tuple[str, float]], state: State) -> int:
    """Remembers what was told; returns of how many sources it is news."""
    table = state.table("told")
    news = [(name, one) for name, (one, _) in told.items() if table.get(name) != one]
    for name, one in news:
        table.put(name, one)
    return len(news)


def _source_record(status: SourceStatus) -> SourceRecord:
    def when(moment: float | None) -> str | None:
        return None if moment is None else iso(moment)

    return SourceRecord(
        source=status.source,
        class_=status.class_,
        state=status.state,
        at=iso(status.at),
        last_success=when(status.last_success),
        last_new=when(status.last_new),
        interval=status.interval,
        streak=status.streak,
        next_poll=when(status.next_poll),
        reason=status.reason,
        items_total=status.items_total,
        frozen=status.frozen,
    )


def _source_operation(status: SourceStatus, kind: Any) -> Output:
    stale = kind == "ops.source_stale"
    why = status.reason or "no answer"
    operation = Operation(
        type=kind,
        at=iso(status.at),
        subject=status.source,
        severity="warning" if stale else "info",
        summary=f"source {status.source} is {status.state}: {why}" if stale else f"source {status.source} is back",
        details={"state": status.state, "streak": status.streak, "reason": why if stale else ""},
    )
    return Output(CANDIDATES, OPERATION + status.source, encode(operation))


def _sorted_items(paths: Sequence[Path | str], now: float) -> tuple[list[RawItem], list[LineError]]:
    """All items of files in the order of their time, with the lines that could not be read."""
    items: list[RawItem] = []
    errors: list[LineError] = []
    for path in paths:
        for entry in read_documents(path, fetched=now):
            if isinstance(entry, LineError):
                errors.append(entry)
            else:
                items.append(_spread(entry))
    items.sort(key=lambda item: item.at or item.published or 0.0)
    return items, errors


def _spread(item: RawItem) -> RawItem:
    """A date without a time gets one of its day before all are sorted: in chunks sorted by day, half would be late."""
    if item.precision != "day" or item.published is None:
        return item
    day = item.published - item.published % 86_400.0
    published = day + day_spread(item.guid or item.url or item.title)
    return msgspec.structs.replace(item, published=published, precision="second")


def _runs(items: Sequence[RawItem]) -> list[tuple[Any, list[RawItem]]]:
    """Stretches of one class, in order."""
    runs: deque[tuple[Any, list[RawItem]]] = deque()
    for item in items:
        class_ = item.class_ or "news"
        if not runs or runs[-1][0] != class_:
            runs.append((class_, []))
        runs[-1][1].append(item)
    return list(runs)
