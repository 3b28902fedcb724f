"""The demo's receiver: a stranger's webhook endpoint that trusts nothing but the signature."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

Ring = Callable[[dict[str, Any], bool], None]


class Receiver:
    """Verifies with the ``standardwebhooks`` package and hands each event on once, by its id."""

    def __init__(self, secret: str, ring: Ring) -> None:
        self._verifier = Webhook(secret)
        self._ring = ring
        self._seen: set[str] = set()
        self._runner: web.AppRunner | None = None
        self.refused = 0
        self.address = ""

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post("/hook", self._receive)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            self._verifier.verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.refused += 1
            return web.Response(status=401)
        name = request.headers["webhook-id"]
        again = name in self._seen
        self._seen.add(name)
        self._ring(json.loads(body), again)
        return web.Response(status=204)
