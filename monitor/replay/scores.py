"""Judgements that are there already: of the daemon's log, or of a replay that came before."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from pipelines.documents import Document, RecordError, ScoredDocument, decode
from pipelines.judgements import Question
from pipelines.score import Known
from pipelines.streams.base import SCORES, WATERMARK, Record


class _Named(msgspec.Struct):
    id: str
    revision: int = 0


class Scores:
    """Judgements by document, in a file without a name that goes with the process."""

    def __init__(self) -> None:
        self.reused = 0
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("CREATE TABLE scores(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def take(self, records: Sequence[Record]) -> None:
        """Keeps the scores among them; of a document's the latest. Raises DecodeError for bytes that are none."""
        rows = [
            (_name(msgspec.json.decode(record.value, type=_Named)), record.value)
            for record in records
            if record.topic == SCORES and record.key != WATERMARK
        ]
        self._db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)

    def known(self, models: Mapping[str, str]) -> Known:
        """The judgement of a document by the model that would judge it now, of the companies that are found in it now.

        ``models``: by language the name of the one that judges it, "" for all others.
        """

        def find(asked: Question) -> ScoredDocument | None:
            row = self._db.execute("SELECT value FROM scores WHERE name = ?", (_name(asked.document),)).fetchone()
            try:
                scored = decode(ScoredDocument, row[0]) if row is not None else None
            except RecordError:
                return None
            if scored is None or not scored.supported:
                return None
            model = models.get(asked.document.language, models[""])
            if scored.model != model or [one.id for one in scored.entities] != [hit.id for hit in asked.hits]:
                return None
            self.reused += 1
            return scored

        return find

    def close(self) -> None:
        self._db.close()


def _name(one: _Named | Document) -> str:
    return f"{one.id} {one.revision}"
