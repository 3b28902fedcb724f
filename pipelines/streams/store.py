"""The embedded engine's file: log, state, offsets in one SQLite database in WAL mode.

One connection writes, on one thread. ``synchronous=FULL``: what was acknowledged survives a power cut too; the
stages commit in batches, so that it costs one flush a batch.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from pipelines.streams.base import (
    TOPICS,
    Claim,
    EngineError,
    Output,
    PositionLost,
    Record,
    StoreFails,
    StoreFull,
    StoreLocked,
    Unwritable,
)
from pipelines.streams.soundness import aside, check, guarded, is_torn
from pipelines.streams.tables import CachedTable, SqlRows, StageState

log = structlog.get_logger(__name__)

WHOLE = 16 * 2**20
"""Bytes of a file that is written anew, in about a tenth of a second, when something was let go of."""

NO_ROOM = 2**20
"""Bytes of free room below which an I/O error is one of a full disk: of some writes SQLite does not say which."""


class StoreTooNew(EngineError):
    """The file was written by a newer version."""


def _table(kind: str, name: str) -> str:
    return f"{kind}_{name.replace('-', '_')}"


def _create_v1(db: sqlite3.Connection) -> None:
    for topic in TOPICS:
        db.execute(
            f"CREATE TABLE {_table('log', topic)}"
            "(offset INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL, ts REAL NOT NULL)"
        )
    db.execute("CREATE TABLE offsets(stage TEXT PRIMARY KEY, offset INTEGER NOT NULL)")
    db.execute("CREATE TABLE head(one INTEGER PRIMARY KEY CHECK (one = 1), offset INTEGER NOT NULL)")
    db.execute("INSERT INTO head VALUES (1, 0)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create_v1,)
"""MIGRATIONS[n] brings a file from version n to n + 1, inside a transaction: no ``executescript``, which ends it."""


def version() -> int:
    """The schema version of the files that are written here, kept in ``PRAGMA user_version``."""
    return len(MIGRATIONS)


class Lock:
    """One daemon a store: an advisory lock that the kernel drops with the process."""

    def __init__(self, path: Path, setting: str = "[engine] path") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.resolve()  # by whatever name it is reached, it is one store
        self._path = path.with_name(path.name + ".lock")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreLocked(
                f"{path}: another tapewatch (process {holder}) has this store open; stop it first, or give this "
                f"one a store of its own with {setting}"
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Once or more often."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Store:
    """The file, used from one thread at a time. ``claimed``: the lock on it, if it was taken already."""

    def __init__(
        self, path: Path, *, cache: int = 20_000, now: Callable[[], float], claimed: Claim | None = None
    ) -> None:
        self.path = path
        self._cache = cache
        self._now = now
        self._lock = claimed or Lock(path)
        self._head = 0
        try:
            self._db = self._open()
        except BaseException:  # whatever ends it, the next start must find it free
            self._lock.release()
            raise
        self._states: dict[str, StageState] = {}
        self._all_tables: list[tuple[SqlRows, CachedTable[Any]]] = []

    # -- opening ------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if not is_torn(error):
                raise EngineError(f"{self.path}: can't be opened: {error}") from error
            self._quarantine(str(error))
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # takes effect only before the first table
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA secure_delete=ON")  # what is let go of is gone from the file, too
            db.execute("PRAGMA wal_autocheckpoint=2000")
            db.execute("PRAGMA cache_size=-32000")
            check(db, self.path)
            self._migrate(db)
            self._head = db.execute("SELECT offset FROM head").fetchone()[0]
        except BaseException:  # whatever ends it, no connection may stay
            db.close()
            raise
        return db

    def _quarantine(self, why: str) -> None:
        """Sets a torn file aside. What it held and no feed sends again is lost to this store, and said."""
        moved = aside(self.path, "quarantined", self._now())
        log.error("store_quarantined", action="quarantine", path=str(self.path), aside=str(moved), why=why)

    def _migrate(self, db: sqlite3.Connection) -> None:
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found > version():
            raise StoreTooNew(
                f"{self.path}: written by a newer tapewatch (schema {found}, this one knows {version()}); "
                "upgrade, or give this one another [engine] path"
            )
        for number in range(found, version()):
            db.execute("BEGIN IMMEDIATE")
            try:
                MIGRATIONS[number](db)
                db.execute(f"PRAGMA user_version = {number + 1}")
                db.execute("COMMIT")
            except BaseException:  # whatever ends a step, it is done whole or not at all
                db.execute("ROLLBACK")
                raise

    # -- state --------------------------------------------------------------------------------------------

    def state(self, owner: str, tables: Mapping[str, type[Any]]) -> StageState:
        """The tables of ``owner`` (a stage, or ``ingest``), made where they don't exist."""
        if owner not in self._states:
            made = {}
            for name, kind in tables.items():
                rows = SqlRows(self._db, _table("state", f"{owner}_{name}"))
                made[name] = CachedTable[Any](rows, kind, self._cache)
                self._all_tables.append((rows, made[name]))
            self._states[owner] = StageState(made)
        return self._states[owner]

    # -- the log ------------------------------------------------------------------------------------------

    @property
    def head(self) -> int:
        return self._head

    def read(self, topics: Sequence[str], after: int, limit: int) -> list[Record]:
        """Up to ``limit`` records of ``topics`` beyond ``after``, in the order of the log."""
        return _read(self._db, topics, after, limit)

    def count(self, topics: Sequence[str], after: int) -> int:
        return sum(
            self._db.execute(
                f"SELECT count(*) FROM {_table('log', topic)} WHERE offset > ?",
                (after,),
            ).fetchone()[0]
            for topic in topics
        )

    def oldest_after(self, topics: Sequence[str], after: int) -> float | None:
        """When the oldest record beyond ``after`` was written, or None where there is none."""
        times = []
        for topic in topics:
            row = self._db.execute(
                f"SELECT ts FROM {_table('log', topic)} WHERE offset > ? ORDER BY offset LIMIT 1",
                (after,),
            ).fetchone()
            if row is not None:
                times.append(row[0])
        return min(times, default=None)

    def offset(self, stage: str) -> int:
        row = self._db.execute("SELECT offset FROM offsets WHERE stage = ?", (stage,)).fetchone()
        return 0 if row is None else int(row[0])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """State, outputs and offsets together: all take effect, or none does."""
        unit = Transaction(self._head)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield unit
            self._write(unit)
            self._db.execute("COMMIT")
        except BaseException as error:  # whatever ends a unit, nothing of it stays
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            for state in self._states.values():
                state.forget()
            refused = _refusal(self.path, error) if isinstance(error, sqlite3.OperationalError) else None
            if refused is not None:
                raise refused from error
            raise
        self._head = unit.head
        for _, table in self._all_tables:
            table.settle()

    def _write(self, unit: Transaction) -> None:
        now = self._now()
        by_topic: dict[str, list[tuple[int, str, bytes, float]]] = {}
        for output in unit.outputs:
            unit.head += 1
            by_topic.setdefault(output.topic, []).append((unit.head, output.key, output.value, now))
        for topic, rows in by_topic.items():
            self._db.executemany(f"INSERT INTO {_table('log', topic)} VALUES (?, ?, ?, ?)", rows)
        for stage, offset in unit.offsets.items():
            self._db.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?)", (stage, offset))
        if unit.outputs:
            self._db.execute("UPDATE head SET offset = ?", (unit.head,))
        for home, table in self._all_tables:
            if changes := table.changes():
                home.write(changes)

    def rewrite(self, topic: str, change: Callable[[Record], bytes | None], holding: bytes = b"") -> int:
        """Inside a transaction: what ``change`` says of each record that holds these bytes is its value; None takes the
        record out. Returns how many are not what they were."""
        name, changed = _table("log", topic), 0
        rows = self._db.execute(
            f"SELECT key, value, offset FROM {name} WHERE instr(value, ?)",
            (holding,),
        ).fetchall()
        for key, value, offset in rows:
            after = change(Record(topic, key, value, offset))
            if after is None:
                self._db.execute(f"DELETE FROM {name} WHERE offset = ?", (offset,))
            elif after != value:
                self._db.execute(f"UPDATE {name} SET value = ? WHERE offset = ?", (after, offset))
            changed += after != value
        return changed

    def trim(self, topic: str, before: float, consumed: int, limit: int = 5_000) -> int:
        """Drops up to ``limit`` records written before ``before`` that every reader is past."""
        name = _table("log", topic)
        row = self._db.execute(
            f"SELECT max(offset) FROM (SELECT offset, ts FROM {name} WHERE offset <= ? ORDER BY offset LIMIT ?) "
            "WHERE ts < ?",
            (consumed, limit, before),
        ).fetchone()
        if row[0] is None:
            return 0
        with self.transaction():
            return self._db.execute(f"DELETE FROM {name} WHERE offset <= ?", (row[0],)).rowcount

    def release_pages(self, pages: int = 500) -> None:
        """Gives free pages back to the file system, a few at a time."""
        self._db.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()

    def empty_wal(self, whole: bool = True) -> None:
        """Takes what was let go of out of the write-ahead log as well; not now, if a reader still needs it.

        ``whole``: a file of up to ``WHOLE`` bytes is written anew. Where SQLite splits a page it leaves copies of rows
        in the gap, and ``secure_delete`` knows nothing of them.
        """
        patience = self._db.execute("PRAGMA busy_timeout").fetchone()[0]
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            pages, size = (self._db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "page_size"))
            if whole and pages * size <= WHOLE:
                with contextlib.suppress(sqlite3.OperationalError):  # busy: next time
                    self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {patience}")

    def close(self) -> None:
        self._db.close()
        self._lock.release()


class Transaction:
    """What one unit of work adds to the store."""

    def __init__(self, head: int) -> None:
        self.head = head
        self.outputs: list[Output] = []
        self.offsets: dict[str, int] = {}

    def emit(self, outputs: Iterable[Output]) -> None:
        self.outputs.extend(outputs)

    def advance(self, stage: str, offset: int) -> None:
        self.offsets[stage] = offset


def _refusal(path: Path, error: sqlite3.OperationalError) -> Unwritable | None:
    """What it means that a write failed: no room, or a disk that fails; None where it is neither."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return None
    if code == sqlite3.SQLITE_FULL or shutil.disk_usage(path.parent).free < NO_ROOM:
        return StoreFull(f"{path}: {error}; make room on this disk, work resumes by itself")
    return StoreFails(
        f"{path}: {error} ({error.sqlite_errorname}), with room on the disk: it fails, or a quota or limit is reached; "
        "the system's log says more, work resumes by itself once writing succeeds"
    )


class LogTail:
    """A read-only view of the log for a reader on a thread of its own; a position is an offset in digits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=10)
        self.past = 0
        """The offset up to which the reader needs nothing any more."""
        self.closed = False
        self._known = False
        """Whether the reader's place was seen to be one of this log's."""

    def read(self, topics: Sequence[str], position: str, limit: int) -> tuple[list[Record], str]:
        """Up to ``limit`` records of ``topics`` beyond ``position``, in the order of the log, and where they end."""
        with guarded(self._path):
            return self._read(topics, position, limit)

    def _read(self, topics: Sequence[str], position: str, limit: int) -> tuple[list[Record], str]:
        self.past = int(position or 0)
        if not self._known:
            head = self._db.execute("SELECT offset FROM head").fetchone()[0]
            if self.past > head:
                raise PositionLost(f"the log ends at {head}, before {self.past}: it is another one than was read")
            self._known = True
        records = _read(self._db, topics, self.past, limit)
        return records, str(records[-1].offset) if records else position

    def close(self) -> None:
        self.closed = True
        self._db.close()


def _read(db: sqlite3.Connection, topics: Sequence[str], after: int, limit: int) -> list[Record]:
    found: list[Record] = []
    for topic in topics:
        rows = db.execute(
            f"SELECT key, value, offset FROM {_table('log', topic)} WHERE offset > ? ORDER BY offset LIMIT ?",
            (after, limit),
        )
        found.extend(Record(topic, key, value, offset) for key, value, offset in rows)
    if len(topics) > 1:
        found.sort(key=lambda record: record.offset)
    return found[:limit]
