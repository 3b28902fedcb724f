"""The daemon's own log as what is replayed: its documents and what was told of its sources, as they came."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from monitor.engines import log_reader
from monitor.replay.player import Fed
from monitor.replay.scores import Scores
from monitor.settings import Settings, SettingsError
from pipelines.documents import Document, RecordError, SourceRecord, Watermark, decode, epoch
from pipelines.streams.base import DOCUMENTS, SCORES, SOURCES, WATERMARK, Record

AT_ONCE = 2_000
QUIET = {"embedded": 1, "kafka": 4}
"""Reads in a row that find nothing, after which the log is taken for read: a broker may keep one waiting."""

KINDS: Mapping[str, type[Fed]] = {DOCUMENTS: Document, SOURCES: SourceRecord, WATERMARK: Watermark}

Row = tuple[float, str, int, int, str, bytes]


class _Timed(msgspec.Struct):
    at: str


class Log:
    """A copy of the log as it stands, in a file without a name that goes with the process: meanwhile the daemon writes
    on, and lets go of what is old. Documents keep the log's order; those of several partitions come by the clock of
    their partition. Raises SettingsError where there is none.

    ``now``: once it is read up to there, it is read.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        self._now = now
        self.scores = Scores()
        self.documents = self.unreadable = 0
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute(
            "CREATE TABLE fed(clock REAL, place TEXT, partition INTEGER, offset INTEGER, kind TEXT, value BLOB)"
        )
        self._ordered = settings.engine.kind == "embedded"
        self._clocks: dict[tuple[str, int], float] = {}
        self._marks: dict[int, Row] = {}
        """By partition the latest watermark, which counts once a record follows it."""
        self.end = 0.0
        """Up to when the log is complete."""
        self._copy(settings)
        if not self.documents:
            self.close()
            raise SettingsError(
                f"{settings.engine.path if self._ordered else settings.engine.kafka.brokers}: the log holds no "
                "documents; name files of documents"
            )

    def _copy(self, settings: Settings) -> None:
        reader, position, quiet = log_reader(settings), "", 0
        try:
            while quiet < QUIET[settings.engine.kind] and not self._complete(settings):
                records, position = reader.read((DOCUMENTS, SCORES, SOURCES), position, AT_ONCE)
                quiet = 0 if records else quiet + 1
                for record in records:
                    try:
                        self._keep(record)
                    except (RecordError, msgspec.DecodeError):
                        self.unreadable += 1
        finally:
            reader.close()
        self._write(*self._marks.values())

    def _complete(self, settings: Settings) -> bool:
        """Whether every partition of a log that grows on was read up to now."""
        partitions = 1 if self._ordered else settings.engine.kafka.partitions
        return len(self._marks) == partitions and all(mark[0] >= self._now for mark in self._marks.values())

    def _keep(self, record: Record) -> None:
        if record.topic == SCORES:
            self.scores.take([record])
            return
        at = epoch(msgspec.json.decode(record.value, type=_Timed).at)
        # Offsets of the embedded engine count all topics together.
        place = "" if self._ordered else record.topic
        clock = self._clocks[place, record.partition] = max(self._clocks.get((place, record.partition), 0.0), at)
        kind = WATERMARK if record.key == WATERMARK else record.topic
        row = (clock, place, record.partition, record.offset, kind, record.value)
        if kind == WATERMARK:
            self._marks[record.partition] = row
            self.end = max(self.end, at)
            return
        self.documents += kind == DOCUMENTS
        mark = self._marks.pop(record.partition, None)
        self._write(*([mark, row] if mark is not None else [row]))

    def _write(self, *rows: Row) -> None:
        self._db.executemany("INSERT INTO fed VALUES (?, ?, ?, ?, ?, ?)", rows)

    def feed(self, class_: Any, until: float | None, *, history: bool) -> Iterator[Fed]:
        """What a player is fed. ``history``: what was taken in as history may ring too, where the player lets it."""
        rows = self._db.execute("SELECT kind, value FROM fed ORDER BY clock, place, partition, offset")
        for kind, value in rows:
            try:
                entry: Fed = decode(KINDS[kind], value)
            except RecordError:
                self.unreadable += 1
                continue
            if until is not None and epoch(entry.at) > until:
                continue
            if isinstance(entry, Document):
                backfill = entry.backfill and not history
                entry = msgspec.structs.replace(entry, class_=class_ or entry.class_, backfill=backfill)
            yield entry

    def close(self) -> None:
        self.scores.close()
        self._db.close()
