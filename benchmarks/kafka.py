"""The stages on a real Kafka of one node, which it starts: what they take there, how they scale, how they recover.

    python -m benchmarks.kafka engines     the classifier, the embedded engine, Kafka in one process and in five
    python -m benchmarks.kafka scorers     two score workers against one
    python -m benchmarks.kafka keys        the aggregate stage with one key, 10,000 and 100,000
    python -m benchmarks.kafka recovery    an aggregate process that was killed, with its tables and without
    python -m benchmarks.kafka latency     from the POST to the webhook, every part a process of its own
    python -m benchmarks.kafka idle        what watermarks cost without a document, by the number of partitions

Without a word: all of them. ``--quick``: small sizes, to see that it works. Each prints tables and a line of JSON.
Rates come from one run and are as good as the machine was quiet; the processor time beside them says more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import REGISTRY

from benchmarks import engine_rig, webhooks
from benchmarks.kafka_keys import keys, recovery
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
    table,
)
from models.classifier import Classifier, load
from monitor import log as logs
from monitor.app import PARTS, Daemon
from monitor.settings import load as load_settings
from pipelines.streams.base import EVIDENCE, SCORES, TOPICS, Output
from pipelines.streams.store import Store
from tests.daemon_bench import Daemon as Process
from tests.daemon_bench import wait_for
from tests.kafka_cluster import missing

POST = 500
"""Documents of one POST."""

LAST = 30.0
"""Seconds that the last webhooks are waited for."""


# -- engines ----------------------------------------------------------------------------------------------------------


def engines(count: int) -> Figures:
    """Documents a second: the classifier alone, each engine in one process, and Kafka with a process for each part."""
    titles = list(engine_rig.texts(count, random.Random(1), watched=WATCHED))
    classifier = load("default")
    asked = engine_rig.questions(titles, classifier)
    first = engine_rig.alone(classifier, asked)
    before = _counted()
    embedded = asyncio.run(_embedded(titles, classifier))
    evidence = _counted() - before
    with rig(engine_rig.watch_list(), partitions=PARTITIONS) as kafka:
        together = asyncio.run(_in_one_process(kafka, titles, classifier))
    if _counted() - before != 2 * evidence:
        raise SystemExit(f"Kafka counted {_counted() - before - evidence} pieces of evidence, not {evidence}")
    bare = first.mean(engine_rig.alone(classifier, asked))
    classifier.close()
    with rig(engine_rig.watch_list(), partitions=PARTITIONS) as kafka:
        intake, scored, whole, rest = _apart(kafka, titles, evidence)
        kept = {topic: round(kafka.stored(topic) / count) for topic in (*TOPICS, STATE) if kafka.stored(topic) > count}
    rows = [
        _row("classifier", count / bare.seconds, bare.cpu / count, bare, count),
        _row("embedded", count / embedded.seconds, embedded.cpu / count, bare, count),
        _row("Kafka, one process", count / together.seconds, together.cpu / count, bare, count),
    ]
    apart = {"score": scored, "to the last count": whole}
    for name, found in apart.items():
        used = sum(found["microseconds"].values()) / 1e6
        rows.append(_row(f"Kafka, five processes, {name}", found["per_second"], used, bare, count))
    table(f"{count} documents, {evidence} pieces of evidence", rows)
    stages = [
        {"engine": name, **{stage: round(value / count * 1e6) for stage, value in passed.stages.items()}}
        for name, passed in (("embedded", embedded), ("Kafka", together))
    ]
    table("CPU of the stages' own threads in one process, µs a document", stages)
    processes = [{"what": name, **found["microseconds"]} for name, found in {"intake": intake, **apart}.items()]
    table("CPU by process, µs a document, beyond what it takes without documents", processes)
    table("CPU by process without documents, µs a second", [rest["microseconds"]])
    table("bytes that the broker keeps of a document, one copy", [kept])
    return {"documents": count, "evidence": evidence, "rows": rows, "stages": stages, "processes": processes,
            "rest": rest, "kept": kept, "intake_per_second": intake["per_second"]}  # fmt: skip


def _row(what: str, rate: float, cpu: float, bare: engine_rig.Passage, count: int) -> Figures:
    """A rate, and CPU seconds a document, beside those of the bare classifier."""
    return {
        "what": what,
        "per_second": round(rate, 1),
        "cpu_us": round(cpu * 1e6),
        "ratio": round(rate * bare.seconds / count, 3),
        "cpu_ratio": round(bare.cpu / count / cpu, 3),
    }


def _counted() -> int:
    return int(REGISTRY.get_sample_value(COUNTED) or 0)


async def _embedded(titles: Sequence[str], classifier: Classifier) -> engine_rig.Passage:
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(engine_rig.settings(Path(folder)), classifier=classifier)
        engine_rig.fill(daemon, titles)
        passed = await engine_rig.through(daemon)
        await daemon.stop()
    return passed


async def _in_one_process(kafka: Rig, titles: Sequence[str], classifier: Classifier) -> engine_rig.Passage:
    await kafka.publish(_documents(titles))
    daemon = Daemon(load_settings(kafka.fleet.daemon("whole", "").config, {}), classifier=classifier)
    passed = await engine_rig.through(daemon)
    await daemon.stop()
    return passed


def _documents(titles: Sequence[str]) -> Iterator[Output]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "ids.db", now=time.time)
        for outputs in engine_rig.documents(titles, store):
            yield from outputs
        store.close()


def _apart(kafka: Rig, titles: Sequence[str], evidence: int) -> list[Figures]:
    """A process for each part: what ingest takes in alone, how fast all of it is scored, and counted."""
    count = len(titles)
    bodies = ["\n".join(json.dumps({"title": title}) for title in titles[i : i + POST]) for i in range(0, count, POST)]
    kafka.start("ingest")
    posted = _post(kafka.fleet["ingest"], bodies)
    intake = kafka.follow({"posts": partial(next, posted)}, {"posts": len(bodies)}, every=0.0)
    kafka.start("aggregate", "notify", "view")
    kafka.begin("score")
    looks = {"scored": partial(kafka.written, SCORES), "counted": partial(metric, kafka.fleet["aggregate"], COUNTED)}
    samples = kafka.follow(looks, {"scored": count, "counted": evidence}, every=EVERY)
    rest = kafka.rest(looks, EVERY)
    return [
        pace(intake, "posts", len(bodies), each=POST),
        pace(samples, "scored", count, rest=rest),
        pace(samples, "counted", evidence, rest=rest, each=count / evidence),
        {"microseconds": {name: round(value * 1e6) for name, value in rest.items()}},
    ]


def _post(ingest: Process, bodies: Sequence[str]) -> Iterator[int]:
    """Posts one body after the other; how many were taken in."""
    for number, body in enumerate(bodies, 1):
        status, answer = ingest.post("documents", body.encode())
        if status != 202:
            raise SystemExit(f"ingest answered {status}: {answer}")
        yield number


# -- scorers ----------------------------------------------------------------------------------------------------------


def scorers(count: int) -> Figures:
    """Documents a second of one score worker with one thread, of two, and of one with two threads; nothing else runs
    but the broker."""
    titles = list(engine_rig.texts(count, random.Random(2), watched=WATCHED))
    documents = list(_documents(titles))
    rows = []
    for workers, threads in ((1, 1), (2, 1), (1, 2), (1, 1)):
        with rig(engine_rig.watch_list() + f"[model]\nthreads = {threads}\n", partitions=PARTITIONS) as kafka:
            names = [f"score-{number}" for number in range(1, workers + 1)]
            kafka.start(*["score"] * workers, names=names)
            asyncio.run(kafka.publish(documents))
            looks = {"scored": partial(kafka.written, SCORES)}
            samples = kafka.follow(looks, {"scored": count}, every=0.1)
            found = pace(samples, "scored", count, rest=kafka.rest(looks, 0.1))
            rows.append({
                "workers": workers, "threads": threads, "per_second": found["per_second"], "cores": found["cores"],
                **{f"us_{name}": used for name, used in found["microseconds"].items()},
            })  # fmt: skip
    one = (rows[0]["per_second"] + rows[3]["per_second"]) / 2
    table(f"{count} documents; CPU in µs a document", rows)
    return {"documents": count, "rows": rows, "two_against_one": round(rows[1]["per_second"] / one, 2)}


# -- latency ----------------------------------------------------------------------------------------------------------


async def latency(seconds: float) -> Figures:
    """Seconds from the POST of a company's bad stories to its webhook over five processes, at 20 documents a second."""
    names = engine_rig.companies(int(seconds * 4))
    async with webhooks.hooks() as (address, arrived):
        with rig(engine_rig.watch_list(address, names), partitions=PARTITIONS) as kafka:
            await asyncio.to_thread(kafka.start, *PARTS)
            await _backfill(kafka, names)
            before, began = kafka.cpu(), time.monotonic()
            posted = await webhooks.post(kafka.fleet["ingest"].url, names)
            used, took = kafka.cpu(), time.monotonic() - began
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST):
                    while len(webhooks.waits(posted, arrived)) < len(names):
                        await asyncio.sleep(0.2)
    found = webhooks.quantiles(webhooks.waits(posted, arrived), len(names))
    table("from POST to webhook", [found])
    cores = {name: round((used[name] - before[name]) / took, 3) for name in before}
    table("cores in use meanwhile", [cores])
    return {**found, "cores": cores}


async def _backfill(kafka: Rig, names: Sequence[str]) -> None:
    """Fills the baselines with quiet headlines, as ``tapewatch backfill`` does, and waits until they are counted."""
    process = kafka.fleet.daemon("history", "")
    file = engine_rig.history(process.folder, names)
    daemon = Daemon(load_settings(process.config, {}), only=("ingest",))
    await daemon.open()
    taken, _ = await daemon.intake.backfill([file])
    await daemon.stop()
    scored = {"scored": partial(kafka.written, SCORES)}
    await asyncio.to_thread(kafka.follow, scored, {"scored": taken.accepted}, every=0.5)
    await asyncio.sleep(1.0)  # lags are measured every half second
    await asyncio.to_thread(wait_for, kafka.fleet["aggregate"].idle, "the end of the history", PATIENCE)


# -- idle -------------------------------------------------------------------------------------------------------------


def idle(partitions: Sequence[int], seconds: float) -> Figures:
    """CPU in percent of one core by process while no document comes, and the watermarks that are written meanwhile."""
    rows = []
    for number in partitions:
        with rig(engine_rig.watch_list(), partitions=number) as kafka:
            kafka.start(*PARTS)
            time.sleep(3.0)
            before, began = kafka.cpu(), time.monotonic()
            marks, changed = kafka.written(EVIDENCE), kafka.written(STATE)
            time.sleep(seconds)
            took, used = time.monotonic() - began, kafka.cpu()
            rows.append({
                "partitions": number, "evidence_marks": round((kafka.written(EVIDENCE) - marks) / took, 1),
                "changelog_rows": round((kafka.written(STATE) - changed) / took, 1),
                **{name: round(100 * (used[name] - before[name]) / took, 1) for name in before},
            })  # fmt: skip
    table("percent of a core, and records a second, without documents", rows)
    return {"rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="all of them by default")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--documents", type=int, help="for engines and scorers")
    parser.add_argument("--keys", type=int, nargs="+", help="for keys; recovery takes the largest")
    parser.add_argument("--evidence", type=int, help="for keys")
    parser.add_argument("--seconds", type=float, help="for latency")
    parser.add_argument("--partitions", type=int, nargs="+", help="for idle")
    given = parser.parse_args()
    quick = given.quick
    documents = given.documents or (1_500 if quick else 8_000)
    sizes = given.keys or ([1, 200] if quick else [1, 10_000, 100_000])
    benches: dict[str, Callable[[], Figures]] = {
        "engines": lambda: engines(documents),
        "scorers": lambda: scorers(documents),
        "keys": lambda: keys(sizes, given.evidence or (1_000 if quick else 20_000)),
        "recovery": lambda: recovery(max(sizes)),
        "latency": lambda: asyncio.run(latency(given.seconds or (5.0 if quick else 30.0))),
        "idle": lambda: idle(given.partitions or ([2] if quick else [6, 24, 48]), 2.0 if quick else 10.0),
    }
    unknown = set(given.what) - benches.keys()
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(benches)}")
    if (lacking := missing()) is not None:
        parser.error(lacking)
    logs.configure("console", "error")
    for name in given.what or benches:
        load_before = os.getloadavg()[0]
        found = benches[name]()
        about = {"bench": name, "cores": os.cpu_count(), "load_before": round(load_before, 2)}
        print(json.dumps(about | {"load_after": round(os.getloadavg()[0], 2)} | found), flush=True)


if __name__ == "__main__":
    main()
