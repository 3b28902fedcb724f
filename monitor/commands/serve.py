"""``run``, ``backfill`` and ``demo``: the commands that start a daemon."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import structlog
import typer

from monitor import log as logs
from monitor.app import Daemon
from monitor.settings import SettingsError, load
from monitor.web import Web
from pipelines.streams.base import EngineError

log = structlog.get_logger(__name__)


def run_daemon(config: Path, only: str | None) -> None:
    """Runs until SIGTERM or SIGINT; SIGHUP reads the settings again."""
    if only is not None:
        raise SettingsError("--only splits stages over processes, which the embedded engine has just one of")
    settings = load(config)
    logs.configure(settings.log.format, settings.log.level)
    daemon = Daemon(settings, reread=partial(load, config))
    code = asyncio.run(serve(daemon))
    if code:
        raise typer.Exit(code)


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
    await daemon.start()
    web = Web(daemon)
    try:
        await web.start()
    except OSError as error:
        await daemon.stop()
        listen = daemon.settings.web.listen
        raise SettingsError(f"web.listen = {listen!r}: {error.strerror or error}; choose another address") from None
    reloads = asyncio.create_task(_reloads(daemon, hangup))
    failure = asyncio.create_task(daemon.failed())
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait([failure, waiting], return_when=asyncio.FIRST_COMPLETED)
    code = 130 if interrupted else 0
    if failure.done():
        log.error("daemon_failed", action="stop", error=str(failure.result()))
        code = 1
    _bound(daemon.settings.engine.drain, code)
    for task in (failure, waiting, reloads):
        task.cancel()
    await web.stop()
    await daemon.stop()
    return code


def _bound(budget: float, code: int) -> None:
    """Ends the process in ``budget`` seconds, whatever still holds it: a name that doesn't resolve, a batch in the
    model. What was committed is durable, and the rest is done again at the next start."""

    def cut() -> None:
        log.warning("stop_cut_short", action="exit", seconds=budget)
        os._exit(code)

    timer = threading.Timer(budget, cut)
    timer.daemon = True
    timer.start()


async def _reloads(daemon: Daemon, hangup: asyncio.Event) -> None:
    """Reads the settings again whenever ``hangup`` is set."""
    while True:
        await hangup.wait()
        hangup.clear()
        try:
            await daemon.reload()
        except (SettingsError, EngineError) as error:
            log.error("reload_refused", action="keep_settings", error=str(error))  # noqa: TRY400 (it says all)


def run_backfill(config: Path, inputs: list[Path]) -> None:
    """Fills baselines from files."""
    settings = load(config)
    logs.configure(settings.log.format, "warning")
    code = asyncio.run(_backfill(Daemon(settings), inputs))
    if code:
        raise typer.Exit(code)


async def _backfill(daemon: Daemon, inputs: list[Path]) -> int:
    await daemon.open()
    try:
        result, errors = await daemon.intake.backfill(inputs)
    finally:
        await daemon.stop()
    for error in errors[:100]:
        typer.echo(f"{error.file}, line {error.line}: {error.reason}", err=True)
    counts = {name: getattr(result, name) for name in ("accepted", "revision", "duplicate", "empty")}
    if result.oversize:
        counts["oversize"] = result.oversize
    sys.stdout.write(json.dumps(counts | {"bad_lines": len(errors)}) + "\n")
    return 1 if errors else 0


def run_demo(seconds: float | None, listen: str) -> None:
    """The fictional newsroom and a daemon that watches it."""
    from monitor.demo.run import play

    code = asyncio.run(play(seconds, listen))
    if code:
        raise typer.Exit(code)
