"""A publisher's server on a real socket: a feed in four formats, conditional requests, and faults in any order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from html import escape
from typing import Any

from aiohttp import web

NOW = 1_790_000_000.0


@dataclass(frozen=True)
class Entry:
    """One item as a publisher sees it."""

    guid: str
    title: str
    url: str | None = None
    body: str = ""
    published: float | None = NOW - 60.0


def entry(number: int, **changes: Any) -> Entry:
    words = ("quay", "ledger", "turbine", "harbour", "orchard", "viaduct", "foundry")
    made = Entry(f"id-{number}", f"Brackwater {words[number % 7]} {number} reports", f"https://wire.example/{number}")
    return replace(made, **changes)


def _rfc822(moment: float) -> str:
    return format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def _rss(entries: list[Entry], head: str) -> str:
    items = "".join(
        f"<item><guid isPermaLink='false'>{escape(one.guid)}</guid><title>{escape(one.title)}</title>"
        + (f"<link>{escape(one.url)}</link>" if one.url else "")
        + f"<description>{escape(one.body)}</description>"
        + (f"<pubDate>{_rfc822(one.published)}</pubDate>" if one.published is not None else "")
        + "</item>"
        for one in entries
    )
    spaces = "xmlns:sy='http://purl.org/rss/1.0/modules/syndication/'"
    return f"<rss version='2.0' {spaces}><channel><title>Wire</title>{head}{items}</channel></rss>"


def _rdf(entries: list[Entry], head: str) -> str:
    items = "".join(
        f"<item rdf:about='{escape(one.guid)}'><title>{escape(one.title)}</title><link>{escape(one.url or '')}</link>"
        + f"<description>{escape(one.body)}</description>"
        + (f"<dc:date>{_iso(one.published)}</dc:date>" if one.published is not None else "")
        + "</item>"
        for one in entries
    )
    return (
        "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://purl.org/rss/1.0/' "
        f"xmlns:dc='http://purl.org/dc/elements/1.1/'><channel><title>Wire</title>{head}</channel>{items}</rdf:RDF>"
    )


def _atom(entries: list[Entry], head: str) -> str:
    items = "".join(
        f"<entry><id>{escape(one.guid)}</id><title>{escape(one.title)}</title>"
        + (f"<link href='{escape(one.url)}'/>" if one.url else "")
        + f"<summary>{escape(one.body)}</summary>"
        + (f"<published>{_iso(one.published)}</published>" if one.published is not None else "")
        + "</entry>"
        for one in entries
    )
    return f"<feed xmlns='http://www.w3.org/2005/Atom'><title>Wire</title>{head}{items}</feed>"


def _json(entries: list[Entry], head: str) -> str:
    items = [
        {"id": one.guid, "title": one.title, "url": one.url, "content_text": one.body}
        | ({"date_published": _iso(one.published)} if one.published is not None else {})
        for one in entries
    ]
    return json.dumps({"version": "https://jsonfeed.org/version/1.1", "title": "Wire", "items": items})


FORMATS: dict[str, Callable[[list[Entry], str], str]] = {"rss": _rss, "rdf": _rdf, "atom": _atom, "json": _json}

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answering(status: int, body: bytes = b"", **headers: str) -> Fault:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


async def resetting(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def hanging(seconds: float = 60.0, *, drip: bool = False) -> Fault:
    """Nothing for that long, or a byte now and then."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if not drip:
            await asyncio.sleep(seconds)
            return web.Response(body=_rss([], "").encode())
        await response.prepare(request)
        for _ in range(int(seconds / 0.05)):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    return answer


def raw(answer: bytes) -> Fault:
    """Bytes as no library would send them."""

    async def write(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(answer)
        request.transport.close()
        return web.Response()

    return write


@dataclass
class Seen:
    """One request as it came, and what was answered."""

    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


@dataclass
class FeedServer:
    """A publisher's server. ``faults`` are answered first, in order, then ``always``, else the feed itself."""

    form: str = "rss"
    entries: list[Entry] = field(default_factory=list)
    head: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = None
    modified: str | None = None
    faults: list[Fault] = field(default_factory=list)
    always: Fault | None = None
    paths: dict[str, Fault] = field(default_factory=dict)
    requests: list[Seen] = field(default_factory=list)
    injected: int = 0
    inside: int = 0
    most: int = 0
    """Most requests that were inside at once."""
    port: int = 0
    runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/feed"

    async def start(self, host: str = "127.0.0.1") -> None:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._handle)
        self.runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, host, self.port).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.path, {name.lower(): value for name, value in request.headers.items()})
        self.requests.append(seen)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            fault = self.faults.pop(0) if self.faults else self.paths.get(request.path, self.always)
            self.injected += fault is not None
            answer = await (fault or self._feed)(request)
        finally:
            self.inside -= 1
        seen.status, seen.sent = answer.status, answer.body_length
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes):
            seen.sent = len(answer.body)
        return answer

    async def _feed(self, request: web.Request) -> web.Response:
        validators = {"etag": self.etag, "last-modified": self.modified}
        headers = self.headers | {name: value for name, value in validators.items() if value is not None}
        asked = request.headers
        if (self.etag is not None and asked.get("if-none-match") == self.etag) or (
            self.modified is not None and asked.get("if-modified-since") == self.modified
        ):
            return web.Response(status=304, headers=headers)
        return web.Response(body=FORMATS[self.form](self.entries, self.head).encode(), headers=headers)


@asynccontextmanager
async def serving(**fields: Any) -> AsyncIterator[FeedServer]:
    server = FeedServer(**fields)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
