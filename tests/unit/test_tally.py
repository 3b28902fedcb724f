"""What a refused batch counts: once, when the store has taken it, however often it was tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from pipelines.clock import ManualClock
from pipelines.streams.base import CANDIDATES, EVIDENCE, Output, Record, State
from pipelines.streams.embedded import EmbeddedEngine
from pipelines.streams.store import Store
from tests.stream_bench import DAY, T0, Played, Tape, stages

COUNTED = (
    "tapewatch_counted_evidence_total",
    "tapewatch_reprints_total",
    "tapewatch_late_evidence_total",
    "tapewatch_publish_to_alert_seconds_count",
    "tapewatch_alerts_total",
    "tapewatch_dead_letters_total",
)


def counts() -> dict[str, float]:
    samples = [sample for family in REGISTRY.collect() for sample in family.samples]
    return {name: sum(sample.value for sample in samples if sample.name == name) for name in COUNTED}


def room(pages: int) -> Callable[[Store], None]:
    """SQLite itself says that the disk is full when it needs a page more."""

    def limit(store: Store) -> None:
        now = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages or now}")

    return limit


async def counted(folder: Path, number: int, given: Sequence[Output], *, full: bool) -> tuple[dict[str, float], int]:
    """What a stage counts of records, and how often it was handed some, with a store that is full for a while or not."""
    clock, tries = ManualClock(T0 + 30 * DAY), 0
    stage = stages(clock)[number]
    handle = stage.handle

    def tried(batch: Sequence[Record], state: State) -> Any:
        nonlocal tries
        tries += 1
        return handle(batch, state)

    stage.handle = tried
    engine = EmbeddedEngine(folder / f"{full}.db", clock=clock)
    await engine.start([stage])
    before = counts()
    await engine.append(given)
    if full:
        await engine.ask(room(0))
        while tries < 4:
            await clock.advance(1.0)
        assert "disk is full" in str(engine.waiting_for())
        assert counts() == before, "what is not durable was counted"
        await engine.ask(room(2**30))
        await clock.advance(1.0)
    await engine.drained()
    after = counts()
    await engine.stop()
    return {name: after[name] - before[name] for name in COUNTED}, tries


@pytest.mark.parametrize(("number", "topic"), [(1, EVIDENCE), (2, CANDIDATES)], ids=["aggregate", "notify"])
async def test_a_full_disk_counts_nothing_twice(tmp_path: Path, number: int, topic: str) -> None:
    tape = Tape(5)
    told = list(tape.poisson(T0, T0 + 12 * DAY, 4.0, "wire", "Acme", bad=0.05))
    told += [tape.story(T0 + 12 * DAY + n * 60.0, "wire", "Acme", bad=True) for n in range(8)]
    told.append(tape.story(T0 + DAY, "wire", "Acme", bad=False))  # late
    played = Played().play((one.fetched, one.output()) for one in told)
    given = [Output(topic, record.key, record.value) for record in played.engine.records(topic)]
    given.append(Output(topic, "broken", b"no record"))
    calm, once = await counted(tmp_path, number, given, full=False)
    refused, tries = await counted(tmp_path, number, given, full=True)
    assert tries >= once + 3
    assert refused == calm and sum(calm.values()) > 2 and calm["tapewatch_dead_letters_total"] == 1.0
