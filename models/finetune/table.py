"""A user's labelled texts as they stand in a file: rows of cells, and what is wrong with them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from models.card import ModelError

TEXT, SPLIT = "text", "split"
LABELS = ("sentiment", "topic", "risk", "entity_sentiment", "entity_risk")
COLUMNS = (TEXT, *LABELS, "entity", SPLIT)
LISTS = ("risk", "entity_risk")
"""Columns with any number of labels in a cell, separated by SEPARATOR, or NONE for a text that tells none of them."""
SEPARATOR, NONE = ";", "none"

LARGEST = 256 * 2**20
"""Bytes of a file, unpacked: a million headlines are some 100 MB, and thousands are enough."""
SHOWN = 5
"""Line numbers, and values, that a refusal tells of each kind of fault."""

KINDS = {
    "encoding": "text that is not UTF-8, or was broken before; save the file as UTF-8 (iconv -f cp1252 -t utf-8)",
    "cells": "not as many cells as columns, or no object of plain values; put texts with commas or breaks in quotes",
    "empty": "no text; write one, or take the row out",
    "label": "a label that the model has not; correct it, or name a label of your own with --new-topic or --new-risk",
    "entity": "an entity that does not stand in its text as a whole word; write it as the text does, in any case",
    "alone": "labels toward an entity without an entity; fill the column entity",
    "toward": "events toward an entity that its text's own lack; name in risk all that the text tells",
    "split": "a split that is neither train nor valid; name one in every row, or take the column out",
    "contradiction": "a text that stands there twice with different labels; keep the right one",
    "both": "a text that is in train and in valid; keep it in one of them, or take the column split out",
    "unreadable": "a text without letters, or in another script than the model reads; take it out",
    "few": "too few rows to learn from and to judge by",
}
"""Kinds of faults, to what is wrong and the remedy."""


class FinetuneError(ModelError):
    """A model can't be adapted so: what was asked, or the data, is not usable."""


class Row(NamedTuple):
    """A line of the file. ``cells``: column to value, of lists a tuple; only what is filled."""

    line: int
    cells: dict[str, Any]


class Faults:
    """Everything that is wrong with a file, told at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, list[tuple[int, str]]] = {}

    def add(self, kind: str, line: int = 0, what: str = "") -> None:
        self._found.setdefault(kind, []).append((line, what))

    def refuse(self) -> None:
        """Raises FinetuneError where there is any."""
        if self._found:
            count = sum(map(len, self._found.values()))
            head = f"{self._path} can't be learned from as it is; {count} {'fault' if count == 1 else 'faults'}:"
            raise FinetuneError("\n".join([head, *(self._told(kind) for kind in KINDS if kind in self._found)]))

    def _told(self, kind: str) -> str:
        found = self._found[kind]
        lines = [str(line) for line, _ in found if line]
        shown = _some(lines)
        where = f" (line{'s' if len(lines) > 1 else ''} {shown})" if lines else ""
        what = _some(list(dict.fromkeys(what for _, what in found if what)), "; ")
        return f"  {len(found)} x {KINDS[kind]}{where}{': ' if what else ''}{what}"


def _some(values: Sequence[str], between: str = ", ") -> str:
    return between.join([*values[:SHOWN], *(["…"] if len(values) > SHOWN else [])])


class Table(NamedTuple):
    """A file's rows. ``ignored``: columns that mean nothing here."""

    rows: list[Row]
    ignored: tuple[str, ...]


def read(path: Path, faults: Faults) -> Table:
    """CSV, or JSON Lines where the name says so (.jsonl, .ndjson), either as .gz too; rows that can't be read are
    faults. Raises FinetuneError where nothing can."""
    lines = _decoded(path, _bytes(path), faults)
    kind = Path(path.name.removesuffix(".gz")).suffix
    entries = _objects(lines, faults) if kind in (".jsonl", ".ndjson") else _records(path, lines, faults)
    rows, names = [], dict[str, None]()
    for line, entry in entries:
        names |= dict.fromkeys(entry)
        rows.append(Row(line, {name: value for name, value in entry.items() if name in COLUMNS and value is not None}))
    if not rows:
        faults.refuse()
        raise FinetuneError(f"{path}: holds no row; write a line a text below the names of the columns")
    _check_columns(path, tuple(names))
    return Table(rows, tuple(name for name in names if name not in COLUMNS))


def _bytes(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            whole = stream.read(LARGEST + 1)
    except (OSError, EOFError) as error:
        raise FinetuneError(f"--data {path}: can't be read: {error}") from None
    if len(whole) > LARGEST:
        raise FinetuneError(f"--data {path}: larger than {LARGEST >> 20} MB; draw some ten thousand rows from it")
    if whole[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FinetuneError(f"--data {path}: is UTF-16; save it as UTF-8 (iconv -f utf-16 -t utf-8)")
    return whole


def _decoded(path: Path, whole: bytes, faults: Faults) -> list[str]:
    """Lines with their ends; what can't be decoded is marked and told."""
    lines = []
    for number, raw in enumerate(whole.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True), 1):
        line = raw.decode(errors="replace")
        if "\ufffd" in line or "\0" in line:
            faults.add("encoding", number)
        lines.append(line.replace("\0", ""))
    if not lines:
        raise FinetuneError(f"--data {path}: is empty; docs/models.md says what it needs")
    return lines


def _records(path: Path, lines: list[str], faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(lines, strict=True)
    try:
        names = [name.strip() for name in next(reader)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise FinetuneError(f"{path}: column {twice!r} stands there twice; take one out")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                faults.add("cells", reader.line_num, f"{len(cells)} cells under {len(names)} columns")
                continue
            yield reader.line_num, {name: _cell(name, cell) for name, cell in zip(names, cells, strict=True)}
    except csv.Error as error:
        faults.add("cells", reader.line_num, f"{error}; is a quote left open?")


def _cell(name: str, cell: str) -> Any:
    cell = cell.strip()
    if not cell and name != TEXT:
        return None
    return _listed(cell.split(SEPARATOR)) if name in LISTS else cell


def _listed(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))


def _objects(lines: list[str], faults: Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict) or not all(_plain(name, value) for name, value in entry.items()):
            faults.add("cells", number)
            continue
        yield number, {name: _value(name, value) for name, value in entry.items()}


def _plain(name: str, value: Any) -> bool:
    if name in LISTS and isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return value is None or isinstance(value, str) or name not in COLUMNS


def _value(name: str, value: Any) -> Any:
    """A list without a label says that there is none, as NONE does."""
    if isinstance(value, list) and name in LISTS:
        return _listed(value) or (NONE,)
    return _cell(name, value) if isinstance(value, str) else value


def _check_columns(path: Path, names: Sequence[str]) -> None:
    for name in names:
        near = get_close_matches(name.casefold(), COLUMNS, 1, 0.8)
        if name not in COLUMNS and near:
            raise FinetuneError(f"{path}: column {name!r}: did you mean {near[0]!r}? Columns are {', '.join(COLUMNS)}")
    if TEXT not in names:
        raise FinetuneError(f"{path}: column {TEXT!r} is missing; columns are {', '.join(COLUMNS)}")
    if not set(names) & set(LABELS):
        raise FinetuneError(f"{path}: no column has labels; name at least one of {', '.join(LABELS)}")
