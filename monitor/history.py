"""History from files of any size: its items in the order of their time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pipelines.ingest import EARLIEST
from pipelines.sources.base import LineError, RawItem
from pipelines.sources.files import read_documents
from pipelines.sources.order import in_order
from pipelines.text import day_spread

KEPT = 100
"""Bad lines that are told each."""


class BadLines(msgspec.Struct):
    """Lines of history that could not be read: how many, and the first of them."""

    count: int = 0
    first: list[LineError] = []

    def add(self, error: LineError) -> None:
        self.count += 1
        if len(self.first) < KEPT:
            self.first.append(error)

    def told(self) -> Iterator[str]:
        """A line each for people."""
        yield from (f"{error.file}, line {error.line}: {error.reason}" for error in self.first)
        if self.count > len(self.first):
            yield f"… and {self.count - len(self.first)} lines more that can't be read"


def history(paths: Sequence[Path | str], now: float, bad: BadLines) -> Iterator[RawItem]:
    """The items of all files by ``moment``; the lines that can't be read are noted in ``bad``.

    All are read before the first item is given, so that a file that can't be read costs nothing: raises FileError.
    """
    return in_order(_items(paths, now, bad), moment)


def moment(item: RawItem) -> float:
    """The time at which an item of history counts, in seconds since 1970."""
    if item.at is not None:
        return item.at
    return item.fetched if item.published is None or item.published < EARLIEST else item.published


def _items(paths: Sequence[Path | str], now: float, bad: BadLines) -> Iterator[RawItem]:
    for path in paths:
        for entry in read_documents(path, fetched=now):
            if isinstance(entry, LineError):
                bad.add(entry)
            else:
                yield _spread(entry)


def _spread(item: RawItem) -> RawItem:
    """A date without a time gets one of its day before all are sorted: in chunks sorted by day, half would be late."""
    if item.precision != "day" or item.published is None:
        return item
    day = item.published - item.published % 86_400.0
    published = day + day_spread(item.guid or item.url or item.title)
    return msgspec.structs.replace(item, published=published, precision="second")
