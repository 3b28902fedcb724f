"""What the suites of sources share: files on a real disk, a way to each kind of source, and a driver that
does with its batches what the daemon does.

A new kind joins the contract by a ``Bench`` of its own in ``BENCHES``.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from monitor.http import GuardedClient
from pipelines.clock import ManualClock
from pipelines.documents import Document
from pipelines.ingest import TABLES, Ingest, Origin, Outcome
from pipelines.parse import Jail
from pipelines.sources import registry
from pipelines.sources.base import Batch, HttpClient, LineError, Source, Tools
from pipelines.streams.memory import MemoryState
from tests.contract.feed_server import FORMATS, NOW, Entry, FeedServer
from tests.kafka_cluster import Cluster
from tests.kafka_topic import Topic, make_topic

DAY = 86_400.0
PATIENCE = 60.0
"""Seconds of real time after which something that should happen never will."""


# -- the driver -------------------------------------------------------------------------------------------


class Tables:
    name = "ingest"
    inputs = ()
    tables = TABLES


class Log:
    """What the daemon keeps: documents, ids, cursors. It outlives a driver, as a store outlives a process."""

    def __init__(self) -> None:
        self.state = MemoryState(Tables())
        self.documents: list[Document] = []
        self.cursor: bytes | None = None

    @property
    def titles(self) -> list[str]:
        return [document.title for document in self.documents]


class BenchClock(ManualClock):
    """A manual clock that tells who sleeps and for how long."""

    def __init__(self, now: float = NOW) -> None:
        super().__init__(now)
        self.asleep: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await super().sleep(seconds)
            return
        self.asleep.append(seconds)
        try:
            await super().sleep(seconds)
        finally:
            self.asleep.remove(seconds)


class Driver:
    """Runs one source as the daemon does: batch, ingest, cursor, report. ``polls`` are waited for, not slept for."""

    def __init__(self, source: Source, clock: BenchClock, log: Log, max_age: float = DAY) -> None:
        self.source, self.clock, self.log = source, clock, log
        self.batches: list[Batch] = []
        self.errors: list[LineError] = []
        self.waits: list[float] = []
        self.handed = 0
        """Items that the source gave, before ingest looked at them."""
        self.lost = 0
        """Items that a kill took."""
        self._ingest = Ingest(max_age=max_age)
        self._running = source.batches(log.cursor)

    async def poll(self, *, lose: bool = False) -> Outcome | None:
        """The next batch, however far the clock must go for it; None when the source ended. ``lose``: a kill comes
        between the batch and the log."""
        waiting = asyncio.ensure_future(anext(self._running, None))
        try:
            async with asyncio.timeout(PATIENCE):
                while not waiting.done():
                    if self.clock.asleep:
                        self.waits.append(self.clock.asleep[0])
                        await self.clock.advance(self.clock.asleep[0])
                    await asyncio.sleep(0.001)
        finally:
            if not waiting.done():
                waiting.cancel()
        batch = waiting.result()
        if batch is None:
            return None
        if lose:
            self.lost += len(batch.items)
            return None
        return self._take(batch)

    async def polls(self, count: int) -> list[Outcome | None]:
        return [await self.poll() for _ in range(count)]

    def _take(self, batch: Batch) -> Outcome:
        self.batches.append(batch)
        self.errors += batch.errors
        self.handed += len(batch.items)
        source = self.source
        origin = Origin(
            source=source.name,
            class_=source.class_,
            publisher=source.publisher,
            interval=source.interval,
            last_success=batch.previous_success,
        )
        outcome = self._ingest.accept(batch.items, origin, self.log.state, self.clock.time())
        for table in self.log.state.tables.values():
            table.freeze(forget=True)
        self.log.documents += outcome.documents
        self.log.cursor = batch.cursor if batch.cursor is not None else self.log.cursor
        source.report(outcome.accepted + outcome.revision)
        return outcome

    async def stop(self) -> None:
        await self._running.aclose()


@asynccontextmanager
async def tools(
    clock: BenchClock, jail: Jail, http: HttpClient | None = None, draw: float = 0.0
) -> AsyncIterator[Tools]:
    client = http or GuardedClient(["127.0.0.0/8"])
    try:
        yield Tools(client, jail, clock, lambda: draw)
    finally:
        if isinstance(client, GuardedClient):
            await client.close()


# -- the kinds --------------------------------------------------------------------------------------------


class Bench(Protocol):
    """A source's far end: publish something, break it, mend it."""

    options: dict[str, Any]
    kind: str

    async def open(self, folder: Path) -> None: ...
    async def close(self) -> None: ...
    async def publish(self, *entries: Entry) -> None: ...
    async def fail(self) -> None: ...
    async def mend(self) -> None: ...


class FeedBench:
    kind = "feed"

    def __init__(self, form: str) -> None:
        self.server = FeedServer(form=form, etag='"0"')
        self.options: dict[str, Any] = {}

    async def open(self, folder: Path) -> None:
        await self.server.start()
        self.options = {"name": "wire", "url": self.server.url, "interval": 60.0}

    async def close(self) -> None:
        await self.server.stop()

    async def publish(self, *entries: Entry) -> None:
        self.server.entries = [*entries, *self.server.entries]
        self.server.etag = f'"{len(self.server.entries)}"'

    async def fail(self) -> None:
        await self.server.stop()

    async def mend(self) -> None:
        await self.server.start()


class FileBench:
    """A followed file of JSON Lines, a table that is written anew, or a folder into which files are put."""

    kind = "file"

    def __init__(self, form: str) -> None:
        self.form, self.options, self.entries = form, dict[str, Any](), list[Entry]()

    async def open(self, folder: Path) -> None:
        self.path = folder / {"lines": "tape.jsonl", "table": "tape.csv", "folder": "inbox"}[self.form]
        self.options = {"name": "wire", "path": str(self.path), "interval": 1.0}
        if self.form == "folder":
            self.path.mkdir()
        else:
            await self.publish()

    async def close(self) -> None: ...

    async def publish(self, *entries: Entry) -> None:
        self.entries += entries
        if self.form == "table":
            self.path.write_text(table(self.entries))
        elif self.form == "lines":
            with self.path.open("a") as stream:
                stream.write(lines(entries))
        else:
            (self.path / f"{len(self.entries):04d}.jsonl").write_text(lines(entries))

    async def fail(self) -> None:
        self.path.rename(self.path.with_name("away"))

    async def mend(self) -> None:
        self.path.with_name("away").rename(self.path)


def fields_of(one: Entry) -> dict[str, Any]:
    return {"id": one.guid, "title": one.title, "url": one.url, "text": one.body, "published": one.published}


def lines(entries: Any) -> str:
    return "".join(json.dumps(fields_of(one)) + "\n" for one in entries)


def table(entries: Any) -> str:
    written = io.StringIO()
    writer = csv.DictWriter(written, ["id", "title", "url", "text", "published"])
    writer.writeheader()
    writer.writerows(fields_of(one) for one in entries)
    return written.getvalue()


class KafkaBench:
    """A topic in somebody else's format on a real broker, which ``cluster`` is and the test's fixture gives."""

    kind = "kafka"
    cluster: Cluster

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    async def open(self, folder: Path) -> None:
        topic = f"articles-{uuid.uuid4().hex[:8]}"
        await asyncio.to_thread(make_topic, self.cluster.address, topic)
        self.topic = Topic(self.cluster.address, topic)
        paths = {"id": "id", "title": "headline", "text": "body.plain", "url": "url", "published": "meta.ts"}
        brokers = tuple(self.cluster.address.split(","))
        self.options = {
            "name": "wire",
            "brokers": brokers,
            "topic": topic,
            "start": "earliest",
            "fields": paths,
            "group": topic,
        }

    async def close(self) -> None:
        await self.mend()

    async def publish(self, *entries: Entry) -> None:
        await asyncio.to_thread(self.topic.write, *map(foreign, entries))

    async def fail(self) -> None:
        self.cluster.kill()

    async def mend(self) -> None:
        await asyncio.to_thread(self.cluster.start)


def foreign(one: Entry) -> dict[str, Any]:
    """An entry as another house writes it."""
    words = {"headline": one.title, "body": {"plain": one.body}, "url": one.url}
    return {"id": one.guid, **words, "meta": {"ts": int(one.published * 1_000)}}


BENCHES: dict[str, Callable[[], Bench]] = {
    **{form: (lambda form=form: FeedBench(form)) for form in FORMATS},
    **{form: (lambda form=form: FileBench(form)) for form in ("lines", "table", "folder")},
    "kafka": KafkaBench,
}


def build(bench: Bench, given: Tools, **changes: Any) -> Source:
    return registry.build(bench.kind, bench.options | changes, given)
