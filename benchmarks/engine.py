"""The embedded engine against its classifier, latency from POST to webhook, memory over many documents.

    python -m benchmarks.engine throughput [--documents 10000]
    python -m benchmarks.engine latency [--seconds 60]
    python -m benchmarks.engine memory [--documents 500000]

Without a word: all three, some 20 minutes. Ratios come from one run on one machine; absolute figures vary with it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import resource
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from models.classifier import FakeClassifier, load, scoring_text
from monitor import log as logs
from monitor.app import Daemon
from monitor.demo import stories
from monitor.settings import load as load_settings
from monitor.web import Web
from pipelines.ingest import Ingest, Origin
from pipelines.sources.base import RawItem
from pipelines.streams.embedded import BATCH

WORDS = [
    "harbour",
    "ledger",
    "turbine",
    "quarter",
    "margin",
    "winter",
    "copper",
    "ticket",
    "signal",
    "bridge",
    "garden",
    "mirror",
    "engine",
    "packet",
    "summit",
    "valley",
    "cotton",
    "marble",
    "anchor",
    "planet",
    "silver",
    "forest",
    "window",
    "bottle",
    "rocket",
    "basket",
    "ladder",
    "pepper",
    "candle",
    "hammer",
]


OTHERS = tuple(f"{first.title()}{second} Works" for first in WORDS[:16] for second in WORDS[16:])
"""Companies that nobody watches."""


def texts(count: int, rng: random.Random, *, watched: float = 1.0) -> Iterator[str]:
    """Headlines of made-up companies, all different; a share of them, ``watched``, about those on the watch-list."""
    templates = (*stories.ROUTINE, *stories.CHEERFUL, *stories.GLOOMY)
    names = list(stories.COMPANIES)
    for number in range(count):
        name = rng.choice(names if rng.random() < watched else OTHERS)
        filled = rng.choice(templates).format(
            c=name, n=rng.randint(3, 97), p=rng.choice(stories.PLACES), f=rng.choice(stories.PEOPLE)
        )
        yield f"{filled}, {rng.choice(WORDS)} {rng.choice(WORDS)} {number}"


def settings(folder: Path, hook: str = "", *, companies: Sequence[str] = tuple(stories.COMPANIES)) -> Any:
    entities = ", ".join(f'{{ name = "{name}" }}' for name in companies)
    channel = ""
    if hook:
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        channel = f'[[channels]]\nkind = "webhook"\nname = "desk"\nurl = "{hook}"\nsecret = "whsec_{secret}"\n'
    path = folder / "tapewatch.toml"
    path.write_text(
        f'[[watchlists]]\nname = "bench"\nentities = [{entities}]\n{channel}'
        '[web]\nlisten = "127.0.0.1:0"\n[network]\nallow_private = ["127.0.0.0/8"]\n'
    )
    return load_settings(path, {})


async def throughput(count: int, watched: float) -> dict[str, Any]:
    """Documents a second: the classifier alone, and the whole engine on the same texts from the log.

    ``ratio`` compares the clocks of both, and with them what else the machine did; ``cpu_ratio`` what they used.
    """
    titles = list(texts(count, random.Random(1), watched=watched))
    classifier = load("default")
    alone = [_alone(classifier, titles)]
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(settings(Path(folder)), classifier=classifier)
        # Documents first: the stages start with the whole log before them.
        await _fill(daemon, titles)
        spent = _instrument(daemon)
        before, started = _cpu(), time.perf_counter()
        await daemon.open()
        spent = _wrap(daemon, spent)
        await daemon.engine.drained()
        seconds, used = time.perf_counter() - started, _cpu() - before
        size, resident = daemon.settings.engine.path.stat().st_size, _rss()
        await daemon.stop()
    alone.append(_alone(classifier, titles))
    classifier.close()
    alone_seconds, alone_used = (statistics.mean(figure) for figure in zip(*alone, strict=True))
    return {
        "documents": count,
        "about_watched_companies": watched,
        "classifier_per_second": round(count / alone_seconds, 1),
        "engine_per_second": round(count / seconds, 1),
        "ratio": round(alone_seconds / seconds, 3),
        "cpu_ratio": round(alone_used / used, 3),
        "cores_used": round(used / seconds, 2),
        "cores_used_by_classifier_alone": round(alone_used / alone_seconds, 2),
        "microseconds_a_document": {
            "classifier_alone": round(alone_used / count * 1e6),
            "engine": round(used / count * 1e6),
            **{name: round(value / count * 1e6) for name, value in spent.items()},
        },
        "megabytes_per_million_documents": round(size / count),
        "rss_mb": resident,
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _alone(classifier: Any, titles: Sequence[str]) -> tuple[float, float]:
    """(seconds, CPU seconds) of the classifier on these texts, in the engine's batches."""
    started, before = time.perf_counter(), _cpu()
    for start in range(0, len(titles), BATCH):
        classifier.predict([scoring_text(title) for title in titles[start : start + BATCH]])
    return time.perf_counter() - started, _cpu() - before


async def _fill(daemon: Daemon, titles: Sequence[str]) -> None:
    """Writes documents into the log with no stage at work."""
    from pipelines.ingest import TABLES
    from pipelines.streams.store import Store

    store = Store(daemon.settings.engine.path, now=time.time)
    state = store.state("ingest", TABLES)
    ingest = Ingest(max_age=None)
    now = time.time()
    for start in range(0, len(titles), 1000):
        items = [
            RawItem(
                title=title,
                publisher=f"p{number % 9}",
                published=now - 72_000 * (1 - number / len(titles)),
                fetched=now,
            )
            for number, title in enumerate(titles[start : start + 1000], start)
        ]
        with store.transaction() as unit:
            unit.emit(ingest.accept(items, Origin(source="bench", class_="news"), state, now).outputs)
    store.close()


def _instrument(daemon: Daemon) -> dict[str, float]:
    """Makes every stage count the CPU time of its own thread."""
    spent: dict[str, float] = {}
    original = daemon._stages

    def counted() -> list[Any]:
        stages = original()
        for stage in stages:
            handle = stage.handle

            def timed(batch: Any, state: Any, handle: Any = handle, name: str = stage.name) -> Any:
                started = time.thread_time()
                try:
                    return handle(batch, state)
                finally:
                    spent[name] = spent.get(name, 0.0) + time.thread_time() - started

            stage.handle = timed
        return stages

    daemon._stages = counted  # type: ignore[method-assign]
    return spent


def _wrap(daemon: Daemon, spent: dict[str, float]) -> dict[str, float]:
    apply = daemon.read_model.apply

    def timed(records: Any, position: str) -> None:
        started = time.thread_time()
        apply(records, position)
        spent["view"] = spent.get("view", 0.0) + time.thread_time() - started

    daemon.read_model.apply = timed  # type: ignore[method-assign]
    return spent


async def latency(seconds: float) -> dict[str, Any]:
    """Seconds from the POST of a company's bad stories to its webhook, at 20 documents a second."""
    count = int(seconds * 4)
    names = [f"{first.title()}{second} Works" for first in WORDS for second in WORDS][:count]
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
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(settings(Path(folder), address, companies=names))
        await daemon.open()
        history = Path(folder) / "history.jsonl"
        now = time.time()
        history.write_text(
            "".join(
                json.dumps({"title": f"{names[i % count]} opens depot {i}", "published": now - 30 * 86_400 + i * 900})
                + "\n"
                for i in range(2_800)
            )
        )
        await daemon.intake.backfill([history])
        await daemon.begin()
        server = Web(daemon)
        await server.start()
        posted = await _post(server.address, names)
        await asyncio.sleep(3.0)
        await server.stop()
        await daemon.stop()
    await runner.cleanup()
    waits = sorted(arrived[key] - at for name, at in posted.items() if (key := f"entity:{_slug(name)}") in arrived)
    return {
        "bursts": len(posted),
        "rang": len(waits),
        "p50_seconds": round(statistics.median(waits), 4),
        "p99_seconds": round(waits[min(len(waits) - 1, int(0.99 * len(waits)))], 4),
        "max_seconds": round(waits[-1], 4),
    }


def _slug(name: str) -> str:
    from pipelines.text import slug

    return slug(name)


BAD = (
    "{c} shares plunge after a profit warning",
    "{c} slashes its outlook on collapsing demand, stock tumbles",
    "Brokers downgrade {c} to sell as margins shrink",
    "Losses at {c} far worse than feared, investors dump the stock",
    "{c} bonds sink on default worries",
)


async def _post(address: str, names: Sequence[str]) -> dict[str, float]:
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


SPAN = 14 * 86_400.0
"""Event time of the memory run, in seconds."""


async def memory(count: int) -> dict[str, Any]:
    """Resident memory along a run of many documents, two weeks of them: the story memories' 48 hours are full after
    a seventh. The keyword classifier stands in for the model: what is measured is everything around it."""
    rng = random.Random(2)
    marks: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(settings(Path(folder)), classifier=FakeClassifier())
        await daemon.open()
        ingest = Ingest(max_age=None)
        now, started, done = time.time(), time.perf_counter(), 0
        generator = texts(count, rng)
        while done < count:
            items = [
                RawItem(
                    title=title, publisher=f"p{i % 9}", published=now - SPAN + (done + i) * SPAN / count, fetched=now
                )
                for i, title in zip(range(500), generator, strict=False)
            ]
            await daemon.engine.admitted()
            await daemon.intake.commit(items, Origin(source="bench", class_="news"), ingest=ingest)
            done += len(items)
            if done % (count // 10) < 500:
                await daemon.engine.drained()
                marks.append({"documents": done, "rss_mb": _rss()})
        await daemon.engine.drained()
        seconds = time.perf_counter() - started
        store = daemon.settings.engine.path.stat().st_size
        view = daemon.read_model.path.stat().st_size
        await daemon.stop()
    return {
        "documents": count,
        "per_second": round(count / seconds),
        "rss_mb": marks,
        "store_gb_per_million": round(store / count * 1e6 / 1e9, 2),
        "read_model_mb": round(view / 1e6),
    }


def _rss() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("throughput", "latency", "memory"))
    parser.add_argument("--documents", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    logs.configure("console", "error")
    found: dict[str, Any] = {}
    if arguments.what in (None, "throughput"):
        found["throughput"] = [
            asyncio.run(throughput(arguments.documents or 10_000, watched)) for watched in (0.2, 1.0)
        ]
    if arguments.what in (None, "latency"):
        found["latency"] = asyncio.run(latency(arguments.seconds))
    if arguments.what in (None, "memory"):
        found["memory"] = asyncio.run(memory(arguments.documents or 500_000))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
