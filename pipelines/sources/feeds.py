"""RSS, RDF, Atom and JSON Feed over the guarded client."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import msgspec
import structlog

from pipelines.parse import ParseError
from pipelines.sources.base import (
    LEFT_OUT,
    Batch,
    Feed,
    HttpResponse,
    RawItem,
    SourceClass,
    SourceStatus,
    Tools,
)
from pipelines.sources.schedule import (
    Asked,
    Health,
    interval_of,
    is_frozen,
    max_age,
    next_poll,
    note_failure,
    note_success,
    retry_after,
    state_of,
)
from pipelines.text import canonical_url

log = structlog.get_logger(__name__)

MAX_BYTES = 10 * 2**20
DEADLINE = 30.0
SEEN = 5_000
"""Entries remembered as delivered: what a feed shows again and again is not handed on each time."""


class FeedOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A feed's settings."""

    name: str
    url: str
    interval: float | None = None
    publisher: str | None = None
    class_: SourceClass = "news"
    timezone: str | None = None


class Cursor(msgspec.Struct, array_like=True):
    """What is saved of a feed."""

    url: str
    etag: str = ""
    modified: str = ""
    seen: dict[str, int] = {}
    """Identity of an entry to a hash of its words."""
    health: Health = msgspec.field(default_factory=Health)
    stopped: bool = False
    configured: str = ""
    """The address in the settings when this was saved: another one there starts anew."""
    asked: Asked = Asked()
    """What the feed asked for when it last answered in full."""


class RefusedError(Exception):
    """A poll that brought no feed. ``reason`` for the status; ``wait`` from Retry-After."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class FeedSource:
    """One feed."""

    kind = "feed"

    def __init__(self, options: FeedOptions, tools: Tools) -> None:
        self.name = options.name
        self.class_: SourceClass = options.class_
        self.publisher = options.publisher
        self._options = options
        self._tools = tools
        self._cursor = Cursor(options.url, configured=options.url)
        self._reason: str | None = None
        self._next: float | None = None
        self._new = 0

    @property
    def interval(self) -> float:
        return interval_of(self._options.interval, self._cursor.asked)

    @property
    def status(self) -> SourceStatus:
        now, health = self._tools.clock.time(), self._cursor.health
        frozen = is_frozen(health, self.interval)
        return SourceStatus(
            source=self.name,
            class_=self.class_,
            state="stopped" if self._cursor.stopped else state_of(health, frozen=frozen),
            at=now,
            last_success=health.last_success,
            last_new=health.last_new,
            interval=self.interval,
            streak=health.streak,
            next_poll=None if self._cursor.stopped else self._next,
            reason=self._reason or ("nothing new for far longer than usual" if frozen else None),
            items_total=health.items,
            frozen=frozen,
        )

    def report(self, new: int) -> None:
        self._new = new

    async def batches(self, cursor: bytes | None) -> AsyncIterator[Batch]:
        self._restore(cursor)
        self.status.measure()
        while True:
            yield await self._poll()
            now = self._tools.clock.time()
            if self._reason is None:
                # Only ingest knows what was new; it has told by now.
                self._cursor.health = note_success(self._cursor.health, now, self._new)
            self.status.measure()
            if self._cursor.stopped:
                return
            await self._tools.clock.sleep(max(0.0, (self._next or now) - now))

    def _restore(self, cursor: bytes | None) -> None:
        if cursor is None:
            return
        try:
            saved = msgspec.msgpack.decode(cursor, type=Cursor)
        except msgspec.DecodeError:
            log.warning("cursor_unreadable", action="start_anew", source=self.name)
            return
        if saved.configured == self._options.url:
            self._cursor = saved
            self._cursor.stopped = False  # a restart asks once more; 410 stops it again

    async def _poll(self) -> Batch:
        """One read: never raises for the feed's troubles."""
        clock, self._new = self._tools.clock, 0
        before = self._cursor.health.last_success
        items: list[RawItem] = []
        wait: float | None = None
        try:
            items = await self._read()
            self._reason = None
        except RefusedError as error:
            self._reason, wait = str(error), error.wait
        except ParseError as error:
            self._reason = f"{error.reason}: {error}"
        except OSError as error:
            self._reason = f"connection: {error}"
        except Exception as error:  # the client's errors are another package's; they carry a reason
            if not hasattr(error, "reason"):
                raise
            self._reason = f"{error.reason}: {error}"
        if self._reason is not None:
            self._cursor.health = note_failure(self._cursor.health)
            log.warning("source_failed", action="back_off", source=self.name, reason=self._reason)
        self._next = next_poll(
            clock.time(),
            self.interval,
            streak=self._cursor.health.streak if self._reason is not None else 0,
            retry_after=wait,
            skip_hours=self._cursor.asked.skip_hours if self._options.interval is None else (),
            draw=self._tools.draw(),
        )
        return Batch(items=items, cursor=msgspec.msgpack.encode(self._cursor), previous_success=before)

    async def _read(self) -> list[RawItem]:
        cursor, now = self._cursor, self._tools.clock.time()
        headers = {
            "accept": "application/atom+xml, application/rss+xml, application/feed+json, application/xml, */*;q=.5"
        }
        if cursor.etag:
            headers["if-none-match"] = cursor.etag
        if cursor.modified:
            headers["if-modified-since"] = cursor.modified
        response = await self._tools.http.get(cursor.url, headers=headers, max_bytes=MAX_BYTES, deadline=DEADLINE)
        fetched = self._tools.clock.time()
        if response.status == 304:
            self._follow(response)
            fresh = max_age(response.headers)
            if fresh is not None:  # a header that 304 leaves out stays as it was
                cursor.asked = Asked(cursor.asked.ttl, fresh, cursor.asked.skip_hours)
            return []
        self._refuse(response, now)
        feed = await self._tools.parser.parse(
            response.body,
            content_type=response.headers.get("content-type", ""),
            fetched=fetched,
            timezone=self._options.timezone,
        )
        self._follow(response)
        cursor.etag, cursor.modified = _validator(response, "etag"), _validator(response, "last-modified")
        cursor.asked = Asked(feed.ttl, max_age(response.headers), feed.skip_hours)
        if feed.left_out:
            LEFT_OUT.labels(self.name).inc(feed.left_out)
            log.warning("feed_too_long", action="leave_out", source=self.name, items=feed.left_out)
        return self._fresh(feed)

    def _follow(self, response: HttpResponse) -> None:
        """Takes over a new address, once a feed was found there: a redirect to nowhere may be somebody's mistake."""
        if response.moved:
            log.info("source_moved", action="follow", source=self.name)
            self._cursor.url = response.moved

    def _refuse(self, response: HttpResponse, now: float) -> None:
        status = response.status
        if status == 200:
            return
        if status == 410:
            self._cursor.stopped = True
            raise RefusedError("410 Gone: the feed asked never to be read again; remove it or change its url")
        advice = {
            401: "it asks for a sign-in",
            403: "it refuses; some ask for a contact in [network] user_agent",
            404: "nothing is there; check the url",
            429: "too many requests",
        }.get(status, "")
        raise RefusedError(f"HTTP {status}{': ' + advice if advice else ''}", retry_after(response.headers, now))

    def _fresh(self, feed: Feed) -> list[RawItem]:
        """The entries that were not handed on before with these words; oldest first.

        Known by their identity, and by their words, address and date too: some feeds invent a new guid at each poll.
        """
        seen, fresh = self._cursor.seen, []
        known, kept = set(seen.values()), dict[str, int]()
        for item in feed.items:
            words = _words(item)
            if words not in known:
                fresh.append(item)
            known.add(words)
            kept[item.guid or item.url or item.title] = words
        older = {name: words for name, words in seen.items() if name not in kept}
        spare = max(0, SEEN - len(kept))
        self._cursor.seen = {**dict(list(older.items())[-spare:] if spare else []), **kept}
        fresh.sort(key=lambda item: item.published or 0.0)
        return fresh


def _words(item: RawItem) -> int:
    """64 bits of what an entry says, where and when."""
    where = canonical_url(item.url) if item.url else None  # without what campaigns add to it
    said = f"{item.title}\n{item.body}\n{where}\n{item.published}"
    return int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest(), "big")


def _validator(response: HttpResponse, name: str) -> str:
    """A header to be echoed byte for byte; one whose bytes are no text can't be."""
    value = response.headers.get(name, "")
    return "" if any("\ud800" <= letter <= "\udfff" for letter in value) else value
