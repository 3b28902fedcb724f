"""The tape in the read model's file: documents in the order in which they are shown, their keys and their words.

A document's number is its place: live ones above history that was backfilled, then by time, then by arrival. Whatever
asks for the latest reads along the numbers, from any place on, and needs no sorting.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from pipelines.documents import ScoredDocument, encode, epoch
from pipelines.scored import ScoredEntity
from pipelines.searching import indexed, story

LIVE = 1 << 61
"""What the numbers of live documents begin with."""
_SAME = 19
"""Bits that tell documents of one millisecond apart."""
_LATEST = (1 << 42) - 1
"""The last millisecond since 1970 that a number holds, in the year 2109."""

KEEP = 200_000
"""Of more, history that was backfilled goes first, then the oldest."""


def place(at: float, *, live: bool) -> int:
    """The first number of a time, in seconds since 1970; for use in SQL as well."""
    return (LIVE if live else 0) + (min(max(0, int(at * 1_000)), _LATEST) << _SAME)


def shown(document: ScoredDocument) -> dict[str, Any]:
    """What is shown of a document."""
    return {
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
        "risk": msgspec.to_builtins(document.risk),
        "entities": [_entity(one) for one in document.entities],
        "backfill": document.backfill,
    }


def _entity(one: ScoredEntity) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "sentiment": one.sentiment.label,
        "basis": one.basis,
        "events": [named.label for named in one.risk.labels] if one.risk is not None else [],
    }


class Tape:
    """The tables ``documents``, ``document_keys`` and ``words``; nothing is durable before its transaction is."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._unheard: set[int] = set()
        self._heard: dict[int, str] = {}
        """Words to be taken out of the index, and those to come in: it writes a part of its own for whatever does not
        come in the order of the numbers."""

    def put(self, document: ScoredDocument, record: dict[str, Any], keys: Iterable[str]) -> bool:
        """Keeps a document; returns whether it is new. A revision whose time is as it was keeps its place."""
        known = self._db.execute("SELECT number FROM documents WHERE id = ?", (document.id,)).fetchone()
        low = place(epoch(document.at), live=not document.backfill)
        high = low + (1 << _SAME)
        number = known[0] if known is not None and low <= known[0] < high else self._free(low, high)
        if known is not None:
            self._take_out(known)
        value = encode(record).decode()
        sentiment = document.sentiment.label if document.sentiment is not None else None
        topic = document.topic.label if document.topic is not None else None
        row = (number, document.id, sentiment, topic, story(record), value)
        self._db.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?)", row)
        self._db.executemany("INSERT OR IGNORE INTO document_keys VALUES (?, ?)", [(key, number) for key in keys])
        self._heard[number] = indexed(record)
        return known is None

    def _free(self, low: int, high: int) -> int:
        asked = "SELECT max(number) FROM documents WHERE number >= ? AND number < ?"
        last = self._db.execute(asked, (low, high)).fetchone()[0]
        return low if last is None else int(last) + 1

    def _take_out(self, numbers: Sequence[int]) -> None:
        for table in ("document_keys", "documents"):
            self._db.executemany(f"DELETE FROM {table} WHERE number = ?", [(number,) for number in numbers])
        for number in numbers:
            if self._heard.pop(number, None) is None:
                self._unheard.add(number)

    def write(self) -> None:
        """Writes the words, inside the transaction that is open."""
        gone = [(number,) for number in sorted(self._unheard)]
        self._db.executemany("DELETE FROM words WHERE rowid = ?", gone)
        self._db.executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", sorted(self._heard.items()))
        self.forget()

    def forget(self) -> None:
        """After a roll-back."""
        self._unheard.clear()
        self._heard.clear()

    def drop(self, condition: str, *values: Any) -> int:
        """Lets go of documents for good, and of their words; returns how many there were."""
        numbers = [number for (number,) in self._db.execute(f"SELECT number FROM documents WHERE {condition}", values)]
        self._take_out(numbers)
        self.write()
        if numbers:
            # Until it is written anew the index only marks what was let go of, and still holds its words.
            self._db.execute("INSERT INTO words(words) VALUES ('optimize')")
        return len(numbers)

    def trim(self, keep: int) -> None:
        """Lets go of what is more than ``keep`` documents, from the end of the tape."""
        count = self._db.execute("SELECT count(*) FROM documents").fetchone()[0]
        if count > keep:
            many = self._db.execute("SELECT number FROM documents ORDER BY number LIMIT ?", (count - keep,))
            self._take_out([number for (number,) in many.fetchall()])
            self.write()
