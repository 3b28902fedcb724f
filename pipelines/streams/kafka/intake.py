"""Ingest's tables (ids seen, cursors, what was told) in a file of this machine, never ahead of the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pipelines.clock import Clock
from pipelines.ingest import TABLES
from pipelines.streams.base import INGEST, Output, State, StoreTorn
from pipelines.streams.soundness import guarded
from pipelines.streams.store import Store

T = TypeVar("T")

Work = Callable[[State], tuple[Any, Iterable[Output]]]
Publish = Callable[[Sequence[Output]], Awaitable[None]]

TOGETHER = 64
"""Pieces of work that may share one transaction and one wait for the brokers."""


class Piece(NamedTuple):
    work: Work
    result: asyncio.Future[tuple[Any, list[Output]]]


class Intake:
    """Runs ingest's work: first what it says is published, then its tables are committed.

    The file may be lost with its disk: what is fetched again carries the same ids and is counted once. Pieces that come
    while others wait for the brokers are done together.
    """

    def __init__(self, path: Path, clock: Clock, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingest")
        self._store = Store(path, now=clock.time)
        self._state = self._store.state(INGEST, TABLES)
        self._queue: list[Piece] = []
        self._turn = asyncio.Lock()
        self._runner: asyncio.Task[None] | None = None

    async def take_in(
        self, work: Callable[[State], tuple[T, Iterable[Output]]], publish: Publish
    ) -> tuple[T, list[Output]]:
        """The result of ``work`` and what it wrote. Raises what ``work`` or ``publish`` raise, with nothing changed."""
        piece = Piece(work, asyncio.get_running_loop().create_future())
        self._queue.append(piece)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(publish))
        return await piece.result

    async def _run(self, publish: Publish) -> None:
        while self._queue:
            pieces, self._queue = self._queue[:TOGETHER], self._queue[TOGETHER:]
            async with self._turn:
                await self._together(pieces, publish)

    async def _together(self, pieces: Sequence[Piece], publish: Publish) -> None:
        try:
            done = await self._unit([piece.work for piece in pieces], publish)
        except Exception as error:  # whatever it is, it is the answer to the piece that caused it
            if len(pieces) > 1:
                for piece in pieces:
                    await self._together([piece], publish)
            elif not pieces[0].result.done():
                pieces[0].result.set_exception(error)
            return
        for piece, result in zip(pieces, done, strict=True):
            if not piece.result.done():
                piece.result.set_result(result)

    async def _unit(self, works: Sequence[Work], publish: Publish) -> list[tuple[Any, list[Output]]]:
        unit = self._store.transaction()
        await self._on_thread(unit.__enter__)
        try:
            done = await self._on_thread(partial(self._do, works))
            await publish([output for _, outputs in done for output in outputs])
        except BaseException as error:  # cancelled, too, the unit is taken back
            back = partial(unit.__exit__, type(error), error, error.__traceback__)
            with contextlib.suppress(type(error)):
                await asyncio.shield(self._on_thread(back))
            raise
        await self._on_thread(partial(unit.__exit__, None, None, None))
        return done

    def _do(self, works: Sequence[Work]) -> list[tuple[Any, list[Output]]]:
        return [(result, list(outputs)) for result, outputs in (work(self._state) for work in works)]

    async def inspect(self, question: Callable[[State], T]) -> T:
        """What ``question`` reads, between two units."""
        async with self._turn:
            return await self._on_thread(partial(question, self._state))

    async def close(self) -> None:
        """Gives up what waits for the brokers."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        await self._on_thread(self._store.close)
        self._thread.shutdown(wait=False)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        work = guarded(self._store.path)(work)
        try:
            result: T = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            return result
        except StoreTorn as error:
            self._failed(error)  # whoever met it: what is taken in can't be known any more
            raise
