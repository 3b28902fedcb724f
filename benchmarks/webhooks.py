"""From the POST of a burst of bad stories to the webhook of its alert: how long each took."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from pipelines.text import slug


@asynccontextmanager
async def hooks() -> AsyncIterator[tuple[str, dict[str, float]]]:
    """A receiver of webhooks: its address, and when the first alert of each key came, in ``time.perf_counter``'s
    seconds."""
    arrived: dict[str, float] = {}

    async def hook(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if body["type"] == "alert.firing":
            arrived.setdefault(body["data"]["subject"]["key"], time.perf_counter())
        return web.Response(status=204)

    receiver = web.Application()
    receiver.router.add_post("/hook", hook)
    runner = web.AppRunner(receiver, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", arrived
    finally:
        await runner.cleanup()


def waits(posted: Mapping[str, float], arrived: Mapping[str, float]) -> list[float]:
    """How long those of the companies' alerts took that came, in seconds, the shortest first."""
    return sorted(arrived[key] - at for name, at in posted.items() if (key := f"entity:{slug(name)}") in arrived)


def quantiles(found: Sequence[float], bursts: int) -> dict[str, Any]:
    """Of so many bursts, how many rang, and after what time. Raises ValueError where none did."""
    if not found:
        raise ValueError(f"none of {bursts} bursts rang")
    return {
        "bursts": bursts,
        "rang": len(found),
        "p50_seconds": round(statistics.median(found), 4),
        "p99_seconds": round(found[min(len(found) - 1, int(0.99 * len(found)))], 4),
        "max_seconds": round(found[-1], 4),
    }


BAD = (
    "{c} shares plunge after a profit warning",
    "{c} slashes its outlook on collapsing demand, stock tumbles",
    "Brokers downgrade {c} to sell as margins shrink",
    "Losses at {c} far worse than feared, investors dump the stock",
    "{c} bonds sink on default worries",
)


async def post(address: str, names: Sequence[str]) -> dict[str, float]:
    """Posts a burst of bad stories about each company, 20 documents a second; when each was posted."""
    posted: dict[str, float] = {}
    async with aiohttp.ClientSession() as session:
        for name in names:
            started = time.perf_counter()
            body = "\n".join(
                json.dumps({"title": line.format(c=name), "publisher": f"p{i}"}) for i, line in enumerate(BAD)
            )
            posted[name] = time.perf_counter()
            async with session.post(f"{address}/api/v1/documents", data=body) as answer:
                if answer.status != 202:
                    raise RuntimeError(await answer.text())
            await asyncio.sleep(max(0.0, len(BAD) / 20.0 - (time.perf_counter() - started)))
    return posted
