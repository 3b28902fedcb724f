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
from monitor.cursors import Cursor, Orders, following, gone, place_of
from monitor.power import RETRY_AFTER, WAITING, Busy, Desk
from monitor.problems import Problem, answer
from monitor.routes import Asked, Instant, Nothing, refused, route
from pipelines import drift
from pipelines.asking import LetGo, Page
from pipelines.documents import CommandKind, iso
from pipelines.finding import Wanted
from pipelines.notify import Notify

PATIENCE = 2.0
"""Seconds that a question waits for the tables of a stage."""

Key = Annotated[str, Meta(min_length=1, description="A watched key, as in `entity:JPM` or `topic:earnings`.")]
Since = Annotated[Instant | None, Meta(description=f"From here on: {Instant.description}.")]
Until = Annotated[Instant | None, Meta(description=f"Before this: {Instant.description}.")]


Watchlist = Annotated[str, Meta(min_length=1, description="A watch-list's name.")]


class AlertsQuery(msgspec.Struct, frozen=True, kw_only=True):
    status: Annotated[Literal["firing", "resolved"] | None, Meta(description="Only these.")] = None
    key: Key | None = None
    since: Since = None
    until: Until = None
    merged: Annotated[bool, Meta(description="With those that are part of another alert.")] = False
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Alerts at most.")] = 100
    cursor: Cursor = None


class KeyQuery(msgspec.Struct, frozen=True, kw_only=True):
    key: Key


class SeriesQuery(KeyQuery, frozen=True, kw_only=True):
    since: Since = None
    until: Until = None
    limit: Annotated[int, Meta(ge=1, le=10_000, description="Blocks at most, the latest.")] = 2_000
    cursor: Cursor = None


class KeysQuery(msgspec.Struct, frozen=True, kw_only=True):
    watchlist: Watchlist | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000, description="Keys at most.")] = 1_000
    cursor: Cursor = None


class DocumentsQuery(msgspec.Struct, frozen=True, kw_only=True):
    q: Annotated[
        str | None,
        Meta(description="Words in title, publisher or companies; in double quotes one after the other."),
    ] = None
    key: Key | None = None
    topic: Annotated[str, Meta(min_length=1, description="A topic's label, as in `Earnings`.")] | None = None
    sentiment: Annotated[Literal["negative", "neutral", "positive"] | None, Meta(description="Only these.")] = None
    since: Since = None
    until: Until = None
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Documents at most.")] = 50
    cursor: Cursor = None


class SearchQuery(DocumentsQuery, frozen=True, kw_only=True):
    q: Annotated[str, Meta(description="Words in title, publisher or companies; in double quotes one after the other.")]


class DeliveriesQuery(msgspec.Struct, frozen=True, kw_only=True):
    state: Annotated[Literal["pending", "standing", "delivered", "failed"] | None, Meta(description="Only these.")] = (
        None
    )
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Deliveries at most.")] = 200
    cursor: Cursor = None


class LettersQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Dead letters at most.")] = 100
    cursor: Cursor = None


class SilencesQuery(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Silences at most.")] = 1_000
    cursor: Cursor = None


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    what: Annotated[CommandKind | None, Meta(description="Only these.")] = None
    who: Annotated[str, Meta(min_length=1, description="Only what this person had done.")] | None = None
    since: Since = None
    until: Until = None
    format: Annotated[Literal["json", "jsonl"], Meta(description="One answer, or an entry a line.")] = "json"
    limit: Annotated[int, Meta(ge=1, le=10_000, description="Entries at most.")] = 100
    cursor: Cursor = None


class Reads:
    """Handlers of what is read."""

    def __init__(self, daemon: Daemon, desk: Desk) -> None:
        self._daemon = daemon
        self._desk = desk
        self._orders = Orders()

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

    @route("GET", "/api/v1/alerts", query=AlertsQuery, answer=shapes.Alerts, held=True)
    async def alerts(self, asked: Asked[AlertsQuery, None]) -> Any:
        """Each alert's latest event, newest first; with `merged=true` also what is part of another alert."""
        filters = {name: value for name, value in msgspec.structs.asdict(asked.query).items() if name != "cursor"}
        return await self._page(asked, "alerts", tuple[float, str], self._daemon.read_model.heads, **filters)

    @route("GET", "/api/v1/alerts/{id}", answer=shapes.Alert, held=True)
    async def alert(self, asked: Asked[Nothing, None]) -> Any:
        """All events of an alert and the attempts to deliver them, by its id or one of its events'."""
        events = await self._ask(self._daemon.read_model.alert, asked.id)
        if not events:
            raise Problem(404, "No such alert", f"none has the id {asked.id[:100]!r}; /api/v1/alerts lists them")
        ids = [event["id"] for event in events]
        attempts = [attempt for event in ids for attempt in await self._ask(self._daemon.read_model.attempts, event)]
        return {"events": events, "attempts": attempts}

    @route("GET", "/api/v1/keys", query=KeysQuery, answer=shapes.Keys, held=True)
    async def keys(self, asked: Asked[KeysQuery, None]) -> Any:
        """Every watched key with its latest block; what fires first, then by score."""
        query, model = asked.query, self._daemon.read_model
        known = [entry.name for entry in self._daemon.settings.watchlists]
        if query.watchlist is not None and query.watchlist not in known:
            raise refused("watchlist", query.watchlist, f"one of {', '.join(known) or 'none'}")
        if (place := place_of(asked, tuple[str, int])) is None:
            name, begin, order = "", 0, await self._ask(model.ranking, query.watchlist)
        else:
            name, begin, order = *place, self._orders.get(place[0])
        end = begin + query.limit
        found = await self._ask(model.standing, order[begin:end])
        after = (name or self._orders.keep(order), end) if end < len(order) else None
        return {"keys": found, "next": following(asked, after)}

    @route("GET", "/api/v1/series", query=SeriesQuery, answer=shapes.Series, held=True)
    async def series(self, asked: Asked[SeriesQuery, None]) -> Any:
        """A key's blocks: counted against expected. The latest ones, oldest first; `next` leads to those before."""
        query = asked.query
        told = await self._page(
            asked,
            "series",
            tuple[float, str],
            lambda **where: self._daemon.read_model.blocks(query.key, **where),
            since=query.since or 0.0,
            until=query.until,
            limit=query.limit,
        )
        return {"key": query.key, **told}

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

    @route("GET", "/api/v1/documents", query=DocumentsQuery, answer=shapes.Documents, held=True)
    async def documents(self, asked: Asked[DocumentsQuery, None]) -> Any:
        """The latest documents, newest first; history (`backfill`) after all others."""
        return await self._tape(asked, folded=False)

    @route("GET", "/api/v1/search", query=SearchQuery, answer=shapes.Documents, held=True)
    async def search(self, asked: Asked[SearchQuery, None]) -> Any:
        """Documents that hold all words of a question, newest first. Of those that one day told under the same
        headline the latest stands for all, with the number of its `reprints`."""
        return await self._tape(asked, folded=True)

    async def _tape(self, asked: Asked[Any, None], *, folded: bool) -> Any:
        query = asked.query
        names = ("q", "key", "topic", "sentiment", "since", "until")
        wanted = Wanted(folded=folded, **{name: getattr(query, name) for name in names})
        return await self._page(
            asked,
            "documents",
            tuple[int],
            lambda limit, after: self._daemon.read_model.tape(wanted, limit, *(after or ())),
            limit=query.limit,
        )

    async def _page(
        self, asked: Asked[Any, None], field: str, place: type[Any], question: Callable[..., Page], **named: Any
    ) -> dict[str, Any]:
        """A page of a list of the read model, with the cursor to the next."""
        try:
            found = await self._ask(question, after=place_of(asked, place), **named)
        except LetGo:
            raise gone() from None
        return {field: found.entries, "next": following(asked, found.after)}

    @route("GET", "/api/v1/silences", query=SilencesQuery, answer=shapes.Silences)
    async def silences(self, asked: Asked[SilencesQuery, None]) -> Any:
        """Silences: those of the settings, and operators' until four weeks after their end."""
        found, place = await self._daemon.operators.silences(), place_of(asked, tuple[str])
        names = [one["id"] for one in found]
        if place is not None and place[0] not in names:
            raise gone()
        begin = 0 if place is None else names.index(place[0]) + 1
        shown = found[begin : begin + asked.query.limit]
        after = (shown[-1]["id"],) if begin + len(shown) < len(found) else None
        return {"silences": shown, "next": following(asked, after)}

    @route("GET", "/api/v1/deliveries", query=DeliveriesQuery, answer=shapes.Deliveries, held=True)
    async def deliveries(self, asked: Asked[DeliveriesQuery, None]) -> Any:
        """What is owed and what was delivered, newest first, with the key and summary of its event."""
        query = asked.query
        question = self._daemon.read_model.owed
        return await self._page(asked, "deliveries", tuple[float, str], question, state=query.state, limit=query.limit)

    @route("GET", "/api/v1/dead-letters", query=LettersQuery, answer=shapes.DeadLetters, held=True)
    async def dead_letters(self, asked: Asked[LettersQuery, None]) -> Any:
        """Records that could not be handled, oldest first."""
        return await self._page(
            asked,
            "dead_letters",
            tuple[int],
            lambda limit, after: self._daemon.read_model.letters(limit=limit, after=after[0] if after else -1),
            limit=asked.query.limit,
        )

    @route("GET", "/api/v1/audit", query=AuditQuery, answer=shapes.Audit, held=True)
    async def audit(self, asked: Asked[AuditQuery, None]) -> Any:
        """Who silenced, judged, retried, reloaded or switched a model, the latest first, with what it was before and
        after. With `format=jsonl` an entry a line, and the next page's address in the header `Link`."""
        query, model = asked.query, self._daemon.read_model
        told = await self._page(
            asked,
            "audit",
            tuple[int],
            lambda after, **where: model.audit(after=after[0] if after else None, **where),
            **{name: getattr(query, name) for name in ("what", "who", "since", "until", "limit")},
        )
        if query.format == "json":
            return told
        lines = b"".join(msgspec.json.encode(one) + b"\n" for one in told["audit"])
        link = asked.request.rel_url.update_query(cursor=told["next"]) if told["next"] else None
        headers = {"link": f'<{link}>; rel="next"'} if link else {}
        return web.Response(body=lines, content_type="application/x-ndjson", headers=headers)
