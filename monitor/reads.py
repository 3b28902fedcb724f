"""What the API tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from monitor import shapes
from monitor.app import Daemon, NotHere
from monitor.power import RETRY_AFTER, WAITING, Busy, Desk
from monitor.problems import HEADERS, Problem, answer
from monitor.routes import Asked, Instant, Nothing, route
from pipelines import drift
from pipelines.documents import iso
from pipelines.notify import Notify

HEARTBEAT = 15.0
PATIENCE = 2.0
"""Seconds that a question waits for the tables of a stage."""

Key = Annotated[str, Meta(min_length=1, description="A watched key, as in `entity:JPM` or `topic:earnings`.")]
Since = Annotated[Instant | None, Meta(description=f"From here on: {Instant.description}.")]
Until = Annotated[Instant | None, Meta(description=f"Before this: {Instant.description}.")]


class AlertsQuery(msgspec.Struct, frozen=True, kw_only=True):
    status: Annotated[Literal["firing", "resolved"] | None, Meta(description="Only these.")] = None
    key: Key | None = None
    since: Since = None
    until: Until = None
    merged: Annotated[bool, Meta(description="With those that are part of another alert.")] = False
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Alerts at most.")] = 100


class KeyQuery(msgspec.Struct, frozen=True, kw_only=True):
    key: Key


class SeriesQuery(KeyQuery, frozen=True, kw_only=True):
    since: Since = None
    until: Until = None
    limit: Annotated[int, Meta(ge=1, le=10_000, description="Blocks at most, the latest.")] = 2_000


class DocumentsQuery(msgspec.Struct, frozen=True, kw_only=True):
    key: Key | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Documents at most.")] = 50


class DeliveriesQuery(msgspec.Struct, frozen=True, kw_only=True):
    state: Annotated[Literal["pending", "standing", "delivered", "failed"] | None, Meta(description="Only these.")] = (
        None
    )
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Deliveries at most.")] = 200


class LettersQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Dead letters at most.")] = 100


class Reads:
    """Handlers of what is read."""

    def __init__(self, daemon: Daemon, desk: Desk) -> None:
        self._daemon = daemon
        self._desk = desk

    async def _ask(self, question: Callable[..., Any], *values: Any, **named: Any) -> Any:
        return await asyncio.to_thread(question, *values, **named)

    @route("GET", "/api/v1/status", answer=shapes.Status)
    async def status(self, _: Asked[Nothing, None]) -> Any:
        """Version, readiness, lag and coverage."""
        return self._daemon.status()

    @route("GET", "/api/v1/sources", answer=shapes.Sources)
    async def sources(self, _: Asked[Nothing, None]) -> Any:
        """The health of every source."""
        known = {source.name for source in self._daemon.settings.sources}
        found = await self._ask(self._daemon.read_model.sources)
        return {"sources": [source for source in found if source["source"] in known]}

    @route("GET", "/api/v1/models", answer=shapes.Models)
    async def models(self, _: Asked[Nothing, None]) -> Any:
        """The models there are, which is in use since when, and what a rollback leads to."""
        return {"models": await self._daemon.model_use.listed(), "in_use": self._daemon.model_use.status()}

    @route("GET", "/api/v1/drift", answer=shapes.Drift)
    async def drift(self, _: Asked[Nothing, None]) -> Any:
        """What texts are to the model against what they were, by class and measure."""
        daemon = self._daemon
        if Notify.name not in daemon.only:
            raise NotHere(Notify.name, daemon.only)
        try:
            async with asyncio.timeout(PATIENCE):
                return {"drift": await daemon.engine.inspect(Notify.name, drift.report)}
        except TimeoutError:
            raise Problem(503, "Not here", "another process runs notify now; ask that one") from None

    @route("GET", "/api/v1/alerts", query=AlertsQuery, answer=shapes.Alerts)
    async def alerts(self, asked: Asked[AlertsQuery, None]) -> Any:
        """Each alert's latest event, newest first; with `merged=true` also what is part of another alert."""
        return {"alerts": await self._ask(self._daemon.read_model.alerts, **msgspec.structs.asdict(asked.query))}

    @route("GET", "/api/v1/alerts/{id}", answer=shapes.Alert)
    async def alert(self, asked: Asked[Nothing, None]) -> Any:
        """All events of an alert and the attempts to deliver them, by its id or one of its events'."""
        events = await self._ask(self._daemon.read_model.alert, asked.id)
        if not events:
            raise Problem(404, "No such alert", f"none has the id {asked.id[:100]!r}; /api/v1/alerts lists them")
        ids = [event["id"] for event in events]
        attempts = [attempt for event in ids for attempt in await self._ask(self._daemon.read_model.attempts, event)]
        return {"events": events, "attempts": attempts}

    @route("GET", "/api/v1/keys", answer=shapes.Keys)
    async def keys(self, _: Asked[Nothing, None]) -> Any:
        """Every watched key with its latest block; what fires first, then by score."""
        return {"keys": await self._ask(self._daemon.read_model.keys)}

    @route("GET", "/api/v1/series", query=SeriesQuery, answer=shapes.Series)
    async def series(self, asked: Asked[SeriesQuery, None]) -> Any:
        """A key's blocks, oldest first: counted against expected."""
        query = asked.query
        found = await self._ask(
            self._daemon.read_model.series, query.key, query.since or 0.0, query.limit, until=query.until
        )
        return {"key": query.key, "series": found}

    @route("GET", "/api/v1/power", query=KeyQuery, answer=shapes.Power, also={202: shapes.Power})
    async def power(self, asked: Asked[KeyQuery, None]) -> Any:
        """The smallest crises of a key that ring, tried out in its history; 202 with Retry-After until that is done."""
        key = asked.query.key
        watched = self._daemon.read_model.watch.keys.get(key)
        if watched is None:
            raise Problem(404, "No such key", f"{key[:200]!r} is not watched; /api/v1/keys lists what is")
        try:
            kept = self._desk.answer(key)
        except Busy:
            raise Problem(429, "Too many questions", f"{WAITING} keys wait already; ask again in minutes") from None
        if kept is None:
            response = answer({"key": key, "state": "computing"}, 202)
            response.headers["retry-after"] = str(RETRY_AFTER)
            return response
        if kept.failed is not None:
            raise Problem(503, "Could not be computed", kept.failed)
        told = {"key": key, "name": watched.name, "computed": iso(kept.computed), "configuration": kept.configuration}
        return {**told, "answers": kept.answers}

    @route("GET", "/api/v1/documents", query=DocumentsQuery, answer=shapes.Documents)
    async def documents(self, asked: Asked[DocumentsQuery, None]) -> Any:
        """The latest documents, of a key or of all, newest first; history (`backfill`) after all others."""
        found = await self._ask(self._daemon.read_model.documents, asked.query.key, asked.query.limit)
        return {"documents": found}

    @route("GET", "/api/v1/silences", answer=shapes.Silences)
    async def silences(self, _: Asked[Nothing, None]) -> Any:
        """Silences: those of the settings, and operators' until four weeks after their end."""
        return {"silences": await self._daemon.operators.silences()}

    @route("GET", "/api/v1/deliveries", query=DeliveriesQuery, answer=shapes.Deliveries)
    async def deliveries(self, asked: Asked[DeliveriesQuery, None]) -> Any:
        """What is owed and what was delivered, newest first, with the key and summary of its event."""
        return {"deliveries": await self._daemon.operators.deliveries(asked.query.state, asked.query.limit)}

    @route("GET", "/api/v1/dead-letters", query=LettersQuery, answer=shapes.DeadLetters)
    async def dead_letters(self, asked: Asked[LettersQuery, None]) -> Any:
        """Records that could not be handled, oldest first."""
        return {"dead_letters": await self._daemon.operators.dead_letters(asked.query.limit)}

    @route("GET", "/api/v1/stream", media="text/event-stream")
    async def stream(self, asked: Asked[Nothing, None]) -> Any:
        """Server-sent events: alert, document, series, source."""
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "cache-control": "no-store", **HEADERS}
        )
        viewer = self._daemon.viewer
        events = viewer.subscribe()
        try:
            await response.prepare(asked.request)
            await response.write(b"retry: 2000\n\n")
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        kind, body = await events.get()
                except TimeoutError:
                    await response.write(b": still here\n\n")
                else:
                    await response.write(f"event: {kind}\ndata: ".encode() + msgspec.json.encode(body) + b"\n\n")
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            viewer.unsubscribe(events)
        return response
