"""Items of any number in the order of their time, in bounded memory: sorted runs on disk, merged."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, TypeVar, cast

import msgspec

from pipelines.sources.base import RawItem

T = TypeVar("T")

RUN_BYTES = 32 * 2**20
"""Bytes of items that are sorted in memory; with what Python adds to them about four times as much is in use."""

ITEM_BYTES = 500
"""Bytes of an item beside its words: dates, names, address."""

LENGTH = 4
"""Bytes before an item in a run that tell its length."""


def chunks(entries: Iterable[T], count: int, size: int) -> Iterator[list[T]]:
    """Entries in lists of ``count``, or fewer where their words come to ``size`` bytes."""
    part: list[T] = []
    held = 0
    for entry in entries:
        part.append(entry)
        held += _weight(entry)
        if len(part) >= count or held >= size:
            yield part
            part, held = [], 0
    if part:
        yield part


def _weight(entry: object) -> int:
    return ITEM_BYTES + (len(entry.title) + len(entry.body) if isinstance(entry, RawItem) else 0)


def in_order(items: Iterable[RawItem], when: Callable[[RawItem], float]) -> Iterator[RawItem]:
    """The items by ``when``, those of one moment as they came. Files are read to their end before the first is given.

    Raises OSError where the folder for temporary files has no room.
    """
    runs: list[Iterator[RawItem]] = []
    last: list[RawItem] = []
    for run in chunks(items, RUN_BYTES, RUN_BYTES):
        if last:
            runs.append(_kept(last))
        run.sort(key=when)
        last = run
    yield from heapq.merge(*runs, last, key=when)


def _kept(run: list[RawItem]) -> Iterator[RawItem]:
    """A run on disk, in a file without a name that goes with the process."""
    stream = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 (closed by the one who reads it)
    encoder = msgspec.msgpack.Encoder()
    for item in run:
        data = encoder.encode(item)
        stream.write(len(data).to_bytes(LENGTH, "big") + data)
    stream.seek(0)
    return _back(stream)


def _back(stream: BinaryIO) -> Iterator[RawItem]:
    decoder = msgspec.msgpack.Decoder(RawItem)
    with stream:
        while head := stream.read(LENGTH):
            yield decoder.decode(stream.read(int.from_bytes(head, "big")))
