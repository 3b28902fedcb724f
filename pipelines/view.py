"""View: one SQLite read model of what page and API show, filled from the log.

It keeps its own position in the log, in the same transaction as what it read: a lost or torn file is filled again from
what the log still holds. Nothing in it depends on the order between two topics, and it decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from alerts.outbox import DeliveryAttempt, Obligation, apply
from alerts.quotes import Gone, of, older_than, without
from alerts.rules import Silence
from pipelines import audit, judged
from pipelines.answers import Answers
from pipelines.commands import OVER_KEPT, ended, silence_of, verdict_of
from pipelines.documents import (
    AlertRecord,
    Command,
    DeadLetter,
    ScoredDocument,
    SeriesPoint,
    SourceRecord,
    decode,
    encode,
    epoch,
    iso,
)
from pipelines.gauges import KeyGauges
from pipelines.judgements import testimonies
from pipelines.letters import about
from pipelines.moods import Moods
from pipelines.streams.base import (
    ALERTS,
    COMMANDS,
    DEAD_LETTERS,
    DELIVERIES,
    OUTBOX,
    SCORES,
    SERIES,
    SOURCES,
    WATERMARK,
    Record,
)
from pipelines.tape import KEEP as KEEP_DOCUMENTS
from pipelines.tape import Tape, shown
from pipelines.view_file import BEGIN_ANEW, open_file
from pipelines.watch import Watch

log = structlog.get_logger(__name__)

TOPICS = (SCORES, SERIES, ALERTS, OUTBOX, DELIVERIES, COMMANDS, DEAD_LETTERS, SOURCES)

KEEP_SERIES = 120 * 86_400.0
KEEP_ALERTS = 10_000
KEEP_ATTEMPTS = 20_000
KEEP_SETTLED = 20_000
KEEP_LETTERS = 10_000
"""Of more dead letters only the latest can be listed and retried here; the log keeps them all."""


Listener = Callable[[list[tuple[str, Any]]], None]
"""Told what is new after each commit: (kind, body) in the order of the log."""


class ReadModel(Answers):
    """The read model's file. One thread applies, any thread asks. All of it raises StoreTorn."""

    def __init__(self, path: Path, watch: Watch) -> None:
        super().__init__(path, watch)
        self.listener: Listener | None = None
        self._db = open_file(path)
        self.position: str = self._rows("SELECT position FROM place")[0][0]
        """Up to where the log was read, as its reader says it."""
        self.changes = 0
        """Counts what changed an answer since this process opened the file."""
        self._since_trim = 0
        self._gauges = KeyGauges(watch)
        self._moods = Moods(self._db, self._gauges)
        self._tape = Tape(self._db)
        self._fillers: dict[str, Callable[[Record, list[tuple[str, Any]]], None]] = {
            SCORES: self._document,
            SERIES: self._point,
            ALERTS: self._alert,
            OUTBOX: self._owed,
            DELIVERIES: self._attempt,
            COMMANDS: self._command,
            DEAD_LETTERS: self._letter,
            SOURCES: self._source,
        }
        self._show()

    def adopt(self, watch: Watch) -> None:
        super().adopt(watch)
        self._gauges.adopt(watch)

    def _show(self) -> None:
        """Sets the gauges as they stood when the last daemon stopped: what is quiet would else show nothing."""
        for key in self._watch.keys:
            for point in self.latest(key):
                self._gauges.point(point)
            if (index := self.mood(key)) is not None:
                self._gauges.mood(key, index)
        for alert in reversed(self.alerts(limit=KEEP_ALERTS, merged=True)):
            over = alert["type"] == "alert.resolved"
            self._gauges.alert(alert["key"], None if over else alert["severity"])

    def close(self) -> None:
        super().close()
        self._db.close()

    # -- filling ------------------------------------------------------------------------------------------

    def apply(self, records: Sequence[Record], position: str) -> None:
        """Takes in records, each topic's in its order, after which the log stands at ``position``."""
        if position == self.position:
            return
        news: list[tuple[str, Any]] = []
        try:
            with self._transaction():
                for record in records:
                    self._one(record, news)
                self._moods.write()
                self._tape.write()
                self._db.execute("UPDATE place SET position = ?", (position,))
                self._since_trim += len(records)
                if self._since_trim > 5_000:
                    self._trim()
        except BaseException:  # whatever ends it, memory must not know more than the file
            self._moods.forget()
            self._tape.forget()
            raise
        self.position = position
        if any(record.key != WATERMARK for record in records):
            self.changes += 1
        if self.listener is not None and news:
            self.listener(news)

    def begin_anew(self) -> None:
        """For a log that is another one than was read: what only that one could settle or still held goes, what it
        told (documents, series, alerts that are over) stays."""
        with self._transaction():
            for statement in BEGIN_ANEW:
                self._db.execute(statement)
        self.position = ""

    def _one(self, record: Record, news: list[tuple[str, Any]]) -> None:
        if record.key == WATERMARK and record.topic != DEAD_LETTERS:
            return
        try:
            self._fillers[record.topic](record, news)
        except ValueError as error:  # a record that is none, or a time in it
            log.warning("view_skipped", action="skip", topic=record.topic, why=str(error)[:200])

    def _document(self, record: Record, news: list[tuple[str, Any]]) -> None:
        document = decode(ScoredDocument, record.value)
        matches = (
            self._watch.match(
                [(one.id, one.relevance) for one in document.entities],
                document.topic.label,
                document.topic.probability,
            )
            if document.topic is not None
            else ()
        )
        told = shown(document)
        if self._tape.put(document, told, [match.key for match in matches]) and document.sentiment is not None:
            for match in matches:
                said = [one.sentiment for one in testimonies(document, match.entities)]
                mood = sum(one.positive - one.negative for one in said) / len(said)
                self._moods.add(match.key, epoch(document.at), match.relevance, mood)
        if not document.backfill:
            news.append(("document", told | {"keys": [match.key for match in matches]}))

    def _point(self, record: Record, news: list[tuple[str, Any]]) -> None:
        point = decode(SeriesPoint, record.value)
        self._db.execute(
            "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)",
            (point.key, point.class_, epoch(point.start), record.value.decode()),
        )
        self._db.execute(
            "INSERT INTO latest VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "start = excluded.start, score = excluded.score, record = excluded.record "
            "WHERE excluded.start >= latest.start",
            (point.key, point.class_, epoch(point.start), point.score, record.value.decode()),
        )
        if point.backfill:
            return
        self._gauges.point(point)
        news.append(("series", json.loads(record.value)))

    def _alert(self, record: Record, news: list[tuple[str, Any]]) -> None:
        alert = decode(AlertRecord, record.value)
        body = json.loads(bytes(alert.body))
        sequence = int(body["data"].get("episode", {}).get("sequence", 0))
        known = self._db.execute(
            "SELECT json_extract(record, '$.merged_into') FROM alerts WHERE id = ?", (alert.id,)
        ).fetchone()
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
                record.value.decode(),
            ),
        )
        self._head(alert, _order(alert.type, sequence))
        if alert.type.startswith("alert.") and body["data"].get("reason") != "merged":  # then it burns on in another
            self._gauges.alert(alert.key, None if alert.type == "alert.resolved" else alert.severity)
        if known is None or (known[0] is not None and alert.merged_into is None):
            news.append(("alert", json.loads(record.value)))

    def _head(self, alert: AlertRecord, order: int) -> None:
        """An alert as its latest event has it."""
        if not alert.type.startswith("alert."):
            return
        firing, merged = alert.type != "alert.resolved", alert.merged_into is not None
        name = alert.alert or alert.id
        self._db.execute(
            "INSERT INTO heads VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET id = excluded.id, "
            "at = excluded.at, sequence = excluded.sequence, severity = excluded.severity, "
            "firing = excluded.firing, merged = excluded.merged WHERE excluded.sequence >= heads.sequence",
            (name, alert.id, alert.key, epoch(alert.at), order, alert.severity, firing, merged),
        )

    def _source(self, record: Record, news: list[tuple[str, Any]]) -> None:
        source = decode(SourceRecord, record.value)
        self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", (source.source, record.value.decode()))
        news.append(("source", json.loads(record.value)))

    # -- what operators ask -------------------------------------------------------------------------------

    def _owed(self, record: Record, _: list[tuple[str, Any]]) -> None:
        """An obligation as notify wrote it, with the attempts that were read before it."""
        owed = decode(Obligation, record.value)
        rows = self._db.execute(
            "SELECT record FROM attempts WHERE event = ? AND channel = ? AND number > ? ORDER BY number",
            (owed.event, owed.channel, owed.attempts),
        ).fetchall()
        for (attempt,) in rows:
            owed = apply(owed, decode(DeliveryAttempt, attempt.encode()))
        self._keep(owed)

    def _attempt(self, record: Record, _: list[tuple[str, Any]]) -> None:
        attempt = decode(DeliveryAttempt, record.value)
        self._db.execute(
            "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?)",
            (attempt.event, attempt.channel, attempt.number, attempt.at, record.value.decode()),
        )
        name = f"{attempt.event}|{attempt.channel}"
        known = self._db.execute("SELECT record FROM deliveries WHERE name = ?", (name,)).fetchone()
        if known is not None:
            self._keep(apply(decode(Obligation, known[0].encode()), attempt))

    def _keep(self, owed: Obligation) -> None:
        shown = encode(msgspec.structs.replace(owed, body=b"")).decode()
        self._db.execute(
            "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?)", (owed.key, owed.state, owed.created, shown)
        )

    def _command(self, record: Record, _: list[tuple[str, Any]]) -> None:
        command = decode(Command, record.value)
        audit.take(self._db, command)
        if command.kind == "silence":
            self._hush(silence_of(command))
        elif command.kind == "expire_silence":
            known = self._db.execute("SELECT record FROM silences WHERE id = ?", (command.subject,)).fetchone()
            if known is not None:
                self._hush(ended(decode(Silence, known[0].encode()), epoch(command.at)))
        elif command.kind == "retry_dead_letter":
            self._db.execute("INSERT OR IGNORE INTO retried VALUES (?)", (int(command.subject),))
        elif command.kind == "feedback":
            judged.take(self._db, verdict_of(command))

    def _hush(self, silence: Silence) -> None:
        self._db.execute("INSERT OR REPLACE INTO silences VALUES (?, ?)", (silence.id, encode(silence).decode()))

    def _letter(self, record: Record, _: list[tuple[str, Any]]) -> None:
        decode(DeadLetter, record.value)
        self._db.execute("INSERT OR REPLACE INTO letters VALUES (?, ?)", (record.offset, record.value.decode()))

    def forget_over(self, now: float) -> None:
        """Lets go of silences that ended, and of dead letters that were retried, long before ``now``, in seconds since
        1970; and of retries whose dead letter is gone, which no other can take the number of."""
        before = now - OVER_KEPT
        self.changes += 1
        with self._transaction():
            self._db.execute("DELETE FROM silences WHERE json_extract(record, '$.expires') < ?", (before,))
            self._db.execute(
                "DELETE FROM letters WHERE json_extract(record, '$.at') < ? AND number IN (SELECT number FROM retried)",
                (iso(before),),
            )
            # A retry may have been read ahead of its letter; one of an earlier number won't come any more.
            self._db.execute(
                "DELETE FROM retried WHERE number NOT IN (SELECT number FROM letters) "
                "AND number < (SELECT max(number) FROM letters)"
            )

    def shed(self, before: float) -> None:
        """Lets go of texts that were taken in before ``before``, in seconds since 1970; alerts lose what they quote."""
        limit = iso(before)
        self.changes += 1
        with self._transaction():
            self._tape.drop("json_extract(record, '$.fetched') < ?", limit)
            self._db.execute("DELETE FROM letters WHERE json_extract(record, '$.at') < ?", (limit,))
            self._unquote(older_than(before))
            judged.forget_notes(self._db, lambda verdict: verdict.at < limit)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def forget(self, documents: Collection[str]) -> int:
        """Takes single documents out; returns how many were there."""
        taken = 0
        with self._transaction():
            for name in documents:
                taken += self._tape.drop("id = ?", name)
            for number, record in self._db.execute("SELECT number, record FROM letters").fetchall():
                if about(decode(DeadLetter, record.encode()), documents):
                    self._db.execute("DELETE FROM letters WHERE number = ?", (number,))
            self._unquote(of(documents))
            judged.forget_notes(self._db, lambda verdict: not set(documents).isdisjoint(verdict.figures.quoted))
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return taken

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guarded():
            self._db.execute("BEGIN")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # a full disk may have rolled it back already
                    self._db.execute("ROLLBACK")

    def _unquote(self, gone: Gone) -> None:
        for name, record in self._db.execute("SELECT id, record FROM alerts").fetchall():
            alert = decode(AlertRecord, record.encode())
            body = without(bytes(alert.body), gone)
            if body is not None:
                changed = encode(msgspec.structs.replace(alert, body=msgspec.Raw(body))).decode()
                self._db.execute("UPDATE alerts SET record = ? WHERE id = ?", (changed, name))

    def _trim(self) -> None:
        self._since_trim = 0
        self._tape.trim(KEEP_DOCUMENTS)
        audit.trim(self._db)
        newest = self._db.execute("SELECT max(start) FROM series").fetchone()[0] or 0.0
        for table in ("series", "latest", "mood_series"):
            self._db.execute(f"DELETE FROM {table} WHERE start < ?", (newest - KEEP_SERIES,))
        for table, keep in (("alerts", KEEP_ALERTS), ("attempts", KEEP_ATTEMPTS)):
            self._db.execute(
                f"DELETE FROM {table} WHERE rowid IN "
                f"(SELECT rowid FROM {table} ORDER BY at DESC LIMIT -1 OFFSET {keep})"
            )
        self._db.execute("DELETE FROM heads WHERE id NOT IN (SELECT id FROM alerts)")
        self._db.execute(
            "DELETE FROM deliveries WHERE name IN (SELECT name FROM deliveries "
            "WHERE state NOT IN ('pending', 'standing') ORDER BY created DESC LIMIT -1 OFFSET ?)",
            (KEEP_SETTLED,),
        )
        self._db.execute(
            "DELETE FROM letters WHERE number IN (SELECT number FROM letters ORDER BY number DESC LIMIT -1 OFFSET ?)",
            (KEEP_LETTERS,),
        )


def _order(kind: str, sequence: int) -> int:
    """Events of one alert in their order, whatever came twice; one that rings late follows what it was last."""
    return sequence * 2 + (kind in ("alert.firing", "alert.resolved") and sequence > 0)
