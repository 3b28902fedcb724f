"""What is replayed: the documents of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from monitor.history import BadLines, history
from pipelines.ingest import moment
from pipelines.sources.base import RawItem


def from_files(paths: Sequence[Path], now: float, read: BadLines, *, source: str) -> Iterator[RawItem]:
    """The documents of files by their time; those that say not when they were fetched were so when they count, so that
    the same files give the same bytes whenever they are replayed. Raises FileError."""
    for item in history(paths, now, read, source=source):
        yield msgspec.structs.replace(item, fetched=moment(item, source)) if item.fetched == now else item


def told(read: BadLines) -> Iterator[str]:
    """What is to be known of files, a sentence each."""
    if read.turned:
        yield f"{read.turned} of {read.documents} documents stand behind later ones: all were put in the order of time"
    if read.zoneless:
        yield (
            f"{read.zoneless} of {read.documents} documents have a time without a zone: it was taken for UTC; write it "
            "as 2026-01-31T12:00:00Z"
        )
