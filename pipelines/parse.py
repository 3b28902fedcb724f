"""Feed parsing in a jail: a process of its own with bounded memory and CPU time, and a deadline.

A parser is fed by strangers. What takes too long or too much is killed with its process, and the next feed gets a
new one.

    ParseError      the feed can't be read; ``reason`` says why in a word
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import struct
import sys
from calendar import timegm
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from pipelines.sources.base import Feed, RawItem

Reason = Literal["html", "empty", "entities", "malformed", "too_long", "too_large"]

MEMORY = 512 * 2**20
CPU_SECONDS = 4
DEADLINE = 5.0
ITEMS = 2_000
"""Items taken of one feed, from its start."""

FIELD = 200_000
RECYCLE = 500
"""Feeds one process parses before a fresh one takes over: what leaks, leaks into a short life."""

EBCDIC = "<?xml".encode("cp037")
"""How XML begins in an encoding that feeds don't use, and whose declarations nobody here would see."""

_HEADER = struct.Struct(">I")


class ParseError(Exception):
    """A feed can't be read."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


class _Request(msgspec.Struct):
    body: bytes
    content_type: str
    fetched: float
    timezone: str | None


class _Answer(msgspec.Struct):
    feed: Feed | None = None
    reason: str = ""
    detail: str = ""


# -- inside the jail --------------------------------------------------------------------------------------


def parse_feed(request: _Request) -> Feed:
    """Bytes to a feed, in this process. Callers outside the jail use ``Jail.parse``."""
    body = request.body.lstrip(b"\xef\xbb\xbf \t\r\n\x00")
    if not body:
        raise ParseError("empty", "the body is empty")
    if body[:1] == b"{":
        return _json_feed(body, request)
    _refuse(body)
    return _xml_feed(_whole_items(body), request)


def _refuse(body: bytes) -> None:
    plain = body.replace(b"\0", b"").lower()  # UTF-16 and UTF-32 write the same letters further apart
    head = plain[:4096]
    if b"<!entity" in plain or body.startswith(EBCDIC):
        raise ParseError("entities", "the feed declares entities, or hides them in EBCDIC, which is refused")
    if b"<rss" in head or b"<feed" in head or b"<rdf" in head:
        return
    if b"<!doctype html" in head or b"<html" in head:
        raise ParseError("html", "this is an HTML page, not a feed; look for the feed's own address on it")


_END = re.compile(rb"</(?:\w+:)?(?:rss|feed|rdf)\s*>", re.IGNORECASE)
_ITEM_END = re.compile(rb"</(?:\w+:)?(?:item|entry)\s*>", re.IGNORECASE)
_ROOT = re.compile(rb"<(?:\w+:)?(?:rss|feed|rdf)[\s>]", re.IGNORECASE)


def _whole_items(body: bytes) -> bytes:
    """A feed that breaks off, up to its last whole item; half a headline may say the opposite of the whole one."""
    if not _ROOT.search(body[:4096]) or _END.search(body):
        return body
    ends = [found.end() for found in _ITEM_END.finditer(body)]
    if not ends:
        raise ParseError("malformed", "the feed breaks off before its first whole item")
    return body[: ends[-1]]


def _xml_feed(body: bytes, request: _Request) -> Feed:
    import feedparser

    # Bytes, never a str: feedparser may open a str as a file or an address.
    parsed = feedparser.parse(
        _REFERENCE.sub(_possible, body), sanitize_html=False, resolve_relative_uris=False,
        response_headers={"content-type": request.content_type or "application/xml"},
    )  # fmt: skip
    if not parsed.get("version") and not parsed.entries:
        raise ParseError("malformed", f"no feed that is known: {parsed.get('bozo_exception', 'no root element')}"[:200])
    head = parsed.feed
    language = _whole(head.get("language") or "") or None
    root = _marked(head)
    items = [_xml_item(entry, _language(entry, root) or language, request) for entry in parsed.entries[:ITEMS]]
    ttl = str(head.get("ttl", ""))
    hours = re.findall(rb"<hour>\s*(\d{1,2})\s*</hour>", body[:20_000], re.IGNORECASE)
    return Feed(
        title=_whole(head.get("title", ""))[:300],
        language=language,
        ttl=float(ttl) * 60.0 if re.fullmatch(r"[0-9]{1,5}", ttl) else None,
        skip_hours=tuple(sorted({int(hour) % 24 for hour in hours})),
        items=items,
        left_out=max(0, len(parsed.entries) - ITEMS),
    )


_REFERENCE = re.compile(rb"&#(?:x([0-9a-f]+)|([0-9]+));?", re.IGNORECASE)


def _possible(found: re.Match[bytes]) -> bytes:
    """A reference to a character, or a sign that there was one that can't be: it would spoil the whole feed."""
    digits = found[1] or found[2]
    code = int(digits, 16 if found[1] else 10) if len(digits) < 10 else 0
    return found[0] if 0 < code < 0xD800 or 0xE000 <= code < 0x110000 else b"&#xFFFD;"


def _whole(value: object) -> str:
    """A text without the halves of characters that broken feeds and headers contain: nobody could store them."""
    return str(value).encode("utf-8", "replace").decode()


def _language(entry: Mapping[str, Any], root: str | None) -> str | None:
    """The entry's own: its dc:language, or an xml:lang that isn't just the root's, over which <language> goes."""
    if entry.get("language"):
        return _whole(entry["language"])
    marked = _marked(entry)
    return marked if marked != root else None


def _marked(element: Mapping[str, Any]) -> str | None:
    """The xml:lang in force at an element's title, or at its text where it has no title."""
    detail = element.get("title_detail") or element.get("summary_detail") or {}
    return _whole(detail["language"]) if detail.get("language") else None


def _xml_item(entry: Mapping[str, Any], language: str | None, request: _Request) -> RawItem:
    content = entry.get("content") or []
    body = _whole(entry.get("summary") or (content[0].get("value") if content else "") or "")
    source = entry.get("source") or {}
    published = _moment(entry, "published", request.timezone) or _moment(entry, "created", request.timezone)
    updated = _moment(entry, "updated", request.timezone)
    return RawItem(
        guid=_whole(entry["id"])[:1000] if entry.get("id") else None,
        url=_whole(entry["link"])[:2000] if entry.get("link") else None,
        title=_whole(entry.get("title", ""))[:FIELD],
        body=body[:FIELD],
        markup=True,
        published=published if published is not None else updated,
        updated=updated,
        publisher=_whole(source.get("title"))[:200] if source.get("title") else None,
        author=_whole(entry.get("author"))[:200] if entry.get("author") else None,
        language=language,
        fetched=request.fetched,
    )


_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d|\b(?:GMT|UTC|UT|[ECMP][SD]T|CET|CEST|BST|IST|JST|HKT))\s*$", re.IGNORECASE)


def _moment(entry: Mapping[str, Any], name: str, timezone: str | None) -> float | None:
    fields = entry.get(f"{name}_parsed")
    if not fields:
        return None
    try:
        moment = float(timegm(fields))
        if timezone and not _ZONE.search(str(entry.get(name, ""))):
            naive = datetime(*fields[:6])  # noqa: DTZ001 (its zone is what is being supplied)
            moment = naive.replace(tzinfo=ZoneInfo(timezone)).timestamp()
    except (ValueError, OverflowError):
        return None
    return moment


def _json_feed(body: bytes, request: _Request) -> Feed:
    try:
        parsed = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ParseError("malformed", f"not JSON: {error}") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("items"), list):
        raise ParseError("malformed", "a JSON Feed has a list of items")
    language = _text(parsed.get("language"))
    items = [_json_item(item, language, request) for item in parsed["items"][:ITEMS] if isinstance(item, dict)]
    left_out = max(0, len(parsed["items"]) - ITEMS)
    return Feed(title=(_text(parsed.get("title")) or "")[:300], language=language, items=items, left_out=left_out)


def _json_item(item: Mapping[str, Any], language: str | None, request: _Request) -> RawItem:
    authors = item.get("authors") or [item.get("author")]
    author = authors[0] if isinstance(authors, list) and authors and isinstance(authors[0], dict) else {}
    plain = _text(item.get("content_text")) or _text(item.get("summary"))
    extra = item.get("_tapewatch")
    return RawItem(
        guid=_guid(item.get("id")),
        url=_text(item.get("url")) or _text(item.get("external_url")),
        title=(_text(item.get("title")) or "")[:FIELD],
        body=(plain or _text(item.get("content_html")) or "")[:FIELD],
        markup=plain is None,
        published=_iso(item.get("date_published"), request.timezone),
        updated=_iso(item.get("date_modified"), request.timezone),
        publisher=_text(extra.get("publisher")) if isinstance(extra, dict) else None,
        author=_text(author.get("name")),
        language=_text(item.get("language")) or language,
        fetched=request.fetched,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _guid(value: Any) -> str | None:
    """An id is a text; a number is taken for one. Of anything else many items may have the same."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    told = str(value).strip() if isinstance(value, str) or number else ""
    return told[:1000] or None


def _iso(value: Any, timezone: str | None) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(timezone or "UTC"))
    return moment.timestamp()


def _serve() -> None:
    """The jailed process: requests on standard input, answers on standard output, until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import feedparser  # noqa: F401 (loaded before the first request, not during it)

    source, target = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    decoder, encoder = msgspec.msgpack.Decoder(_Request), msgspec.msgpack.Encoder()
    while header := source.read(_HEADER.size):
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + CPU_SECONDS + 1
        # The soft limit alone, which ends the process too: a hard one could never be raised for the next feed.
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
        request = decoder.decode(source.read(_HEADER.unpack(header)[0]))
        answer = encoder.encode(_answer(request))
        target.write(_HEADER.pack(len(answer)) + answer)
        target.flush()


def _answer(request: _Request) -> _Answer:
    try:
        return _Answer(feed=parse_feed(request))
    except ParseError as error:
        return _Answer(reason=error.reason, detail=str(error))
    except MemoryError:
        return _Answer(reason="too_large", detail=f"parsing needs more than {MEMORY >> 20} MB")
    except (ValueError, TypeError, AttributeError, RecursionError, LookupError, ArithmeticError) as error:
        return _Answer(reason="malformed", detail=f"{type(error).__name__}: {error}"[:200])


# -- outside it -------------------------------------------------------------------------------------------


class Jail:
    """One jailed parser, shared by all feeds: a healthy feed takes milliseconds."""

    def __init__(self, *, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._process: asyncio.subprocess.Process | None = None
        self._served = 0
        self._lock = asyncio.Lock()
        self.killed = 0
        """Processes that had to be killed."""

    async def parse(self, body: bytes, *, content_type: str, fetched: float, timezone: str | None) -> Feed:
        """A feed from its bytes. Raises ParseError; never takes longer than the deadline."""
        request = msgspec.msgpack.encode(_Request(body, _whole(content_type)[:200], fetched, timezone))
        async with self._lock:
            answer = await self._ask(request)
        if answer.feed is None:
            raise ParseError(_reason(answer.reason), answer.detail)
        return answer.feed

    async def close(self) -> None:
        async with self._lock:
            await self._end()

    async def _ask(self, request: bytes) -> _Answer:
        process = await self._ready()
        fresh = self._served == 1
        try:
            async with asyncio.timeout(self._deadline):
                return await _exchange(process, request)
        except TimeoutError:
            await self._kill()
            return _Answer(reason="too_long", detail=f"parsing took more than {self._deadline:.0f} s")
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._kill()
            if not fresh:
                # What an earlier feed left behind may have ended it: this one is tried alone before it is blamed.
                return await self._ask(request)
            return _Answer(reason="too_long", detail="the parser ran out of its limits and was ended")
        except asyncio.CancelledError:
            await self._kill()  # an answer that is still on its way would be the next feed's
            raise

    async def _ready(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._served >= RECYCLE:
            await self._end()
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "from pipelines.parse import _serve; _serve()",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                env={**{k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")},
                     "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )  # fmt: skip
            self._served = 0
        self._served += 1
        return self._process

    async def _kill(self) -> None:
        self.killed += 1
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._process = None

    async def _end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            try:
                async with asyncio.timeout(2.0):
                    await self._process.wait()
            except TimeoutError:
                await self._kill()
        self._process = None


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> _Answer:
    if process.stdin is None or process.stdout is None:
        raise ConnectionError("the parser has no pipes")
    process.stdin.write(_HEADER.pack(len(request)) + request)
    await process.stdin.drain()
    size = _HEADER.unpack(await process.stdout.readexactly(_HEADER.size))[0]
    return msgspec.msgpack.decode(await process.stdout.readexactly(size), type=_Answer)


def _reason(word: str) -> Reason:
    known: dict[str, Reason] = {
        "html": "html", "empty": "empty", "entities": "entities", "too_long": "too_long", "too_large": "too_large",
    }  # fmt: skip
    return known.get(word, "malformed")
