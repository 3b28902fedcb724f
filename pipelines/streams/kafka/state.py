"""The tables of a stage in one partition: rows in the RocksDB of Faust's table, changes as one unit.

Faust assigns the table's changelog with the partition and restores it into RocksDB before the stage sees a record.
Its own way of writing is not used: it puts a row into RocksDB before the changelog has it and sends row by row, so a
crash leaves any mixture of rows behind. Here the changes of a unit, and how far it has come in each input, are
appended to the changelog first, all or none, and then put into RocksDB, all or none, with the changelog's offset. So a
record that is in the state is there wholly, and is known to be: delivered again, it is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from faust.types import TP
from rocksdict import WriteBatch

from pipelines.streams.base import EngineError, Record, Stage
from pipelines.streams.kafka.writer import Row, WriteFailed
from pipelines.streams.tables import CachedTable, StageState

CACHE = 20_000
"""Decoded values kept of each table of a partition."""

APPLIED = "~applied"
"""The table that holds, by topic, the offset of the next record to apply."""

END = b"\xff"
"""Beyond any key in UTF-8."""


class Lost(EngineError):
    """The partition went to another worker while a unit was under way; that one does it again."""


class RocksRows:
    """The rows of one table among those of its partition's RocksDB, told apart by their prefix."""

    def __init__(self, db: Callable[[], Any], table: str) -> None:
        self._db = db
        self.prefix = f"{table}\0".encode()

    def get(self, key: str) -> bytes | None:
        row: bytes | None = self._db().get(self.prefix + key.encode())
        return row

    def range(self, below: str | None, limit: int | None) -> list[tuple[str, bytes]]:
        # UTF-8 sorts as the characters do, so these are the rows in the order of their keys.
        end = self.prefix + (END if below is None else below.encode())
        found: list[tuple[str, bytes]] = []
        rows = self._db().iter()
        rows.seek(self.prefix)
        while rows.valid() and (limit is None or len(found) < limit):
            key: bytes = rows.key()
            if key >= end or not key.startswith(self.prefix):
                break
            found.append((key[len(self.prefix) :].decode(), rows.value()))
            rows.next()
        return found


class PartitionState(StageState):
    """State of ``stage`` in ``partition``, over the store of Faust's ``table``. Used from one thread at a time."""

    def __init__(self, stage: Stage, table: Any, partition: int) -> None:
        self._store = table.data
        self._tp = TP(table.changelog_topic.get_topic_name(), partition)
        self._rows = {name: RocksRows(self._db, name) for name in stage.tables}
        self._applied_rows = RocksRows(self._db, APPLIED)
        self.applied: dict[str, int] = {
            topic: msgspec.msgpack.decode(row, type=int) for topic, row in self._applied_rows.range(None, None)
        }
        """By topic, the offset of the next record to apply."""
        self.end = self.persisted()
        """The changelog's last offset, as far as this state knows."""
        self._doubtful = self.end is None
        """Whether the changelog's next offset may be any."""
        self._cached: dict[str, CachedTable[Any]] = {
            name: CachedTable(self._rows[name], kind, CACHE) for name, kind in stage.tables.items()
        }
        super().__init__(self._cached)

    def _db(self) -> Any:
        """The partition's RocksDB, asked for each time: whoever keeps it keeps its folder locked, also against Faust
        when the partition comes back. Private, and pinned: the store's public access goes through Faust's current
        event and sends row by row."""
        db = self._store._dbs.get(self._tp.partition)
        if db is None:
            raise Lost(f"the rows of partition {self._tp.partition} are gone")
        return db

    def persisted(self) -> int | None:
        """The offset of the changelog up to which RocksDB has it."""
        offset: int | None = self._store.persisted_offset(self._tp)
        return offset

    def is_current(self) -> bool:
        """Whether the rows are as this state left them: another worker may have had the partition in between."""
        return self.persisted() == self.end

    def changes(self, batch: Sequence[Record]) -> list[Row]:
        """What a unit that ends with ``batch`` changes, as rows of the changelog."""
        rows: list[Row] = []
        for name, table in self._cached.items():
            prefix = self._rows[name].prefix
            rows.extend((prefix + key.encode(), value) for key, value in table.changes())
        for topic, offset in _ends(batch).items():
            rows.append((self._applied_rows.prefix + topic.encode(), msgspec.msgpack.encode(offset)))
        return rows

    def settle(self, rows: Sequence[Row], batch: Sequence[Record], offset: int) -> None:
        """Puts a unit's rows, which the changelog has up to ``offset`` (-1: it did not say), into RocksDB.

        Raises WriteFailed where the changelog holds what neither this state wrote nor Faust restored.
        """
        if offset < 0:
            self._doubtful = True
        elif self._doubtful or self.end is None:
            self._doubtful = False
        elif offset != self.end + len(rows):
            raise WriteFailed(f"another worker writes to {self._tp.topic}, partition {self._tp.partition}, as well")
        unit = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                unit.delete(key)
            else:
                unit.put(key, value)
        if offset >= 0:
            unit.put(self._store.offset_key, str(offset).encode())
            self.end = offset
        self._db().write(unit)
        for table in self._cached.values():
            table.settle()
        self.applied.update(_ends(batch))


def _ends(batch: Sequence[Record]) -> Mapping[str, int]:
    ends: dict[str, int] = {}
    for record in batch:
        ends[record.topic] = max(record.offset + 1, ends.get(record.topic, 0))
    return ends
