"""What a table of state keeps decoded is bounded by its size, and nothing is lost by it."""

import sqlite3

from pipelines.streams import tables
from pipelines.streams.tables import CachedTable, SqlRows


def test_large_rows_leave_the_cache_and_are_read_again() -> None:
    db = sqlite3.connect(":memory:")
    rows = SqlRows(db, "names")
    table = CachedTable(rows, list[str], capacity=20_000)
    value = [f"{number:032x}" for number in range(500)]
    count = 3 * tables.CACHE // (len(value) * 33)
    for number in range(count):
        table.put(f"{number:06d}", [*value, str(number)])
        rows.write(table.changes())
        table.settle()
    assert 10 < len(table._cache) < count // 2
    assert table._bytes <= tables.CACHE
    assert table._sizes.keys() == table._cache.keys()
    assert [table.get(f"{number:06d}") == [*value, str(number)] for number in range(count)] == [True] * count
    table.settle()
    assert table._bytes <= tables.CACHE
    table.delete("000000")
    table.forget()
    assert table.get("000000") is not None
    for number in range(count):
        table.delete(f"{number:06d}")
    rows.write(table.changes())
    table.settle()
    assert (len(table._cache), table._bytes, table._sizes) == (0, 0, {})
