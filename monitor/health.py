"""What the daemon tells of itself: sources that die and come back, stages that stay behind."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from prometheus_client import Gauge

from pipelines.clock import Clock
from pipelines.coverage import BLIND
from pipelines.documents import Operation, SourceRecord, encode, iso
from pipelines.notify import OPERATION
from pipelines.sources.base import Source, SourceStatus
from pipelines.streams.base import CANDIDATES, INGEST, SOURCES, Engine, Output, State, Unwritable

FREE_BYTES = Gauge("tapewatch_store_free_bytes", "Room that is left where this process keeps its files.")

EVERY = 1.0
"""Seconds between two looks."""
STATUS_EVERY = 15.0
"""Seconds after which a source's state is told again although it is the same."""
LAG_ALARM = 60.0
"""Seconds of lag, kept up for LAG_PATIENCE seconds, that are an operational event."""
LAG_PATIENCE = 30.0


class Watcher(Protocol):
    """Looks once, and tells what is to be told."""

    async def look(self) -> None: ...


async def watch(watchers: Sequence[Watcher], clock: Clock) -> None:
    """Lets each look every second, for good. What can't be written now is seen again at the next look."""
    while True:
        for watcher in watchers:
            with contextlib.suppress(Unwritable):
                await watcher.look()
        await clock.sleep(EVERY)


def coverage(records: Sequence[SourceRecord]) -> dict[str, int]:
    """Of the sources that were not read to their end: how many there are, are well, and were never read so far."""
    living = [one for one in records if one.state != "stopped" or one.reason is not None]
    unread = sum(one.unread for one in living)
    return {
        "expected": len(living),
        "healthy": sum(one.state == "up" for one in living) - unread,
        "unread": unread,
    }


class Told(NamedTuple):
    """What was last told of a source, and when."""

    state: str
    at: float = 0.0
    unread: bool = False


class SourceWatch:
    """Tells of sources. ``started``: when the daemon was, in seconds since 1970."""

    def __init__(self, engine: Engine, sources: Sequence[Source], *, clock: Clock, started: float) -> None:
        self._engine = engine
        self._sources = sources
        self._clock = clock
        self._started = started
        self._told: dict[str, Told] = {}

    async def restore(self) -> None:
        """Reads what was told before the start, so that a start neither repeats nor forgets a dead feed."""
        told = await self._engine.inspect(INGEST, lambda state: dict(state.table("told").items()))
        # A file that was read to its end is stopped as well, and no trouble.
        ended = {source.name for source in self._sources if source.kind == "file"}
        self._told = {name: Told(one) for name, one in told.items() if name not in ended or one != "stopped"}

    def coverage(self) -> dict[str, int]:
        """As ``coverage`` has it, of the sources as they are now."""
        return coverage([_record(source.status) for source in self._sources])

    async def look(self) -> None:
        outputs: list[Output] = []
        fresh: dict[str, Told] = {}
        now = self._clock.time()
        for source in self._sources:
            status = source.status
            told = self._told.get(source.name, Told(""))
            if (status.state, status.unread) == (told.state, told.unread) and now - told.at < STATUS_EVERY:
                continue
            bad, was_bad = status.state in BLIND and status.reason is not None, told.state in BLIND
            if was_bad and not bad and (status.last_success or 0.0) < self._started:
                continue  # just started and not read yet: what was told before the start still holds
            fresh[source.name] = Told(status.state, now, status.unread)
            outputs.append(Output(SOURCES, source.name, encode(_record(status))))
            if bad and not was_bad:
                outputs.append(_operation(status, "ops.source_stale"))
            elif was_bad and status.state == "up":
                outputs.append(_operation(status, "ops.source_recovered"))
        if outputs:
            await self._engine.take_in(lambda state: (_note(fresh, state), outputs))
            self._told |= fresh


def _note(told: Mapping[str, Told], state: State) -> int:
    """Remembers what was told; returns of how many sources it is news."""
    table = state.table("told")
    news = [(name, one.state) for name, one in told.items() if table.get(name) != one.state]
    for name, one in news:
        table.put(name, one)
    return len(news)


def _record(status: SourceStatus) -> SourceRecord:
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
        unread=status.unread,
    )


def _operation(status: SourceStatus, kind: Any) -> Output:
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


class LagWatch:
    """Tells of the stage that is furthest behind, once, until it has caught up."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._since: float | None = None
        self._told = False

    async def look(self) -> None:
        now, lag = self._clock.monotonic(), self._engine.lag()
        if not lag:
            return
        worst, (seconds, records) = max(lag.items(), key=lambda entry: entry[1][0])
        if seconds < LAG_ALARM:
            self._since = None
            self._told = self._told and seconds > LAG_ALARM / 2
            return
        self._since = self._since or now
        if self._told or now - self._since < LAG_PATIENCE:
            return
        operation = Operation(
            type="ops.pipeline_lag",
            at=iso(self._clock.time()),
            subject=worst,
            summary=f"stage {worst} is {seconds:.0f} s and {records} records behind",
            details={"seconds": round(seconds, 1), "records": records},
        )
        await self._engine.append([Output(CANDIDATES, OPERATION + worst, encode(operation))])
        self._told = True


class RoomWatch:
    """Measures the room that is left in the folder of this process's store, tables and read model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def look(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # made with the first file in it
            FREE_BYTES.set(shutil.disk_usage(self._folder).free)
