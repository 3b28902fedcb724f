"""What machines ask whether the daemon lives, can work, and how it does: no sign-in, and its own address if wanted."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitor.app import Daemon
from monitor.routes import declared, route


class Probes:
    """Handlers; whatever is asked beside their path is passed over, as scrapers add what they like."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def routes(self) -> list[web.RouteDef]:
        return [web.get(one.path, getattr(self, one.handler)) for one in declared(Probes)]

    @route("GET", "/metrics", media="text/plain")
    async def metrics(self, _: web.Request) -> web.StreamResponse:
        """Prometheus metrics."""
        return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    @route("GET", "/healthz", media="text/plain")
    async def healthz(self, _: web.Request) -> web.StreamResponse:
        """Whether the process lives."""
        return web.Response(text="ok\n")

    @route("GET", "/readyz", media="text/plain", also={503: None})
    async def readyz(self, _: web.Request) -> web.StreamResponse:
        """Whether it can do its work; 503 with reasons where not."""
        if reasons := self._daemon.readiness():
            return web.Response(status=503, text="\n".join(reasons) + "\n")
        idle = ", ".join(self._daemon.engine.stands_by)
        return web.Response(text=f"ok; {idle}: others have all of it, this process stands by\n" if idle else "ok\n")


PROBES = tuple(one.path for one in declared(Probes))
