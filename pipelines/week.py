"""The week's profile: learned from closed blocks of companies, published once a day."""

from __future__ import annotations

import msgspec

from alerts.baseline import BLOCK, BlockSummary, Profile, learn_profile
from pipelines.documents import SeriesPoint, epoch
from pipelines.streams.base import Table
from pipelines.watch import MARKET

DAY = 86_400.0
SPAN = 28 * DAY
"""Seconds of history that a profile is learned from."""
LEAST = 7 * DAY
"""Seconds of history without which there is none: it is a week's."""
LEAD = 900.0
"""Seconds between publishing a profile and its taking effect: every worker has it by then."""


PER_DAY = int(DAY / BLOCK)


class Blocks(msgspec.Struct, array_like=True):
    """A key's closed blocks of one day: bad and total of each."""

    bad: list[float]
    total: list[float]


def learn(point: SeriesPoint, table: Table[Blocks]) -> None:
    """Takes a closed block into its key's day. It has a place of its own there: told again, it counts once."""
    if not point.closed or point.documents == 0:
        return
    start = epoch(point.start)
    name = f"{int(start // DAY):08d}|{point.class_}|{point.key}"
    day = table.get(name) or Blocks([0.0] * PER_DAY, [0.0] * PER_DAY)
    place = int(start % DAY // BLOCK)
    day.bad[place], day.total[place] = point.bad, point.bad + point.others
    table.put(name, day)


def forget(table: Table[Blocks], now: float) -> None:
    """Lets go of days that no profile is learned from any more."""
    oldest = f"{int((now - SPAN) // DAY):08d}"
    for name, _ in list(table.items(below=oldest)):
        table.delete(name)


def next_profile(table: Table[Blocks], previous: Profile, now: float) -> Profile | None:
    """The profile after ``previous``; None where the history is too short."""
    blocks = []
    for name, held in table.items():
        day, class_, key = name.split("|", 2)
        if key != MARKET and not key.startswith(("topic:", "list:")):
            # Pooled over companies only: topics and the market hold the same documents again.
            blocks += [
                BlockSummary(key, class_, int(day) * DAY + place * BLOCK, held.bad[place], held.total[place])
                for place in range(PER_DAY)
                if held.total[place] > 0
            ]
    span = max((now - min((b.start for b in blocks), default=now)), 0.0)
    if span < LEAST:
        return None
    return learn_profile(blocks, previous, effective_from=now + LEAD, span=min(span, SPAN))
