"""What forms of the page ask for: each is the API's own order, filled in by hand, which the page waits to know of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
from aiohttp import web

from alerts.verdicts import NOTE
from alerts.wording import NAME, plain
from monitor.api import Api
from monitor.app import Daemon
from monitor.orders import ModelOrder, SilenceOrder
from monitor.page.alert import SILENCES
from monitor.problems import Problem
from monitor.routes import Asked, Nothing
from monitor.verdicts import VerdictOrder

PATIENCE = 2.0
"""Seconds to wait for the read model, which follows the log at a little distance."""
STEP = 0.05

B = TypeVar("B")


class Forms:
    """One method a form; each takes the request and what was filled in. They raise Problem."""

    def __init__(self, daemon: Daemon, api: Api) -> None:
        self._daemon = daemon
        self._api = api

    async def verdict(self, request: web.Request, filled: Mapping[str, str]) -> None:
        """Says of an alert whether it was true."""
        try:
            order = msgspec.convert({part: filled.get(part, "") for part in ("verdict", "note", "by")}, VerdictOrder)
        except msgspec.ValidationError as error:
            raise Problem(422, "No verdict", str(error)) from None
        given = await self._api.verdicts.give(_asked(request, order))
        await self._seen(lambda: any(one.id == given["id"] for one in self._daemon.read_model.verdicts(given["alert"])))

    async def silence(self, request: web.Request, filled: Mapping[str, str]) -> None:
        """Hushes the key of an alert for a time."""
        events = await asyncio.to_thread(self._daemon.read_model.alert, request.match_info["id"])
        if not events or not events[0]["alert"]:
            raise Problem(404, "No such alert", f"{request.match_info['id'][:100]!r}")
        if filled.get("for") not in SILENCES:
            raise Problem(422, "No end", f"for is one of {', '.join(SILENCES)}")
        author, comment = plain(filled.get("by", ""), NAME), plain(filled.get("comment", ""), NOTE)
        order = SilenceOrder(keys=[events[0]["key"]], until=filled["for"], author=author, comment=comment)
        made = await self._api.orders.silence(_asked(request, order))
        await self._seen(lambda: any(one["id"] == made["id"] for one in self._daemon.read_model.silences()))

    async def end(self, request: web.Request, _: Mapping[str, str]) -> None:
        """Ends a silence that an operator made."""
        name = (await self._api.orders.expire(_asked(request, None)))["id"]
        model, now = self._daemon.read_model, self._daemon.now
        await self._seen(lambda: all(one["expires"] <= now() for one in model.silences() if one["id"] == name))

    async def retry(self, request: web.Request, _: Mapping[str, str]) -> None:
        """Sends again what was not delivered."""
        await self._api.orders.retry(_asked(request, None))

    async def retry_letter(self, request: web.Request, _: Mapping[str, str]) -> None:
        """Writes a dead letter's bytes to its topic again."""
        name = (await self._api.orders.retry_letter(_asked(request, None)))["id"]
        await self._seen(lambda: self._daemon.read_model.dead_letter(int(name)) is None)

    async def use(self, request: web.Request, _: Mapping[str, str]) -> None:
        """Judges with another model from the next batch on."""
        await self._api.orders.use(_asked(request, ModelOrder(model=request.match_info["id"])))

    async def _seen(self, known: Callable[[], bool]) -> None:
        """Until the read model knows of it, or for as long as who waits has patience: it is written down anyway."""
        tries = 0
        while not await asyncio.to_thread(known) and tries < PATIENCE / STEP:
            tries += 1
            await asyncio.sleep(STEP)


def _asked(request: web.Request, order: B) -> Asked[Nothing, B]:
    return Asked(request, Nothing(), order)
