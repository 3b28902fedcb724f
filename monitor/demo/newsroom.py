"""The newsroom's server: RSS, Atom and JSON Feed on loopback, with validators; items appear by the clock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from aiohttp import web

from monitor.demo.scenario import NEWS_FEEDS, SOCIAL, SYNDICATE, Publication, Scenario

SHOWN = 60
"""Entries of a feed, the newest first."""


class Newsroom:
    """Serves a scenario. ``now`` tells the time."""

    def __init__(self, scenario: Scenario, now: Callable[[], float]) -> None:
        self._scenario = scenario
        self._now = now
        self._runner: web.AppRunner | None = None
        self.address = ""
        self.requests = 0
        self.unchanged = 0
        """Requests answered with 304."""

    def begin(self, scenario: Scenario) -> None:
        """Takes up another scenario, such as one whose clock starts now."""
        self._scenario = scenario

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/{name}", self._feed)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _feed(self, request: web.Request) -> web.Response:
        self.requests += 1
        name = request.match_info["name"]
        if name == "dead.rss":
            return web.Response(status=500, text="the dead feed")
        writers = {
            "wire.rss": _rss,
            "ledger.atom": _atom,
            "tabulator.json": _json,
            "social.rss": _rss,
            "syndicate.rss": _rss,
        }
        if name not in writers:
            return web.Response(status=404)
        feed = name.split(".")[0]
        items = [p for p in self._scenario.live if p.feed == feed and p.at <= self._now()][-SHOWN:][::-1]
        tag = '"' + hashlib.sha256("".join(item.guid for item in items).encode()).hexdigest()[:16] + '"'
        headers = {"etag": tag, "cache-control": "max-age=60"}
        if items:
            headers["last-modified"] = _http_date(items[0].at)
        if request.headers.get("if-none-match") == tag:
            self.unchanged += 1
            return web.Response(status=304, headers=headers)
        kind, body = writers[name](feed, items, self.address)
        return web.Response(body=body.encode(), headers={**headers, "content-type": kind})


FEEDS = {
    "wire": "wire.rss",
    "ledger": "ledger.atom",
    "tabulator": "tabulator.json",
    SOCIAL: "social.rss",
    SYNDICATE: "syndicate.rss",
}
"""Feed to its path."""

CLASSES = {**dict.fromkeys((*NEWS_FEEDS, SYNDICATE), "news"), SOCIAL: "social"}


def _http_date(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(at), UTC), usegmt=True)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rss(feed: str, items: list[Publication], address: str) -> tuple[str, str]:
    rows = "".join(
        f"<item><guid isPermaLink='false'>{item.guid}</guid><title>{escape(item.title)}</title>"
        f"<link>{address}/story/{item.guid}</link><pubDate>{_http_date(item.at)}</pubDate>"
        + (f"<source url='{address}'>{escape(item.publisher)}</source>" if item.publisher else "")
        + (f"<author>{escape(item.author)}</author>" if item.author else "")
        + "</item>"
        for item in items
    )
    head = (
        f"<title>{escape(feed)}</title><link>{address}</link><description>Fiction</description><language>en</language>"
    )
    return "application/rss+xml", f"<?xml version='1.0'?><rss version='2.0'><channel>{head}{rows}</channel></rss>"


def _atom(feed: str, items: list[Publication], address: str) -> tuple[str, str]:
    rows = "".join(
        f"<entry><id>urn:{item.guid}</id><title>{escape(item.title)}</title><link href='{address}/story/{item.guid}'/>"
        f"<published>{_iso(item.at)}</published><updated>{_iso(item.at)}</updated>"
        f"<source><title>{escape(item.publisher or feed)}</title></source></entry>"
        for item in items
    )
    head = f"<id>urn:{feed}</id><title>{escape(feed)}</title><updated>{_iso(items[0].at if items else 0.0)}</updated>"
    return "application/atom+xml", f"<feed xmlns='http://www.w3.org/2005/Atom' xml:lang='en'>{head}{rows}</feed>"


def _json(feed: str, items: list[Publication], address: str) -> tuple[str, str]:
    body = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": feed,
        "language": "en",
        "items": [
            {
                "id": item.guid,
                "url": f"{address}/story/{item.guid}",
                "title": item.title,
                "content_text": "",
                "date_published": _iso(item.at),
                "_tapewatch": {"publisher": item.publisher},
            }
            for item in items
        ],
    }
    return "application/feed+json", json.dumps(body)
