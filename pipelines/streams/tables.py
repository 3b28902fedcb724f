"""Tables of state in SQLite, behind a bounded cache of decoded values."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgspec

V = TypeVar("V")


class CachedTable(Generic[V]):
    """A state table behind a bounded write-back cache of decoded values.

    Changes reach the database with ``flush``, inside the batch's transaction; ``forget`` drops what a failed
    batch may have changed in place.
    """

    def __init__(self, db: sqlite3.Connection, name: str, kind: type[V], capacity: int) -> None:
        self._db = db
        self._sql = name
        self._capacity = capacity
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._cache: OrderedDict[str, V] = OrderedDict()
        self._dirty: dict[str, V | None] = {}
        self._touched: set[str] = set()
        self._absent: set[str] = set()
        """Keys known to have no row: most look-ups of a rare thing find nothing."""
        db.execute(f"CREATE TABLE IF NOT EXISTS {name}(key TEXT PRIMARY KEY, value BLOB NOT NULL)")

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
        row = self._db.execute(f"SELECT value FROM {self._sql} WHERE key = ?", (key,)).fetchone()  # noqa: S608 (a name of ours)
        if row is None:
            if len(self._absent) >= self._capacity:
                self._absent.clear()
            self._absent.add(key)
            return None
        value = self._decode(row[0])
        self._cache[key] = value
        return value

    def put(self, key: str, value: V) -> None:
        self._dirty[key] = value
        self._absent.discard(key)
        self._touched.add(key)

    def delete(self, key: str) -> None:
        self._dirty[key] = None
        self._cache.pop(key, None)

    def items(self, below: str | None = None, limit: int | None = None) -> Iterator[tuple[str, V]]:
        rows = self._db.execute(
            f"SELECT key, value FROM {self._sql} WHERE ?1 IS NULL OR key < ?1 ORDER BY key LIMIT ?2",  # noqa: S608
            (below, -1 if limit is None else limit),
        ).fetchall()
        merged: dict[str, V | None] = {key: self._cache.get(key) or self._decode(blob) for key, blob in rows}
        for key, changed in self._dirty.items():
            if below is None or key < below:
                merged[key] = changed
        for key in sorted(merged)[:limit]:
            value = merged[key]
            if value is not None:
                yield key, value

    def flush(self) -> None:
        if self._dirty:
            gone = [(key,) for key, value in self._dirty.items() if value is None]
            kept = [(key, self._encode(value)) for key, value in self._dirty.items() if value is not None]
            if gone:
                self._db.executemany(f"DELETE FROM {self._sql} WHERE key = ?", gone)  # noqa: S608
            if kept:
                self._db.executemany(f"INSERT OR REPLACE INTO {self._sql} VALUES (?, ?)", kept)  # noqa: S608

    def settle(self) -> None:
        """After the commit: changed values are the cache's again."""
        for key, value in self._dirty.items():
            if value is not None:
                self._cache[key] = value
                self._cache.move_to_end(key)
        self._dirty.clear()
        self._touched.clear()
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)

    def forget(self) -> None:
        """After a roll-back: what was handed out may have been changed in place, so it is read anew."""
        for key in self._touched:
            self._cache.pop(key, None)
        self._touched.clear()
        self._dirty.clear()


class StageState:
    """The tables of one stage."""

    def __init__(self, tables: Mapping[str, CachedTable[Any]]) -> None:
        self._tables = tables
        self.generation = 0

    def table(self, name: str) -> CachedTable[Any]:
        return self._tables[name]
