"""kill -9 while a silence, a flash and a burst that holds others are open: no alert is lost or told twice, and state and
alerts are those of a run that nobody killed, to the byte."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines.aggregate import Aggregate
from pipelines.coverage import Seeing
from pipelines.documents import epoch
from pipelines.held import Held
from pipelines.notify import Notify
from tests.kill_bench import CUT, LOST, log
from tests.stream_bench import HOUR, bites

KILLS = 8


def run(store: Path, kill: int = -1, delay: float = 0.0) -> int:
    command = [sys.executable, "-m", "tests.kill_bench", str(store), str(kill), str(delay)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300).returncode


def alerts(store: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(store)) as db:
        return [json.loads(value) for (value,) in db.execute("SELECT value FROM log_alerts ORDER BY offset").fetchall()]


def state(store: Path) -> dict[str, dict[str, Any]]:
    """Every table of the stages; without offsets, which candidates that are said again after a start move on."""
    found: dict[str, dict[str, Any]] = {}
    with closing(sqlite3.connect(store)) as db:
        for stage in (Aggregate, Notify):
            for name, kind in stage.tables.items():
                table = f"state_{stage.name}_{name}"
                rows = db.execute(f"SELECT key, value FROM {table} ORDER BY key").fetchall()
                found[table] = {key: without_offset(kind, value) for key, value in rows}
    return found


def without_offset(kind: Any, value: bytes) -> bytes:
    row = msgspec.msgpack.decode(value, type=kind)
    if isinstance(row, Held | Seeing):
        row.applied = 0
        return msgspec.msgpack.encode(row)
    return value


def kind_of(alert: dict[str, Any]) -> str:
    return str(alert["body"]["data"]["rule"]["kind"])


def test_kills_while_every_kind_of_alert_is_open_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calm, killed, rng = tmp_path / "calm.db", tmp_path / "killed.db", random.Random(1)
    assert run(calm) == 0
    pieces = list(bites(log(), CUT))
    within = [n for n, piece in enumerate(pieces) if LOST + 4 * HOUR <= piece[0][0] < LOST + 5.3 * HOUR]
    kills = sorted(rng.sample(within, KILLS))
    for kill in kills:
        assert run(killed, kill, rng.uniform(0.0, 0.02)) == -signal.SIGKILL
    assert run(killed) == 0

    told, expected = alerts(killed), alerts(calm)
    with closing(sqlite3.connect(killed)) as db:
        again = [json.loads(value)["resent"] for (value,) in db.execute("SELECT value FROM log_candidates").fetchall()]
    mine = [one for one in expected if one["merged_into"] is None and one["key"].startswith("entity:")]
    firing = {kind_of(one): epoch(one["at"]) for one in mine if one["type"] == "alert.firing"}
    over = {kind_of(one): epoch(one["at"]) for one in mine if one["type"] == "alert.resolved"}
    with capsys.disabled():
        print(
            f"\nkills {len(kills)}, candidates said again {sum(again)}, alerts {Counter(kind_of(one) for one in told)}"
        )
    assert {"burst", "flash", "silence"} == firing.keys() == over.keys()
    moments = [pieces[kill][0][0] for kill in kills]
    assert sum(max(firing.values()) < at < min(over.values()) for at in moments) > KILLS // 2, "they were not open"
    assert any(one["merged_into"] for one in expected) and sum(again) > KILLS, "the test proved nothing"
    assert told == expected
    assert len({one["id"] for one in told}) == len(told)
    ours, theirs = state(killed), state(calm)
    assert {table: rows for table, rows in ours.items() if rows != theirs[table]} == {}
    assert (
        ours["state_aggregate_flashes"].keys() | ours["state_aggregate_silences"].keys() and ours["state_notify_sent"]
    )
