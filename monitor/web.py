"""Page, API, metrics and probes over HTTP."""

from __future__ import annotations

import os

import structlog
from aiohttp import web

from monitor.access import Access
from monitor.api import Api
from monitor.app import Daemon
from monitor.page.site import Site
from monitor.probes import PROBES, Probes
from monitor.problems import BODY_LIMIT, Handler, Problem, guarded
from monitor.settings import SettingsError

log = structlog.get_logger(__name__)

LINE_LIMIT = 64 * 2**10
"""Bytes of an address, and of a header's line."""


class Web:
    """The HTTP side of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._access = Access(daemon.settings.web, daemon.now)
        self._api = Api(daemon, self._writer)
        self._probes = Probes(daemon)
        self._site = Site(daemon, self._api, self._access)
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
        self._site.close()

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
        layers = [guarded, self._site.wrong, self._access.checked, self._opened]
        application = web.Application(middlewares=layers, client_max_size=BODY_LIMIT)
        application.add_routes(
            [
                *self._site.routes(),
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

    def _writer(self, handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            self._access.write(request)
            return await handler(request)

        return checked
