"""Page, JSON API, event stream, metrics and probes over HTTP.

Reads are open to whoever reaches the address; writes need the token, or, on a loopback address without one, a Host and
Origin of this machine (which a page of somebody else's in a browser here can't fake).
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from alerts.rules import Matcher
from monitor.app import Daemon
from monitor.openapi import document
from monitor.settings import SettingsError
from pipelines.streams.base import Behind, Unwritable

log = structlog.get_logger(__name__)

BODY_LIMIT = 8 * 2**20
HEARTBEAT = 15.0

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
PAGE = {"page.css": "text/css", "page.js": "text/javascript"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):
    """An error as RFC 9457 has it."""

    def __init__(self, status: int, title: str, detail: str = "", **extra: Any) -> None:
        super().__init__(title)
        self.status = status
        self.body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **extra}

    def response(self, headers: dict[str, str] | None = None) -> web.Response:
        return web.Response(
            status=self.status,
            body=json.dumps(self.body).encode(),
            content_type="application/problem+json",
            headers=headers,
        )


def answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns errors into problem details and adds the safety headers."""
    try:
        response = await handler(request)
    except Problem as problem:
        response = problem.response()
    except Behind as behind:
        wait = str(int(behind.retry_after) + 1)
        response = Problem(429, "The pipeline is behind", str(behind)).response({"retry-after": wait})
    except Unwritable as closed:
        response = Problem(503, "Nothing can be written", str(closed)).response({"retry-after": "30"})
    except web.HTTPRequestEntityTooLarge:
        response = Problem(413, "Body too large", f"at most {BODY_LIMIT} bytes").response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = Problem(error.status, error.reason).response()
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:  # a defect must not show its insides to the caller
        log.exception("request_failed", action="answer_500", path=request.path)
        response = Problem(500, "Internal error", "see the daemon's log").response()
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


class Web:
    """The HTTP side of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._token = daemon.settings.web.key()
        self._runners: list[web.AppRunner] = []
        self.address = ""
        """Where the page is served, once started: its port may have been chosen by the system."""

    async def start(self) -> None:
        settings = self._daemon.settings.web
        self.address = await self._serve(self._application(), settings.listen)
        if settings.metrics_listen is not None:
            probes = web.Application(middlewares=[guarded])
            probes.add_routes(self._probes())
            await self._serve(probes, settings.metrics_listen)
        log.info("listening", action="listen", address=self.address)

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _serve(self, application: web.Application, listen: str) -> str:
        host, port = listen.rsplit(":", 1)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, host.strip("[]"), int(port))
        await site.start()
        bound = runner.addresses[0]
        return f"http://{host}:{bound[1]}"

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[guarded], client_max_size=BODY_LIMIT)
        get, post = web.get, web.post
        application.add_routes(
            [
                get("/", self._page),
                get("/alerts/{id}", self._page),
                get("/page/{name}", self._asset),
                get("/openapi.json", self._openapi),
                get("/api/v1/status", self._status),
                get("/api/v1/sources", self._sources),
                get("/api/v1/alerts", self._alerts),
                get("/api/v1/alerts/{id}", self._alert),
                get("/api/v1/keys", self._keys),
                get("/api/v1/series", self._series),
                get("/api/v1/documents", self._documents),
                get("/api/v1/stream", self._stream),
                get("/api/v1/silences", self._silences),
                get("/api/v1/deliveries", self._deliveries),
                get("/api/v1/dead-letters", self._dead_letters),
                post("/api/v1/documents", self._writer(self._accept)),
                post("/api/v1/silences", self._writer(self._silence)),
                web.delete("/api/v1/silences/{id}", self._writer(self._expire)),
                post("/api/v1/alerts/{id}/feedback", self._writer(self._feedback)),
                post("/api/v1/deliveries/{id}/retry", self._writer(self._retry)),
                post("/api/v1/dead-letters/{id}/retry", self._writer(self._retry_letter)),
                post("/api/v1/channels/{id}/test", self._writer(self._test)),
                post("/api/v1/reload", self._writer(self._reload)),
                *self._probes(),
            ]
        )
        return application

    def _probes(self) -> list[web.RouteDef]:
        return [
            web.get("/metrics", self._metrics),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
        ]

    # -- who may write ------------------------------------------------------------------------------------

    def _writer(self, handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            self._authorise(request)
            return await handler(request)

        return checked

    def _authorise(self, request: web.Request) -> None:
        if self._token is not None:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {self._token}".encode()):
                raise Problem(401, "Not signed in", "writes need Authorization: Bearer with the token of [web]")
            return
        if not _local(request.host):
            raise Problem(403, "Unknown host", f"Host {request.host[:100]!r} is not this machine")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise Problem(403, "Foreign origin", f"Origin {origin[:100]!r} is another site")
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Problem(403, "Foreign origin", "the request comes from another site")

    # -- pages and probes ---------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(body=_read("page.html"), content_type="text/html", charset="utf-8")

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in PAGE:
            raise Problem(404, "Not found")
        return web.Response(
            body=_read(name), content_type=PAGE[name], charset="utf-8", headers={"cache-control": "no-cache"}
        )

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.StreamResponse:
        del request
        reasons = self._daemon.readiness()
        return web.Response(status=503 if reasons else 200, text="\n".join(reasons or ["ok"]) + "\n")

    async def _openapi(self, request: web.Request) -> web.StreamResponse:
        del request
        return answer(document())

    # -- reading ------------------------------------------------------------------------------------------

    async def _ask(self, question: Callable[..., Any], *values: Any, **named: Any) -> Any:
        return await asyncio.to_thread(question, *values, **named)

    async def _status(self, request: web.Request) -> web.StreamResponse:
        del request
        return answer(self._daemon.status())

    async def _sources(self, request: web.Request) -> web.StreamResponse:
        del request
        known = {source.name for source in self._daemon.settings.sources}
        found = await self._ask(self._daemon.read_model.sources)
        return answer({"sources": [source for source in found if source["source"] in known]})

    async def _alerts(self, request: web.Request) -> web.StreamResponse:
        status = request.query.get("status")
        if status not in (None, "firing", "resolved"):
            raise Problem(400, "Bad query", "status is firing or resolved")
        found = await self._ask(
            self._daemon.read_model.alerts,
            status=status,
            key=request.query.get("key"),
            since=_moment(request.query.get("since")),
            limit=_limit(request, 100, 1_000),
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
        since = _moment(request.query.get("since")) or 0.0
        limit = _limit(request, 2_000, 10_000)
        return answer({"key": key, "series": await self._ask(self._daemon.read_model.series, key, since, limit)})

    async def _documents(self, request: web.Request) -> web.StreamResponse:
        found = await self._ask(self._daemon.read_model.documents, request.query.get("key"), _limit(request, 50, 1_000))
        return answer({"documents": found})

    async def _silences(self, request: web.Request) -> web.StreamResponse:
        del request
        return answer({"silences": await self._daemon.silences()})

    async def _deliveries(self, request: web.Request) -> web.StreamResponse:
        state = request.query.get("state")
        if state not in (None, "pending", "standing", "delivered", "failed"):
            raise Problem(400, "Bad query", "state is pending, standing, delivered or failed")
        return answer({"deliveries": await self._daemon.deliveries(state)})

    async def _dead_letters(self, request: web.Request) -> web.StreamResponse:
        return answer({"dead_letters": await self._daemon.dead_letters(_limit(request, 100, 1_000))})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "cache-control": "no-store", **HEADERS}
        )
        await response.prepare(request)
        await response.write(b"retry: 2000\n\n")
        events = self._daemon.subscribe()
        try:
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
            self._daemon.unsubscribe(events)
        return response

    # -- writing ------------------------------------------------------------------------------------------

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        result = await self._daemon.accept(body, request.content_type)
        taken = result.accepted + result.duplicate + result.revision + result.stale + result.oversize
        if not taken:
            nothing = "no document holds readable text" if result.empty else "the body is empty"
            detail = "no line could be read" if result.invalid else nothing
            raise Problem(422, "No document", detail, invalid=result.invalid[:100])
        return answer(result, 202)

    async def _json(self, request: web.Request) -> dict[str, Any]:
        try:
            body = json.loads(await request.read() or b"{}")
        except json.JSONDecodeError as error:
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
            raise Problem(422, "No matcher", str(error)) from None
        known = [entry.name for entry in self._daemon.settings.watchlists]
        if unknown := [name for name in matcher.watchlists if name not in known]:
            raise Problem(422, "No such watch-list", f"{unknown[0]!r} is not among {known}")
        expires = _moment(body.get("until"))
        if expires is None:
            raise Problem(422, "No end", "until is a time in ISO 8601")
        if expires <= self._daemon.now():
            raise Problem(422, "Over already", "until is in the past")
        name = await self._daemon.add_silence(match, expires, str(body.get("author", "")), str(body.get("comment", "")))
        return answer({"id": name}, 201)

    async def _expire(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        known = {str(silence["id"]) for silence in await self._daemon.silences()}
        if name not in known:
            raise Problem(404, "No such silence")
        if name in {silence.id for silence in self._daemon.parts.silences}:
            raise Problem(409, "Not yours to end", "it stands in the settings: take it out there and reload")
        return answer({"id": await self._daemon.command("expire_silence", name)}, 202)

    async def _feedback(self, request: web.Request) -> web.StreamResponse:
        body = await self._json(request)
        if body.get("verdict") not in ("useful", "noise", "missing"):
            raise Problem(422, "No verdict", "verdict is useful, noise or missing")
        return answer({"id": await self._daemon.command("feedback", request.match_info["id"], body)}, 202)

    async def _retry(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        state = await self._daemon.delivery(name)
        if state is None:
            raise Problem(404, "No such delivery")
        if state in ("delivered", "standing"):
            raise Problem(409, "Delivered already", "what was delivered is not sent again")
        return answer({"id": await self._daemon.command("retry_delivery", name)}, 202)

    async def _retry_letter(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        if not (name.isdecimal() and len(name) < 19) or not await self._daemon.retry_dead_letter(int(name)):
            raise Problem(404, "No such dead letter")
        return answer({"id": name}, 202)

    async def _test(self, request: web.Request) -> web.StreamResponse:
        outcome = await self._daemon.test_channel(request.match_info["id"])
        if outcome is None:
            raise Problem(404, "No such channel")
        return answer(outcome)

    async def _reload(self, request: web.Request) -> web.StreamResponse:
        del request
        try:
            changed = await self._daemon.reload()
        except SettingsError as error:
            raise Problem(422, "Settings refused", str(error)) from None
        return answer({"changed": changed})


def _read(name: str) -> bytes:
    return files("monitor").joinpath("page", name).read_bytes()


def _local(host: str) -> bool:
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False  # "127.0.0.1.evil.example" is a name that somebody else's server may resolve to this machine


def _moment(value: Any) -> float | None:
    if not value:
        return None
    try:
        if math.isfinite(seconds := float(value)):
            return seconds
    except (TypeError, ValueError):
        pass
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise Problem(400, "Bad time", f"{str(value)[:40]!r} is not ISO 8601") from None
    if moment.tzinfo is None:
        raise Problem(400, "Bad time", "a time needs an offset, as in 2026-01-31T12:00:00Z")
    return moment.timestamp()


def _limit(request: web.Request, usual: int, most: int) -> int:
    value = request.query.get("limit", str(usual))
    if not value.isdigit() or not 0 < int(value) <= most:
        raise Problem(400, "Bad query", f"limit is a number from 1 to {most}")
    return int(value)
