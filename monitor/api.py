"""The JSON API of a daemon: what is read, what is streamed, what is asked for."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from aiohttp import web

from monitor.app import Daemon
from monitor.openapi import document
from monitor.orders import Orders
from monitor.power import Desk
from monitor.probes import Probes
from monitor.problems import Handler
from monitor.reads import Reads
from monitor.routes import Asked, Nothing, declared, mounted, route
from monitor.streaming import Streaming
from monitor.verdicts import Verdicts


class Described:
    """The handler of the API's own description."""

    @route("GET", "/openapi.json", answer=dict[str, Any])
    async def openapi(self, _: Asked[Nothing, None]) -> Any:
        """This description, as OpenAPI 3.1."""
        return document(ROUTES)


ROUTES = declared(Described, Reads, Streaming, Verdicts, Orders, Probes)


class Api:
    """All handlers. ``writer`` wraps those that change something in the question who may."""

    def __init__(self, daemon: Daemon, writer: Callable[[Handler], Handler]) -> None:
        self._writer = writer
        self._daemon = daemon
        self._process = secrets.token_hex(4)
        self.desk, self.verdicts, self.orders = Desk(daemon), Verdicts(daemon), Orders(daemon)
        self._holders = (Described(), Reads(daemon, self.desk), Streaming(daemon), self.verdicts, self.orders)

    async def close(self) -> None:
        """Ends what was asked for and is still computed."""
        await self.desk.close()

    def routes(self) -> list[web.RouteDef]:
        return [one for holder in self._holders for one in mounted(holder, self._writer, self._version)]

    def _version(self) -> str:
        return f"{self._process} {self._daemon.read_model.changes} {self._daemon.settings.sha256()}"
