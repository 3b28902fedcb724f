"""History from files of any size: its items in the order of their time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pipelines.ingest import moment
from pipelines.sources.base import LineError, RawItem
from pipelines.sources.files import read_documents
from pipelines.sources.order import in_order

DAY = 86_400.0

KEPT = 100
"""Bad lines that are told each."""


class BadLines(msgspec.Struct):
    """Lines of history that could not be read: how many, and the first of them. Beside them what was read."""

    count: int = 0
    first: list[LineError] = []
    documents: int = 0
    turned: int = 0
    """Documents that stand behind one of a later time."""
    zoneless: int = 0
    """Documents whose time says not where it holds."""

    def add(self, error: LineError) -> None:
        self.count += 1
        if len(self.first) < KEPT:
            self.first.append(error)

    def told(self) -> Iterator[str]:
        """A line each for people."""
        yield from (f"{error.file}, line {error.line}: {error.reason}" for error in self.first)
        if self.count > len(self.first):
            yield f"… and {self.count - len(self.first)} lines more that can't be read"


def history(paths: Sequence[Path | str], now: float, bad: BadLines, *, source: str) -> Iterator[RawItem]:
    """The items of all files, taken in as ``source``, by the time at which they count; the lines that can't be read are
    noted in ``bad``.

    All are read before the first item is given, so that a file that can't be read costs nothing: raises FileError.
    """
    return in_order(_items(paths, now, bad), lambda item: moment(item, source))


def _items(paths: Sequence[Path | str], now: float, bad: BadLines) -> Iterator[RawItem]:
    for path in paths:
        latest = 0.0
        for entry in read_documents(path, fetched=now):
            if isinstance(entry, LineError):
                bad.add(entry)
                continue
            when = next(time for time in (entry.at, entry.published, entry.fetched) if time is not None)
            bad.documents += 1
            # Of a day without an hour only that can be said which stands behind a later day.
            bad.turned += when < (latest if entry.precision == "second" else latest // DAY * DAY)
            bad.zoneless += not entry.zoned
            latest = max(latest, when)
            yield entry
