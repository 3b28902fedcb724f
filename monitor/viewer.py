"""The view at work: the read model follows the log, and pages hear what is new in it."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from monitor.broadcast import Broadcast, event
from pipelines.clock import Clock
from pipelines.streams.base import Engine, PositionLost
from pipelines.view import TOPICS, ReadModel

log = structlog.get_logger(__name__)

BATCH = 1_000
"""Records that are applied as one transaction."""
PATIENCE = 0.1
"""Seconds between two reads: a page needs no hundred updates a second, and larger batches cost less."""


TIDY_EVERY = 3_600.0
"""Seconds between two looks for what was kept for long enough."""


class Viewer:
    """Fills ``read_model``, which is then its own, in its own thread: page and API never hold up the stages.

    ``texts``: seconds for which a text may be kept; None knows of no end.
    """

    def __init__(self, engine: Engine, read_model: ReadModel, *, clock: Clock, texts: float | None) -> None:
        self._engine = engine
        self._clock = clock
        self._texts = texts
        self._tidied = -math.inf
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="view")
        self._reader = engine.reader()
        self._ending = asyncio.Event()
        self.events = Broadcast()
        self.read_model = read_model
        read_model.listener = self._heard

    async def run(self) -> None:
        """Follows the log until ``end``, and then to where it stands."""
        while True:
            try:
                count = await self._loop.run_in_executor(self._thread, self._step)
            except sqlite3.OperationalError as error:
                # Most likely the disk: the read model goes on where it stands when there is room again.
                log.warning("view_waits", action="wait", error=str(error))
                if self._ending.is_set():
                    return
                await asyncio.sleep(1.0)
                continue
            if count < BATCH:
                if self._ending.is_set():
                    return
                await self._news()

    def end(self) -> None:
        """Makes ``run`` return once nothing is left to read."""
        self._ending.set()

    def close(self) -> None:
        self._thread.shutdown()
        self._reader.close()
        self.read_model.close()

    def _step(self) -> int:
        try:
            records, position = self._reader.read(TOPICS, self.read_model.position, BATCH)
        except PositionLost as error:
            log.warning("log_began_anew", action="read_again", why=str(error))
            self.read_model.begin_anew()
            return BATCH
        self.read_model.apply(records, position)
        self._tidy()
        return len(records)

    def _tidy(self) -> None:
        now = self._clock.time()
        if now - self._tidied < TIDY_EVERY:
            return
        self.read_model.forget_over(now)
        if self._texts is not None:
            # What is due within the hour goes now: the next look is an hour away.
            self.read_model.shed(now + TIDY_EVERY - self._texts)
        self._tidied = now

    async def _news(self) -> None:
        """Until there is something to read, or the end."""
        await asyncio.sleep(PATIENCE)
        waits = [asyncio.create_task(self._engine.news()), asyncio.create_task(self._ending.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _heard(self, news: list[tuple[str, Any]]) -> None:
        # In this thread: the loop has the bytes once, whatever the number of those who listen.
        self._loop.call_soon_threadsafe(self.events.add, [event(kind, body) for kind, body in news])
