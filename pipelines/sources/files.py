"""Documents from files, standard input and request bodies: JSON Lines, CSV, Parquet; ``.gz`` as it is."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import math
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast
from zoneinfo import ZoneInfo

import msgspec

from pipelines.ingest import EARLIEST
from pipelines.sources.base import LineError, RawItem, SourceError
from pipelines.sources.lines import LINE_LIMIT, Growth, lines_of, rows_of

BATCH_BYTES = 8 * 2**20
"""Bytes of a Parquet file that are made into rows at a time."""
BATCH_ROWS = 250

LATEST = 253_402_300_800.0
"""Seconds since 1970 of the year 10000, where dates end."""

ENGAGEMENT = 32
"""Counts of one document that are kept: a platform has a handful."""
LARGEST = 2**53
"""What every reader of JSON can count to."""

NAMES = {"headline": "title", "description": "text", "ts": "published", "source": "publisher", "body": "text"}
"""Other names that columns are known by."""

STDIN = "standard input"

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")


BROKEN = (OSError, EOFError, zlib.error)
"""What a file that ends too early or is no gzip raises."""

_NAIVE = re.compile(r"\d{4}-?(\d\d-?\d\d|W\d\d-?\d).\d\d[\d:.,]*", re.ASCII)
"""A day and a time of ISO 8601, and nothing behind them."""


class FileError(SourceError):
    """A file can't be read at all."""


def moment(value: Any, timezone: str | None = None, name: str = "published") -> tuple[float, Literal["second", "day"]]:
    """A date as (seconds since 1970, precision). Raises ValueError with ``name`` and what was expected."""
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{name} {value!r} is no date")
    if isinstance(value, int | float):
        number = float(value)
        number = number / 1000.0 if abs(number) > 1e11 else number
        if not math.isfinite(number) or abs(number) >= LATEST:
            raise ValueError(f"{name} {value!r} is neither seconds nor milliseconds since 1970")
        return number, "second"
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=ZoneInfo(timezone or "UTC"))
        return aware.timestamp(), "second"
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return moment(number, name=name)
    try:
        parsed = datetime.fromisoformat(text.replace(" UTC", "+00:00"))
    except ValueError:
        raise ValueError(f"{name} {text[:40]!r} is neither ISO 8601 nor seconds since 1970") from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC if len(text) <= 10 else ZoneInfo(timezone or "UTC"))
    return parsed.timestamp(), "day" if len(text) <= 10 else "second"


def item_of(fields: Mapping[str, Any], *, fetched: float, timezone: str | None = None, live: bool = False) -> RawItem:
    """A document's fields as an item. ``live``: the fields' own detection time counts for nothing, and a missing
    date is now; else it is ``fetched`` at the latest: a key's clock that was set ahead would never run back. Raises
    ValueError naming the field."""
    known = {NAMES.get(name, name): value for name, value in fields.items() if value not in (None, "")}
    title, text = _string(known, "title"), _string(known, "text")
    if not title and not text:
        raise ValueError("neither title nor text")
    published: float | None = None
    precision: Literal["second", "day"] = "second"
    zoned = True
    if "published" in known:
        published, precision = moment(known["published"], timezone)
        zoned = precision == "day" or _zoned(known["published"])
        if known.get("precision") == "day":
            precision = "day"
    elif not live:
        raise ValueError("published is missing")
    class_ = known.get("class")
    if class_ not in (None, "news", "filing", "social"):
        raise ValueError(f"class {str(class_)[:40]!r} is not news, filing or social")
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
        engagement=_engagement(known),
        fetched=fetched if live else _clock(known, "fetched", fetched) or fetched,
        at=None if live else _clock(known, "at", fetched),
        class_=class_,
        zoned=zoned,
    )


def _zoned(value: Any) -> bool:
    """Whether a time that could be read says where it holds."""
    if isinstance(value, datetime):
        return value.tzinfo is not None
    return not isinstance(value, str) or _NAIVE.fullmatch(value.strip()) is None


def _clock(known: Mapping[str, Any], name: str, now: float) -> float | None:
    """A time at which the document was here; None where there is none, or only a broken clock's."""
    found = moment(known[name], name=name)[0] if name in known else 0.0
    return min(found, now) if found >= EARLIEST else None


def _engagement(known: Mapping[str, Any]) -> dict[str, int]:
    found = known.get("engagement")
    counts = [(str(k)[:40], v) for k, v in found.items() if v is not None] if isinstance(found, dict) else []
    for name, value in counts:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
            raise ValueError(f"engagement.{name} {str(value)[:40]!r} is no count")
    return {name: int(value) for name, value in counts[:ENGAGEMENT]}


def _string(known: Mapping[str, Any], name: str) -> str:
    value = known.get(name, "")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} is {type(value).__name__}, not a text")  # noqa: TRY004 (one kind of error a line)
    text = str(value)
    if len(text) > LINE_LIMIT:
        raise ValueError(f"{name} is longer than {LINE_LIMIT} characters")
    return text


def json_lines(
    lines: Iterable[bytes], *, fetched: float, timezone: str | None = None, live: bool = False
) -> Iterator[RawItem | LineError]:
    """JSON Lines, bad lines named by number."""
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_LIMIT:
            yield LineError(number, f"longer than {LINE_LIMIT} bytes", line[:2000])
            continue
        stripped = line.removeprefix(codecs.BOM_UTF8).strip()
        if not stripped:
            continue
        try:
            fields = msgspec.json.decode(stripped)
            if not isinstance(fields, dict):
                raise ValueError("not an object")  # noqa: TRY004 (one kind of error a line)
            yield item_of(fields, fetched=fetched, timezone=timezone, live=live)
        except (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
            yield LineError(number, str(error)[:200], stripped[:2000])


def read_documents(
    path: Path | str, *, fetched: float, timezone: str | None = None, growth: Growth | None = None
) -> Iterator[RawItem | LineError]:
    """The documents of a file ("-" is standard input) in its order, in bounded memory. What they are is told by the
    name's end (SUFFIXES) or, where that says nothing, as with /dev/stdin, by the first bytes.

    ``growth``: the file may still be written (as in ``rows_of``); without it its end is its end, and what is left open
    there is an error. Raises FileError.
    """
    for entry in _entries(path, fetched, timezone, growth):
        yield msgspec.structs.replace(entry, file=str(path)) if isinstance(entry, LineError) else entry


def _entries(
    path: Path | str, fetched: float, timezone: str | None, growth: Growth | None
) -> Iterator[RawItem | LineError]:
    name = str(path)
    if name == "-":
        yield from read_stream(sys.stdin.buffer, fetched=lambda: fetched, timezone=timezone)
        return
    plain = name.removesuffix(".gz")
    if plain.endswith(".parquet"):
        yield from _parquet(Path(path), name, fetched, timezone)
        return
    try:
        with _open(name) as stream:
            if plain.endswith(".csv"):
                yield from _csv(stream, name, lambda: fetched, timezone, growth=growth)
            elif plain.endswith(SUFFIXES):
                yield from json_lines(lines_of(stream), fetched=fetched, timezone=timezone)
            else:
                yield from read_stream(cast("BinaryIO", stream), name, fetched=lambda: fetched, timezone=timezone)
    except BROKEN as error:
        raise FileError(f"{name}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """An error's words without the file's name, which the system's own carry too."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def read_stream(
    stream: BinaryIO,
    name: str = STDIN,
    *,
    fetched: Callable[[], float],
    timezone: str | None = None,
    live: bool = False,
) -> Iterator[RawItem | LineError]:
    """The documents of a pipe as they come; what they are is told from their first bytes. ``name``: of the pipe, for
    errors; ``fetched``: the time of a line; ``live`` as in ``item_of``. Raises FileError."""
    whole = io.BufferedReader(cast("io.RawIOBase", stream)) if not hasattr(stream, "peek") else stream
    head = cast("io.BufferedReader", whole).peek(4)
    try:
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(whole) as unpacked:
                plain = cast("BinaryIO", unpacked)
                yield from read_stream(plain, name, fetched=fetched, timezone=timezone, live=live)
        elif head.startswith(b"PAR1"):
            with tempfile.TemporaryFile() as kept:  # its index is at its end
                shutil.copyfileobj(whole, kept)
                yield from _parquet(cast("BinaryIO", kept), name, fetched(), timezone)
        elif head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"[", b""):
            for number, line in enumerate(lines_of(whole), 1):
                for entry in json_lines([line], fetched=fetched(), timezone=timezone, live=live):
                    yield msgspec.structs.replace(entry, line=number) if isinstance(entry, LineError) else entry
        else:
            yield from _csv(whole, name, fetched, timezone, live=live)
    except BROKEN as error:
        raise FileError(f"{name}: {_why(error)}") from error


def _open(name: str) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(name)) if name.endswith(".gz") else Path(name).open("rb")


def _csv(
    stream: IO[bytes],
    name: str,
    fetched: Callable[[], float],
    timezone: str | None,
    *,
    live: bool = False,
    growth: Growth | None = None,
) -> Iterator[RawItem | LineError]:
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")
    try:
        rows = rows_of(text, growth)
        columns = _header(rows, name, growth, live=live)
        for line, row in rows if columns else ():
            try:
                if isinstance(row, Exception):
                    raise row
                fields = {column: value for column, value in zip(columns, row, strict=False) if column}
                yield item_of(fields, fetched=fetched(), timezone=timezone, live=live)
            except (ValueError, TypeError, OverflowError, csv.Error) as error:
                yield LineError(line, str(error)[:200])
    finally:
        text.detach()  # the stream is not this function's to close


def _header(
    rows: Iterator[tuple[int, list[str] | Exception]], name: str, growth: Growth | None, *, live: bool
) -> list[str]:
    """A CSV's columns; none where the file is only begun."""
    line, columns = next(rows, (1, list[str]()))
    if isinstance(columns, Exception):
        raise FileError(f"{name}, line {line}: no CSV: {columns}")
    if columns or growth is None:
        _need(columns, name, dated=not live)
    return columns


def _need(columns: Collection[str], name: str, *, dated: bool) -> None:
    """Raises FileError where a table can't hold documents."""
    known = {NAMES.get(column, column) for column in columns}
    given = f"columns {', '.join(columns)[:200]!r}" if columns else "is empty"
    if not known & {"title", "text"} or ("published" not in known and dated):
        raise FileError(
            f"{name}: {given}: needed are title (or headline) or text"
            f"{', and published (or ts)' if dated else ''}; name them so in the first row"
        )


def _parquet(path: Path | BinaryIO, name: str, fetched: float, timezone: str | None) -> Iterator[RawItem | LineError]:
    import pyarrow.parquet

    try:
        # Buffered: otherwise a column's whole part of a row group, often the file, is held.
        table = pyarrow.parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
        _need(table.schema_arrow.names, name, dated=True)
        number = 0
        for batch in table.iter_batches(batch_size=_batch(table.metadata, name)):
            for fields in batch.to_pylist():
                number += 1
                try:
                    yield item_of(fields, fetched=fetched, timezone=timezone)
                except (ValueError, TypeError, OverflowError) as error:
                    yield LineError(number, str(error)[:200])
    except (OSError, pyarrow.ArrowException) as error:
        raise FileError(f"{name}: {_why(error)}") from error


def _batch(about: Any, name: str) -> int:
    """Rows to be read at a time, by the size of the largest group's. Raises FileError where one row is no article."""
    groups = [about.row_group(n) for n in range(about.num_row_groups)]
    heaviest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0.0)
    if heaviest > LINE_LIMIT:
        raise FileError(
            f"{name}: rows of {heaviest:.0f} bytes; at most {LINE_LIMIT} are read: leave out what is no text"
        )
    return int(min(BATCH_ROWS, max(1.0, BATCH_BYTES / max(1.0, heaviest))))


def parse_body(body: bytes, content_type: str, fetched: float) -> tuple[list[RawItem], list[LineError]]:
    """A POST's body: one JSON object, a list of them, or JSON Lines. A bad line or entry costs itself;
    ``line`` of an entry's error is its place in the list, from 1."""
    stripped = body.strip()
    listed = "ndjson" not in content_type and "jsonl" not in content_type and stripped[:1] == b"["
    if listed:
        try:
            lines = [bytes(entry) for entry in msgspec.json.decode(stripped, type=list[msgspec.Raw])]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return [], [LineError(1, f"no JSON list: {error}"[:200], stripped[:2000])]
    else:
        lines = [stripped] if _is_one_object(stripped) else stripped.split(b"\n")
    found = list(json_lines(lines, fetched=fetched, live=True))
    errors = [entry for entry in found if isinstance(entry, LineError)]
    if listed:
        errors = [msgspec.structs.replace(e, reason=f"entry {e.line} of the list: {e.reason}") for e in errors]
    return [entry for entry in found if isinstance(entry, RawItem)], errors


def _is_one_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
