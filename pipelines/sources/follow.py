"""Files that grow and folders into which files are put."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import structlog

from pipelines.sources.base import Batch, LineError, RawItem, SourceClass, SourceState, SourceStatus, Tools
from pipelines.sources.files import FileError, json_lines, read_documents
from pipelines.sources.lines import Growth, line_of
from pipelines.sources.order import chunks

log = structlog.get_logger(__name__)

CHUNK = 500
"""Items of one batch."""

CHUNK_BYTES = 8 * 2**20
"""Bytes of lines after which a batch ends before it has its items."""

MARK = 256
"""Bytes before a place that tell whether a file is still the one that was read to there."""

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")
SETTLED = 60.0
"""Seconds without a change after which a table whose last row no line break ended counts as finished: many programs
write none there."""

GROWING = (".jsonl", ".ndjson", ".json")
"""Files of these are read on from their last line; the others whole, when they changed."""


class FileOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file source's settings: one file, or every matching file of a folder."""

    name: str
    path: str
    follow: bool = True
    """Go on reading what is added, as ``tail -F`` does; without it the file is read once."""
    interval: float = 1.0
    publisher: str | None = None
    class_: SourceClass = "news"
    timezone: str | None = None


class Place(msgspec.Struct, array_like=True):
    """How far a file was read: its inode, bytes, lines, and a hash of the last bytes that were read.

    Inodes are given again, and a file may be cut and grow beyond where it was: the hash tells. ``size`` and
    ``changed`` are the file's when its end was reached.
    """

    inode: int
    offset: int
    lines: int = 0
    mark: bytes = b""
    size: int = -1
    changed: int = 0


class FileSource:
    """A file that grows, or a folder into which files are put."""

    kind = "file"

    def __init__(self, options: FileOptions, tools: Tools) -> None:
        self.name = options.name
        self.class_: SourceClass = options.class_
        self.publisher = options.publisher
        self.interval = options.interval
        self._options = options
        self._clock = tools.clock
        self._places: dict[str, Place] = {}
        self._failed: dict[str, tuple[int, int, int]] = {}
        """Files that could not be read, as they were then: tried again when they change."""
        self._open: dict[str, tuple[tuple[int, int, int], float]] = {}
        """Tables whose last row waits for its end: as they were, and since when."""
        self._troubles: dict[str, str] = {}
        self._down = False
        self._streak = 0
        self._last_success: float | None = None
        self._last_new: float | None = None
        self._items = 0
        self._ended = False

    @property
    def status(self) -> SourceStatus:
        state: SourceState = "down" if self._down else "stopped" if self._ended else "up"
        reason = next(iter(self._troubles.values()), None)
        if len(self._troubles) > 1:
            reason = f"{reason} (and {len(self._troubles) - 1} more)"
        return SourceStatus(
            source=self.name,
            class_=self.class_,
            state=state,
            at=self._clock.time(),
            last_success=self._last_success,
            last_new=self._last_new,
            interval=self.interval,
            streak=self._streak,
            reason=reason,
            items_total=self._items,
        )

    def report(self, new: int) -> None:
        self._items += new
        if new:
            self._last_new = self._clock.time()

    async def batches(self, cursor: bytes | None) -> AsyncIterator[Batch]:
        self._restore(cursor)
        self.status.measure()
        saved = self._saved()
        while True:
            before, found, troubles = self._last_success, False, dict[str, str]()
            paths = self._paths(troubles)
            for path in paths:
                try:
                    async for items, errors in self._read(path):
                        found, saved = True, self._saved()
                        yield Batch(items=items, errors=errors, cursor=saved, previous_success=before)
                except (OSError, FileError) as error:
                    troubles[str(path)] = f"{error}"[:200]
            self._judge(len(paths), troubles)
            if not found:
                fresh = self._saved()
                yield Batch(cursor=fresh if fresh != saved else None, previous_success=before)
                saved = fresh
            self.status.measure()
            if not self._options.follow and not self._troubles:
                self._ended = True
                return
            await self._clock.sleep(self.interval)

    def _judge(self, paths: int, troubles: dict[str, str]) -> None:
        """Down where nothing could be read; a bad file among good ones is named, and the others go in."""
        for path, reason in troubles.items():
            if self._troubles.get(path) != reason:
                log.warning("file_unreadable", action="retry", source=self.name, reason=reason)
        self._troubles, self._down = troubles, bool(troubles) and len(troubles) >= paths
        self._streak = self._streak + 1 if self._down else 0
        if not self._down:
            self._last_success = self._clock.time()

    def _restore(self, cursor: bytes | None) -> None:
        if cursor is None:
            return
        try:
            self._places = msgspec.msgpack.decode(cursor, type=dict[str, Place])
        except msgspec.DecodeError:
            log.warning("cursor_unreadable", action="start_anew", source=self.name)

    def _saved(self) -> bytes:
        return msgspec.msgpack.encode(self._places)

    def _paths(self, troubles: dict[str, str]) -> list[Path]:
        path = Path(self._options.path)
        try:
            if path.is_dir():
                found = sorted(p for p in path.iterdir() if _readable(p) and p.is_file())
                here = {str(p) for p in found}
                self._places = {name: place for name, place in self._places.items() if name in here}
                return found
            path.stat()
        except FileNotFoundError:
            troubles[str(path)] = f"{path}: not found"
        except OSError as error:
            troubles[str(path)] = f"{error}"[:200]
        return [] if troubles else [path]

    async def _read(self, path: Path) -> AsyncIterator[tuple[list[RawItem], list[LineError]]]:
        place, status = self._places.get(str(path)), path.stat()  # noqa: ASYNC240 (microseconds)
        seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        if place is not None and (place.inode, place.size, place.changed) == seen:
            return
        if path.name.endswith(GROWING):
            async for chunk in self._grown(path, place, status):
                yield chunk
        else:
            if self._failed.get(str(path)) == seen:
                raise FileError(self._troubles[str(path)])
            async for chunk in self._whole(path, seen):
                yield chunk
            if str(path) in self._open:
                return  # no place is kept: after a stop it is read again
            self._places[str(path)] = Place(status.st_ino, status.st_size)
        place = self._places[str(path)]
        if place.inode == status.st_ino:
            place.size, place.changed = status.st_size, status.st_mtime_ns

    async def _whole(
        self, path: Path, seen: tuple[int, int, int]
    ) -> AsyncIterator[tuple[list[RawItem], list[LineError]]]:
        name, now, zone = str(path), self._clock.time(), self._options.timezone
        last, since = self._open.get(name, (seen, now))
        settled = last == seen and now - since >= SETTLED
        if name in self._open and last == seen and not settled:
            return
        growth = None if settled or not self._options.follow else Growth()
        parts = chunks(read_documents(path, fetched=now, timezone=zone, growth=growth), CHUNK, CHUNK_BYTES)
        try:
            while part := await asyncio.to_thread(next, parts, None):
                yield (
                    [entry for entry in part if isinstance(entry, RawItem)],
                    [entry for entry in part if isinstance(entry, LineError)],
                )
        except FileError:
            self._failed[name] = seen
            raise
        self._failed.pop(name, None)
        self._open.pop(name, None)
        if growth is not None and growth.unfinished:
            self._open[name] = (seen, now)

    async def _grown(
        self, path: Path, place: Place | None, status: os.stat_result
    ) -> AsyncIterator[tuple[list[RawItem], list[LineError]]]:
        """What was added; before a new file of the same name, the rest of the one that was there."""
        if place is not None and not (place.inode == status.st_ino and _continues(path, place)):
            rotated = self._rotated(path, place)
            if rotated is not None:
                # Its last line may still be written until there is something in its successor.
                async for chunk in self._tail(rotated, place, final=status.st_size > 0):
                    yield chunk
                if not status.st_size:
                    return
            if rotated is None and place.mark and _continues(path, place):
                place.inode = status.st_ino  # written anew with what was there at its start
            else:
                log.info("file_replaced", action="start_anew", source=self.name, path=str(path))
                place = None
        if place is None:
            place = self._places[str(path)] = Place(status.st_ino, 0)
        async for chunk in self._tail(path, place, final=not self._options.follow):
            yield chunk

    def _rotated(self, path: Path, place: Place) -> Path | None:
        """Where the file that was read went: it was renamed, or copied before it was cut."""
        for other in sorted(path.parent.iterdir()):
            if other == path or (Path(self._options.path) != path and _readable(other)):
                continue
            same = other.is_file() and other.stat().st_ino == place.inode
            copied = bool(place.offset and other.name.startswith(path.name))
            if (same or copied) and other.suffix != ".gz" and _continues(other, place):
                return other
        return None

    async def _tail(
        self, path: Path, place: Place, *, final: bool
    ) -> AsyncIterator[tuple[list[RawItem], list[LineError]]]:
        """Whole lines beyond the place; the last one waits for its end, unless the file is ``final``."""
        with path.open("rb") as stream:
            stream.seek(place.offset)
            while lines := _lines(stream, final=final):
                entries = list(json_lines(lines, fetched=self._clock.time(), timezone=self._options.timezone))
                errors = [
                    msgspec.structs.replace(entry, line=entry.line + place.lines, file=str(path))
                    for entry in entries
                    if isinstance(entry, LineError)
                ]
                place.offset, place.lines = stream.tell(), place.lines + len(lines)
                place.mark = _mark(stream, place.offset)
                yield [entry for entry in entries if isinstance(entry, RawItem)], errors


def _readable(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(SUFFIXES)


def _continues(path: Path, place: Place) -> bool:
    """Whether a file is, up to the place, the one that was read."""
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) < place.offset:
            return False
        return not place.mark or _mark(stream, place.offset) == place.mark


def _mark(stream: BinaryIO, offset: int) -> bytes:
    """A hash of the bytes before ``offset``, where the stream stands afterwards."""
    start = max(0, offset - MARK)
    stream.seek(start)
    return hashlib.blake2b(stream.read(offset - start), digest_size=8).digest()


def _lines(stream: BinaryIO, *, final: bool) -> list[bytes]:
    """Lines for one batch; the stream stands behind them. Of a line that is too long only the start is kept."""
    lines: list[bytes] = []
    size = 0
    while len(lines) < CHUNK and size < CHUNK_BYTES:
        start = stream.tell()
        line, ended = line_of(stream)
        if not line or not (ended or final):
            stream.seek(start)
            break
        lines.append(line)
        size += len(line)
    return lines
