"""The read model's file: its tables, how one of an older version gets them, and what becomes of one that is no use."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import structlog

from pipelines.streams.base import EngineError
from pipelines.streams.soundness import aside, check, is_torn

log = structlog.get_logger(__name__)

_V1 = """
CREATE TABLE place(one INTEGER PRIMARY KEY CHECK (one = 1), offset INTEGER NOT NULL);
INSERT INTO place VALUES (1, 0);
CREATE TABLE documents(
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, at REAL NOT NULL, record TEXT NOT NULL);
CREATE TABLE document_keys(key TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (key, number)) WITHOUT ROWID;
CREATE INDEX document_keys_number ON document_keys(number);
CREATE TABLE series(
    key TEXT NOT NULL, class TEXT NOT NULL, start REAL NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (key, class, start)) WITHOUT ROWID;
CREATE TABLE alerts(
    id TEXT PRIMARY KEY, alert TEXT NOT NULL, type TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL,
    sequence INTEGER NOT NULL, severity TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX alerts_alert ON alerts(alert, sequence);
CREATE INDEX alerts_at ON alerts(at);
CREATE TABLE attempts(
    event TEXT NOT NULL, channel TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (event, channel, number));
CREATE TABLE sources(source TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE moods(key TEXT PRIMARY KEY, at REAL NOT NULL, weight REAL NOT NULL, total REAL NOT NULL);
"""

_V2 = """
DROP TABLE place;
CREATE TABLE place(one INTEGER PRIMARY KEY CHECK (one = 1), position TEXT NOT NULL);
INSERT INTO place VALUES (1, '');
CREATE TABLE deliveries(
    name TEXT PRIMARY KEY, state TEXT NOT NULL, created REAL NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX deliveries_created ON deliveries(created);
CREATE TABLE silences(id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE letters(number INTEGER PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE retried(number INTEGER PRIMARY KEY);
CREATE VIEW waiting_letters AS SELECT number, record FROM letters WHERE number NOT IN (SELECT number FROM retried);
"""
"""The log is read again from its beginning, for the new tables; what is there already is only written anew."""

_V3 = """
CREATE TABLE mood_series(
    key TEXT NOT NULL, start REAL NOT NULL, value REAL NOT NULL, PRIMARY KEY (key, start)) WITHOUT ROWID;
"""
"""What is not in the log any more has no history of its sentiment."""

_V4 = """
ALTER TABLE documents ADD COLUMN backfill INTEGER NOT NULL DEFAULT 0;
UPDATE documents SET backfill = coalesce(json_extract(record, '$.backfill'), 0);
CREATE INDEX documents_tape ON documents(backfill, at DESC);
"""

_V5 = """
CREATE TABLE verdicts(
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, alert TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX verdicts_alert ON verdicts(alert, number);
"""
"""Numbered as they were given: whatever is read again has its place already."""

MIGRATIONS = (_V1, _V2, _V3, _V4, _V5)
"""MIGRATIONS[n] brings a file from version n to n + 1."""

BEGIN_ANEW = (
    "DELETE FROM alerts WHERE type LIKE 'alert.%' "
    "AND alert NOT IN (SELECT alert FROM alerts WHERE type = 'alert.resolved')",
    "DELETE FROM attempts",
    "DELETE FROM deliveries",
    "DELETE FROM silences",
    "DELETE FROM letters",
    "DELETE FROM retried",
    "UPDATE place SET position = ''",
)
"""For a log that is another one than was read: what only that one could settle, or still held, goes."""


class NewerReadModel(Exception):
    """The file was written by a newer version."""


def open_file(path: Path) -> sqlite3.Connection:
    """The file at ``path``, made or brought to this version; one that is torn or newer is set aside for a new one.

    Raises EngineError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(path)
    except NewerReadModel as error:
        return _rebuilt(path, "newer", error)
    except sqlite3.DatabaseError as error:
        if not is_torn(error):
            raise EngineError(f"{path}: can't be opened: {error}") from error
        return _rebuilt(path, "quarantined", error)


def _rebuilt(path: Path, why: str, error: Exception) -> sqlite3.Connection:
    moved = aside(path, why, time.time())
    log.warning("read_model_rebuilt", action="rebuild", path=str(path), why=str(error), aside=str(moved))
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA secure_delete=ON")  # what is let go of is gone from the file, too
        db.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes is read again from the log
        check(db, path)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise NewerReadModel(f"schema {version}, this version knows {len(MIGRATIONS)}")
        for number in range(version, len(MIGRATIONS)):
            db.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
        db.execute("SELECT position FROM place").fetchone()
    except BaseException:  # whatever ends it, no connection may stay
        db.close()
        raise
    return db
