"""What the embedded engine lets go of: nothing that a stage or a reader still needs, nothing that is an operator's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.clock import ManualClock
from pipelines.streams.base import ALERTS, COMMANDS, DEAD_LETTERS, DOCUMENTS, EngineError, Output, Record, State
from pipelines.streams.embedded import EmbeddedEngine

TOPICS = (DOCUMENTS, ALERTS, COMMANDS, DEAD_LETTERS)


class Idle:
    """Reads documents and does nothing with them."""

    name = "idle"
    inputs: tuple[str, ...] = (DOCUMENTS,)
    tables: Mapping[str, type[Any]] = {"rows": str}

    def recovered(self, state: State) -> list[Output]:
        return []

    def handle(self, batch: Sequence[Record], state: State) -> list[Output]:
        state.table("rows").put(batch[-1].key, "read")
        return []


async def test_a_reader_keeps_what_it_has_not_read_and_operators_topics_stay(tmp_path: Path) -> None:
    clock = ManualClock(1_790_000_000.0)
    engine = EmbeddedEngine(tmp_path / "store.db", clock=clock)
    await engine.start([Idle()])
    reader = engine.reader()
    await engine.append([Output(topic, f"{topic} {number}", b"x") for number in range(4) for topic in TOPICS])
    await engine.drained()
    assert await engine.retain(clock.time() + 1) == 0, "the reader has not begun"

    first, position = reader.read(TOPICS, "", 6)
    assert [one.key for one in first[:5]] == [f"{topic} 0" for topic in TOPICS] + ["documents 1"]
    assert await engine.retain(clock.time() + 1) == 0, "what was read may not have been kept yet"
    second, end = reader.read(TOPICS, position, 100)
    assert len(second) == 10 and reader.read(TOPICS, end, 100) == ([], end)
    assert await engine.retain(clock.time() + 1) == 8
    kept, _ = reader.read(TOPICS, "", 100)
    assert {one.topic for one in kept} == {COMMANDS, DEAD_LETTERS} and len(kept) == 8
    reader.close()
    await engine.stop()


async def test_tables_are_asked_where_their_stage_runs(tmp_path: Path) -> None:
    engine = EmbeddedEngine(tmp_path / "store.db", clock=ManualClock(1_790_000_000.0))
    await engine.start([Idle()])
    await engine.append([Output(DOCUMENTS, "d1", b"x")])
    await engine.drained()
    assert await engine.inspect("idle", lambda state: state.table("rows").get("d1")) == "read"
    with pytest.raises(EngineError, match="stage notify does not run here"):
        await engine.inspect("notify", lambda state: state.table("outbox").get("d1"))
    await engine.stop()
