"""The read model's file: its tables, how one of an older version gets them, and what becomes of one that is no use."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import structlog

from pipelines.searching import indexed, story
from pipelines.streams.base import EngineError
from pipelines.streams.soundness import aside, check, is_torn
from pipelines.tape import place

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

_V6 = """
CREATE TABLE tape(
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, sentiment TEXT, topic TEXT, story INTEGER NOT NULL,
    record TEXT NOT NULL);
INSERT INTO tape SELECT
    place(at, backfill) + row_number() OVER (PARTITION BY place(at, backfill) ORDER BY number) - 1, id,
    json_extract(record, '$.sentiment.label'), json_extract(record, '$.topic.label'), told(record), record
    FROM documents;
CREATE TABLE tape_keys(key TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (key, number)) WITHOUT ROWID;
INSERT INTO tape_keys SELECT key, tape.number FROM document_keys JOIN documents USING (number) JOIN tape USING (id);
DROP TABLE document_keys;
DROP TABLE documents;
ALTER TABLE tape RENAME TO documents;
ALTER TABLE tape_keys RENAME TO document_keys;
CREATE INDEX document_keys_number ON document_keys(number);
CREATE INDEX documents_topic ON documents(topic);
CREATE INDEX documents_sentiment ON documents(sentiment);
CREATE INDEX documents_story ON documents(story);
CREATE VIRTUAL TABLE words USING fts5(text, columnsize = 0, tokenize = 'porter unicode61 remove_diacritics 2');
INSERT INTO words(rowid, text) SELECT number, indexed(record) FROM documents ORDER BY number;
CREATE TABLE heads(
    alert TEXT PRIMARY KEY, id TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, sequence INTEGER NOT NULL,
    severity TEXT NOT NULL, firing INTEGER NOT NULL, merged INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO heads SELECT alert, id, key, at, sequence, severity, type != 'alert.resolved',
    json_extract(record, '$.merged_into') IS NOT NULL
    FROM (SELECT *, row_number() OVER (PARTITION BY alert ORDER BY sequence DESC) AS back FROM alerts
          WHERE type LIKE 'alert.%') WHERE back = 1;
CREATE INDEX heads_at ON heads(at, alert);
CREATE INDEX heads_key ON heads(key, at, alert);
CREATE TABLE latest(
    key TEXT NOT NULL, class TEXT NOT NULL, start REAL NOT NULL, score REAL NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (key, class)) WITHOUT ROWID;
INSERT INTO latest
    SELECT key, class, max(start), json_extract(record, '$.score'), record FROM series GROUP BY key, class;
CREATE INDEX deliveries_state ON deliveries(state, created);
"""
"""Documents are numbered by their place on the tape, and have an index of their words; what is asked for of alerts and
keys at every look stands ready: each alert's latest event, each key's latest block of each class."""

_V7 = """
CREATE TABLE audit(number INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB UNIQUE NOT NULL, record TEXT NOT NULL);
"""
"""From here on: what was ordered before is not told."""

MIGRATIONS = (_V1, _V2, _V3, _V4, _V5, _V6, _V7)
"""MIGRATIONS[n] brings a file from version n to n + 1."""

BEGIN_ANEW = (
    "DELETE FROM alerts WHERE type LIKE 'alert.%' "
    "AND alert NOT IN (SELECT alert FROM alerts WHERE type = 'alert.resolved')",
    "DELETE FROM heads WHERE id NOT IN (SELECT id FROM alerts)",
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
        db.create_function("indexed", 1, lambda record: indexed(json.loads(record)), deterministic=True)
        db.create_function("told", 1, lambda record: story(json.loads(record)), deterministic=True)
        db.create_function("place", 2, lambda at, backfill: place(at, live=not backfill), deterministic=True)
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
