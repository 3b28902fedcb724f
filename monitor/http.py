"""The guarded HTTP client that sources and deliveries are given.

    HttpError (a TransportError of alerts)
    +-- BlockedError         an address, scheme or port that may not be dialled
    +-- TooLargeError        a body beyond its bound, after decoding
    +-- EncodingError     a body that is not what its Content-Encoding says, or ends too early
    +-- DeadlineError        no complete answer in time
    +-- UnreachableError     no connection

The guard sits where the connection is made: it looks at the very address that is dialled, after every resolution and
on every redirect, so that a name that changes its mind gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
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

from alerts.channels.base import TransportError
from alerts.outbox import Reason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CHUNK = 65_536
REDIRECTS = 5
PER_HOST = 4
USER_AGENT = "tapewatch (+https://pypi.org/project/tapewatch/)"

# Everything that is no public unicast address, and the ranges through which one can be reached in disguise.
DENIED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
        "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
        "::/128", "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23",
        "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip


class HttpError(TransportError):
    """A request that got no usable answer. ``reason`` is from a closed set."""

    reason: Reason = "connect"


class BlockedError(HttpError):
    reason: Reason = "blocked"


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


class Guard:
    """Which addresses may be dialled."""

    def __init__(self, allow_private: Sequence[str] = ()) -> None:
        self._allowed = tuple(ipaddress.ip_network(text, strict=False) for text in allow_private)

    def check(self, address: str, host: str) -> None:
        """Raises BlockedError for an address that is neither public nor expressly allowed."""
        parsed = ipaddress.ip_address(address.split("%")[0])
        if self.allowed(parsed):
            return
        if any(parsed.version == network.version and parsed in network for network in DENIED):
            raise BlockedError(
                f"{host} is {parsed}, which is no public address; if it is yours, add it to [network] allow_private"
            )

    def allowed(self, address: Address) -> bool:
        """Whether a private address was expressly allowed."""
        return any(address.version == network.version and address in network for network in self._allowed)


class GuardedResolver(AbstractResolver):
    """Resolves and hands on only addresses that pass the guard: what it returns is what is dialled."""

    def __init__(self, guard: Guard, inner: AbstractResolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for entry in found:
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
        context = ssl.create_default_context(cafile=ca_file)
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(self._guard, resolver or ThreadedResolver()),
            use_dns_cache=False,  # a cached answer would be dialled unchecked after the guard's settings changed
            limit=0,  # each source and endpoint asks one thing at a time; a hundred that hang must not hold up the next
            limit_per_host=PER_HOST,
            ssl=context,
            force_close=False,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": user_agent, "accept-encoding": "gzip, deflate"},
        )

    async def close(self) -> None:
        await self._session.close()

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
                await self._require_tls(url)
                return await self._once("POST", url, headers, body, CHUNK)
        except TimeoutError:
            raise DeadlineError(f"no complete answer within {deadline:.0f} s") from None

    async def _require_tls(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https":
            return
        host = parts.hostname or ""
        literal = _literal(host)
        addresses = [literal] if literal is not None else await self._lookup(host)
        if not addresses or not all(self._guard.allowed(address) for address in addresses):
            raise BlockedError("http:// is allowed only where [network] allow_private covers the address; use https://")

    async def _lookup(self, host: str) -> list[Address]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise UnreachableError(f"{host}: {error}") from error
        return [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]

    def _check_url(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            _ = parts.port
        except ValueError as error:
            raise BlockedError(f"not an address: {error}") from error
        if parts.scheme not in ("http", "https"):
            raise BlockedError(f"scheme {parts.scheme!r} is not http or https")
        if parts.username is not None or parts.password is not None:
            raise BlockedError("an address with a user name or password in it is refused")
        literal = _literal(host)
        if literal is not None:
            self._guard.check(str(literal), host)
        elif not host or not any(c.isalpha() for c in host.split(".")[-1]):
            # "127.1", "0x7f000001", "2130706433": forms that some resolvers read as addresses.
            raise BlockedError(f"host {host!r} is neither a name nor a plain address")

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Response:
        self._check_url(url)
        try:
            async with self._session.request(
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
    return UnreachableError(f"{type(error).__name__}: {error}"[:200])


def _joined(base: str, target: str) -> str:
    try:
        return urljoin(base, target)
    except ValueError as error:
        raise HttpError(f"a redirect to what is no address: {error}") from error


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").split("%")[0])
    except ValueError:
        return None


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
