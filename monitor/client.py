"""A small asynchronous client of the API: lists without cursors to care for, a stream that comes back by itself, and
tables for pandas.

    async with Client("http://127.0.0.1:8686", token) as client:
        async for alert in client.alerts(status="firing"):
            print(alert.body.data.summary)

What is answered are the structs of ``monitor.shapes`` and ``pipelines.documents``; fields that a newer daemon adds are
passed over. Times are given as ISO 8601, seconds since 1970 or an aware datetime. Everything raises ApiError where the
daemon refuses, and aiohttp's ClientError where it can't be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import aiohttp
import msgspec

from monitor import shapes
from pipelines.audit import Entry
from pipelines.documents import SeriesPoint, SourceRecord

if TYPE_CHECKING:
    import pandas

When = str | float | datetime
S = TypeVar("S", bound=msgspec.Struct)

PAGE = 500
"""Entries of a list that are asked for at a time."""
SILENCE = 45.0
"""Seconds without a word after which a stream counts as broken: three of the daemon's signs of life."""
LONGEST_WAIT = 30.0
"""Seconds between two tries to come back to a stream, after several that failed."""


class ApiError(Exception):
    """The daemon refused; ``problem`` says why."""

    def __init__(self, status: int, problem: shapes.Problem) -> None:
        super().__init__(f"{problem.title}: {problem.detail}" if problem.detail else problem.title)
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class StreamEvent:
    """Something new. ``reset``: some events are missing, so that lists have to be read anew; its body is None."""

    id: str
    kind: Literal["document", "alert", "series", "source", "reset"]
    body: shapes.Document | shapes.AnyEvent | SeriesPoint | SourceRecord | None


_BODIES: dict[str, Any] = {
    "document": shapes.Document,
    "alert": shapes.AnyEvent,
    "series": SeriesPoint,
    "source": SourceRecord,
}


class Client:
    """The API at ``url``. ``token``: one of [web], if it has any. To be used with ``async with``."""

    def __init__(self, url: str = "http://127.0.0.1:8686", token: str | None = None, *, timeout: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    # -- lists --------------------------------------------------------------------------------------------

    async def status(self) -> shapes.Status:
        """How the daemon is."""
        return await self._get("status", {}, shapes.Status)

    async def alerts(
        self,
        *,
        status: Literal["firing", "resolved"] | None = None,
        key: str | None = None,
        since: When | None = None,
        until: When | None = None,
        merged: bool = False,
    ) -> AsyncIterator[shapes.Event]:
        """Each alert's latest event, newest first; ``merged``: also what is part of another alert."""
        asked = {"status": status, "key": key, "since": since, "until": until, "merged": merged}
        async for page in self._pages("alerts", asked, shapes.Alerts):
            for one in page.alerts:
                yield one

    async def documents(
        self,
        *,
        q: str | None = None,
        key: str | None = None,
        topic: str | None = None,
        sentiment: Literal["negative", "neutral", "positive"] | None = None,
        since: When | None = None,
        until: When | None = None,
    ) -> AsyncIterator[shapes.Document]:
        """Documents, newest first, history after all others; ``q``: the words that they hold."""
        asked = {"q": q, "key": key, "topic": topic, "sentiment": sentiment, "since": since, "until": until}
        async for page in self._pages("documents", asked, shapes.Documents):
            for one in page.documents:
                yield one

    async def series(
        self, key: str, *, since: When | None = None, until: When | None = None
    ) -> AsyncIterator[SeriesPoint]:
        """A key's blocks, the latest first: counted against expected, and the score."""
        async for page in self._pages("series", {"key": key, "since": since, "until": until}, shapes.Series):
            for one in reversed(page.series):
                yield one

    async def keys(self, *, watchlist: str | None = None) -> AsyncIterator[shapes.Key]:
        """Every watched key as it stands; what fires first, then by score."""
        async for page in self._pages("keys", {"watchlist": watchlist}, shapes.Keys):
            for one in page.keys:
                yield one

    async def audit(self, *, since: When | None = None, until: When | None = None) -> AsyncIterator[Entry]:
        """Who did what, the latest first."""
        async for page in self._pages("audit", {"since": since, "until": until}, shapes.Audit):
            for one in page.audit:
                yield one

    async def _pages(self, path: str, asked: dict[str, Any], kind: type[S]) -> AsyncIterator[S]:
        cursor: str | None = None
        while True:
            page = await self._get(path, {**asked, "limit": PAGE, "cursor": cursor}, kind)
            yield page
            cursor = getattr(page, "next", None)
            if cursor is None:
                return

    async def _get(self, path: str, asked: dict[str, Any], kind: type[S]) -> S:
        async with self._open.get(f"{self._url}/api/v1/{path}", params=_query(asked)) as answer:
            body = await answer.read()
            if answer.status != 200:
                raise _refusal(answer.status, answer.reason or "", body)
            return msgspec.json.decode(body, type=kind)

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client with: async with Client(…) as client")
        return self._session

    # -- the stream ---------------------------------------------------------------------------------------

    async def stream(
        self, *, types: Sequence[str] = (), key: str | None = None, last: str = ""
    ) -> AsyncIterator[StreamEvent]:
        """What is new, for good, over broken lines: it goes on behind the last event, or behind the one whose id is
        ``last``; where some are missing a ``reset`` comes first."""
        asked, failed = _query({"types": ",".join(types) or None, "key": key}), 0
        while True:
            try:
                async for one in self._listen(asked, last):
                    last, failed = one.id, 0
                    if one.kind == "reset" or one.body is not None:
                        yield one
            except (aiohttp.ClientError, TimeoutError):
                pass
            except ApiError as error:
                if error.status < 500:
                    raise
            failed += 1
            await asyncio.sleep(min(LONGEST_WAIT, 0.5 * 2 ** min(failed, 6)))

    async def _listen(self, asked: dict[str, str], last: str) -> AsyncIterator[StreamEvent]:
        """The events of one connection; one without a kind of its own tells the place alone."""
        headers = {"last-event-id": last} if last else {}
        patience = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=SILENCE)
        url = f"{self._url}/api/v1/stream"
        async with self._open.get(url, params=asked, headers=headers, timeout=patience) as answer:
            if answer.status != 200:
                raise _refusal(answer.status, answer.reason or "", await answer.read())
            fields: dict[str, str] = {}
            buffer = b""
            async for part in answer.content.iter_any():
                *lines, buffer = (buffer + part).split(b"\n")
                for line in lines:
                    name, _, value = line.decode().partition(": ")
                    if line:
                        fields[name] = value
                    elif "id" in fields:
                        yield _event(fields)
                        fields = {}
                    else:
                        fields = {}


def _event(fields: dict[str, str]) -> StreamEvent:
    kind: Any = fields.get("event", "")
    known = _BODIES.get(kind)
    body = msgspec.json.decode(fields["data"].encode(), type=known) if known is not None else None
    return StreamEvent(fields["id"], kind, body)


def _query(asked: dict[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in asked.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} lacks a time zone: give an aware datetime, as datetime.now(UTC)")
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refusal(status: int, reason: str, body: bytes) -> ApiError:
    try:
        problem = msgspec.json.decode(body, type=shapes.Problem)
    except msgspec.DecodeError:  # no answer of a daemon: another program has this port
        problem = shapes.Problem(type="about:blank", title=f"HTTP {status} {reason}", status=status)
    return ApiError(status, problem)


# -- tables -----------------------------------------------------------------------------------------------

_TIMES = ("at", "published", "fetched", "start", "end", "closed_at", "last_success", "last_new", "next_poll")


def frame(entries: Iterable[msgspec.Struct]) -> pandas.DataFrame:
    """Entries of a list as a table, a row each: what lies deeper has a column of its own, named with dots, as in
    ``sentiment.negative``; times are UTC."""
    import pandas  # a second of imports, for those who want tables

    table = pandas.json_normalize([msgspec.to_builtins(one) for one in entries])
    for name in table.columns:
        if name in _TIMES:
            table[name] = pandas.to_datetime(table[name], utc=True, format="ISO8601")
    return table
