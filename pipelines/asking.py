"""How the read model's file is asked: any thread, a connection of its own each, a page at a time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from pipelines.streams.base import StoreTorn
from pipelines.streams.soundness import guarded


class Page(msgspec.Struct, frozen=True):
    """Some entries of a list. ``after``: the place of the last one, where others follow; else None."""

    entries: list[Any]
    after: tuple[Any, ...] | None = None


class LetGo(Exception):
    """What a place in a list led on to is not held any more."""


def page(rows: Sequence[tuple[Any, ...]], limit: int) -> tuple[list[Any], tuple[Any, ...] | None]:
    """Of one row more than ``limit``, as (entry, place…): the entries, and the last one's place if others follow."""
    kept = rows[:limit]
    return [row[0] for row in kept], tuple(kept[-1][1:]) if len(rows) > limit else None


class Asking:
    """The asking side of a file; each thread has a connection of its own. Whoever asks, StoreTorn may be the answer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self.torn: StoreTorn | None = None
        """How the file proved damaged, if it did."""

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def _reader(self) -> sqlite3.Connection:
        reader: sqlite3.Connection | None = getattr(self._local, "db", None)
        if reader is None:
            reader = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=10
            )
            self._local.db = reader
            self._readers.append(reader)
        return reader

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with guarded(self.path):
                yield
        except StoreTorn as error:
            self.torn = self.torn or error
            raise

    def _each(self, sql: str, *values: Any) -> Iterator[Any]:
        """Row after row: more than should be held at once."""
        with self._guarded():
            yield from self._reader().execute(sql, values)

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        return list(self._each(sql, *values))

    def ask(self, sql: str, *values: Any) -> Iterator[Any]:
        """The rows of a question that a module beside this one has, as they are read."""
        return self._each(sql, *values)

    def _held(self, table: str, condition: str, *values: Any) -> bool:
        return bool(self._rows(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1", *values))
