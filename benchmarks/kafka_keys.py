"""The aggregate stage on a real Kafka: with many keys, and after its process was killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import engine_rig
from benchmarks.kafka_rig import (
    COUNTED,
    EVERY,
    PARTITIONS,
    PATIENCE,
    STATE,
    WATCHED,
    Figures,
    Rig,
    metric,
    pace,
    rig,
    rss_of,
    size_of,
    table,
)
from models.card import folder_of
from monitor.assembly import assemble
from monitor.model_use import facts_on_card
from pipelines.documents import Evidence, Watermark, encode, iso
from pipelines.signatures import signature
from pipelines.streams.base import EVIDENCE, WATERMARK, Output
from pipelines.watch import MARKET
from tests.daemon_bench import Daemon as Process
from tests.daemon_bench import wait_for

FULL = 6_000
"""Documents of 80,000 seconds that fill a key's memory of stories as far as its bounds allow."""

LIVE = 2_000
"""Evidence a second that the aggregate stage is made to believe in: a watermark comes with every quarter of it."""


# -- keys -------------------------------------------------------------------------------------------------------------


def keys(sizes: Sequence[int], count: int) -> Figures:
    """Evidence a second of one aggregate process that watches so many keys, of which each has said something before;
    its memory, and bytes a key. Nothing else runs but the broker."""
    rows = []
    for size in sizes:
        with _watching(size) as (kafka, names):
            first = _learn(kafka, names)
            kafka.stop("aggregate")
            log, rows_before = kafka.stored(STATE), kafka.written(STATE)
            rng = random.Random(3)
            live = ((rng.choice(names), time.time() - 60 + number / LIVE) for number in range(count))
            asyncio.run(kafka.publish(_evidence(live, rng)))
            (aggregate,) = kafka.begin("aggregate")
            looks = {"counted": partial(metric, aggregate, COUNTED)}
            samples = kafka.follow(looks, {"counted": count}, every=EVERY)
            found = pace(samples, "counted", count, rest=kafka.rest(looks, EVERY))
            rows.append({
                "keys": len(names), "first_per_second": first["per_second"], "per_second": found["per_second"],
                **{f"us_{name}": used for name, used in found["microseconds"].items()},
                "rss_mb": rss_of(aggregate),
                "store_bytes_a_key": round(size_of(_tables(aggregate)) / len(names)),
                "log_bytes_a_key": round(log / len(names)),
                "log_bytes_a_piece": round((kafka.stored(STATE) - log) / count),
                "log_rows_a_piece": round((kafka.written(STATE) - rows_before) / count, 2),
            })  # fmt: skip
    table(f"{count} pieces of evidence; CPU in µs a piece", rows)
    return {"evidence": count, "rows": rows}


@contextlib.contextmanager
def _watching(size: int) -> Iterator[tuple[Rig, list[str]]]:
    """A rig whose settings watch some ``size`` keys, and these: companies with each of the topics; of 1 the market."""
    facts = facts_on_card(folder_of("default"))
    topics = facts.topics
    companies = [f"Company {number} Works" for number in range(max(1, size // (len(topics) + 1)))]
    text = engine_rig.watch_list("", companies).replace("entities", f"topics = {json.dumps(list(topics))}\nentities", 1)
    with tempfile.TemporaryDirectory() as folder:
        watch = assemble(engine_rig.settings(Path(folder), text), topics, facts.risks).watch
    with rig(text, partitions=PARTITIONS) as kafka:
        yield kafka, list(watch.keys) if size > 1 else [MARKET]


def _learn(kafka: Rig, names: Sequence[str]) -> Figures:
    """Lets an aggregate process count what each key said yesterday; of one key alone, enough to fill its memory."""
    day, rng = time.time() - 86_400, random.Random(4)
    said = list(names) if len(names) > 1 else names * FULL
    past = ((name, day + 80_000 * number / len(said)) for number, name in enumerate(said))
    asyncio.run(kafka.publish(_evidence(past, rng)))
    (aggregate,) = kafka.begin("aggregate")
    samples = kafka.follow({"counted": partial(metric, aggregate, COUNTED)}, {"counted": len(said)}, every=EVERY)
    return pace(samples, "counted", len(said))


def _evidence(said: Iterable[tuple[str, float]], rng: random.Random) -> Iterator[Output]:
    """Evidence about keys at times, one in eight of it bad news, with the watermarks that come with it."""
    titles = engine_rig.texts(10_000_000, rng, watched=WATCHED)
    for number, ((key, at), title) in enumerate(zip(said, titles, strict=False)):
        negative = rng.uniform(0.6, 0.95) if rng.random() < 0.125 else rng.uniform(0.0, 0.2)
        when = iso(at)
        yield Output(EVIDENCE, key, encode(Evidence(
            id=f"{rng.getrandbits(96):024x}", key=key, class_="news", at=when, b=negative, relevance=1.0,
            signature=signature(title, ""), source=f"s{number % 5}", publisher=f"p{number % 9}",
            by=f"Paper {number % 9}", title=title, url=f"https://example.org/{number}", published=when, fetched=when,
            scored=when, negative=negative, neutral=round(0.9 - 0.9 * negative, 6), positive=0.1,
        )))  # fmt: skip
        if number % (LIVE // 4) == 0:
            for origin in range(PARTITIONS):
                yield Output(EVIDENCE, WATERMARK, encode(Watermark(at=when)), origin)


def _tables(aggregate: Process) -> Path:
    """The folder of its tables on its own disk."""
    return aggregate.folder / "tapewatch-data" / "aggregate"


# -- recovery ---------------------------------------------------------------------------------------------------------


def recovery(size: int) -> Figures:
    """Seconds from the start of an aggregate process to the first fresh piece of evidence that it counts: after a
    SIGTERM and a SIGKILL, with its tables as they were and with an empty folder."""
    rows = []
    with _watching(size) as (kafka, names):
        _learn(kafka, names)
        aggregate = kafka.fleet["aggregate"]
        for end in (signal.SIGTERM, signal.SIGKILL):
            for kept in (True, False):
                aggregate.stop(end)
                if not kept:
                    shutil.rmtree(_tables(aggregate))
                began, before = time.monotonic(), kafka.cpu()
                aggregate.start(ready=False)
                asyncio.run(kafka.publish(_evidence([(names[0], time.time())], random.Random())))
                wait_for(partial(metric, aggregate, COUNTED), "fresh evidence counted", PATIENCE)
                seconds, used = time.monotonic() - began, kafka.cpu()
                rows.append({
                    "ended_by": end.name, "tables": "kept" if kept else "lost", "seconds": round(seconds, 1),
                    "cpu_seconds": round(used["aggregate"], 1),
                    "broker_cpu_seconds": round(used["broker"] - before["broker"], 1), "rss_mb": rss_of(aggregate),
                })  # fmt: skip
        log = {"rows": kafka.written(STATE), "megabytes": round(kafka.stored(STATE) / 1e6, 1)}
    table(f"{len(names)} keys, {log['rows']} rows in the changelog, {log['megabytes']} MB", rows)
    return {"keys": len(names), "changelog": log, "rows": rows}
