"""The JSON API of a daemon: what is read, what is streamed, what is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, get_args

import msgspec
from aiohttp import web

from alerts.episode import Severity
from alerts.rules import Matcher
from models.card import ModelError
from monitor.app import PARTS, Daemon, NotHere
from monitor.openapi import document
from monitor.power import RETRY_AFTER, WAITING, Busy, Desk
from monitor.problems import HEADERS, Handler, Problem, answer, body_of, limit, moment
from monitor.sections import duration
from monitor.settings import SettingsError
from monitor.verdicts import Verdicts
from pipelines import drift
from pipelines.documents import iso
from pipelines.notify import Notify

HEARTBEAT = 15.0
PATIENCE = 2.0
"""Seconds that a question waits for the tables of a stage."""


class Api:
    """Handlers. ``writer`` wraps those that change something in the question who may."""

    def __init__(self, daemon: Daemon, writer: Callable[[Handler], Handler]) -> None:
        self._daemon = daemon
        self._writer = writer
        self._desk = Desk(daemon)

    async def close(self) -> None:
        """Ends what was asked for and is still computed."""
        await self._desk.close()

    def routes(self) -> list[web.RouteDef]:
        get, post, writer = web.get, web.post, self._writer
        return [
            get("/openapi.json", self._openapi),
            get("/api/v1/status", self._status),
            get("/api/v1/sources", self._sources),
            get("/api/v1/models", self._models),
            get("/api/v1/drift", self._drift),
            get("/api/v1/alerts", self._alerts),
            get("/api/v1/alerts/{id}", self._alert),
            get("/api/v1/keys", self._keys),
            get("/api/v1/series", self._series),
            get("/api/v1/power", self._power),
            get("/api/v1/documents", self._documents),
            get("/api/v1/stream", self._stream),
            get("/api/v1/silences", self._silences),
            get("/api/v1/deliveries", self._deliveries),
            get("/api/v1/dead-letters", self._dead_letters),
            post("/api/v1/documents", writer(self._accept)),
            post("/api/v1/silences", writer(self._silence)),
            web.delete("/api/v1/silences/{id}", writer(self._expire)),
            post("/api/v1/deliveries/{id}/retry", writer(self._retry)),
            post("/api/v1/dead-letters/{id}/retry", writer(self._retry_letter)),
            post("/api/v1/channels/{id}/test", writer(self._test)),
            post("/api/v1/models/use", writer(self._use)),
            post("/api/v1/models/rollback", writer(self._rollback)),
            post("/api/v1/reload", writer(self._reload)),
            *Verdicts(self._daemon, writer).routes(),
        ]

    # -- reading ------------------------------------------------------------------------------------------

    async def _ask(self, question: Callable[..., Any], *values: Any, **named: Any) -> Any:
        return await asyncio.to_thread(question, *values, **named)

    async def _openapi(self, request: web.Request) -> web.StreamResponse:
        del request
        return answer(document())

    async def _status(self, request: web.Request) -> web.StreamResponse:
        del request
        return answer(self._daemon.status())

    async def _sources(self, request: web.Request) -> web.StreamResponse:
        del request
        known = {source.name for source in self._daemon.settings.sources}
        found = await self._ask(self._daemon.read_model.sources)
        return answer({"sources": [source for source in found if source["source"] in known]})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        del request
        return answer({"models": await self._daemon.model_use.listed(), "in_use": self._daemon.model_use.status()})

    async def _drift(self, request: web.Request) -> web.StreamResponse:
        del request
        daemon = self._daemon
        if Notify.name not in daemon.only:
            raise NotHere(Notify.name, daemon.only)
        try:
            async with asyncio.timeout(PATIENCE):
                return answer({"drift": await daemon.engine.inspect(Notify.name, drift.report)})
        except TimeoutError:
            raise Problem(503, "Not here", "another process runs notify now; ask that one") from None

    async def _alerts(self, request: web.Request) -> web.StreamResponse:
        status = request.query.get("status")
        if status not in (None, "firing", "resolved"):
            raise Problem(400, "Bad query", "status is firing or resolved")
        merged = request.query.get("merged", "false")
        if merged not in ("true", "false"):
            raise Problem(400, "Bad query", "merged is true or false")
        found = await self._ask(
            self._daemon.read_model.alerts,
            status=status,
            key=request.query.get("key"),
            since=moment(request.query.get("since")),
            merged=merged == "true",
            limit=limit(request, 100, 1_000),
        )
        return answer({"alerts": found})

    async def _alert(self, request: web.Request) -> web.StreamResponse:
        events = await self._ask(self._daemon.read_model.alert, request.match_info["id"])
        if not events:
            raise Problem(404, "No such alert")
        ids = [event["id"] for event in events]
        attempts = [attempt for event in ids for attempt in await self._ask(self._daemon.read_model.attempts, event)]
        return answer({"events": events, "attempts": attempts})

    async def _keys(self, request: web.Request) -> web.StreamResponse:
        del request
        return answer({"keys": await self._ask(self._daemon.read_model.keys)})

    async def _series(self, request: web.Request) -> web.StreamResponse:
        key = request.query.get("key")
        if not key:
            raise Problem(400, "Bad query", "key is missing")
        since = moment(request.query.get("since")) or 0.0
        most = limit(request, 2_000, 10_000)
        return answer({"key": key, "series": await self._ask(self._daemon.read_model.series, key, since, most)})

    async def _power(self, request: web.Request) -> web.StreamResponse:
        key = request.query.get("key")
        if not key:
            raise Problem(400, "Bad query", "key is missing")
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
        return answer({**told, "answers": kept.answers})

    async def _documents(self, request: web.Request) -> web.StreamResponse:
        found = await self._ask(self._daemon.read_model.documents, request.query.get("key"), limit(request, 50, 1_000))
        return answer({"documents": found})

    async def _silences(self, request: web.Request) -> web.StreamResponse:
        del request
        return answer({"silences": await self._daemon.operators.silences()})

    async def _deliveries(self, request: web.Request) -> web.StreamResponse:
        state = request.query.get("state")
        if state not in (None, "pending", "standing", "delivered", "failed"):
            raise Problem(400, "Bad query", "state is pending, standing, delivered or failed")
        return answer({"deliveries": await self._daemon.operators.deliveries(state)})

    async def _dead_letters(self, request: web.Request) -> web.StreamResponse:
        return answer({"dead_letters": await self._daemon.operators.dead_letters(limit(request, 100, 1_000))})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "cache-control": "no-store", **HEADERS}
        )
        viewer = self._daemon.viewer
        events = viewer.subscribe()
        try:
            await response.prepare(request)
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

    # -- writing ------------------------------------------------------------------------------------------

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        body = await body_of(request)
        result = await self._daemon.intake.accept(body, request.content_type)
        taken = result.accepted + result.duplicate + result.revision + result.stale + result.oversize
        if not taken:
            nothing = "no document holds readable text" if result.empty else "the body is empty"
            detail = "no line could be read" if result.invalid else nothing
            raise Problem(422, "No document", detail, invalid=result.invalid[:100])
        return answer(result, 202)

    async def _json(self, request: web.Request) -> dict[str, Any]:
        try:
            body = msgspec.json.decode(await body_of(request) or b"{}")
        except (msgspec.DecodeError, RecursionError) as error:
            raise Problem(422, "Not JSON", str(error)) from None
        if not isinstance(body, dict):
            raise Problem(422, "Not an object")
        return body

    async def _silence(self, request: web.Request) -> web.StreamResponse:
        body = await self._json(request)
        match = {name: body[name] for name in ("keys", "watchlists", "severities") if body.get(name)}
        if not match:
            raise Problem(422, "Matches everything", "give keys, watchlists or severities")
        try:
            matcher = msgspec.convert(match, Matcher)
        except msgspec.ValidationError as error:
            allowed = f"; severities are {', '.join(get_args(Severity))}" if "severities" in str(error) else ""
            raise Problem(422, "No matcher", f"{error}{allowed}") from None
        known = [entry.name for entry in self._daemon.settings.watchlists]
        if unknown := [name for name in matcher.watchlists if name not in known]:
            raise Problem(422, "No such watch-list", f"{unknown[0]!r} is not among {known}")
        self._check_keys(matcher)
        expires = self._end(body.get("until"))
        if expires is None:
            raise Problem(422, "No end", "until is 2h, 3d or a time in ISO 8601, as in 2026-01-31T12:00:00Z")
        if expires <= self._daemon.now():
            raise Problem(422, "Over already", "until is in the past")
        author, comment = str(body.get("author", "")), str(body.get("comment", ""))
        name = await self._daemon.operators.add_silence(match, expires, author, comment)
        return answer({"id": name}, 201)

    def _check_keys(self, matcher: Matcher) -> None:
        """A pattern of keys that nothing here is called by would hush nothing, without a word."""
        settings = self._daemon.settings
        subjects = [*self._daemon.parts.watch.keys, *PARTS, *(source.name for source in settings.sources)]
        subjects += [channel.name for channel in settings.channels]
        for pattern in matcher.keys:
            if not any(fnmatchcase(subject, pattern) for subject in subjects):
                near = get_close_matches(pattern, subjects, 1, cutoff=0.5)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise Problem(422, "No such key", f"{pattern!r} matches no watched key, source or channel{hint}")

    def _end(self, until: Any) -> float | None:
        """When a silence ends, of a time or of how long it lasts."""
        try:
            return self._daemon.now() + duration(until)
        except ValueError:
            return moment(until)

    async def _expire(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        known = {str(silence["id"]) for silence in await self._daemon.operators.silences()}
        if name not in known:
            raise Problem(404, "No such silence", f"none has the id {name!r}; `tapewatch silences list` shows them")
        if self._daemon.operators.is_configured(name):
            raise Problem(409, "Not yours to end", "it stands in the settings: take it out there and reload")
        return answer({"id": await self._daemon.operators.command("expire_silence", name)}, 202)

    async def _retry(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        state = await self._daemon.operators.delivery(name)
        if state is None:
            raise Problem(404, "No such delivery", f"none has the id {name!r}; `tapewatch deliveries list` shows them")
        if state in ("delivered", "standing"):
            raise Problem(409, "Delivered already", "what was delivered is not sent again")
        return answer({"id": await self._daemon.operators.command("retry_delivery", name)}, 202)

    async def _retry_letter(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        if not (name.isdecimal() and len(name) < 19) or not await self._daemon.operators.retry_dead_letter(int(name)):
            raise Problem(
                404, "No such dead letter", f"none has the number {name}; `tapewatch dead-letters list` shows them"
            )
        return answer({"id": name}, 202)

    async def _test(self, request: web.Request) -> web.StreamResponse:
        outcome = await self._daemon.sender.test(request.match_info["id"])
        if outcome is None:
            raise Problem(404, "No such channel")
        return answer(outcome)

    async def _use(self, request: web.Request) -> web.StreamResponse:
        reference = (await self._json(request)).get("model")
        if not isinstance(reference, str) or not reference:
            raise Problem(422, "No model", "model is NAME, NAME@VERSION or NAME@DIGEST; GET /api/v1/models lists them")
        return await self._switched(reference)

    async def _rollback(self, request: web.Request) -> web.StreamResponse:
        del request
        return await self._switched(None)

    async def _switched(self, reference: str | None) -> web.StreamResponse:
        try:
            gone = await self._daemon.use(reference)
        except (ModelError, SettingsError) as error:
            raise Problem(422, "Model refused", str(error)) from None
        return answer({"model": self._daemon.model.name, "until_now": gone, **self._daemon.model_use.status()})

    async def _reload(self, request: web.Request) -> web.StreamResponse:
        del request
        try:
            changed = await self._daemon.reload()
        except SettingsError as error:
            raise Problem(422, "Settings refused", str(error)) from None
        return answer({"changed": changed})
