"""How documents come in: sources that run, POST, history; and the time up to which they are all there."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from monitor.health import Watcher
from monitor.history import BadLines, history
from pipelines.clock import Clock
from pipelines.documents import Document
from pipelines.ingest import Ingest, Origin, Outcome, count
from pipelines.sources.base import Batch, LineError, RawItem, Source
from pipelines.sources.files import parse_body
from pipelines.sources.order import chunks
from pipelines.streams.base import DOCUMENTS, INGEST, Engine, Output, State, Unwritable

log = structlog.get_logger(__name__)

PUSH = "api"
"""The source of documents that come over POST."""

HISTORY = "backfill"
"""The source of documents of history."""

NAMED = 20
"""Bad lines of one batch that are logged each: where all are bad, a log of them all says no more."""

CHUNK = 1_000
"""Documents of history that are taken in as one unit."""

CHUNK_BYTES = 16 * 2**20
"""Bytes of words after which a unit of history ends before it has its documents."""


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


class Intake:
    """Takes documents in. ``max_age``: seconds after publication beyond which a live one is counted and dropped."""

    def __init__(self, engine: Engine, *, clock: Clock, max_age: float) -> None:
        self._engine = engine
        self._clock = clock
        self._live = Ingest(max_age=max_age)
        count(PUSH)

    async def run(self, source: Source) -> None:
        """Takes in what a source brings, for good."""
        count(source.name)
        cursor: bytes | None = await self._engine.inspect(INGEST, lambda state: state.table("cursors").get(source.name))
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
        _name(source.name, batch.errors)
        while True:
            await self._engine.admitted()
            try:
                outcome = await self.commit(batch.items, origin, cursor=batch.cursor)
            except Unwritable:
                await self._clock.sleep(1.0)
            else:
                count(source.name, invalid=len(batch.errors))
                return outcome

    async def commit(
        self, items: Sequence[RawItem], origin: Origin, *, cursor: bytes | None = None, ingest: Ingest | None = None
    ) -> Outcome:
        """Takes items in as one unit, live unless ``ingest`` says otherwise. Raises Unwritable."""
        rule, now = ingest or self._live, self._clock.time()

        def work(state: State) -> tuple[Outcome, list[Output]]:
            outcome = rule.accept(items, origin, state, now)
            if cursor is not None:
                state.table("cursors").put(origin.source, cursor)
            return outcome, outcome.outputs

        outcome = await self._engine.take_in(work)
        outcome.count(origin.source)
        return outcome

    async def accept(self, body: bytes, content_type: str) -> Accepted:
        """Takes in a POST's documents; durable when it returns. Raises Behind or Unwritable."""
        self._engine.admit()
        now = self._clock.time()
        items, errors = parse_body(body, content_type, now)
        result = Accepted(invalid=[{"line": error.line, "reason": error.reason} for error in errors])
        count(PUSH, invalid=len(errors))
        for class_ in ("news", "filing", "social"):
            part = [item for item in items if (item.class_ or "news") == class_]
            if part:
                # Pushed documents are live: there is no feed whose silence could have delayed them.
                origin = Origin(source=PUSH, class_=class_, interval=600.0, last_success=now)
                result.add(await self.commit(part, origin))
        return result

    async def backfill(
        self, paths: Sequence[Path | str], *, noted: Callable[[Document], None] = lambda _: None
    ) -> tuple[Accepted, BadLines]:
        """Fills baselines from files of any size; nothing rings. Returns what became of them and the lines that failed.

        All are read before the first goes in, so that a file that can't be read costs nothing. ``noted`` is given each
        document that is in the log. Raises FileError.
        """
        ingest = Ingest(max_age=None, backfill=True)
        result, bad = Accepted(), BadLines()
        parts = chunks(history(paths, self._clock.time(), bad, source=HISTORY), CHUNK, CHUNK_BYTES)
        while part := await asyncio.to_thread(next, parts, None):
            await self._engine.admitted()
            for class_, run in _runs(part):
                outcome = await self.commit(run, Origin(source=HISTORY, class_=class_), ingest=ingest)
                result.add(outcome)
                for document in outcome.documents:
                    noted(document)
        await self._engine.drained()
        return result, bad

    async def tick(self, interval: float, sources: Watcher) -> None:
        """Tells of the sources, then up to when the documents are complete, every ``interval`` seconds, for good.

        In this order: after a stop, or when the clock was set forward, nobody takes for quiet what nobody saw. Up to
        the time before the look: set forward during it, the clock is believed at the next.
        """
        while True:
            with contextlib.suppress(Unwritable):
                now = self._clock.time()
                await sources.look()
                await self._engine.watermark(DOCUMENTS, now)
            await self._clock.sleep(interval)


def _name(source: str, errors: Sequence[LineError]) -> None:
    """Logs what could not be read: the first of many, and how many they are."""
    for error in errors[:NAMED]:
        place = {"file": error.file} if error.file else {}
        log.warning("bad_line", action="skip", source=source, **place, line=error.line, reason=error.reason)
    if len(errors) > NAMED:
        log.warning("bad_lines", action="skip", source=source, more=len(errors) - NAMED, last=errors[-1].reason)


def _runs(items: Sequence[RawItem]) -> list[tuple[Any, list[RawItem]]]:
    """Stretches of one class, in order."""
    runs: deque[tuple[Any, list[RawItem]]] = deque()
    for item in items:
        class_ = item.class_ or "news"
        if not runs or runs[-1][0] != class_:
            runs.append((class_, []))
        runs[-1][1].append(item)
    return list(runs)
