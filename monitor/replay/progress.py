"""How far a replay is, on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from monitor.replay.player import Fed
from pipelines.documents import Document

EVERY = 64
"""Documents between two looks."""


def shown(feed: Iterable[Fed], total: int) -> Iterator[Fed]:
    """The feed as it is; while it is read a bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty():
        yield from feed
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("documents, {task.fields[day]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task, done = progress.add_task("", total=total, day=""), 0
        for entry in feed:
            if isinstance(entry, Document):
                done += 1
                if done % EVERY == 0:
                    progress.update(task, completed=done, day=entry.at[:10])
            yield entry
