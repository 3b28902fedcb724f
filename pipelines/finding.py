"""What is asked of the tape: the latest documents, those of a key, those that hold some words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from pipelines.asking import Asking, LetGo, Page, page
from pipelines.searching import match
from pipelines.tape import LIVE, place

_APART = "\x1f"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which documents: all that is given has to fit. Times in seconds since 1970."""

    q: str | None = None
    """Words that title, publisher or companies hold."""
    key: str | None = None
    topic: str | None = None
    sentiment: str | None = None
    since: float | None = None
    until: float | None = None
    folded: bool = False
    """Of those that one day told under the same headline only the latest."""


class Finding(Asking):
    """Questions about documents."""

    def documents(self, key: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The latest documents, of a key or of all, newest first; history that was backfilled after all others."""
        return self.tape(Wanted(key=key), limit).entries

    def tape(self, wanted: Wanted, limit: int, after: int | None = None) -> Page:
        """Documents in the same order, behind place ``after``. Raises LetGo."""
        words = None if wanted.q is None else match(wanted.q)
        rows: list[Any] = []
        if words != "":  # a question without any word finds nothing
            for low, high in _stretches(wanted, after):
                rows += self._stretch(wanted, words, low, high, limit + 1 - len(rows))
        if not rows and after is not None and not self._held("documents", "number = ?", after):
            raise LetGo
        found, last = page([(_told(row), row[1]) for row in rows], limit)
        return Page(found, last)

    def _stretch(self, wanted: Wanted, words: str | None, low: int, high: int, limit: int) -> list[Any]:
        if limit <= 0 or low >= high:
            return []
        order, tables, where, values = "documents.number", "documents", list[str](), list[Any]()
        if words is not None:
            order, tables = "words.rowid", "words CROSS JOIN documents ON documents.number = words.rowid"
            where.append("words MATCH ?")
            values.append(words)
            if wanted.key is not None:
                where.append("EXISTS (SELECT 1 FROM document_keys WHERE key = ? AND number = words.rowid)")
                values.append(wanted.key)
        elif wanted.key is not None:
            order, tables = "document_keys.number", "document_keys CROSS JOIN documents USING (number)"
            where.append("key = ?")
            values.append(wanted.key)
        for column in ("topic", "sentiment"):
            if (value := getattr(wanted, column)) is not None:
                where.append(f"documents.{column} = ?")
                values.append(value)
        if wanted.folded:
            where.append(
                "NOT EXISTS (SELECT 1 FROM documents AS later "
                "WHERE later.story = documents.story AND later.number > documents.number AND later.number < ?)"
            )
            values.append(_stretches(wanted, None)[0][1])
        return self._rows(
            f"SELECT record, documents.number, "
            "(SELECT count(*) FROM documents AS same WHERE same.story = documents.story), "
            f"(SELECT group_concat(key, '{_APART}') FROM document_keys WHERE number = documents.number) "
            f"FROM {tables} WHERE {' AND '.join([*where, f'{order} >= ?', f'{order} < ?'])} "
            f"ORDER BY {order} DESC LIMIT ?",
            *values,
            low,
            high,
            limit,
        )

    def find(self, words: str) -> Iterator[dict[str, Any]]:
        """Documents whose title or address holds ``words``, whatever their case, the latest first."""
        wanted = words.casefold()
        for (record,) in self._each("SELECT record FROM documents ORDER BY number DESC"):
            document = msgspec.json.decode(record)
            if wanted in document["title"].casefold() or wanted in (document["url"] or "").casefold():
                yield document

    def count(self) -> int:
        """Documents held."""
        return int(self._rows("SELECT count(*) FROM documents")[0][0])


def _stretches(wanted: Wanted, after: int | None) -> list[tuple[int, int]]:
    """The numbers of what is live, then of history: from one on, and before another."""
    found = []
    for live in (True, False):
        low = place(wanted.since or 0.0, live=live)
        high = 2 * LIVE if live else LIVE
        if wanted.until is not None:
            high = min(high, place(wanted.until, live=live))
        found.append((low, high if after is None else min(high, after)))
    return found


def _told(row: tuple[Any, ...]) -> dict[str, Any]:
    record, _, copies, keys = row
    return {**msgspec.json.decode(record), "reprints": copies - 1, "keys": keys.split(_APART) if keys else []}
