"""One suite for engines: order per key, state and outputs together, restart, poison, redelivery, drain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from alerts.detector import Detector
from models.classifier import FakeClassifier
from pipelines.aggregate import Aggregate
from pipelines.clock import ManualClock, SystemClock
from pipelines.documents import AlertRecord, Document, Watermark, decode, encode, iso
from pipelines.entities import Entity, EntityIndex
from pipelines.notify import Context, Notify
from pipelines.score import Score
from pipelines.streams.base import (
    ALERTS,
    COMMANDS,
    DEAD_LETTERS,
    DOCUMENTS,
    EVIDENCE,
    SCORES,
    SERIES,
    WATERMARK,
    Output,
    Record,
    State,
)
from pipelines.streams.embedded import EmbeddedEngine
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch, WatchList


class Counting:
    """Appends each record's number to its key's list, once, and says the list aloud. Raises on poison."""

    name = "counting"
    inputs: tuple[str, ...] = (DOCUMENTS,)
    tables: Mapping[str, type[Any]] = {"seen": list[int]}

    def recovered(self, state: State) -> list[Output]:
        return []

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        outputs = []
        for record in batch:
            if record.key == WATERMARK:
                continue
            if record.value == b"poison":
                raise ValueError("poison")
            seen = state.table("seen").get(record.key) or []
            number = int(record.value)
            if number not in seen:
                seen.append(number)
            state.table("seen").put(record.key, seen)
            outputs.append(Output(SERIES, record.key, json.dumps(seen).encode()))
        return outputs


def feed(count: int) -> list[Output]:
    return [Output(DOCUMENTS, f"k{number % 7}", str(number).encode()) for number in range(count)]


def by_key(records: Sequence[Record]) -> dict[str, list[int]]:
    return {record.key: json.loads(record.value) for record in records}


EXPECTED = {f"k{key}": [n for n in range(300) if n % 7 == key] for key in range(7)}


async def test_embedded_keeps_order_and_state_over_a_restart(tmp_path: Path) -> None:
    for part in range(3):
        engine = EmbeddedEngine(tmp_path / "store.db", clock=SystemClock(), batch=16)
        await engine.start([Counting()])
        await engine.append(feed(300)[part * 100 : part * 100 + 100])
        await engine.drained()
        records = await engine.ask(lambda store: store.read([SERIES], 0, 10_000))
        await engine.stop()
    assert by_key(records) == EXPECTED
    assert len(records) == 300


def test_hostile_keeps_order_and_state_whatever_it_redelivers() -> None:
    engine = MemoryEngine([Counting()], hostile=True, seed=3)
    for output in feed(300):
        engine.append([output])
        if int(output.value) % 37 == 0:
            engine.run()
    engine.run()
    assert by_key(engine.records(SERIES)) == EXPECTED
    assert engine.redelivered > 5, "no batch was handled twice: the test proved nothing"
    assert len(engine.records(SERIES)) > 300


async def test_poison_goes_to_the_dead_letters_and_its_batch_mates_do_not(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path / "store.db", clock=SystemClock())
    await engine.start([Counting()])
    await engine.append([*feed(10), Output(DOCUMENTS, "bad", b"poison"), *feed(20)[10:]])
    await engine.drained()
    letters = await engine.ask(lambda store: store.read([DEAD_LETTERS], 0, 10))
    records = await engine.ask(lambda store: store.read([SERIES], 0, 100))
    await engine.stop()
    assert len(records) == 20
    assert [(json.loads(one.value)["reason"], json.loads(one.value)["stage"]) for one in letters] == [
        ("stage_raised", "counting")
    ]


async def test_what_a_failed_unit_changed_in_place_is_forgotten(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path / "store.db", clock=SystemClock())
    await engine.start([Counting()])
    await engine.append(feed(7))
    await engine.drained()

    def fail(unit: Any) -> None:
        state = engine.store.state("counting", Counting.tables)
        seen = state.table("seen").get("k0")
        seen.append(999)
        state.table("seen").put("k0", seen)
        raise RuntimeError("after the change")

    with pytest.raises(RuntimeError):
        await engine.transact(fail)
    await engine.append([Output(DOCUMENTS, "k0", b"70")])
    await engine.drained()
    records = await engine.ask(lambda store: store.read([SERIES], 0, 100))
    await engine.stop()
    assert by_key(records)["k0"] == [0, 70]


# -- the production stages over both ----------------------------------------------------------------------

START = 1_790_000_000.0
ACME = Entity(id="acme", name="Acme Corp", aliases=("Acme",), custom=True)
CRISIS = (
    "Acme stock falls at the open",
    "Regulator alleges fraud over Acme ledgers",
    "Probe into harbour contract of Acme widens",
    "Slump in turbine orders hits Acme",
    "Acme test plant crash injures two",
    "Heavy loss forces Acme to borrow",
    "Former partner sues Acme for millions",
    "Acme bonds: price falls to sixty cents",
)
WORDS = ("ledger", "bridge", "harbour", "turbine", "orders", "lawyers", "margins", "bonds")


def documents() -> list[Output]:
    found = []
    moments = [(START + i * 14_400.0, f"Acme opens {WORDS[i % 8]} depot {i}") for i in range(150)]
    crisis = START + 150 * 14_400.0
    moments += [(crisis + i * 120.0, title) for i, title in enumerate(CRISIS)]
    moments += [(crisis + 60.0 + i, CRISIS[0]) for i in range(5)]
    for number, (at, title) in enumerate(sorted(moments)):
        document = Document(
            id=f"{number:032x}",
            source="wire",
            class_="news",
            publisher=f"p{number % 3}",
            title=title,
            language="en",
            published=iso(at),
            fetched=iso(at),
            at=iso(at),
        )
        found.append(Output(DOCUMENTS, document.id, encode(document)))
        found.append(Output(DOCUMENTS, WATERMARK, encode(Watermark(at=iso(at)))))
    found.append(Output(DOCUMENTS, WATERMARK, encode(Watermark(at=iso(crisis + 10 * 86_400.0)))))
    return found


def stages() -> list[Any]:
    clock = ManualClock(START)
    watch = Watch([WatchList(name="mine", entities=(ACME,))], FakeClassifier().topics)
    return [
        Score(FakeClassifier(), EntityIndex([ACME]), watch, clock=clock),
        Aggregate(Detector(), watch, clock=clock, model="fake", provisional=False),
        Notify(
            watch,
            context=Context(version="t", detector="1", configuration="c", budget=0.05),
            routes=(),
            channels=("desk",),
            clock=clock,
        ),
    ]


def told(records: Sequence[Record]) -> set[tuple[str, str, str]]:
    return {(a.type, a.key, a.id) for a in (decode(AlertRecord, record.value) for record in records)}


def test_production_stages_say_the_same_on_every_engine(tmp_path: Path) -> None:
    quiet = MemoryEngine(stages())
    quiet.append(documents())
    quiet.run()
    expected = told(quiet.records(ALERTS))
    assert {kind for kind, key, _ in expected if key == "entity:acme"} >= {"alert.firing", "alert.resolved"}

    async def embedded() -> tuple[set[tuple[str, str, str]], list[tuple[str, str]], int]:
        engine = EmbeddedEngine(tmp_path / "store.db", clock=SystemClock(), batch=7)
        await engine.start(stages())
        await engine.append(documents())
        await asyncio.wait_for(engine.drained(), 60)
        alerts = await engine.ask(lambda store: store.read([ALERTS], 0, 10_000))
        evidence = await engine.ask(lambda store: store.read([EVIDENCE], 0, 100_000))
        scores = await engine.ask(lambda store: store.read([SCORES], 0, 100_000))
        await engine.stop()
        return told(alerts), [(r.key, r.value.decode()) for r in evidence if r.key != WATERMARK], len(scores)

    alerts, evidence, _ = asyncio.run(embedded())
    assert alerts == expected
    assert len(evidence) == len(quiet.records(EVIDENCE))


def test_redelivered_evidence_changes_no_count() -> None:
    quiet, hostile = MemoryEngine(stages()), MemoryEngine(stages(), hostile=True, seed=11, partitions=3)
    evidence = {}
    for engine in (quiet, hostile):
        for output in documents():
            engine.append([output])
            engine.run()
        evidence[engine] = {
            (key, held.state.news.base.block_documents if held.state.news else 0, held.applied >= 0)
            for partition in range(3 if engine is hostile else 1)
            for key, held in engine.state("aggregate", partition).table("detector").items()
        }
    assert hostile.redelivered > 5, "no batch was handled twice: the test proved nothing"
    assert evidence[quiet] == evidence[hostile]
    assert told(quiet.records(ALERTS)) == told(hostile.records(ALERTS))


def test_a_command_that_makes_no_sense_is_a_dead_letter() -> None:
    engine = MemoryEngine(stages())
    engine.append([Output(COMMANDS, "x", b'{"kind": "silence", "at": "2026-01-01T00:00:00.000Z", "subject": "x"}')])
    engine.append([Output(COMMANDS, "y", b"not json")])
    engine.run()
    assert len(engine.records(DEAD_LETTERS)) == 2
