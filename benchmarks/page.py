"""How long the page's views take with ten thousand keys and a full read model, while documents come.

``python -m benchmarks.page [--keys N] [--documents N]``: the daemon with the fake classifier takes in a history, then
every view is asked for again and again while documents come at 50 a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import shutil
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp
import structlog
from playwright.async_api import async_playwright

from models.classifier import FakeClassifier
from monitor.app import Daemon
from monitor.settings import load
from monitor.web import Web
from pipelines.tape import KEEP

ROUNDS = 40
RATE = 50.0
"""Documents a second while views are asked for."""
WATCHED = 15.0
"""Seconds for which a page stands open."""
WORDS = ("fraud probe widens", "orders slump", "opens a depot", "names a chief", "ships on time", "wins a tender")


def name(number: int) -> str:
    return f"Quorl{number:05d}"


def history(path: Path, keys: int, documents: int) -> None:
    rng, now = random.Random(7), time.time()
    with path.open("w") as out:
        for number in range(documents):
            who = name(int(keys * rng.random() ** 2))
            title = f"{who} {rng.choice(WORDS)}, number {number}"
            published = now - 30 * 86_400 + number * 30 * 86_400 / documents
            out.write(json.dumps({"title": title, "published": published, "publisher": f"Paper {number % 40}"}) + "\n")


async def feed(daemon: Daemon, keys: int, ends: asyncio.Event) -> int:
    rng, count = random.Random(8), 0
    while not ends.is_set():
        count += 1
        title = f"{name(int(keys * rng.random() ** 2))} {rng.choice(WORDS)}, live {count}"
        await daemon.intake.accept(json.dumps({"title": title}).encode(), "application/json")
        await asyncio.sleep(1 / RATE)
    return count


async def main(keys: int, documents: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder:
        entities = ", ".join(f'{{ name = "{name(number)}" }}' for number in range(keys))
        config = Path(folder) / "tapewatch.toml"
        config.write_text(f'[[watchlists]]\nname = "many"\nentities = [{entities}]\n[web]\nlisten = "127.0.0.1:0"\n')
        daemon = Daemon(load(config, {}), classifier=FakeClassifier(five_heads=True))
        await daemon.open()
        history(Path(folder) / "history.jsonl", keys, documents)
        began = time.monotonic()
        await daemon.intake.backfill([Path(folder) / "history.jsonl"])
        await daemon.engine.drained()
        await daemon.begin()
        while daemon.read_model.count() < min(documents, KEEP) * 0.99:
            await asyncio.sleep(0.5)
        print(f"{documents} documents taken in, {time.monotonic() - began:.0f} s; held: {daemon.read_model.count()}")
        web = Web(daemon)
        await web.start()
        ends = asyncio.Event()
        live = asyncio.create_task(feed(daemon, keys, ends))
        await ask(web.address, await ring(daemon, keys))
        await watch(web.address)
        ends.set()
        print(f"{await live} documents came meanwhile")
        await web.stop()
        await daemon.stop()


async def ring(daemon: Daemon, keys: int) -> str:
    """The id of an alert about the key that is named least."""
    who = name(keys - 1)
    titles = [f"{who} {what}" for what in ("fraud probe", "orders slump", "turbine crash", "lawyer sues")]
    while not (found := daemon.read_model.alerts(key=f"entity:{who.lower()}", merged=True)):
        for title in titles:
            body = json.dumps({"title": f"{title} {random.random():.9f}"})
            await daemon.intake.accept(body.encode(), "application/json")
        await asyncio.sleep(1)
    return str(found[0].get("merged_into") or found[0]["alert"])


async def ask(address: str, alert: str) -> None:
    views = {
        "now": "/",
        "now, page 100": "/?page=100",
        "tape, filtered": "/page/tape?text=number+49",
        "tape of a key": f"/page/tape?key=entity:{name(9).lower()}",
        "tape piece": "/page/tape",
        "watched piece": "/page/watched",
        "firing piece": "/page/firing",
        "key, 7 days": f"/keys/entity:{name(3).lower()}",
        "key, a year": f"/keys/entity:{name(3).lower()}?range=365d",
        "market, a year": "/keys/market?range=365d",
        "an alert": f"/alerts/{alert}",
        "alerts": "/alerts",
        "search, common": "/search?text=fraud",
        "search, rare": f"/search?text={name(11)}+probe",
        "sources": "/sources",
        "deliveries": "/deliveries",
        "dead letters": "/dead-letters",
        "silences": "/silences",
        "models": "/models",
        "audit": "/audit",
        "settings": "/settings",
    }
    async with aiohttp.ClientSession(headers={"accept-encoding": "gzip"}, auto_decompress=False) as session:
        print(f"{'view':16} {'median ms':>9} {'p95 ms':>7} {'kB':>6}")
        for label, path in views.items():
            took, size = [], 0
            for _ in range(ROUNDS):
                started = time.perf_counter()
                async with session.get(address + path) as answer:
                    size = len(await answer.read())
                took.append(1_000 * (time.perf_counter() - started))
                assert answer.status == 200, (path, answer.status)
                await asyncio.sleep(0.02)
            took.sort()
            print(f"{label:16} {statistics.median(took):9.0f} {took[int(0.95 * ROUNDS)]:7.0f} {size / 1_000:6.1f}")


LONG = "new PerformanceObserver((list) => window.long.push(...list.getEntries().map((one) => one.duration)))"


async def watch(address: str) -> None:
    """An open page while the tape goes on: how often it asks, and for how long it is deaf to who uses it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page()
        asked = Counter[str]()
        page.on("request", lambda request: asked.update([request.url.removeprefix(address).split("?")[0]]))
        await page.goto(address)
        await page.wait_for_selector("#link.live")
        await page.evaluate(f"window.long = []; {LONG}.observe({{type: 'longtask'}})")
        asked.clear()
        await asyncio.sleep(WATCHED)
        long = sorted(await page.evaluate("window.long"))
        pieces = ", ".join(f"{path} {count / WATCHED:.1f}" for path, count in sorted(asked.items()))
        print(f"an open page for {WATCHED:.0f} s, requests a second: {pieces}")
        print(f"tasks of more than 50 ms: {len(long)}, the longest {max(long, default=0):.0f} ms")
        await browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--documents", type=int, default=200_000)
    given = parser.parse_args()
    asyncio.run(main(given.keys, given.documents))
