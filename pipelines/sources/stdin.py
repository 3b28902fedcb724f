"""Documents that another program pipes into the daemon."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator
from typing import BinaryIO, cast

import msgspec

from pipelines.sources.base import Batch, LineError, RawItem, SourceClass, SourceState, SourceStatus, Tools
from pipelines.sources.files import FileError, read_stream

CHUNK = 500
"""Items of one batch at most."""

WAITING = 2_000
"""Items read ahead of the log; beyond them the pipe is left full, and its writer waits."""


class StdinOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Standard input's settings."""

    name: str
    publisher: str | None = None
    class_: SourceClass = "news"
    timezone: str | None = None


class StdinSource:
    """Standard input until it ends. A pipe can't be read again: it has no cursor, and what was read but not yet in
    the log when the process is killed is lost; a followed file loses nothing."""

    kind = "stdin"
    interval = 0.0

    def __init__(self, options: StdinOptions, tools: Tools) -> None:
        self.name = options.name
        self.class_: SourceClass = options.class_
        self.publisher = options.publisher
        self._options = options
        self._clock = tools.clock
        self._queue: deque[RawItem | LineError] = deque()
        self._room = threading.Semaphore(WAITING)
        self._reason: str | None = None
        self._ended = False
        self._last_success: float | None = None
        self._last_new: float | None = None
        self._items = 0

    @property
    def status(self) -> SourceStatus:
        state: SourceState = "down" if self._reason else "stopped" if self._ended else "up"
        return SourceStatus(
            source=self.name,
            class_=self.class_,
            state=state,
            at=self._clock.time(),
            last_success=self._last_success,
            last_new=self._last_new,
            reason=self._reason,
            items_total=self._items,
        )

    def report(self, new: int) -> None:
        self._items += new
        if new:
            self._last_new = self._clock.time()

    async def batches(self, cursor: bytes | None) -> AsyncIterator[Batch]:  # noqa: ARG002 (a pipe has none)
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        # A thread of its own, which nobody waits for: it may sit in a read that never returns.
        reader = threading.Thread(target=self._read, args=(loop, news), name=f"stdin:{self.name}", daemon=True)
        reader.start()
        # An open pipe is read, however long its writer is silent: nobody could tell a quiet one from a dead one.
        self._last_success = self._clock.time()
        self.status.measure()
        while True:
            await news.wait()
            news.clear()
            ended = self._ended
            while self._queue:
                entries = [self._queue.popleft() for _ in range(min(CHUNK, len(self._queue)))]
                self._room.release(len(entries))
                self._last_success = now = self._clock.time()
                yield Batch(
                    items=[entry for entry in entries if isinstance(entry, RawItem)],
                    errors=[entry for entry in entries if isinstance(entry, LineError)],
                    previous_success=now,  # what is piped in is live
                )
            self.status.measure()
            if ended:
                return

    def _read(self, loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
        stream = cast("BinaryIO", sys.stdin.buffer)
        try:
            for entry in read_stream(stream, fetched=self._clock.time, timezone=self._options.timezone, live=True):
                self._room.acquire()
                self._queue.append(entry)
                loop.call_soon_threadsafe(news.set)
        except FileError as error:
            self._reason = f"{error}"[:200]
        except RuntimeError:  # the loop has ended before the pipe did
            return
        self._ended = True
        loop.call_soon_threadsafe(news.set)
