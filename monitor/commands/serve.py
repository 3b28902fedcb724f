"""``run``, ``backfill`` and ``demo``: the commands that start a daemon."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Collection
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import typer
from prometheus_client import REGISTRY

from monitor import audited, checks
from monitor import log as logs
from monitor.addresses import listening
from monitor.app import PARTS, Daemon
from monitor.assembly import Parts
from monitor.settings import Settings, SettingsError, load
from monitor.settings_file import ignored
from monitor.supervisor import Supervisor
from monitor.web import Web
from pipelines.documents import Document
from pipelines.streams.base import EngineError
from pipelines.watch import entity_key

log = structlog.get_logger(__name__)

SHOWN = 10
"""Companies of which ``backfill`` says how often each is named."""


def run_daemon(config: Path, only: str | None) -> None:
    """Runs until SIGTERM or SIGINT; SIGHUP reads the settings again."""
    settings = load(config)
    parts = chosen(only, settings)
    checks.check(settings, parts)
    logs.configure(settings.log.format, settings.log.level)
    for why in ignored(os.environ):
        log.warning("variable_ignored", action="ignore", why=why)
    daemon = Daemon(settings, reread=partial(load, config), only=parts)
    code = asyncio.run(serve(daemon))
    if code:
        raise typer.Exit(code)


def chosen(only: str | None, settings: Settings) -> tuple[str, ...]:
    """The parts that ``--only`` names, all without it. Raises SettingsError where that can't work."""
    named = PARTS if only is None else tuple(part.strip() for part in only.split(","))
    unknown = [part for part in named if part not in PARTS]
    if unknown:
        near = get_close_matches(unknown[0], PARTS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SettingsError(f"--only {only}: {unknown[0]!r} is no part{hint} Allowed: {', '.join(PARTS)}")
    missing = [part for part in PARTS if part not in named]
    if missing and settings.engine.kind == "embedded":
        raise SettingsError(
            f"--only {only}: the embedded engine is one process, so it runs {', '.join(missing)} as well; leave --only "
            'out, or split the parts over processes with [engine] kind = "kafka"'
        )
    return named


async def serve(daemon: Daemon) -> int:
    """Starts daemon and web, waits for a signal, stops both. Returns the exit code."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    interrupted = False

    def stop(by: signal.Signals) -> None:
        nonlocal interrupted
        interrupted = by is signal.SIGINT
        ended.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop, name)
    hangup = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)  # its default would end a daemon that is still starting
    daemon.claim()  # before the ports: that the store is open elsewhere says more than that an address is taken
    web = Web(daemon)
    await web.start()  # first: its probes tell what the start waits for
    supervisor = Supervisor.of(os.environ)
    supervisor.waits("starting; /readyz says what it waits for")
    running = asyncio.create_task(_run(daemon, hangup, supervisor))
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    supervisor.stopping()
    code = 130 if interrupted else int(running.done())
    _bound(daemon.settings.engine.drain, code)
    for task in (running, waiting):
        task.cancel()
    await asyncio.wait([running, waiting])
    await web.stop()
    await daemon.stop()
    if not running.cancelled():
        running.result()  # raises why it did not start
    return code


async def _run(daemon: Daemon, hangup: asyncio.Event, supervisor: Supervisor) -> None:
    """Returns when a part of the daemon failed that should not have."""
    await daemon.start()
    supervisor.ready()
    beside = [asyncio.create_task(_reloads(daemon, hangup, supervisor)), asyncio.create_task(supervisor.live())]
    try:
        log.error("daemon_failed", action="stop", error=str(await daemon.failed()))
    finally:
        for task in beside:
            task.cancel()


def _bound(budget: float, code: int) -> None:
    """Ends the process in ``budget`` seconds, whatever still holds it: a name that doesn't resolve, a batch in the
    model. What was committed is durable, and the rest is done again at the next start."""

    def cut() -> None:
        log.warning("stop_cut_short", action="exit", seconds=budget)
        os._exit(code)

    timer = threading.Timer(budget, cut)
    timer.daemon = True
    timer.start()


async def _reloads(daemon: Daemon, hangup: asyncio.Event, supervisor: Supervisor) -> None:
    """Reads the settings again whenever ``hangup`` is set."""
    while True:
        await hangup.wait()
        hangup.clear()
        supervisor.reloading()
        try:
            await audited.reload(daemon, by="SIGHUP")
        except (SettingsError, EngineError) as error:
            log.error("reload_refused", action="keep_settings", error=str(error))  # noqa: TRY400 (it says all)
        supervisor.ready()


def run_backfill(config: Path, inputs: list[Path]) -> None:
    """Fills baselines from files."""
    settings = load(config)
    # On Kafka the stages are others' work: history is only published.
    parts = PARTS if settings.engine.kind == "embedded" else ("ingest",)
    checks.check(settings, parts)
    logs.configure(settings.log.format, "warning")
    code = asyncio.run(_backfill(Daemon(settings, only=parts), inputs))
    if code:
        raise typer.Exit(code)


class Named:
    """Which watched companies history names, by the rules of scoring: whether a watch-list catches anything."""

    def __init__(self, parts: Parts, languages: Collection[str]) -> None:
        self._entities = parts.entities
        self._languages = frozenset(languages)
        self._watched = {entity_key(entity.id) for entity in parts.watch.entities()}
        self._counts: Counter[str] = Counter()
        self.documents = 0
        """Those that name one or more."""

    def note(self, document: Document) -> None:
        if document.language not in self._languages:
            return  # it is kept unjudged, and no evidence
        hits = self._entities.find(document.title, document.text)
        keys = {entity_key(hit.id) for hit in hits} & self._watched
        self._counts.update(keys)
        self.documents += bool(keys)

    def shown(self) -> dict[str, Any]:
        return {
            "named": self.documents,
            "companies_named": len(self._counts),
            "companies_watched": len(self._watched),
            "by_key": dict(self._counts.most_common(SHOWN)),
        }


async def _backfill(daemon: Daemon, inputs: list[Path]) -> int:
    await daemon.open()
    named = Named(daemon.parts, daemon.model_use.languages)
    try:
        result, bad = await daemon.intake.backfill(inputs, noted=named.note)
    finally:
        await daemon.stop()
    for line in bad.told():
        typer.echo(line, err=True)
    counts = {name: getattr(result, name) for name in ("accepted", "revision", "duplicate", "empty")}
    if result.oversize:
        counts["oversize"] = result.oversize
    sys.stdout.write(json.dumps(counts | {"bad_lines": bad.count} | named.shown(), ensure_ascii=False) + "\n")
    if result.accepted and daemon.parts.watch.entities() and not named.documents:
        told = f"none of the {result.accepted} accepted documents names a watched company"
        typer.echo(f"{told}; check the names in [[watchlists]]", err=True)
    if late := round(REGISTRY.get_sample_value("tapewatch_late_evidence_total") or 0):
        told = f"{late} pieces of evidence fill no baseline: their keys (company, topic, list, market) have newer news"
        typer.echo(f"{told}; history goes in before the first run, or into a new store ([engine] path)", err=True)
    return 1 if bad.count else 0


def run_demo(seconds: float | None, listen: str, kafka: str | None) -> None:
    """The fictional newsroom and a daemon that watches it."""
    from monitor.demo.run import play

    try:
        listening(listen)
    except ValueError as error:
        raise SettingsError(f"--listen {listen}: {error}") from None
    code = asyncio.run(play(seconds, listen, kafka))
    if code:
        raise typer.Exit(code)
