"""The guarded HTTP client that sources and deliveries are given.

    HttpError (a TransportError of alerts)
    +-- BlockedError         an address, scheme or port that may not be dialled
    +-- TooLargeError        a body beyond its bound, after decoding
    +-- EncodingError     a body that is not what its Content-Encoding says, or ends too early
    +-- DeadlineError        no complete answer in time
    +-- UnreachableError     no connection

The guard sits where the connection is made: it looks at the very address that is dialled, after every resolution and
on every redirect, so that a name that changes its mind gains nothing. Whether something may go there in the clear is
decided by the same resolution.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from alerts.outbox import Reason
from monitor.guard import PLAIN, BlockedError, Guard, HttpError, literal_of

__all__ = [
    "BlockedError",
    "DeadlineError",
    "EncodingError",
    "GuardedClient",
    "GuardedResolver",
    "HttpError",
    "Response",
    "TooLargeError",
    "UnreachableError",
]

CHUNK = 65_536
REDIRECTS = 5
PER_HOST = 4
USER_AGENT = "tapewatch (+https://pypi.org/project/tapewatch/)"


class TooLargeError(HttpError):
    reason: Reason = "response"


class EncodingError(HttpError):
    reason: Reason = "response"


class DeadlineError(HttpError):
    reason: Reason = "timeout"


class UnreachableError(HttpError):
    reason: Reason = "connect"


class Response(msgspec.Struct, frozen=True):
    """An answer. ``url``: where it came from after redirects; ``moved``: the new address if every one of them was
    permanent."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    moved: str | None = None


class GuardedResolver(AbstractResolver):
    """Resolves and hands on only addresses that pass the guard: what it returns is what is dialled.

    ``plain``: what is sent goes in the clear, so that every address must be expressly allowed.
    """

    def __init__(self, guard: Guard, inner: AbstractResolver, *, plain: bool = False) -> None:
        self._guard = guard
        self._inner = inner
        self._plain = plain

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for entry in found:
            if self._plain:
                self._guard.check_plain(entry["host"])
            self._guard.check(entry["host"], host)
        return found

    async def close(self) -> None:
        await self._inner.close()


class GuardedClient:
    """HTTP for everything that leaves the daemon. Make it inside a running event loop; ``close`` it."""

    def __init__(
        self,
        allow_private: Sequence[str] = (),
        *,
        proxy: str | None = None,
        ca_file: str | None = None,
        user_agent: str = USER_AGENT,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._guard = Guard(allow_private)
        self._proxy = proxy
        self._context = ssl.create_default_context(cafile=ca_file)
        self._headers = {"user-agent": user_agent, "accept-encoding": "gzip, deflate"}
        inner = resolver or ThreadedResolver()
        self._session = self._open(GuardedResolver(self._guard, inner))
        # Connections of its own: what it sends in the clear must not go over one that was resolved for a GET.
        self._plain = self._open(GuardedResolver(self._guard, inner, plain=True))

    def _open(self, resolver: AbstractResolver) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=resolver,
            use_dns_cache=False,  # a cached answer would be dialled unchecked after the guard's settings changed
            limit=0,  # each source and endpoint asks one thing at a time; a hundred that hang must not hold up the next
            limit_per_host=PER_HOST,
            ssl=self._context,
            force_close=False,
        )
        return aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
        )

    async def close(self) -> None:
        await self._session.close()
        await self._plain.close()

    async def get(
        self, url: str, *, headers: Mapping[str, str], max_bytes: int, deadline: float, redirects: int = REDIRECTS
    ) -> Response:
        """GET with at most ``redirects`` redirects; ``deadline`` in seconds bounds the whole of it."""
        permanent, current = True, url
        try:
            async with asyncio.timeout(deadline):
                for _ in range(redirects + 1):
                    response = await self._once("GET", current, headers, None, max_bytes)
                    target = response.headers.get("location")
                    if response.status not in (301, 302, 303, 307, 308) or not target:
                        moved = current if permanent and current != url else None
                        return Response(response.status, response.headers, response.body, current, moved)
                    permanent = permanent and response.status in (301, 308)
                    current = _joined(current, target)
        except TimeoutError:
            raise DeadlineError(f"no complete answer within {deadline:.0f} s") from None
        raise HttpError(f"more than {redirects} redirects")

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str], deadline: float) -> Response:
        """POST; redirects are not followed. ``http://`` only to addresses that allow_private covers."""
        try:
            async with asyncio.timeout(deadline):
                return await self._once("POST", url, headers, body, CHUNK)
        except TimeoutError:
            raise DeadlineError(f"no complete answer within {deadline:.0f} s") from None

    def _session_for(self, method: str, url: str) -> aiohttp.ClientSession:
        """Whose connections a request takes. What is posted goes in the clear only where that was expressly allowed;
        behind a proxy nobody here learns what a name resolves to, so only a literal can be."""
        parts = urlsplit(url)
        if method != "POST" or parts.scheme == "https":
            return self._session
        literal = literal_of(parts.hostname or "")
        if literal is not None:
            self._guard.check_plain(str(literal))
        elif self._proxy is not None:
            raise BlockedError(PLAIN)
        return self._session if self._proxy is not None else self._plain

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        self._guard.check_url(url)
        session = self._session_for(method, url)
        try:
            async with session.request(
                method, url, headers=headers, data=body, allow_redirects=False, proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=30.0),
            ) as answer:  # fmt: skip
                encoding = answer.headers.get("content-encoding", "identity").lower().strip()
                content = await _bounded(answer.content, encoding, max_bytes, cut=method == "POST")
                lowered = {name.lower(): value for name, value in answer.headers.items()}
                return Response(answer.status, lowered, content, url)
        except HttpError:
            raise
        except TimeoutError:
            raise DeadlineError("the connection went silent") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translate(error) from error


def _translate(error: BaseException) -> HttpError:
    """aiohttp wraps what the resolver raised: the guard's own word comes first."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HttpError):
            return cause
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, aiohttp.ClientPayloadError):
        return EncodingError("the body ended too early")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        failed = UnreachableError(f"TLS: {error}")
        failed.reason = "tls"
        return failed
    # Some of these quote the whole address, and addresses of feeds hold tokens: the reason is shown, logged and sent.
    if isinstance(error, aiohttp.ClientResponseError):
        # One line: aiohttp's messages draw the bad bytes with a caret below them.
        return UnreachableError(f"no HTTP answer: {' '.join(error.message.split())}"[:200])
    if isinstance(error, ValueError):
        return UnreachableError(f"{type(error).__name__}: the address or a header can't be sent")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UnreachableError(f"the name {error.host} does not resolve")
    if isinstance(error, aiohttp.ClientConnectorError):
        why = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
        return UnreachableError(f"no connection to {error.host}:{error.port}: {why}"[:200])
    return UnreachableError(f"{type(error).__name__}: {error}"[:200])


def _joined(base: str, target: str) -> str:
    try:
        return urljoin(base, target)
    except ValueError as error:
        raise HttpError(f"a redirect to what is no address: {error}") from error


async def _bounded(stream: Any, encoding: str, limit: int, *, cut: bool) -> bytes:
    """The decoded body, at most ``limit`` bytes of it: chunk by chunk, so that a bomb stays small.

    ``cut``: what lies beyond is dropped instead of refused (an answer to a POST matters by its status).
    """
    if encoding in ("gzip", "x-gzip", "deflate"):
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
    elif encoding in ("identity", ""):
        decoder = None
    else:
        raise EncodingError(f"Content-Encoding {encoding[:40]!r} was not asked for")
    found = bytearray()
    async for chunk in stream.iter_chunked(CHUNK):
        pending = chunk
        while pending:
            if decoder is None:
                piece, pending = pending, b""
            else:
                try:
                    piece = decoder.decompress(pending, limit - len(found) + 1)
                except zlib.error as error:
                    raise EncodingError(f"the body is no {encoding}: {error}") from error
                pending = decoder.unconsumed_tail
            found += piece
            if len(found) > limit:
                if cut:
                    return bytes(found[:limit])
                raise TooLargeError(f"the body has more than {limit} bytes after decoding")
            if decoder is not None and decoder.eof:
                pending = b""
    if decoder is not None and found and not decoder.eof:
        raise EncodingError(f"the {encoding} body ends too early")
    return bytes(found)
