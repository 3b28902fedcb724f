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
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from models.classifier import Classifier, FakeClassifier, load
from monitor import log as logs
from monitor.app import Daemon
from monitor.assembly import assemble
from monitor.demo import stories
from monitor.settings import Settings
from monitor.settings import load as load_settings
from monitor.stages import Stages
from monitor.web import Web
from pipelines.documents import Document, iso
from pipelines.ingest import TABLES, Ingest, Origin
from pipelines.judgements import Question, question
from pipelines.readings import Readings
from pipelines.sources.base import RawItem
from pipelines.streams.base import Output, Stage
from pipelines.streams.embedded import BATCH
from pipelines.streams.store import Store
from pipelines.text import slug

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


def watch_list(hook: str = "", companies: Sequence[str] = tuple(stories.COMPANIES)) -> str:
    """Settings that watch companies and tell of them at ``hook``."""
    entities = ", ".join(f'{{ name = "{name}" }}' for name in companies)
    channel = ""
    if hook:
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        channel = f'[[channels]]\nkind = "webhook"\nname = "desk"\nurl = "{hook}"\nsecret = "whsec_{secret}"\n'
    return f'[[watchlists]]\nname = "bench"\nentities = [{entities}]\n{channel}'


def settings(folder: Path, text: str = "") -> Settings:
    """The settings of a daemon in ``folder``; without ``text`` it watches the demo's companies."""
    path = folder / "tapewatch.toml"
    path.write_text(
        (text or watch_list()) + '[web]\nlisten = "127.0.0.1:0"\n[network]\nallow_private = ["127.0.0.0/8"]\n'
    )
    return load_settings(path, {})


async def throughput(count: int, watched: float) -> dict[str, Any]:
    """Documents a second: the whole engine on texts from the log, and its classifier alone on the same questions.

    ``ratio`` compares the clocks of both, and with them what else the machine did; ``cpu_ratio`` what they used.
    """
    titles = list(texts(count, random.Random(1), watched=watched))
    classifier = load("default")
    asked = questions(titles, classifier)
    first = alone(classifier, asked)
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(settings(Path(folder)), classifier=classifier)
        # Documents first: the stages start with the whole log before them.
        fill(daemon, titles)
        passed = await through(daemon)
        size, resident = daemon.settings.engine.path.stat().st_size, _rss()
        await daemon.stop()
    bare = first.mean(alone(classifier, asked))
    classifier.close()
    return {
        "documents": count,
        "about_watched_companies": watched,
        "classifier_per_second": round(count / bare.seconds, 1),
        "engine_per_second": round(count / passed.seconds, 1),
        "ratio": round(bare.seconds / passed.seconds, 3),
        "cpu_ratio": round(bare.cpu / passed.cpu, 3),
        "cores_used": round(passed.cpu / passed.seconds, 2),
        "cores_used_by_classifier_alone": round(bare.cpu / bare.seconds, 2),
        "microseconds_a_document": {
            "classifier_alone": round(bare.cpu / count * 1e6),
            "engine": round(passed.cpu / count * 1e6),
            **{name: round(value / count * 1e6) for name, value in passed.stages.items()},
        },
        "megabytes_per_million_documents": round(size / count),
        "rss_mb": resident,
    }


@dataclass(frozen=True)
class Passage:
    """What it took to work through some texts: seconds, CPU seconds of this process, and those of each stage's own
    thread."""

    seconds: float
    cpu: float
    stages: dict[str, float] = field(default_factory=dict)

    def mean(self, other: Passage) -> Passage:
        return Passage((self.seconds + other.seconds) / 2, (self.cpu + other.cpu) / 2)


def questions(titles: Sequence[str], classifier: Classifier) -> list[Question]:
    """What the score stage asks a classifier about these headlines: the text, and what is said of each company."""
    with tempfile.TemporaryDirectory() as folder:
        entities = assemble(settings(Path(folder)), classifier.topics, classifier.risks).entities
    at = iso(time.time())
    return [
        question(
            Document(
                id=str(number),
                source="bench",
                class_="news",
                title=title,
                language="en",
                published=at,
                fetched=at,
                at=at,
            ),
            entities,
        )
        for number, title in enumerate(titles)
    ]


def alone(classifier: Classifier, asked: Sequence[Question]) -> Passage:
    """The classifier on the engine's questions, in its batches; with the story embedding where the engine wants it."""
    story = Readings(classifier).story
    started, before = time.perf_counter(), cpu()
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        classifier.predict([one.text for one in batch], [one.mentions for one in batch], story=story)
    return Passage(time.perf_counter() - started, cpu() - before)


async def through(daemon: Daemon) -> Passage:
    """Opens a daemon of this process whose log holds documents, and lets its stages work through them.

    The clock starts when every stage is at work: until then the score stage waits with its first batch.
    """
    stages = Instrumented(daemon)
    await daemon.open()
    await asyncio.to_thread(stages.waits.wait)
    for stage in ("aggregate", "notify"):
        await daemon.engine.inspect(stage, lambda _: None)
    stages.count_view()
    before, started = cpu(), time.perf_counter()
    stages.gate.set()
    await daemon.engine.drained()
    return Passage(time.perf_counter() - started, cpu() - before, stages.spent)


def cpu() -> float:
    """CPU seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def fill(daemon: Daemon, titles: Sequence[str]) -> None:
    """Writes documents into the embedded log with no stage at work."""
    store = Store(daemon.settings.engine.path, now=time.time)
    for outputs in documents(titles, store):
        with store.transaction() as unit:
            unit.emit(outputs)
    store.close()


def documents(titles: Sequence[str], store: Store) -> Iterator[list[Output]]:
    """The documents of headlines of the last twenty hours, a thousand at a time. ``store``: for what ingest keeps."""
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
        yield ingest.accept(items, Origin(source="bench", class_="news"), state, now).outputs


class Instrumented:
    """A daemon's stages, each counting in ``spent`` the CPU seconds of its own thread.

    The score stage says with ``waits`` that it has its first batch, and begins when ``gate`` opens.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.spent: dict[str, float] = {}
        self.waits, self.gate = threading.Event(), threading.Event()
        original = self._original = Stages.all

        def counted(stages: Stages) -> list[Stage]:
            found = original(stages)
            for stage in found:
                stage.handle = self._timed(stage.name, stage.handle)
            return found

        Stages.all = counted

    def count_view(self) -> None:
        """Counts the read model, too, once the daemon is open and has its stages."""
        Stages.all = self._original
        model = self._daemon.read_model
        model.apply = self._timed("view", model.apply)

    def _timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            if name == "score" and not self.gate.is_set():
                self.waits.set()
                self.gate.wait()
            started = time.thread_time()
            try:
                return work(*arguments)
            finally:
                self.spent[name] = self.spent.get(name, 0.0) + time.thread_time() - started

        return timed


async def latency(seconds: float) -> dict[str, Any]:
    """Seconds from the POST of a company's bad stories to its webhook, at 20 documents a second."""
    names = companies(int(seconds * 4))
    async with hooks() as (address, arrived):
        with tempfile.TemporaryDirectory() as folder:
            daemon = Daemon(settings(Path(folder), watch_list(address, names)))
            await daemon.open()
            await daemon.intake.backfill([history(Path(folder), names)])
            await daemon.begin()
            server = Web(daemon)
            await server.start()
            posted = await post(server.address, names)
            await asyncio.sleep(3.0)
            await server.stop()
            await daemon.stop()
    return quantiles(waits(posted, arrived), len(names))


def companies(count: int) -> list[str]:
    """Names of made-up companies."""
    return [f"{first.title()}{second} Works" for first in WORDS for second in WORDS][:count]


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


def history(folder: Path, names: Sequence[str]) -> Path:
    """A file of 2,800 quiet headlines about these companies, of the last month."""
    path, now = folder / "history.jsonl", time.time()
    path.write_text(
        "".join(
            json.dumps({"title": f"{names[i % len(names)]} opens depot {i}", "published": now - 30 * 86_400 + i * 900})
            + "\n"
            for i in range(2_800)
        )
    )
    return path


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
