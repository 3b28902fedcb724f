"""One suite for engines, in memory and hostile, embedded, and on a real Kafka: order per key, state and outputs together,
restart, kill -9, poison, redelivery, drain; and the production stages say the same on each."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.classifier import FakeClassifier
from pipelines.clock import SystemClock
from pipelines.entities import EntityIndex
from pipelines.score import Score
from pipelines.streams.base import (
    ALERTS,
    CANDIDATES,
    COMMANDS,
    DEAD_LETTERS,
    DOCUMENTS,
    EVIDENCE,
    INGEST,
    SCORES,
    SERIES,
    WATERMARK,
    EngineError,
    Output,
    Record,
    Stage,
    StageUnable,
)
from pipelines.streams.embedded import EmbeddedEngine
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch
from tests.contract.crisis_bench import decided, documents, named, reasons, stages
from tests.contract.engine_bench import (
    PATIENCE,
    Bench,
    Child,
    Counting,
    EmbeddedBench,
    KafkaBench,
    MemoryBench,
    command,
    counting,
    expected,
    feed,
    handed_again,
    last,
    numbers,
    summary,
)

ENGINES = ("memory", "embedded", "kafka")
DURABLE = ("embedded", "kafka")

KILLS = 3

Make = Callable[[], Sequence[Stage]]


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Callable[[str, Make], Any]]:
    """Starts the engine that a test names, with stages; stops it in the end."""
    started: list[Bench] = []

    async def start(kind: str, make: Make) -> Bench:
        one: Bench
        if kind == "memory":
            one = MemoryBench()
        elif kind == "embedded":
            one = EmbeddedBench(tmp_path)
        else:
            one = KafkaBench(tmp_path, request.getfixturevalue("kafka"), make())
        await one.start(make)
        started.append(one)
        return one

    yield start
    for one in started:
        await one.stop()


@pytest.mark.parametrize("kind", ENGINES)
async def test_order_and_state_are_kept_over_restarts(kind: str, bench: Any) -> None:
    engine = await bench(kind, counting)
    for part in range(3):
        await engine.append(feed(part * 100, part * 100 + 100))
        await engine.drained()
        if part < 2:
            await engine.restart()
    engine.prove()
    records = await engine.records(SERIES)
    assert last(records) == expected(300)
    assert len(records) >= 300
    if not engine.doubles:
        assert len(records) == 300
    if engine.exact:
        assert handed_again(records) == 0


@pytest.mark.parametrize("kind", DURABLE)
async def test_poison_goes_to_the_dead_letters_and_its_batch_mates_do_not(kind: str, bench: Any) -> None:
    engine = await bench(kind, counting)
    await engine.append([*feed(0, 10), Output(DOCUMENTS, "k1", b"poison"), *feed(10, 20)])
    await engine.drained()
    letters = await engine.records(DEAD_LETTERS)
    assert last(await engine.records(SERIES)) == expected(20)
    assert [(json.loads(one.value)["reason"], json.loads(one.value)["stage"]) for one in letters] == [
        ("stage_raised", "counting")
    ]


@pytest.mark.parametrize("kind", DURABLE)
async def test_a_broken_device_ends_the_engine_and_costs_no_document(kind: str, bench: Any) -> None:
    """Its documents are no dead letters: once the device is well again, they are judged."""
    model, watch = FakeClassifier(), Watch([], FakeClassifier().topics)
    engine = await bench(kind, lambda: [Score(model, EntityIndex([]), watch, clock=SystemClock())])
    told = [output for output in documents() if output.key != WATERMARK][:20]
    await engine.append(told[:10])
    await engine.drained()
    model.broken = True
    await engine.append(told[10:])
    with pytest.raises(EngineError, match="a stage ended: the model can't judge anything now: the device is gone"):
        await engine.drained()
    assert isinstance(engine.engine.fatal, StageUnable)
    model.broken = False
    await engine.restart()
    await engine.drained()
    assert {record.key for record in await engine.records(SCORES)} == {output.key for output in told}
    assert await engine.records(DEAD_LETTERS) == []


class Sizes:
    """Writes down how many records it is handed at once."""

    name = "sizes"
    inputs: tuple[str, ...] = (DOCUMENTS,)
    tables: dict[str, type[Any]] = {}

    def __init__(self) -> None:
        self.seen: list[int] = []

    def recovered(self, state: Any) -> list[Output]:
        return []

    def handle(self, batch: Sequence[Record], state: Any) -> list[Output]:
        self.seen.append(len(batch))
        return []


@pytest.mark.parametrize(("kind", "most"), [("embedded", 16), ("kafka", 512)])
async def test_batches_are_small_while_nothing_waits_and_large_behind_a_backlog(
    kind: str, most: int, bench: Any
) -> None:
    stage = Sizes()
    engine = await bench(kind, lambda: [stage])
    for number in range(5):
        await engine.append(feed(number, number + 1))
        await engine.drained()
    alone, stage.seen = list(stage.seen), []
    await engine.append(feed(0, 600))
    await engine.drained()
    print(f"{kind}: records at once {alone}, and of 600 together {stage.seen}")
    assert alone == [1] * 5
    assert sum(stage.seen) == 600 and max(stage.seen) <= most
    assert max(stage.seen) > 12, "a backlog was taken in small bites"


@pytest.mark.parametrize("kind", DURABLE)
async def test_ingest_never_knows_more_than_the_log(kind: str, bench: Any) -> None:
    engine = await bench(kind, counting)

    def bring(number: int, *, fail: bool = False) -> Callable[[Any], tuple[int, list[Output]]]:
        def work(state: Any) -> tuple[int, list[Output]]:
            state.table("cursors").put("feed", str(number).encode())
            if fail:
                raise RuntimeError("after the change")
            return number, feed(number, number + 1)

        return work

    assert await engine.engine.take_in(bring(0)) == 0
    with pytest.raises(RuntimeError):
        await engine.engine.take_in(bring(1, fail=True))
    brought = await asyncio.gather(*(engine.engine.take_in(bring(number)) for number in range(1, 40)))
    assert list(brought) == list(range(1, 40))
    await engine.restart()
    assert await engine.engine.inspect(INGEST, lambda state: state.table("cursors").get("feed")) == b"39"
    await engine.drained()
    assert last(await engine.records(SERIES)) == expected(40)


async def test_a_lost_disk_is_restored_from_the_changelog(bench: Any) -> None:
    engine = await bench("kafka", counting)
    await engine.append(feed(0, 100))
    await engine.drained()
    await engine.stop()
    engine.lose_disk()
    await engine.start(counting)
    await engine.append(feed(100, 200))
    await engine.drained()
    records = await engine.records(SERIES)
    assert last(records) == expected(200)
    assert handed_again(records) == 0


async def test_what_a_failed_unit_changed_in_place_is_forgotten(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path / "store.db", clock=SystemClock())
    await engine.start([Counting()])
    await engine.append(feed(0, 7))
    await engine.drained()

    def fail(unit: Any) -> None:
        state = engine.store.state("counting", Counting.tables)
        seen = state.table("seen").get("k0")
        seen.add(999)
        state.table("seen").put("k0", seen)
        raise RuntimeError("after the change")

    with pytest.raises(RuntimeError):
        await engine.transact(fail)
    await engine.append([Output(DOCUMENTS, "k0", b"70")])
    await engine.drained()
    records = await engine.ask(lambda store: store.read([SERIES], 0, 100))
    await engine.stop()
    assert last(records)["k0"] == summary([0, 70])


# -- kill -9 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DURABLE)
async def test_kill_9_at_any_moment_loses_nothing_and_applies_nothing_twice(
    kind: str, bench: Any, tmp_path: Path
) -> None:
    """The state must be the log, applied once and in order, however often its process was killed."""
    engine = await bench(kind, counting)
    await engine.stop()
    arguments = command(kind, tmp_path, getattr(engine, "address", ""), getattr(engine, "prefix", ""))
    rng, batches, acknowledged, kills = random.Random(5), numbers(), set[int](), 0
    for _ in range(KILLS):
        child = Child(arguments, tmp_path / "child.log")
        for _ in range(rng.randint(5, 30)):
            batch = next(batches)
            child.append(batch)
            if rng.random() < 0.7:
                acknowledged.update(child.acknowledged(batch))
        child.kill()
        kills += 1
    Child(arguments, tmp_path / "child.log").end()

    await engine.start(counting)
    await engine.drained()
    log = await engine.records(DOCUMENTS)
    said = await engine.records(SERIES)
    logged: dict[str, list[int]] = {}
    for record in log:
        logged.setdefault(record.key, []).append(int(record.value))
    print(f"{kind}: {kills} kills, {len(acknowledged)} acknowledged, {len(log)} logged, {len(said)} said")
    assert kills == KILLS and len(acknowledged) > 100
    assert acknowledged <= {number for found in logged.values() for number in found}
    assert last(said) == {key: summary(found) for key, found in logged.items()}
    assert handed_again(said) == 0
    if not engine.doubles:
        assert len(said) == len(log)


async def test_a_second_worker_takes_its_share_and_what_a_killed_one_leaves(bench: Any, tmp_path: Path) -> None:
    engine = await bench("kafka", counting)
    other = tmp_path / "other"
    other.mkdir()
    await engine.append(feed(0, 100))
    await engine.drained()
    arguments = command("kafka", other, engine.address, engine.prefix)
    # In a thread: the newcomer is ready when the first worker, in this loop, has made room for it.
    child = await asyncio.to_thread(Child, arguments, tmp_path / "child.log")
    worker = engine.engine._workers["counting"]
    async with asyncio.timeout(PATIENCE):
        while not 0 < len(worker.partitions) < 3:
            await asyncio.sleep(0.1)
    shared = len(worker.partitions)
    await engine.append(feed(100, 200))
    child.kill()
    await engine.append(feed(200, 300))
    async with asyncio.timeout(PATIENCE):
        while last(await engine.records(SERIES)) != expected(300):
            await asyncio.sleep(0.2)
    print(f"{shared} of 3 partitions stayed with the first worker, {len(worker.partitions)} after the other's kill")
    assert len(worker.partitions) == 3
    assert handed_again(await engine.records(SERIES)) == 0


# -- the production stages over all -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENGINES)
async def test_production_stages_say_the_same_on_every_engine(kind: str, bench: Any) -> None:
    quiet = MemoryEngine(stages())
    quiet.append(documents())
    quiet.run()
    wanted = decided(quiet.records(CANDIDATES))
    assert {kind for kind, key, _ in wanted if key == "entity:acme"} >= {"firing", "resolved"}

    engine = await bench(kind, stages)
    for output in documents():
        # One after the other: what lies in several partitions has no order but its time.
        await engine.append([output])
        if output.key != WATERMARK and kind != "embedded":
            await engine.drained()
    await engine.drained()
    engine.prove()
    alerts = await engine.records(ALERTS)
    assert decided(await engine.records(CANDIDATES)) == wanted
    # Which of several partitions is first to tell, the engine decides: who is told last is the same.
    assert named(alerts) == named(quiet.records(ALERTS)) == ["entity:acme"]
    why = reasons(quiet.records(ALERTS))
    assert {phrase.lower() for headline, phrase in why if "fraud" in headline} == {"fraud"}
    assert reasons(alerts) == why
    scores = {record.key for record in await engine.records(SCORES)}
    assert len(scores) == len(quiet.records(SCORES))
    evidence = {(record.key, record.value) for record in await engine.records(EVIDENCE)}
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
    assert decided(quiet.records(CANDIDATES)) == decided(hostile.records(CANDIDATES))
    assert named(quiet.records(ALERTS)) == named(hostile.records(ALERTS)) == ["entity:acme"]


@pytest.mark.parametrize("kind", ENGINES)
async def test_a_command_that_makes_no_sense_is_a_dead_letter(kind: str, bench: Any) -> None:
    engine = await bench(kind, stages)
    senseless = b'{"kind": "silence", "at": "2026-01-01T00:00:00.000Z", "subject": "x"}'
    unjudged = senseless.replace(b"silence", b"feedback")
    await engine.append(
        [Output(COMMANDS, "x", senseless), Output(COMMANDS, "y", b"not json"), Output(COMMANDS, "z", unjudged)]
    )
    await engine.drained()
    assert {record.key for record in await engine.records(DEAD_LETTERS)} == {"x", "y", "z"}
