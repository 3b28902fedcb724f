"""The embedded engine against its classifier, latency from POST to webhook, memory over many documents.

    python -m benchmarks.engine throughput [--documents 10000]
    python -m benchmarks.engine latency [--seconds 60]
    python -m benchmarks.engine memory [--documents 500000]

Without a word: all three, some 20 minutes. Ratios come from one run on one machine; absolute figures vary with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.engine_rig import alone, companies, fill, history, questions, settings, texts, through, watch_list
from benchmarks.webhooks import hooks, post, quantiles, waits
from models.classifier import FakeClassifier, load
from monitor import log as logs
from monitor.app import Daemon
from monitor.web import Web
from pipelines.ingest import Ingest, Origin
from pipelines.sources.base import RawItem


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
