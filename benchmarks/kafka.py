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
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import REGISTRY

from benchmarks import engine
from benchmarks.kafka_rig import PATIENCE, Figures, Rig, metric, pace, rig, rss_of, size_of, table
from models.card import folder_of
from models.classifier import Classifier, load
from monitor import log as logs
from monitor.app import PARTS, Daemon
from monitor.assembly import assemble
from monitor.model_use import facts_on_card
from monitor.settings import load as load_settings
from pipelines.documents import Evidence, Watermark, encode, iso
from pipelines.signatures import signature
from pipelines.streams.base import EVIDENCE, SCORES, TOPICS, WATERMARK, Output
from pipelines.streams.store import Store
from pipelines.watch import MARKET
from tests.daemon_bench import Daemon as Process
from tests.daemon_bench import wait_for
from tests.kafka_cluster import missing

COUNTED = "tapewatch_counted_evidence_total"

PARTITIONS = 6
"""As many as the settings give by default."""

WATCHED = 0.2
"""Share of the documents that are about a watched company."""

STATE = "aggregate-state"
"""The topic of the aggregate stage's tables."""

POST = 500
"""Documents of one POST."""

FULL = 6_000
"""Documents of 80,000 seconds that fill a key's memory of stories as far as its bounds allow."""

EVERY = 0.5
"""Seconds between two looks at a process's metrics, which cost it some milliseconds each."""

LAST = 30.0
"""Seconds that the last webhooks are waited for."""

LIVE = 2_000
"""Evidence a second that the aggregate stage is made to believe in: a watermark comes with every quarter of it."""


# -- engines ----------------------------------------------------------------------------------------------------------


def engines(count: int) -> Figures:
    """Documents a second: the classifier alone, each engine in one process, and Kafka with a process for each part."""
    titles = list(engine.texts(count, random.Random(1), watched=WATCHED))
    classifier = load("default")
    asked = engine.questions(titles, classifier)
    first = engine.alone(classifier, asked)
    before = _counted()
    embedded = asyncio.run(_embedded(titles, classifier))
    evidence = _counted() - before
    with rig(engine.watch_list(), partitions=PARTITIONS) as kafka:
        together = asyncio.run(_in_one_process(kafka, titles, classifier))
    if _counted() - before != 2 * evidence:
        raise SystemExit(f"Kafka counted {_counted() - before - evidence} pieces of evidence, not {evidence}")
    bare = first.mean(engine.alone(classifier, asked))
    classifier.close()
    with rig(engine.watch_list(), partitions=PARTITIONS) as kafka:
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


def _row(what: str, rate: float, cpu: float, bare: engine.Passage, count: int) -> Figures:
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


async def _embedded(titles: Sequence[str], classifier: Classifier) -> engine.Passage:
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(engine.settings(Path(folder)), classifier=classifier)
        engine.fill(daemon, titles)
        passed = await engine.through(daemon)
        await daemon.stop()
    return passed


async def _in_one_process(kafka: Rig, titles: Sequence[str], classifier: Classifier) -> engine.Passage:
    await kafka.publish(_documents(titles))
    daemon = Daemon(load_settings(kafka.fleet.daemon("whole", "").config, {}), classifier=classifier)
    passed = await engine.through(daemon)
    await daemon.stop()
    return passed


def _documents(titles: Sequence[str]) -> Iterator[Output]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "ids.db", now=time.time)
        for outputs in engine.documents(titles, store):
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
    titles = list(engine.texts(count, random.Random(2), watched=WATCHED))
    documents = list(_documents(titles))
    rows = []
    for workers, threads in ((1, 1), (2, 1), (1, 2), (1, 1)):
        with rig(engine.watch_list() + f"[model]\nthreads = {threads}\n", partitions=PARTITIONS) as kafka:
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
    text = engine.watch_list("", companies).replace("entities", f"topics = {json.dumps(list(topics))}\nentities", 1)
    with tempfile.TemporaryDirectory() as folder:
        watch = assemble(engine.settings(Path(folder), text), topics, facts.risks).watch
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
    titles = engine.texts(10_000_000, rng, watched=WATCHED)
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


# -- latency ----------------------------------------------------------------------------------------------------------


async def latency(seconds: float) -> Figures:
    """Seconds from the POST of a company's bad stories to its webhook over five processes, at 20 documents a second."""
    names = engine.companies(int(seconds * 4))
    async with engine.hooks() as (address, arrived):
        with rig(engine.watch_list(address, names), partitions=PARTITIONS) as kafka:
            await asyncio.to_thread(kafka.start, *PARTS)
            await _backfill(kafka, names)
            before, began = kafka.cpu(), time.monotonic()
            posted = await engine.post(kafka.fleet["ingest"].url, names)
            used, took = kafka.cpu(), time.monotonic() - began
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST):
                    while len(engine.waits(posted, arrived)) < len(names):
                        await asyncio.sleep(0.2)
    found = engine.quantiles(engine.waits(posted, arrived), len(names))
    table("from POST to webhook", [found])
    cores = {name: round((used[name] - before[name]) / took, 3) for name in before}
    table("cores in use meanwhile", [cores])
    return {**found, "cores": cores}


async def _backfill(kafka: Rig, names: Sequence[str]) -> None:
    """Fills the baselines with quiet headlines, as ``tapewatch backfill`` does, and waits until they are counted."""
    process = kafka.fleet.daemon("history", "")
    file = engine.history(process.folder, names)
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
        with rig(engine.watch_list(), partitions=number) as kafka:
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
