"""Page, API, metrics and probes over HTTP, and who may write.

Reads are open to whoever reaches the address; writes need the token, or, on a loopback address without one, a Host and
Origin of this machine (which a page of somebody else's in a browser here can't fake).
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
from importlib.resources import files

import structlog
from aiohttp import web

from monitor.api import Api
from monitor.app import Daemon, NotHere
from monitor.probes import PROBES, Probes
from monitor.problems import BODY_LIMIT, Handler, Problem, guarded
from monitor.settings import SettingsError

log = structlog.get_logger(__name__)

LINE_LIMIT = 64 * 2**10
"""Bytes of an address, and of a header's line."""
PAGE = {"page.css": "text/css", "page.js": "text/javascript"}


class Web:
    """The HTTP side of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._token = daemon.settings.web.key()
        self._api = Api(daemon, self._writer)
        self._probes = Probes(daemon)
        self._runners: list[web.AppRunner] = []
        self.address = ""
        """Where the page is served, once started: its port may have been chosen by the system."""

    async def start(self) -> None:
        """Raises SettingsError where an address can't be had."""
        settings = self._daemon.settings.web
        self.address = await self._serve(self._application(), "listen", settings.listen)
        if settings.metrics_listen is not None:
            probes = web.Application(middlewares=[guarded])
            probes.add_routes(self._probes.routes())
            await self._serve(probes, "metrics_listen", settings.metrics_listen)
        log.info("listening", action="listen", address=self.address)

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()
        await self._api.close()

    async def _serve(self, application: web.Application, key: str, listen: str) -> str:
        host, port = listen.rsplit(":", 1)
        # A question for the full text may well be longer than the 8 kB that a line usually may have.
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0, max_line_size=LINE_LIMIT)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, host.strip("[]"), int(port))
        try:
            await site.start()
        except OSError as error:
            where = f'{self._daemon.settings.file}: web.{key} = "{listen}"'
            # The system's own words: asyncio's repeat the address. A name that doesn't resolve has a number below 0.
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
            raise SettingsError(f"{where}: {why}; choose another address") from None
        bound = runner.addresses[0]
        return f"http://{host}:{bound[1]}"

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[guarded, self._opened], client_max_size=BODY_LIMIT)
        application.add_routes(
            [
                web.get("/", self._page),
                web.get("/alerts/latest", self._latest),
                web.get("/alerts/{id}", self._page),
                web.get("/page/{name}", self._asset),
                *self._api.routes(),
                *self._probes.routes(),
            ]
        )
        return application

    @web.middleware
    async def _opened(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Until the daemon's parts are there only the probes have answers."""
        if not self._daemon.opened and request.path not in PROBES:
            reasons = "; ".join(self._daemon.readiness())
            raise Problem(503, "Starting", reasons)
        return await handler(request)

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
        if origin not in (None, f"http://{request.host}", f"https://{request.host}"):
            raise Problem(403, "Foreign origin", f"Origin {str(origin)[:100]!r} is another site")
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Problem(403, "Foreign origin", "the request comes from another site")

    # -- pages -------------------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.StreamResponse:
        del request
        if "view" not in self._daemon.only:
            raise NotHere("view", self._daemon.only)
        return web.Response(body=_read("page.html"), content_type="text/html", charset="utf-8")

    async def _latest(self, request: web.Request) -> web.StreamResponse:
        """The page of a key's latest alert, or of the one that tells of it: dashboards know keys, not alerts' ids."""
        key = request.query.get("key", "")
        found = await asyncio.to_thread(self._daemon.read_model.alerts, key=key, merged=True, limit=1)
        if not found:
            raise Problem(404, "No alert", f"none is known of key {key[:200]!r}")
        alert = found[0].get("merged_into") or found[0]["alert"]
        return web.Response(status=302, headers={"location": f"/alerts/{alert}"})

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in PAGE:
            raise Problem(404, "Not found")
        return web.Response(
            body=_read(name), content_type=PAGE[name], charset="utf-8", headers={"cache-control": "no-cache"}
        )


def _read(name: str) -> bytes:
    return files("monitor").joinpath("page", name).read_bytes()


def _local(host: str) -> bool:
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False  # "127.0.0.1.evil.example" is a name that somebody else's server may resolve to this machine
