"""A store of an older layout goes through a step of migration whole, or not at all.

No version of the store's layout but the first is out yet, so the older layout and the step are this file's: the golden
store's log without times and its ids seen as JSON, and a step that brings both to what today's code reads.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pipelines.clock import ManualClock
from pipelines.streams import backup, store
from pipelines.streams.base import DOCUMENTS, EngineError
from pipelines.streams.embedded import EmbeddedEngine
from pipelines.streams.store import Store, StoreTooNew
from tests.contract.test_upgrade import EXPECTED, count, goes_on, unpacked
from tests.golden.make import STORE

ROOT = Path(__file__).parents[2]
SEEN = "state_ingest_seen"


def rows(db: sqlite3.Connection) -> list[tuple[str, bytes]]:
    return db.execute(f"SELECT key, value FROM {SEEN} ORDER BY key").fetchall()


def older(path: Path) -> Path:
    """The golden store as the layout before would have had it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("ALTER TABLE log_documents DROP COLUMN ts")
        for key, value in rows(db):
            plain = json.dumps(msgspec.msgpack.decode(value))
            db.execute(f"UPDATE {SEEN} SET value = ? WHERE key = ?", (plain.encode(), key))
    return path


def step(db: sqlite3.Connection, at: Callable[[int], None] = lambda changed: None) -> None:
    """To the layout of today; ``at`` is told of every row that was changed."""
    db.execute("PRAGMA cache_size = 1")  # half a step is in the file's write-ahead log, not only in memory
    db.execute("ALTER TABLE log_documents ADD COLUMN ts REAL NOT NULL DEFAULT 0")
    db.execute("UPDATE log_documents SET ts = ?", (EXPECTED["now"],))
    for changed, (key, value) in enumerate(rows(db), 1):
        row = msgspec.msgpack.encode(json.loads(value))
        db.execute(f"UPDATE {SEEN} SET value = ? WHERE key = ?", (row, key))
        at(changed)


def killed(path: Path, at: int) -> None:
    """Opens the store with the step, and kills this process at its row ``at``."""

    def die(changed: int) -> None:
        if changed == at:
            print(f"{changed} rows, {path.with_name(path.name + '-wal').stat().st_size} bytes", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    store.MIGRATIONS = (*store.MIGRATIONS, lambda db: step(db, die))
    Store(path, now=lambda: EXPECTED["now"])


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[sqlite3.Connection], None]], None]:
    """Makes this the version that has one more step."""
    before = store.MIGRATIONS
    return lambda migration: monkeypatch.setattr(store, "MIGRATIONS", (*before, migration))


def content(path: Path) -> tuple[int, list[str]]:
    """Version, layout and every row."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0], list(db.iterdump())


def opened(path: Path) -> None:
    Store(path, now=lambda: EXPECTED["now"]).close()


async def test_a_store_of_the_layout_before_is_migrated_and_goes_on(
    tmp_path: Path, newer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    path = unpacked(tmp_path, STORE)
    with closing(sqlite3.connect(path)) as db:
        golden = rows(db)
    older(path)
    changed: list[int] = []
    newer(lambda db: step(db, changed.append))
    clock = ManualClock(EXPECTED["now"])
    engine = EmbeddedEngine(path, clock=clock)
    assert changed == list(range(1, len(golden) + 1)) and len(golden) > 20
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert rows(db) == golden
    documents = await count(engine, DOCUMENTS)
    await goes_on(engine, clock)
    opened(path)
    assert changed[-1] == len(changed) == len(golden), "the step was made again"
    with capsys.disabled():
        print(f"\nmigrated {len(golden)} rows of ids seen and {documents} documents; the store went on")


def test_a_step_that_fails_in_the_middle_changes_nothing(
    tmp_path: Path, newer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    path = older(unpacked(tmp_path, STORE))
    before, failed = content(path), []

    def break_off(changed: int) -> None:
        if changed == 11:
            failed.append(changed)
            raise ValueError("a row that nobody thought of")

    newer(lambda db: step(db, break_off))
    for _ in range(2):
        with pytest.raises(ValueError, match="nobody thought of"):
            opened(path)
        assert content(path) == before and before[0] == 1
    newer(step)
    opened(path)
    assert content(path)[0] == 2
    with capsys.disabled():
        print(f"\nbroken off {len(failed)} times after {failed[0]} rows: each time as before; then migrated")


def test_a_kill_in_the_middle_of_a_step_changes_nothing(
    tmp_path: Path, newer: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    path = older(unpacked(tmp_path, STORE))
    before, told = content(path), []
    for at in (1, 17):
        script = f"from pathlib import Path; from tests.contract.test_migration import killed; killed(Path({str(path)!r}), {at})"
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert done.stdout.startswith(f"{at} rows, ") and not done.stdout.endswith(" 0 bytes\n"), done.stdout
        told.append(done.stdout.strip())
        opened(path)  # as the version before would after a roll-back
        assert content(path) == before and before[0] == 1
    newer(step)
    opened(path)
    assert content(path)[0] == 2
    with capsys.disabled():
        print(f"\nkilled with {' and '.join(told)} in the write-ahead log: each time as before; then migrated")


def test_after_the_migration_the_version_before_refuses_and_takes_its_backup(
    tmp_path: Path, newer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, view = older(unpacked(tmp_path, STORE)), tmp_path / "view"
    before = content(path)
    backup.take(path, view, tmp_path / "kept", tapewatch="1", now=EXPECTED["now"])
    newer(step)
    opened(path)
    backup.take(path, view, tmp_path / "later", tapewatch="2", now=EXPECTED["now"])
    migrated = content(path)
    assert migrated[0] == 2
    monkeypatch.undo()
    with pytest.raises(StoreTooNew, match="schema 2, this one knows 1"):
        opened(path)
    with pytest.raises(EngineError, match="newer tapewatch"):
        backup.restore(tmp_path / "later", path, view, now=EXPECTED["now"])
    assert content(path) == migrated, "the refused file was touched"
    backup.restore(tmp_path / "kept", path, view, now=EXPECTED["now"])
    opened(path)
    assert content(path) == before
