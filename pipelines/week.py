"""The week's profile: learned from closed blocks of companies, published once a day of the log's own time.

A day's profile is made of the blocks before it, when the first block closes on that day, and takes effect with the
next one: until then everybody has it, so that results don't depend on who was how far when it came. No clock: replay
and backfill learn as the daemon does. What a company's exchange was closed for teaches nothing of its weekday.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from alerts.baseline import BLOCK, HOUR, Profile, Shape
from alerts.merging import Width
from alerts.week import BlockSummary, learn_profile, open_hours
from pipelines.calendars import closed_hours, closures
from pipelines.documents import SeriesPoint, epoch
from pipelines.streams.base import State, Table
from pipelines.watch import width

DAY = 86_400.0
SPAN = 28
"""Days of history that a profile is learned from."""
LEAST = 7
"""Days of history without which there is none: it is a week's."""

PER_DAY = int(DAY / BLOCK)


class Blocks(msgspec.Struct, array_like=True):
    """A key's closed blocks of one day: bad and total of each."""

    bad: list[float]
    total: list[float]


TABLES: dict[str, type[Any]] = {"blocks": Blocks, "profile": Profile, "kept": float}
"""What is kept between two versions."""


class Weeks:
    """The versions of the week that items may still need, as those see them that go by a trading calendar."""

    def __init__(self, profiles: Sequence[Profile] = (Profile(),)) -> None:
        self.adopt(profiles)

    def adopt(self, profiles: Sequence[Profile]) -> None:
        """Takes over the versions that there are, the oldest first."""
        self.profiles = tuple(profiles)
        self._shapes: dict[tuple[int, str | None], Shape] = {}

    def at(self, t: float, calendar: str | None) -> Shape:
        """The week as it is known at a time; before the first version there is that one."""
        for profile in reversed(self.profiles):
            if t >= profile.effective_from:
                break
        shape = self._shapes.get((profile.version, calendar))
        if shape is None:
            shape = self._shapes[profile.version, calendar] = Shape(profile, closures(calendar))
        return shape


Calendars = Callable[[str], str | None]
"""A key's trading calendar."""


def learn(point: SeriesPoint, state: State, calendar: Calendars) -> Profile | None:
    """Takes a closed block into its key's day; on a new day also the next profile, where there is enough history."""
    if not point.closed or point.documents == 0:
        return None
    start = epoch(point.start)
    table: Table[Blocks] = state.table("blocks")
    profile = _turn(int(epoch(point.closed_at or point.end) // DAY), table, state, calendar)
    # A block has a place of its own in its day: told again, it counts once.
    name = f"{int(start // DAY):08d}|{point.class_}|{point.key}"
    day = table.get(name) or Blocks([0.0] * PER_DAY, [0.0] * PER_DAY)
    place = int(start % DAY // BLOCK)
    day.bad[place], day.total[place] = point.bad, point.bad + point.others
    table.put(name, day)
    return profile


def _turn(today: int, table: Table[Blocks], state: State, calendar: Calendars) -> Profile | None:
    """What is due on a day that begins: days too old are forgotten, and the profile is made anew."""
    kept: Table[float] = state.table("kept")
    if today <= (kept.get("day") or -1.0):
        return None
    kept.put("day", float(today))
    for name, _ in list(table.items(below=f"{today - SPAN:08d}")):
        table.delete(name)
    profile = _next(table, state.table("profile").get("last") or Profile(), today, calendar)
    if profile is not None:
        state.table("profile").put("last", profile)
    return profile


def _next(table: Table[Blocks], previous: Profile, today: int, calendar: Calendars) -> Profile | None:
    blocks = []
    for name, held in table.items(below=f"{today:08d}"):
        day, class_, key = name.split("|", 2)
        if counts(key):
            blocks += [
                BlockSummary(key, class_, int(day) * DAY + place * BLOCK, held.bad[place], held.total[place])
                for place in range(PER_DAY)
                if held.total[place] > 0
            ]
    return profile_of(blocks, previous, today, calendar)


def counts(key: str) -> bool:
    """Whether a key's blocks are learned from: companies' are; all others hold the same documents again."""
    return width(key) == Width.COMPANY


def profile_of(blocks: Iterable[BlockSummary], previous: Profile, today: int, calendar: Calendars) -> Profile | None:
    """What ``blocks``, all of days before ``today`` (since 1970), make the profile from the day after on; None where
    that is too short a history."""
    kept, items = list[BlockSummary](), dict[str | None, float]()
    for block in blocks:
        whose = calendar(block.key)
        if block.start // HOUR not in closed_hours(whose):
            kept.append(block)
            items[whose] = items.get(whose, 0.0) + block.total
    end = today * DAY
    span = end - min((block.start for block in kept), default=end)
    if span < LEAST * DAY:
        return None
    span = min(span, SPAN * DAY)
    seen = open_hours(end - span, end, [(count, closed_hours(whose)) for whose, count in items.items()])
    return learn_profile(kept, previous, effective_from=end + DAY, span=span, seen=seen)
