"""The daemon: puts its parts together, starts and stops them, says how it is.

A daemon runs all parts or some of them; what it does not run, another process on the same engine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import msgspec
import structlog
from prometheus_client import Gauge

from models.card import ModelError
from models.classifier import Classifier
from monitor import __version__, assembly
from monitor.assembly import assemble
from monitor.engines import between_watermarks, build_engine, claim, view_path
from monitor.health import LagWatch, RoomWatch, SourceWatch, Watcher, coverage, watch
from monitor.http import GuardedClient
from monitor.intake import Intake
from monitor.interpreter import describe, rest_collector
from monitor.model_choice import Choice
from monitor.model_use import ModelFacts, ModelUse
from monitor.operators import Operators
from monitor.sender import Sender
from monitor.settings import Settings, SettingsError
from monitor.stages import Stages
from monitor.viewer import Viewer
from pipelines.clock import Clock, ForwardClock, SystemClock
from pipelines.documents import SourceRecord, iso
from pipelines.notify import Notify
from pipelines.parse import Jail
from pipelines.sources.base import Source, Tools
from pipelines.streams.base import Claim, Engine, EngineError
from pipelines.view import ReadModel

log = structlog.get_logger(__name__)

BUILD = Gauge("tapewatch_build_info", "1, with the version.", ["version"])
CONFIG = Gauge("tapewatch_config_info", "1, with the settings' hash.", ["sha256"])
READY = Gauge("tapewatch_ready", "1 while the daemon can do its work, as /readyz says.")

PARTS = ("ingest", "score", "aggregate", "notify", "view")
"""What ``--only`` may name."""

RELOADABLE = ("watchlists", "rules", "routes", "silences")


class NotHere(Exception):
    """This process does not run the part that was asked for."""

    def __init__(self, part: str, here: Collection[str]) -> None:
        super().__init__(f"this process runs {', '.join(here)}; ask the one that runs {part}")


class Daemon:
    """One daemon, on whatever engine.

    ``classifier`` replaces the model that the settings name (tests, the demo); ``only``: the parts that run here. Start
    it inside an event loop.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        classifier: Classifier | None = None,
        rng: random.Random | None = None,
        watermark_interval: float | None = None,
        reread: Callable[[], Settings] | None = None,
        only: Collection[str] = PARTS,
    ) -> None:
        self.settings = settings
        self.only = tuple(part for part in PARTS if part in only)
        self._reread = reread
        self._changing = asyncio.Lock()
        """Held while settings or model are taken over."""
        self._clock = ForwardClock(clock or SystemClock())
        self.model_use = ModelUse(settings, judges="score" in self.only, clock=self._clock, given=classifier)
        self._rng = rng or random.Random()  # noqa: S311 (jitter, no secrets)
        self._watermark_interval = watermark_interval or between_watermarks(settings)
        self._claim: Claim | None = None
        self._engine: Engine | None = None
        self._view: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._intake: Intake | None = None
        self._viewer: Viewer | None = None
        self._operators: Operators | None = None
        self._sender: Sender | None = None
        self._source_watch: SourceWatch | None = None
        self._http: GuardedClient | None = None
        self._jail: Jail | None = None
        self.sources: list[Source] = []
        self._started = 0.0
        self._ready = False

    # -- life ---------------------------------------------------------------------------------------------

    def claim(self) -> Claim:
        """Makes this process the only one on its store, once. Raises StoreLocked."""
        self._claim = self._claim or claim(self.settings)
        return self._claim

    async def open(self) -> None:
        """Opens model, engine, stages and view, without sources and deliveries: what backfill needs."""
        settings = self.settings
        loaded = await self.model_use.open()
        self.parts = assemble(settings, self.model.topics, self.model.risks)
        BUILD.labels(__version__).set(1)
        CONFIG.labels(settings.sha256()).set(1)
        claimed = self.claim()
        # Not on the loop: a store that has to be read whole takes its time, and the probes have to answer meanwhile.
        self._engine = await asyncio.to_thread(build_engine, settings, clock=self._clock, claimed=claimed)
        if "ingest" in self.only:
            self._intake = Intake(self.engine, clock=self._clock, max_age=settings.detection.max_age)
        if "view" in self.only:
            model = await asyncio.to_thread(ReadModel, view_path(settings), self.parts.watch)
            self._viewer = Viewer(self.engine, model, clock=self._clock, texts=settings.retention.texts)
            self._operators = Operators(
                self.engine, self._viewer.read_model, lambda: self.parts.silences, clock=self._clock
            )
        self.stages = Stages(
            settings, self.parts, loaded, others=self.model_use.others, clock=self._clock, only=self.only
        )
        describe()
        rest_collector()
        await self.engine.start(self.stages.all())
        self._started = self._clock.time()
        if self._viewer is not None:
            self._view = asyncio.create_task(self._viewer.run(), name="view")

    async def start(self) -> None:
        """Opens everything and sets sources and deliveries to work."""
        await self.open()
        await self.begin()

    async def begin(self) -> None:
        """Sets sources and deliveries of an open daemon to work."""
        self._http = assembly.client(self.settings.network)
        watchers: list[Watcher] = [RoomWatch(view_path(self.settings).parent)]
        if "notify" in self.only:
            channels = {entry.name: assembly.channel(entry, self._http) for entry in self.settings.channels}
            self._sender = Sender(self.engine, channels, clock=self._clock, rng=self._rng)
        if self.stages.all():
            watchers.append(LagWatch(self.engine, clock=self._clock))
        self._spawn(watch(watchers, self._clock), "health")
        READY.set_function(lambda: not self.readiness())
        if self._sender is not None:
            await self._sender.start()  # waits while another process has notify's partition
        if self._intake is not None:
            await self._begin_intake(self._intake, self._http)
        self._ready = True
        count = len(self.sources)
        log.info("started", action="start", version=__version__, model=self.model.name, parts=self.only, sources=count)

    async def _begin_intake(self, intake: Intake, http: GuardedClient) -> None:
        self._jail = Jail()
        tools = Tools(http, self._jail, self._clock, self._rng.random)
        self.sources = [assembly.source(entry, tools) for entry in self.settings.sources]
        self._source_watch = SourceWatch(self.engine, self.sources, clock=self._clock, started=self._started)
        await self._source_watch.restore()
        for source in self.sources:
            self._spawn(intake.run(source), f"source:{source.name}")
        self._spawn(intake.tick(self._watermark_interval, self._source_watch), "watermarks")

    async def stop(self) -> None:
        """Stops within the drain budget: sources first, then what is in the stages, then deliveries. A daemon whose
        start failed, or was given up, is cleared away."""
        budget = self.settings.engine.drain
        self._ready = False
        started = time.monotonic()
        for task in self._tasks:
            task.cancel()
        if self._sender is not None:
            await self._sender.stop(max(1.0, budget / 2))
        if self.opened:
            with contextlib.suppress(TimeoutError, EngineError):
                async with asyncio.timeout(max(0.5, budget / 2 - (time.monotonic() - started))):
                    await self.engine.drained()
        if self._viewer is not None and self._view is not None:
            self._viewer.end()
            await asyncio.wait([self._view], timeout=2.0)
            self._view.cancel()
            await asyncio.gather(self._view, return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._engine is not None:
            await self._engine.stop(max(1.0, budget - (time.monotonic() - started)))
        elif self._claim is not None:
            self._claim.release()
        if self._viewer is not None:
            self._viewer.close()
        if self._http is not None:
            await self._http.close()
        if self._jail is not None:
            await self._jail.close()
        self.model_use.close()
        log.info("stopped", action="stop", seconds=round(time.monotonic() - started, 2))

    async def failed(self) -> BaseException:
        """Returns when a part ended that should not have."""
        while True:
            if self.engine.fatal is not None:
                return self.engine.fatal
            if self._viewer is not None and self._viewer.read_model.torn is not None:
                return self._viewer.read_model.torn
            for task in [*self._tasks, *([self._view] if self._view is not None else [])]:
                if task.done() and not task.cancelled() and task.exception() is not None:
                    return task.exception() or EngineError(task.get_name())
            await asyncio.sleep(0.5)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    # -- taking over --------------------------------------------------------------------------------------

    async def reload(self) -> list[str]:
        """Reads the settings file again and takes over what may change while running: watch-lists (their budgets too),
        rules, routes, silences, the model's name. Everything is validated before anything changes; what needs a
        restart is refused."""
        if self._reread is None:
            raise SettingsError("this daemon was not started from a settings file")
        async with self._changing:
            fresh = self._reread()
            changed = [
                name for name in type(fresh).model_fields if getattr(fresh, name) != getattr(self.settings, name)
            ]
            fixed = [
                name for name in changed if name not in RELOADABLE and not _model_named(name, fresh, self.settings)
            ]
            if fixed:
                raise SettingsError(f"{', '.join(fixed)} changed: that takes a restart; nothing was taken over")
            try:
                await self._take_over(fresh, await self.model_use.configured(fresh))
            except ModelError as error:
                raise SettingsError(f"{fresh.file}: {error}") from error
        log.info("reloaded", action="reload", changed=changed)
        return changed

    async def use(self, reference: str | None) -> str:
        """Judges with another model from the next batch on, None for the one before; returns what was in use until
        now. Raises ModelError, SettingsError where a watch-list can't work with it: then all stays as it is."""
        async with self._changing:
            gone = self.model.name
            try:
                chosen = await (self.model_use.earlier() if reference is None else self.model_use.named(reference))
                await self._take_over(self.settings, chosen)
            except (ModelError, SettingsError) as error:
                log.error("model_refused", action="keep_model", model=gone, wanted=reference, error=str(error))  # noqa: TRY400 (told in words)
                raise
        return gone

    async def _take_over(self, settings: Settings, chosen: Choice | None) -> None:
        """``chosen``: None for the model that is in use."""
        model = self.model_use.loaded if chosen is None else await self.model_use.prepare(chosen)

        def switch() -> None:
            self.settings, self.parts = settings, parts
            self.stages.adopt(settings, parts, model)

        try:
            parts = assemble(settings, model.facts.topics, model.facts.risks)
            if chosen is not None:
                await self.model_use.write_down(chosen)
            await self.engine.between_batches(switch)
        except BaseException:  # whatever it was, the model that did not get its place may not stay
            await self.model_use.discard(model)
            raise
        if chosen is not None:
            await self.model_use.taken(settings, chosen, model)
        if self._viewer is not None:
            self._viewer.read_model.adopt(parts.watch)
        CONFIG.clear()
        CONFIG.labels(settings.sha256()).set(1)

    @property
    def engine(self) -> Engine:
        """Raises EngineError before there is one."""
        if self._engine is None:
            raise EngineError("the daemon is not open")
        return self._engine

    @property
    def opened(self) -> bool:
        """Whether its parts are there to be asked."""
        return self._started > 0.0

    @property
    def model(self) -> ModelFacts:
        """Of the model in use."""
        return self.model_use.loaded.facts

    # -- its parts ----------------------------------------------------------------------------------------

    @property
    def intake(self) -> Intake:
        """Raises NotHere, as all of these."""
        if self._intake is None:
            raise NotHere("ingest", self.only)
        return self._intake

    @property
    def viewer(self) -> Viewer:
        if self._viewer is None:
            raise NotHere("view", self.only)
        return self._viewer

    @property
    def read_model(self) -> ReadModel:
        return self.viewer.read_model

    @property
    def operators(self) -> Operators:
        if self._operators is None:
            raise NotHere("view", self.only)
        return self._operators

    @property
    def sender(self) -> Sender:
        if self._sender is None:
            raise NotHere("notify", self.only)
        return self._sender

    # -- how it is ----------------------------------------------------------------------------------------

    def now(self) -> float:
        return self._clock.time()

    def readiness(self) -> list[str]:
        """Why the daemon can't do its work; nothing when it can."""
        reasons = []
        waits = self._sender is not None and Notify.name in self.engine.stands_by
        # What takes in nothing while it waits is no mere standby: perhaps nobody takes in anything then.
        if not self._ready and (self._intake is not None or not waits):
            reasons.append("another process runs notify: sources wait for its end" if waits else "starting or stopping")
        if self._engine is not None and (why := self._engine.waiting_for()) is not None:
            reasons.append(why)
        if self._engine is not None and self._engine.fatal is not None:
            reasons.append(f"a stage ended: {self._engine.fatal}")
        return reasons

    def status(self) -> dict[str, Any]:
        reasons = self.readiness()
        return {
            "version": __version__,
            "uptime_seconds": round(self._clock.time() - self._started, 1),
            "time": iso(self._clock.time()),
            "engine": self.engine.name,
            "parts": list(self.only),
            "stands_by": list(self.engine.stands_by),
            "model": self.model.name,
            "model_in_use": self.model_use.status(),
            "languages": list(self.model_use.languages),
            "configuration": self.settings.sha256()[:12],
            "ready": not reasons,
            "reasons": reasons,
            "lag": {
                name: {"seconds": round(seconds, 2), "records": records}
                for name, (seconds, records) in self.engine.lag().items()
            },
            "coverage": self._coverage(),
            "watched_keys": len(self.parts.watch.keys),
            "outbox": self._sender.pending() if self._sender is not None else {},
            "min_open_seconds": self.settings.detection.min_open,
            "false_alarms_per_key_month": self.settings.detection.false_alarms_per_key_month,
        }

    def _coverage(self) -> dict[str, int]:
        """From the sources themselves where they run here, else from what is told of them."""
        if self._source_watch is not None:
            return self._source_watch.coverage()
        known = {source.name for source in self.settings.sources}
        told = self._viewer.read_model.sources() if self._viewer is not None else []
        records = [msgspec.convert(one, SourceRecord) for one in told if one["source"] in known]
        silent = len(known) - len(records)
        seen = coverage(records)
        return seen | {"expected": seen["expected"] + silent, "unread": seen["unread"] + silent}


def _model_named(section: str, fresh: Settings, held: Settings) -> bool:
    """Whether a section that changed is the model's, and changed in nothing but its name."""
    return section == "model" and fresh.model.model_copy(update={"name": held.model.name}) == held.model
