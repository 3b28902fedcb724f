"""Lines and rows of files of any size: what is too long costs a bounded buffer, and what comes after it is read."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO, TextIO

import msgspec

LINE_LIMIT = 4 * 2**20
"""Bytes of a line, or characters of a CSV's row, beyond which it is no article."""


class Growth(msgspec.Struct):
    """What a reader learns of a table that may still be written. ``unfinished``: its last row waits for its end."""

    unfinished: bool = False


def line_of(stream: IO[bytes]) -> tuple[bytes, bool]:
    """The next line, empty at the end, and whether a line break ended it. Of one that is too long only the start is
    kept, LINE_LIMIT + 1 bytes; the stream stands behind all of it."""
    line = rest = stream.readline(LINE_LIMIT + 1)
    while rest and not rest.endswith(b"\n"):
        rest = stream.readline(LINE_LIMIT + 1)
    return line, bool(rest)


def lines_of(stream: IO[bytes]) -> Iterator[bytes]:
    """All lines, each as ``line_of`` gives it."""
    while line := line_of(stream)[0]:
        yield line


class OpenRowError(ValueError):
    """The file ended within a row."""


class _Lines:
    """The lines that make up a CSV's rows. It knows where the row began, which the csv module does not tell."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._number = self._size = 0
        self.first = 0
        """Number of the line on which the present row began; 0 before it."""
        self.ended = True
        """Whether a line break ended the last line."""

    def begin(self) -> None:
        self.first = self._size = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LINE_LIMIT + 1)
        if not line and self.first:
            raise OpenRowError("a quoted field that begins here is never closed")
        if not line:
            raise StopIteration
        self._number += 1
        self.first = self.first or self._number
        self._size += len(line)
        self.ended = line.endswith(("\n", "\r"))
        if self._size > LINE_LIMIT:
            self._skip()
            raise ValueError(f"a row longer than {LINE_LIMIT} characters")
        return line

    def _skip(self) -> None:
        while not self.ended and (rest := self._text.readline(LINE_LIMIT)):
            self.ended = rest.endswith(("\n", "\r"))


def rows_of(text: TextIO, growth: Growth | None = None) -> Iterator[tuple[int, list[str] | Exception]]:
    """A CSV's rows, or what was wrong with them, by the number of their first line.

    ``growth``: the file may still be written. Then a last row that no line break ended is not given, for half a row
    looks like a whole one with shorter words; ``growth`` says that it waits.
    """
    csv.field_size_limit(LINE_LIMIT)  # articles are longer than the module's 128 KB
    lines = _Lines(text)
    reader = csv.reader(lines)
    while True:
        lines.begin()
        found: list[str] | Exception
        try:
            found = next(reader)
        except StopIteration:
            return
        except (ValueError, csv.Error) as error:
            found = error
        if growth is not None and (not lines.ended or isinstance(found, OpenRowError)):
            growth.unfinished = True
            return
        if found:  # an empty line is no row
            yield lines.first, found
        if isinstance(found, OpenRowError):
            return
