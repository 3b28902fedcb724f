"""Who may read and who may write.

Without a token, which only a loopback address may be, whoever reaches it reads, and writes need a Host and Origin of
this machine (which a page of somebody else's in a browser here can't fake). With a token everything but the probes, the
page's own files and its sign-in needs one: the token of [web] makes an *analyst*, who reads and writes, the reader's
token a *reader*. Programs send it with every request; browsers once, for a signed cookie.

The cookie holds role and time, signed (RFC 2104) with a key that is made of both tokens, as in the first step of RFC
5869: it outlives a restart, and ends with a change of either token.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import quote, urlsplit

import structlog
from aiohttp import web
from prometheus_client import Counter

from monitor.probes import PROBES
from monitor.problems import Handler, Problem
from monitor.web_settings import Web as WebSettings

log = structlog.get_logger(__name__)

SIGN_INS = Counter("tapewatch_sign_ins_total", "Sign-ins to the page, by role; refused for a wrong token.", ["role"])

ANALYST, READER = "analyst", "reader"
for _role in (ANALYST, READER, "refused"):
    SIGN_INS.labels(_role)  # from the start, or the first would be no increase
ROLE = web.RequestKey("role", str)
"""As who a request was let in; empty where nobody needs to sign in."""

COOKIE = "tapewatch_session"
IDLE = 12 * 3600.0
"""Seconds without a request after which a browser has to sign in anew."""
RENEWED = 600.0
"""Seconds after which a cookie in use is replaced by a fresh one."""
WRONG = 0.5
"""Seconds between two answers to wrong tokens, whoever gave them."""
QUEUE = 20
"""Wrong tokens that wait for their answer, at most."""

SIGN_IN = "/sign-in"
OPEN = (*PROBES, SIGN_IN)
ASSETS = "/page/assets/"
"""What nobody signs in for."""


class Access:
    """Decides for one daemon."""

    def __init__(self, settings: WebSettings, now: Callable[[], float]) -> None:
        tokens = {ANALYST: settings.key(), READER: settings.reader_key()}
        self._tokens: dict[str, bytes] = {role: token.encode() for role, token in tokens.items() if token}
        self._key = hmac.digest(b"tapewatch session", b"\0".join(self._tokens.values()), sha256)
        self._secure = settings.external_url.startswith("https:")
        self._now = now
        self._answering = asyncio.Lock()
        self._waiting = 0

    @property
    def closed(self) -> bool:
        """Whether one has to sign in."""
        return bool(self._tokens)

    # -- requests -----------------------------------------------------------------------------------------

    @web.middleware
    async def checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Lets in who may read. A browser that asks for a view is sent to sign in, others get 401."""
        if not self.closed or request.path in OPEN or request.path.startswith(ASSETS):
            request[ROLE] = self._of_cookie(request)[0]
            return await handler(request)
        role, age = self._of_header(request), 0.0
        if not role:
            role, age = self._of_cookie(request)
        if not role:
            if request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", ""):
                there = f"{SIGN_IN}?next={quote(request.path_qs, safe='')}"
                return web.Response(status=303, headers={"location": there})
            raise unknown()
        request[ROLE] = role
        response = await handler(request)
        if age > RENEWED and not response.prepared:
            self.admit(response, role)
        return response

    def write(self, request: web.Request) -> None:
        """Raises Problem for who may not."""
        if not self.closed:
            if not _local(request.host):
                raise Problem(403, "Unknown host", f"Host {request.host[:100]!r} is not this machine")
        elif request[ROLE] != ANALYST:
            raise Problem(403, "Readers only read", "this needs the analysts' token: sign in with that")
        if not self._of_header(request):
            same_site(request)

    def _of_header(self, request: web.Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self.role_of(token) if scheme.lower() == "bearer" else ""

    def role_of(self, token: str) -> str:
        given, found = token.encode(errors="surrogateescape"), ""
        for role, known in self._tokens.items():  # each is compared, whichever it is
            if hmac.compare_digest(given, known):
                found = role
        return found

    # -- sessions -----------------------------------------------------------------------------------------

    async def sign_in(self, token: str) -> str:
        """The role of who has a token. Raises Problem for a wrong one, and takes its time over many of them."""
        if role := self.role_of(token.strip()):
            SIGN_INS.labels(role).inc()
            log.info("signed_in", action="open_session", role=role)
            return role
        SIGN_INS.labels("refused").inc()
        if self._waiting >= QUEUE:
            raise Problem(429, "Too many wrong tokens", "wait a few seconds")
        self._waiting += 1
        try:
            async with self._answering:
                await asyncio.sleep(WRONG)
        finally:
            self._waiting -= 1
        log.warning("sign_in_refused", action="answer_401")
        raise Problem(401, "Wrong token", "it is neither the token of [web] nor the reader's")

    def admit(self, response: web.StreamResponse, role: str) -> None:
        """Gives a browser its session, or one that has one a fresh cookie."""
        said = f"{role}.{int(self._now())}"
        response.set_cookie(
            COOKIE, f"{said}.{self._mark(said)}", max_age=int(IDLE), path="/", httponly=True, secure=self._secure,
            # An alert's link in a chat or a mail is followed with it; what another site posts is sent without.
            samesite="Lax",
        )  # fmt: skip

    def dismiss(self, response: web.StreamResponse) -> None:
        """Takes a browser's session away."""
        response.del_cookie(COOKIE, path="/", httponly=True, secure=self._secure, samesite="Lax")

    def _of_cookie(self, request: web.Request) -> tuple[str, float]:
        """Whose session it is, and the cookie's age in seconds; nobody's where it is forged, or too old."""
        said, _, mark = request.cookies.get(COOKIE, "").rpartition(".")
        if not hmac.compare_digest(mark.encode(errors="surrogateescape"), self._mark(said).encode()):
            return "", 0.0
        role, _, at = said.partition(".")
        age = self._now() - float(at)
        if role not in self._tokens or not age <= IDLE:
            return "", math.inf
        return role, age

    def _mark(self, said: str) -> str:
        return hmac.new(self._key, said.encode(errors="surrogateescape"), sha256).hexdigest()


def unknown() -> Problem:
    return Problem(401, "Not signed in", "send Authorization: Bearer with a token of [web], or sign in at /sign-in")


def same_site(request: web.Request) -> None:
    """Raises Problem for what a page of another site has a browser send."""
    origin = request.headers.get("origin")
    if origin not in (None, f"http://{request.host}", f"https://{request.host}"):
        raise Problem(403, "Foreign origin", f"Origin {str(origin)[:100]!r} is another site")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "Foreign origin", "the request comes from another site")


def inside(address: str) -> str:
    """An address of this page to go on to; its front for any other."""
    there = urlsplit(address)
    plain = address.startswith("/") and address.isprintable() and "\\" not in address
    return address if plain and not address.startswith("//") and not there.netloc and not there.scheme else "/"


def _local(host: str) -> bool:
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False  # "127.0.0.1.evil.example" is a name that somebody else's server may resolve to this machine
