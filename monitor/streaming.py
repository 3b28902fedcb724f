"""The stream of the API: server-sent events, from any place that is still kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import structlog
from aiohttp import web
from msgspec import Meta
from prometheus_client import Counter, Gauge

from monitor.app import Daemon
from monitor.broadcast import Broadcast, Event, Missed
from monitor.problems import HEADERS, Problem
from monitor.routes import Asked, route

log = structlog.get_logger(__name__)

LISTENERS = Gauge("tapewatch_stream_listeners", "Open streams of the API.")
ENDED = Counter(
    "tapewatch_streams_ended_total", "Streams that ended: one went, took nothing (slow) or was one too many.", ["why"]
)
RESETS = Counter("tapewatch_stream_resets_total", "Times that a listener had missed something and had to begin anew.")
for _why in ("went", "slow", "refused"):
    ENDED.labels(_why)

HEARTBEAT = 15.0
"""Seconds of silence after which a listener is told that it is still connected, and how far it is."""
PATIENCE = 30.0
"""Seconds for which a listener may take nothing; then it is let go of, and comes again when it can."""
MOST = 1_000
"""Listeners at a time."""

Kind = Literal["alert", "document", "series", "source"]


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True):
    types: Annotated[list[Kind], Meta(description="Only these kinds of events; several with commas between them.")] = []
    key: Annotated[str, Meta(min_length=1, description="Only what speaks of this watched key.")] | None = None
    last_event_id: (
        Annotated[
            str, Meta(description="As the header Last-Event-ID, for who can't send it: goes on behind this event.")
        ]
        | None
    ) = None


class Streaming:
    """The handler."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._listeners = 0

    @route("GET", "/api/v1/stream", query=StreamQuery, media="text/event-stream")
    async def stream(self, asked: Asked[StreamQuery, None]) -> Any:
        """Server-sent events with ids: alert, document, series, source; `reset` where some are missing.

        Who comes back with the last id that it saw gets what it missed.
        """
        events = self._daemon.viewer.events
        if self._listeners >= MOST:
            ENDED.labels("refused").inc()
            raise Problem(503, "Too many listeners", f"{MOST} listen already; close some, or come again later")
        headers = {"content-type": "text/event-stream", "cache-control": "no-store", **HEADERS}
        response = web.StreamResponse(headers=headers)
        self._listeners += 1
        LISTENERS.set(self._listeners)
        why = "went"
        try:
            await response.prepare(asked.request)
            await _follow(events, response, _place(events, asked), _wanted(asked.query))
        except TimeoutError:
            why = "slow"
            log.info("listener_dropped", action="close", why=f"it took nothing for {PATIENCE:.0f} s")
            if asked.request.transport is not None:
                asked.request.transport.abort()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._listeners -= 1
            LISTENERS.set(self._listeners)
            ENDED.labels(why).inc()
        return response


def _place(events: Broadcast, asked: Asked[StreamQuery, None]) -> int | None:
    """Where a listener goes on; None where it has missed something."""
    last = asked.request.headers.get("last-event-id") or asked.query.last_event_id
    try:
        return events.place(last) if last else events.end
    except Missed:
        return None


def _wanted(query: StreamQuery) -> Callable[[Event], bool]:
    kinds = frozenset(query.types)

    def wanted(one: Event) -> bool:
        return (not kinds or one.kind in kinds) and (query.key is None or query.key in one.keys)

    return wanted


async def _follow(
    events: Broadcast, response: web.StreamResponse, place: int | None, wanted: Callable[[Event], bool]
) -> None:
    """Sends what is new, for good. Raises TimeoutError where nobody takes it."""
    await response.write(b"retry: 2000\n\n")
    while True:
        try:
            if place is None:
                raise Missed
            told, place = events.after(place, wanted)
        except Missed:  # it is told to begin anew rather than shown a tape with holes
            RESETS.inc()
            place = events.end
            told = events.id(place) + b"event: reset\ndata: {}\n\n"
        if told:
            async with asyncio.timeout(PATIENCE):
                await response.write(told)
        try:
            async with asyncio.timeout(HEARTBEAT):
                await events.news(place)
        except TimeoutError:
            # Without data it is no event, but the id counts: what a filter left out was not missed.
            async with asyncio.timeout(PATIENCE):
                await response.write(b": still here\n" + events.id(place) + b"\n")
