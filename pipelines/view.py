"""View: one SQLite read model of what page and API show, filled from the log.

It keeps its own place in the log, in the same transaction as what it read: a lost or torn file is filled again from
what the log still holds. Nothing else reads it, and it decides nothing.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
from prometheus_client import Gauge

from alerts.outbox import DeliveryAttempt
from pipelines.documents import (
    AlertRecord,
    RecordError,
    ScoredDocument,
    SeriesPoint,
    SourceRecord,
    decode,
    epoch,
)
from pipelines.streams.base import ALERTS, DELIVERIES, SCORES, SERIES, SOURCES, WATERMARK, Record
from pipelines.watch import Watch

log = structlog.get_logger(__name__)

TOPICS = (SCORES, SERIES, ALERTS, DELIVERIES, SOURCES)

SENTIMENT = Gauge(
    "tapewatch_sentiment_index", "Novelty-weighted mean of p_positive - p_negative, half-life 24 h.", ["key"]
)
STORIES = Gauge("tapewatch_negative_stories", "Bad evidence in a key's current block.", ["key"])
EXPECTED = Gauge("tapewatch_negative_stories_expected", "Bad evidence expected in a key's current block.", ["key"])
SCORE = Gauge("tapewatch_spike_score", "A key's score in nats.", ["key"])
THRESHOLD = Gauge("tapewatch_spike_threshold", "The score at which a key rings.", ["key"])
FIRING = Gauge("tapewatch_alert_firing", "1 while a key's alert is firing.", ["key", "severity"])

VERSION = 1
KEEP_DOCUMENTS = 50_000
KEEP_SERIES = 120 * 86_400.0
KEEP_ALERTS = 10_000
KEEP_ATTEMPTS = 20_000
HALF_LIFE = 86_400.0

_SCHEMA = """
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

Listener = Callable[[str, Any], None]


class ReadModel:
    """The read model's file. One thread applies, any thread asks."""

    def __init__(self, path: Path, watch: Watch, *, listener: Listener | None = None) -> None:
        self.path = path
        self._watch = watch
        self._listener = listener
        self._db = self._open()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self.offset: int = self._db.execute("SELECT offset FROM place").fetchone()[0]
        self._since_trim = 0

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            log.warning("read_model_rebuilt", action="rebuild", path=str(self.path), why=str(error))
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes is read again from the log
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise sqlite3.DatabaseError(f"schema {version}")
            if version == 0:
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            db.execute("SELECT offset FROM place").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def adopt(self, watch: Watch) -> None:
        """Takes over new watch-lists."""
        self._watch = watch

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self._db.close()

    # -- filling ------------------------------------------------------------------------------------------

    def apply(self, records: Sequence[Record]) -> None:
        """Takes in records in the order of the log."""
        if not records:
            return
        news: list[tuple[str, Any]] = []
        self._db.execute("BEGIN")
        try:
            for record in records:
                if record.key == WATERMARK:
                    continue
                try:
                    self._one(record, news)
                except RecordError as error:
                    log.warning("view_skipped", action="skip", topic=record.topic, why=str(error)[:200])
            self._db.execute("UPDATE place SET offset = ?", (records[-1].offset,))
            self._since_trim += len(records)
            if self._since_trim > 5_000:
                self._trim()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk may have rolled it back already
                self._db.execute("ROLLBACK")
            raise
        self.offset = records[-1].offset
        if self._listener is not None:
            for kind, body in news:
                self._listener(kind, body)

    def _one(self, record: Record, news: list[tuple[str, Any]]) -> None:
        if record.topic == SCORES:
            self._document(decode(ScoredDocument, record.value), news)
        elif record.topic == SERIES:
            self._point(decode(SeriesPoint, record.value), record.value, news)
        elif record.topic == ALERTS:
            self._alert(decode(AlertRecord, record.value), record.value, news)
        elif record.topic == SOURCES:
            source = decode(SourceRecord, record.value)
            self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", (source.source, record.value.decode()))
            news.append(("source", json.loads(record.value)))
        else:
            attempt = decode(DeliveryAttempt, record.value)
            self._db.execute(
                "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?)",
                (attempt.event, attempt.channel, attempt.number, attempt.at, record.value.decode()),
            )

    def _document(self, document: ScoredDocument, news: list[tuple[str, Any]]) -> None:
        shown = {
            "id": document.id,
            "revision": document.revision,
            "at": document.at,
            "published": document.published,
            "fetched": document.fetched,
            "source": document.source,
            "class": document.class_,
            "publisher": document.publisher,
            "author": document.author,
            "title": document.title,
            "url": document.url,
            "language": document.language,
            "supported": document.supported,
            "sentiment": msgspec.to_builtins(document.sentiment),
            "topic": msgspec.to_builtins(document.topic),
            "entities": [{"id": one.id, "name": one.name} for one in document.entities],
            "backfill": document.backfill,
        }
        at = epoch(document.at)
        old = self._db.execute("SELECT number FROM documents WHERE id = ?", (document.id,)).fetchone()
        if old is not None:
            self._db.execute("DELETE FROM document_keys WHERE number = ?", old)
            self._db.execute("DELETE FROM documents WHERE number = ?", old)
        number = self._db.execute(
            "INSERT INTO documents(id, at, record) VALUES (?, ?, ?)",
            (document.id, at, json.dumps(shown, ensure_ascii=False)),
        ).lastrowid
        if document.topic is not None:
            matches = self._watch.match(
                [(one.id, one.relevance) for one in document.entities],
                document.topic.label,
                document.topic.probability,
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO document_keys VALUES (?, ?)", [(m.key, number) for m in matches]
            )
            if old is None and document.sentiment is not None:
                mood = document.sentiment.positive - document.sentiment.negative
                for match in matches:
                    self._mood(match.key, at, match.relevance, mood)
        if not document.backfill:
            news.append(("document", shown))

    def _mood(self, key: str, at: float, weight: float, mood: float) -> None:
        row = self._db.execute("SELECT at, weight, total FROM moods WHERE key = ?", (key,)).fetchone()
        before, heft, total = row if row is not None else (at, 0.0, 0.0)
        keep = 0.5 ** (max(0.0, at - before) / HALF_LIFE)
        heft, total = heft * keep + weight, total * keep + weight * mood
        self._db.execute("INSERT OR REPLACE INTO moods VALUES (?, ?, ?, ?)", (key, max(at, before), heft, total))
        if heft > 0:
            SENTIMENT.labels(key).set(total / heft)

    def _point(self, point: SeriesPoint, value: bytes, news: list[tuple[str, Any]]) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)",
            (point.key, point.class_, epoch(point.start), value.decode()),
        )
        if point.backfill:
            return
        STORIES.labels(point.key).set(point.bad)
        EXPECTED.labels(point.key).set(point.expected)
        SCORE.labels(point.key).set(point.score)
        THRESHOLD.labels(point.key).set(point.threshold)
        news.append(("series", json.loads(value)))

    def _alert(self, alert: AlertRecord, value: bytes, news: list[tuple[str, Any]]) -> None:
        body = json.loads(bytes(alert.body))
        sequence = int(body["data"].get("episode", {}).get("sequence", 0))
        known = self._db.execute("SELECT 1 FROM alerts WHERE id = ?", (alert.id,)).fetchone()
        self._db.execute(
            "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                alert.id,
                alert.alert or alert.id,
                alert.type,
                alert.key,
                epoch(alert.at),
                _order(alert.type, sequence),
                alert.severity,
                value.decode(),
            ),
        )
        if alert.type.startswith("alert."):
            for severity in ("info", "warning", "error", "critical"):
                on = alert.type != "alert.resolved" and severity == alert.severity
                FIRING.labels(alert.key, severity).set(on)
        if known is None:
            news.append(("alert", json.loads(value)))

    def _trim(self) -> None:
        self._since_trim = 0
        top = self._db.execute("SELECT max(number) FROM documents").fetchone()[0] or 0
        self._db.execute("DELETE FROM document_keys WHERE number <= ?", (top - KEEP_DOCUMENTS,))
        self._db.execute("DELETE FROM documents WHERE number <= ?", (top - KEEP_DOCUMENTS,))
        newest = self._db.execute("SELECT max(start) FROM series").fetchone()[0] or 0.0
        self._db.execute("DELETE FROM series WHERE start < ?", (newest - KEEP_SERIES,))
        for table, keep in (("alerts", KEEP_ALERTS), ("attempts", KEEP_ATTEMPTS)):
            self._db.execute(
                f"DELETE FROM {table} WHERE rowid IN "  # noqa: S608 (names of ours)
                f"(SELECT rowid FROM {table} ORDER BY at DESC LIMIT -1 OFFSET {keep})"
            )

    # -- asking -------------------------------------------------------------------------------------------

    def _reader(self) -> sqlite3.Connection:
        reader: sqlite3.Connection | None = getattr(self._local, "db", None)
        if reader is None:
            reader = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, check_same_thread=False, timeout=10)
            self._local.db = reader
            self._readers.append(reader)
        return reader

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return self._reader().execute(sql, values).fetchall()

    def documents(self, key: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The latest documents, of a key or of all, newest first."""
        if key is None:
            rows = self._rows("SELECT record FROM documents ORDER BY number DESC LIMIT ?", limit)
        else:
            rows = self._rows(
                "SELECT record FROM documents JOIN document_keys USING (number) WHERE key = ? "
                "ORDER BY number DESC LIMIT ?",
                key,
                limit,
            )
        return [json.loads(row[0]) for row in rows]

    def series(self, key: str, since: float = 0.0, limit: int = 5_000) -> list[dict[str, Any]]:
        """A key's blocks from ``since`` on, oldest first."""
        rows = self._rows(
            "SELECT record FROM (SELECT record, start FROM series WHERE key = ? AND start >= ? "
            "ORDER BY start DESC LIMIT ?) ORDER BY start",
            key,
            since,
            limit,
        )
        return [json.loads(row[0]) for row in rows]

    def alerts(
        self, *, status: str | None = None, key: str | None = None, since: float | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Each alert's latest event, newest first. ``status``: firing (and updated), or resolved."""
        where, values = ["type LIKE 'alert.%'"], list[Any]()
        if key is not None:
            where.append("key = ?")
            values.append(key)
        if since is not None:
            where.append("at >= ?")
            values.append(since)
        latest = (
            "SELECT record, type, at, row_number() OVER (PARTITION BY alert ORDER BY sequence DESC) AS place "
            "FROM alerts WHERE " + " AND ".join(where)  # fixed conditions, bound values
        )
        wanted = {"firing": "AND type != 'alert.resolved'", "resolved": "AND type = 'alert.resolved'"}
        sql = f"SELECT record FROM ({latest}) WHERE place = 1 {wanted.get(status or '', '')} ORDER BY at DESC LIMIT ?"  # noqa: S608
        return [json.loads(row[0]) for row in self._rows(sql, *values, limit)]

    def alert(self, name: str) -> list[dict[str, Any]]:
        """All events of an alert, by the alert's or any of its events' id, oldest first."""
        rows = self._rows(
            "SELECT record FROM alerts WHERE alert = ?1 OR alert = (SELECT alert FROM alerts WHERE id = ?1) "
            "ORDER BY sequence",
            name,
        )
        return [json.loads(row[0]) for row in rows]

    def operations(self, limit: int = 50) -> list[dict[str, Any]]:
        """The latest operational events, newest first."""
        rows = self._rows("SELECT record FROM alerts WHERE type LIKE 'ops.%' ORDER BY at DESC LIMIT ?", limit)
        return [json.loads(row[0]) for row in rows]

    def sources(self) -> list[dict[str, Any]]:
        return [json.loads(row[0]) for row in self._rows("SELECT record FROM sources ORDER BY source")]

    def attempts(self, event: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Delivery attempts, newest first."""
        rows = self._rows(
            "SELECT record FROM attempts WHERE ?1 IS NULL OR event = ?1 ORDER BY at DESC LIMIT ?2", event, limit
        )
        return [json.loads(row[0]) for row in rows]

    def mood(self, key: str) -> float | None:
        """The sentiment index of a key, -1 to 1."""
        rows = self._rows("SELECT weight, total FROM moods WHERE key = ?", key)
        return rows[0][1] / rows[0][0] if rows and rows[0][0] > 0 else None

    def keys(self) -> list[dict[str, Any]]:
        """Every watched key with its latest block, mood and whether it is firing; the busiest first."""
        latest: dict[str, dict[str, Any]] = {}
        rows = self._rows(
            "SELECT key, record FROM series AS s WHERE start = (SELECT max(start) FROM series WHERE key = s.key)"
        )
        for key, record in rows:
            latest[key] = json.loads(record)
        firing = {alert["key"]: alert["severity"] for alert in self.alerts(status="firing", limit=1000)}
        found: list[dict[str, Any]] = []
        for key, watched in self._watch.keys.items():
            point = latest.get(key)
            found.append(
                {
                    "key": key,
                    "name": watched.entities[0].name if len(watched.entities) == 1 else watched.topic or key,
                    "topic": watched.topic,
                    "watchlists": list(watched.watchlists),
                    "firing": firing.get(key),
                    "score": point["score"] if point else 0.0,
                    "threshold": point["threshold"] if point else None,
                    "baseline_span": point["baseline_span"] if point else 0.0,
                    "sentiment_index": self.mood(key),
                    "latest": point,
                }
            )
        found.sort(key=lambda entry: (entry["firing"] is None, -float(entry["score"]), str(entry["key"])))
        return found

    def count(self) -> int:
        """Documents held."""
        return int(self._rows("SELECT count(*) FROM documents")[0][0])


def _order(kind: str, sequence: int) -> int:
    """Events of one alert in their order, whatever came twice."""
    return sequence * 2 + (kind == "alert.resolved")
