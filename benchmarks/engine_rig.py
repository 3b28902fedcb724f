"""What engines are measured with: headlines of made-up companies, settings that watch them, and how their passage
through an engine, and through its classifier alone, is clocked."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import resource
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.classifier import Classifier
from monitor.app import Daemon
from monitor.assembly import assemble
from monitor.demo import stories
from monitor.settings import Settings
from monitor.settings import load as load_settings
from monitor.stages import Stages
from pipelines.documents import Document, iso
from pipelines.ingest import TABLES, Ingest, Origin
from pipelines.judgements import Question, question
from pipelines.readings import Readings
from pipelines.sources.base import RawItem
from pipelines.streams.base import Output, Stage
from pipelines.streams.embedded import BATCH
from pipelines.streams.store import Store

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


def companies(count: int) -> list[str]:
    """Names of made-up companies."""
    return [f"{first.title()}{second} Works" for first in WORDS for second in WORDS][:count]


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
