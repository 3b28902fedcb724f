"""``python -m benchmarks.reads``: how long the API's reads take over a full read model, while documents come.

The read model is filled through its own code: many watched keys, a full tape, series, alerts, deliveries. A daemon in a
process of its own serves it. Prints what filling cost, the file's size, and the times of each question, in ms.
``--inside`` serves from this process while nothing comes, and tells processor time, asking included: for machines that
have other work.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import msgspec

from alerts.outbox import Obligation
from models.classifier import FakeClassifier
from models.labels import TOPICS
from monitor.app import Daemon as App
from monitor.assembly import assemble
from monitor.engines import view_path
from monitor.settings import load
from monitor.web import Web
from pipelines.documents import AlertRecord, ScoredDocument, SeriesPoint, encode, iso
from pipelines.scored import ScoredEntity, Sentiment, Topic
from pipelines.streams.base import ALERTS, OUTBOX, SCORES, SERIES, Record
from pipelines.view import ReadModel
from tests.daemon_bench import Daemon

WORDS = (
    "fraud", "probe", "widens", "orders", "slump", "opens", "depot", "names", "chief", "ships", "time", "wins",
    "tender", "court", "fines", "bank", "port",
)  # fmt: skip
CHINESE = ("监管机构处罚", "股价大跌", "签订合同", "季度利润增长")
MOODS = {"negative": (0.8, 0.1, 0.1), "neutral": (0.1, 0.8, 0.1), "positive": (0.1, 0.1, 0.8)}
PADDING = "x" * 5_000
"""An alert's body is some kilobytes."""
DAYS = 30


def settings(keys: int) -> str:
    entities = ", ".join(f'{{ name = "Quorl{number:05d}" }}' for number in range(keys))
    return f'[[watchlists]]\nname = "many"\nentities = [{entities}]\n'


def documents(keys: int, count: int, now: float, topics: list[str]) -> Iterator[Record]:
    rng = random.Random(7)
    for number in range(count):
        who = f"Quorl{int(keys * rng.random() ** 2):05d}"
        label = rng.choice(list(MOODS))
        sentiment = Sentiment(label, *MOODS[label])
        at = iso(now - DAYS * 86_400.0 * (1 - number / count))
        said = f"{rng.choice(CHINESE)}" if number % 10 == 0 else " ".join(rng.choices(WORDS, k=7))
        found = ScoredDocument(
            id=f"{number:032x}", source="wire", class_="news", publisher=f"Paper {number % 40}", language="en",
            title=f"{who} {said} {number}", url=f"https://wire.example/{number}", published=at, fetched=at, at=at,
            scored=at, supported=True, sentiment=sentiment, topic=Topic(rng.choice(topics), 0.9), signature=b"",
            model="m",
            entities=(ScoredEntity(id=who.lower(), name=who, relevance=1.0, sentiment=sentiment, basis="entity"),),
        )  # fmt: skip
        yield Record(SCORES, found.id, encode(found), number)


def blocks(keys: list[str], now: float) -> Iterator[Record]:
    """Twenty blocks a key, and half hours of four months of the market."""
    rng = random.Random(8)
    spans = [(key, 20) for key in keys if key != "market"] + [("market", 120 * 48)]
    for key, count in spans:
        for number in range(count):
            start = now - now % 1_800 - 1_800.0 * (count - number)
            point = SeriesPoint(
                key=key, class_="news", start=iso(start), end=iso(start + 1_800), bad=rng.random(), others=3.0,
                expected=1.0,
                expected_low=0.1, expected_high=3.0, score=rng.random(), threshold=3.0, baseline_span=30 * 86_400.0,
            )  # fmt: skip
            yield Record(SERIES, key, encode(point), number)


def alarms(keys: list[str], count: int, now: float) -> Iterator[Record]:
    for number in range(count):
        key, at = keys[number % len(keys)], now - number * 200.0
        data = {"summary": f"{key} number {number}", "episode": {"sequence": 0}, "padding": PADDING}
        body = json.dumps({"type": "alert.resolved", "timestamp": iso(at), "data": data}).encode()
        alert = AlertRecord(
            id=f"event{number}", type="alert.firing" if number < 50 else "alert.resolved", key=key, at=iso(at),
            alert=f"alert{number}", severity="error", body=msgspec.Raw(body),
        )  # fmt: skip
        yield Record(ALERTS, alert.id, encode(alert), number)
        owed = Obligation(
            event=alert.id, channel="desk", type=alert.type, order="", body=b"", created=at, state="failed"
        )
        yield Record(OUTBOX, owed.key, encode(owed), number)


def fill(daemon: Daemon, count: int) -> list[str]:
    """Returns the watched keys."""
    loaded = load(daemon.config, {})
    parts = assemble(loaded, list(TOPICS), ())
    model = ReadModel(view_path(loaded), parts.watch)
    keys, now = list(parts.watch.keys), time.time()
    begin = time.monotonic()
    for name, records in (
        ("documents", documents(len(keys), count, now, list(TOPICS))),
        ("blocks", blocks(keys, now)),
        ("alerts", alarms(keys, 10_000, now)),
    ):
        started, written = time.monotonic(), 0
        while part := list(itertools.islice(records, 1_000)):
            written += len(part)
            model.apply(part, f"{name}{written}")
        print(f"{written} records of {name}: {(time.monotonic() - started) / written * 1e6:.0f} µs each")
    model._db.execute("UPDATE place SET position = ''")
    model.close()
    size = view_path(loaded).stat().st_size / 2**20
    print(f"{len(keys)} keys, filled in {time.monotonic() - begin:.0f} s; the file has {size:.0f} MB")
    return keys


KEY, WORD, WEEK = "{key}", "{word}", "{week}"
QUESTIONS: dict[str, dict[str, str]] = {
    "documents": {"limit": "50"},
    "documents of a key": {"key": KEY},
    "documents of the market, negative": {"key": "market", "sentiment": "negative"},
    "documents of a key and topic": {"key": KEY, "topic": "Earnings"},
    "search: a frequent word": {"q": WORD},
    "search: two words": {"q": f"{WORD} probe"},
    "search: a rare word": {"q": "{rare}"},
    "search: Chinese": {"q": "处罚"},
    "search: a word of a key": {"q": WORD, "key": KEY},
    "search: last week, positive": {"q": WORD, "sentiment": "positive", "since": WEEK},
    "keys": {"limit": "1000"},
    "keys, a page of 100": {"limit": "100"},
    "series of the market": {"key": "market", "limit": "2000"},
    "series of a key": {"key": KEY},
    "alerts": {"limit": "100"},
    "alerts, firing": {"status": "firing"},
    "alerts of a key": {"key": KEY},
    "deliveries, failed": {"state": "failed"},
    "deliveries": {},
    "dead-letters": {},
    "audit": {},
    "status": {},
    "sources": {},
    "feedback": {},
}
"""What is asked; the first word of each is the path."""


async def feed(session: aiohttp.ClientSession, url: str, rate: float) -> None:
    for number in itertools.count():
        body = json.dumps({"title": f"Quorl{number % 1_000:05d} opens a live depot {number}"})
        async with session.post(f"{url}/api/v1/documents", data=body) as answer:
            assert answer.status == 202, await answer.text()
        await asyncio.sleep(1 / rate)


async def measure(url: str, keys: list[str], rounds: int, rate: float, clock: Callable[[], float]) -> None:
    rng, times = random.Random(9), {name: list[float]() for name in QUESTIONS}
    async with aiohttp.ClientSession() as session:
        feeding = asyncio.create_task(feed(session, url, rate)) if rate else None
        for _ in range(rounds):
            for name, question in QUESTIONS.items():
                key = rng.choice(keys)
                rare, week = key.rpartition(":")[2], str(time.time() - 7 * 86_400)
                told = {"key": key, "word": rng.choice(WORDS), "week": week, "rare": rare}
                asked = {part: value.format(**told) for part, value in question.items()}
                path = name.split()[0].strip(":,")
                begin = clock()
                async with session.get(f"{url}/api/v1/{path}", params=asked) as answer:
                    body = await answer.read()
                times[name].append(1_000 * (clock() - begin))
                assert answer.status == 200, body[:500]
        if feeding is not None:
            feeding.cancel()
    for name, found in times.items():
        cuts = statistics.quantiles(found, n=20, method="inclusive")
        print(f"{name:36} p50 {statistics.median(found):6.1f}  p95 {cuts[18]:6.1f}  max {max(found):6.1f}")


async def inside(config: Path, keys: list[str], rounds: int) -> None:
    daemon = App(load(config, {}), classifier=FakeClassifier())
    await daemon.start()
    web = Web(daemon)
    await web.start()
    await measure(web.address, keys, rounds, 0.0, time.process_time)
    await web.stop()
    await daemon.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--rate", type=float, default=20.0, help="documents a second that come meanwhile")
    parser.add_argument("--inside", action="store_true", help="processor time, in this process")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder) / "daemon", settings(options.keys))
        keys = fill(daemon, options.documents)
        if options.inside:
            asyncio.run(inside(daemon.config, keys, options.rounds))
            return
        with daemon:
            asyncio.run(measure(daemon.url, keys, options.rounds, options.rate, time.perf_counter))


if __name__ == "__main__":
    main()
