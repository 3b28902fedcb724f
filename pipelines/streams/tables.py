"""Tables of state behind a bounded cache of decoded values, over whatever keeps the rows."""

from __future__ import annotations

import itertools
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

V = TypeVar("V")

Change = tuple[str, bytes | None]
"""A key and its new row; None where it goes."""


class Rows(Protocol):
    """Where the encoded rows of one table lie."""

    def get(self, key: str) -> bytes | None: ...
    def range(self, below: str | None, limit: int | None) -> list[tuple[str, bytes]]:
        """Rows in the order of their keys, from the smallest up to ``below`` (exclusive)."""
        ...


class SqlRows:
    """Rows in a table of SQLite, made where it does not exist. ``name`` is one of ours, not a stranger's."""

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self._db = db
        self._name = name
        db.execute(f"CREATE TABLE IF NOT EXISTS {name}(key TEXT PRIMARY KEY, value BLOB NOT NULL)")

    def get(self, key: str) -> bytes | None:
        row = self._db.execute(f"SELECT value FROM {self._name} WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def range(self, below: str | None, limit: int | None) -> list[tuple[str, bytes]]:
        return self._db.execute(
            f"SELECT key, value FROM {self._name} WHERE ?1 IS NULL OR key < ?1 ORDER BY key LIMIT ?2",
            (below, -1 if limit is None else limit),
        ).fetchall()

    def write(self, changes: Sequence[Change]) -> None:
        """Makes the changes, inside the transaction that is open."""
        gone = [(key,) for key, row in changes if row is None]
        kept = [(key, row) for key, row in changes if row is not None]
        if gone:
            self._db.executemany(f"DELETE FROM {self._name} WHERE key = ?", gone)
        if kept:
            self._db.executemany(f"INSERT OR REPLACE INTO {self._name} VALUES (?, ?)", kept)


CACHE = 8_000_000
"""Bytes of encoded rows that a table keeps decoded, which take two to four times as much: rows differ too much in size
for a bound on their number alone."""


class CachedTable(Generic[V]):
    """A state table behind a bounded write-back cache of decoded values.

    What was put is handed over with ``changes``; ``settle`` says that it is durable, ``forget`` that it will never
    be, and drops what a failed batch may have changed in place.
    """

    def __init__(self, rows: Rows, kind: type[V], capacity: int) -> None:
        self._rows = rows
        self._capacity = capacity
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._cache: OrderedDict[str, V] = OrderedDict()
        self._sizes: dict[str, int] = {}
        """Of the encoded rows of what is cached or about to be."""
        self._bytes = 0
        self._dirty: dict[str, V | None] = {}
        self._touched: set[str] = set()
        self._absent: set[str] = set()
        """Keys known to have no row: most look-ups of a rare thing find nothing."""

    def get(self, key: str) -> V | None:
        self._touched.add(key)
        if key in self._dirty:
            return self._dirty[key]
        value = self._cache.get(key)
        if value is not None:
            self._cache.move_to_end(key)
            return value
        if key in self._absent:
            return None
        row = self._rows.get(key)
        if row is None:
            if len(self._absent) >= self._capacity:
                self._absent.clear()
            self._absent.add(key)
            return None
        value = self._decode(row)
        self._cache[key] = value
        self._weigh(key, len(row))
        return value

    def put(self, key: str, value: V) -> None:
        self._dirty[key] = value
        self._absent.discard(key)
        self._touched.add(key)

    def delete(self, key: str) -> None:
        self._dirty[key] = None
        self._drop(key)

    def items(self, below: str | None = None, limit: int | None = None) -> Iterator[tuple[str, V]]:
        rows = self._rows.range(below, limit)
        merged: dict[str, V | None] = {key: self._cache.get(key) or self._decode(row) for key, row in rows}
        for key, changed in self._dirty.items():
            if below is None or key < below:
                merged[key] = changed
        for key in sorted(merged)[:limit]:
            value = merged[key]
            if value is not None:
                yield key, value

    def changes(self) -> list[Change]:
        """What was put and deleted since the last ``settle`` or ``forget``, encoded."""
        found: list[Change] = []
        for key, value in self._dirty.items():
            row = None if value is None else self._encode(value)
            if row is not None:
                self._weigh(key, len(row))
            found.append((key, row))
        return found

    def settle(self) -> None:
        """After the commit: changed values are the cache's again."""
        for key, value in self._dirty.items():
            if value is not None:
                self._cache[key] = value
                self._cache.move_to_end(key)
        self._dirty.clear()
        self._touched.clear()
        while len(self._cache) > self._capacity or (self._bytes > CACHE and len(self._cache) > 1):
            self._drop(next(iter(self._cache)))

    def _weigh(self, key: str, size: int) -> None:
        self._bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def _drop(self, key: str) -> None:
        self._cache.pop(key, None)
        self._bytes -= self._sizes.pop(key, 0)

    def forget(self) -> None:
        """After a roll-back: what was handed out may have been changed in place, so it is read anew."""
        for key in self._touched:
            self._drop(key)
        self._touched.clear()
        self._dirty.clear()


_generations = itertools.count()


class StageState:
    """The tables of one stage in one partition."""

    def __init__(self, tables: Mapping[str, CachedTable[Any]]) -> None:
        self._tables = tables
        self.generation = next(_generations)

    def table(self, name: str) -> CachedTable[Any]:
        return self._tables[name]

    def forget(self) -> None:
        """After a roll-back of this state or of what it lies in."""
        for table in self._tables.values():
            table.forget()
        self.generation = next(_generations)
