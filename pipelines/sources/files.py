"""Documents from files, standard input and request bodies: JSON Lines, CSV, Parquet; ``.gz`` as it is."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, cast
from zoneinfo import ZoneInfo

import msgspec

from pipelines.sources.base import Batch, LineError, RawItem, SourceClass, SourceError, SourceStatus, Tools

CHUNK = 500
"""Items of one batch."""
LINE_LIMIT = 4 * 2**20

NAMES = {"headline": "title", "description": "text", "ts": "published", "source": "publisher", "body": "text"}
"""Other names that columns are known by."""

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")


class FileError(SourceError):
    """A file can't be read at all."""


def moment(value: Any, timezone: str | None = None) -> tuple[float, Literal["second", "day"]]:
    """A date as (seconds since 1970, precision). Raises ValueError with what was expected."""
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value!r} is no date")
    if isinstance(value, int | float):
        number = float(value)
        return (number / 1000.0 if abs(number) > 1e11 else number), "second"
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=ZoneInfo(timezone or "UTC"))
        return aware.timestamp(), "second"
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return moment(number)
    try:
        parsed = datetime.fromisoformat(text.replace(" UTC", "+00:00"))
    except ValueError:
        raise ValueError(f"published {text[:40]!r} is neither ISO 8601 nor seconds since 1970") from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC if len(text) <= 10 else ZoneInfo(timezone or "UTC"))
    return parsed.timestamp(), "day" if len(text) <= 10 else "second"


def item_of(fields: Mapping[str, Any], *, fetched: float, timezone: str | None = None, live: bool = False) -> RawItem:
    """A document's fields as an item. ``live``: the fields' own detection time counts for nothing, and a missing
    date is now. Raises ValueError naming the field."""
    known = {NAMES.get(name, name): value for name, value in fields.items() if value not in (None, "")}
    title, text = _string(known, "title"), _string(known, "text")
    if not title and not text:
        raise ValueError("neither title nor text")
    published: float | None = None
    precision: Literal["second", "day"] = "second"
    if "published" in known:
        published, precision = moment(known["published"], timezone)
        if known.get("precision") == "day":
            precision = "day"
    elif not live:
        raise ValueError("published is missing")
    class_ = known.get("class")
    if class_ not in (None, "news", "filing", "social"):
        raise ValueError(f"class {str(class_)[:40]!r} is not news, filing or social")
    engagement = known.get("engagement")
    return RawItem(
        guid=_string(known, "id") or None,
        url=_string(known, "url") or None,
        title=title,
        body=text,
        published=published,
        precision=precision,
        publisher=_string(known, "publisher") or None,
        author=_string(known, "author") or None,
        language=_string(known, "language") or None,
        engagement={str(k): int(v) for k, v in engagement.items()} if isinstance(engagement, dict) else {},
        fetched=fetched if live or "fetched" not in known else moment(known["fetched"])[0],
        at=None if live or "at" not in known else moment(known["at"])[0],
        class_=class_,
    )


def _string(known: Mapping[str, Any], name: str) -> str:
    value = known.get(name, "")
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{name} is {type(value).__name__}, not a text")


def json_lines(
    lines: Iterable[bytes], *, fetched: float, timezone: str | None = None, live: bool = False
) -> Iterator[RawItem | LineError]:
    """JSON Lines, bad lines named by number."""
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not stripped:
            continue
        try:
            fields = msgspec.json.decode(stripped)
            if not isinstance(fields, dict):
                raise ValueError("not an object")  # noqa: TRY004 (one kind of error a line)
            yield item_of(fields, fetched=fetched, timezone=timezone, live=live)
        except (msgspec.DecodeError, ValueError, TypeError, OverflowError) as error:
            yield LineError(number, str(error)[:200], stripped[:2000])


def read_documents(path: Path | str, *, fetched: float, timezone: str | None = None) -> Iterator[RawItem | LineError]:
    """The documents of a file ("-" is standard input) in its order."""
    for entry in _entries(path, fetched, timezone):
        yield msgspec.structs.replace(entry, file=str(path)) if isinstance(entry, LineError) else entry


def _entries(path: Path | str, fetched: float, timezone: str | None) -> Iterator[RawItem | LineError]:
    name = str(path)
    plain = name.removesuffix(".gz")
    if plain.endswith(".parquet"):
        yield from _parquet(Path(path), fetched, timezone)
        return
    try:
        with _open(name) as stream:
            if plain.endswith(".csv"):
                yield from _csv(stream, fetched, timezone)
            else:
                yield from json_lines(stream, fetched=fetched, timezone=timezone)
    except (OSError, EOFError) as error:
        raise FileError(f"{name}: {error}") from error


def _open(name: str) -> IO[bytes]:
    if name == "-":
        return sys.stdin.buffer
    return cast("IO[bytes]", gzip.open(name)) if name.endswith(".gz") else Path(name).open("rb")


def _csv(stream: IO[bytes], fetched: float, timezone: str | None) -> Iterator[RawItem | LineError]:
    reader = csv.DictReader(io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline=""))
    columns = {NAMES.get(name, name) for name in reader.fieldnames or ()}
    if not columns & {"title", "text"} or "published" not in columns:
        raise FileError(
            f"columns {', '.join(reader.fieldnames or ())!r}: needed are title (or headline) or text, "
            "and published (or ts)"
        )
    for fields in reader:
        try:
            yield item_of({k: v for k, v in fields.items() if k}, fetched=fetched, timezone=timezone)
        except (ValueError, TypeError, OverflowError) as error:
            yield LineError(reader.line_num, str(error)[:200])


def _parquet(path: Path, fetched: float, timezone: str | None) -> Iterator[RawItem | LineError]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
        number = 0
        for batch in table.iter_batches(batch_size=1_000):
            for fields in batch.to_pylist():
                number += 1
                try:
                    yield item_of(fields, fetched=fetched, timezone=timezone)
                except (ValueError, TypeError, OverflowError) as error:
                    yield LineError(number, str(error)[:200])
    except (OSError, pyarrow.ArrowException) as error:
        raise FileError(f"{path}: {error}") from error


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
    """How far a file was read: its inode, and bytes (items for files that can't be appended to)."""

    inode: int
    offset: int
    lines: int = 0


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
        self._reason: str | None = None
        self._last_success: float | None = None
        self._last_new: float | None = None
        self._items = 0
        self._ended = False

    @property
    def status(self) -> SourceStatus:
        return SourceStatus(
            source=self.name,
            class_=self.class_,
            state="down" if self._reason else "stopped" if self._ended else "up",
            at=self._clock.time(),
            last_success=self._last_success,
            last_new=self._last_new,
            interval=self.interval,
            reason=self._reason,
            items_total=self._items,
        )

    def report(self, new: int) -> None:
        self._items += new
        if new:
            self._last_new = self._clock.time()

    async def batches(self, cursor: bytes | None) -> AsyncIterator[Batch]:
        if cursor is not None:
            self._places = msgspec.msgpack.decode(cursor, type=dict[str, Place])
        while True:
            before = self._last_success
            found = False
            try:
                for path in self._paths():
                    async for items, errors in self._read(path):
                        found = True
                        yield Batch(items=items, errors=errors, cursor=self._saved(), previous_success=before)
                self._reason = None
                self._last_success = self._clock.time()
            except (OSError, FileError, EOFError) as error:
                self._reason = f"{error}"[:200]
            if not found:
                yield Batch(cursor=self._saved(), previous_success=before)
            self.status.measure()
            if not self._options.follow and self._reason is None:
                self._ended = True
                return
            await self._clock.sleep(self.interval)

    def _saved(self) -> bytes:
        return msgspec.msgpack.encode(self._places)

    def _paths(self) -> list[Path]:
        path = Path(self._options.path)
        if path.is_dir():
            return sorted(p for p in path.iterdir() if p.name.removesuffix(".gz").endswith(SUFFIXES))
        if not path.exists():
            raise FileError(f"{path}: not found")
        return [path]

    async def _read(self, path: Path) -> AsyncIterator[tuple[list[RawItem], list[LineError]]]:
        place = self._places.get(str(path))
        status = path.stat()  # noqa: ASYNC240 (a stat of a local file takes microseconds)
        if place is None or place.inode != status.st_ino or place.offset > status.st_size:
            place = self._places[str(path)] = Place(status.st_ino, 0)
        if path.name.endswith((".jsonl", ".ndjson", ".json")):
            async for chunk in self._tail(path, place):
                yield chunk
        elif place.offset != status.st_size:
            items: list[RawItem] = []
            errors: list[LineError] = []
            for entry in await asyncio.to_thread(self._whole, path):
                (errors if isinstance(entry, LineError) else items).append(entry)  # type: ignore[arg-type]
                if len(items) >= CHUNK:
                    yield items, errors
                    items, errors = [], []
            place.offset = status.st_size
            yield items, errors

    def _whole(self, path: Path) -> list[RawItem | LineError]:
        return list(read_documents(path, fetched=self._clock.time(), timezone=self._options.timezone))

    async def _tail(self, path: Path, place: Place) -> AsyncIterator[tuple[list[RawItem], list[LineError]]]:
        """Whole lines beyond the place; the last one waits for its end."""
        with path.open("rb") as stream:
            stream.seek(place.offset)
            while True:
                lines: list[bytes] = []
                while len(lines) < CHUNK:
                    line = stream.readline(LINE_LIMIT)
                    if not line.endswith(b"\n") and (self._options.follow or not line):
                        break
                    lines.append(line)
                if not lines:
                    return
                now = self._clock.time()
                entries = list(json_lines(lines, fetched=now, timezone=self._options.timezone))
                errors = [
                    msgspec.structs.replace(entry, line=entry.line + place.lines)
                    for entry in entries
                    if isinstance(entry, LineError)
                ]
                place.offset += sum(len(line) for line in lines)
                place.lines += len(lines)
                yield [entry for entry in entries if isinstance(entry, RawItem)], errors


def parse_body(body: bytes, content_type: str, fetched: float) -> tuple[list[RawItem], list[LineError]]:
    """A POST's body: one JSON object, a list of them, or JSON Lines."""
    stripped = body.strip()
    if "ndjson" not in content_type and "jsonl" not in content_type and stripped[:1] == b"[":
        try:
            entries = msgspec.json.decode(stripped, type=list[dict[str, Any]])
        except msgspec.DecodeError as error:
            return [], [LineError(1, str(error)[:200])]
        lines = [msgspec.json.encode(entry) for entry in entries]
    elif b"\n" in stripped and _is_one_object(stripped):
        lines = [msgspec.json.encode(msgspec.json.decode(stripped))]
    else:
        lines = stripped.split(b"\n")
    found = list(json_lines(lines, fetched=fetched, live=True))
    return [e for e in found if isinstance(e, RawItem)], [e for e in found if isinstance(e, LineError)]


def _is_one_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except msgspec.DecodeError:
        return False
