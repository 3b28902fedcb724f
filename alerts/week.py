"""The shape of the week, learned from the population's blocks: how much news its hours usually bring.

Pure. Times are seconds since 1970, hours of the week are counted from Monday 00:00 UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from alerts.baseline import BLOCK, HOUR, MONDAY, WEEK, WEEK_HOURS, Profile, cap


class BlockSummary(NamedTuple):
    """A block of one key as profile learning sees it."""

    key: str
    class_: str
    start: float
    bad: float
    total: float


DAY_WEIGHT, WEEK_WEIGHT = 10.0, 60.0
"""Items by which an hour of the day is shrunk towards flat, and an hour of the week towards its hour of the day."""

EVERY_HOUR = (1.0,) * WEEK_HOURS
"""In whole weeks, where nothing is ever closed."""


def open_hours(begin: float, end: float, groups: Iterable[tuple[float, AbstractSet[int]]]) -> tuple[float, ...]:
    """How often each hour of the week was seen open between two times, as a multiple of how often an hour is in such a
    span on average: 1 throughout in whole weeks without a closure. ``groups``: the items of the keys that share a
    calendar, and its closed hours since 1970. An hour counts by how many of the items are of keys for which it was
    open."""
    seen, total = [0.0] * WEEK_HOURS, 0.0
    for items, closed in groups:
        total += items
        for hour in range(int(begin // HOUR), int(end // HOUR)):
            if hour not in closed:
                seen[int((hour * HOUR - MONDAY) % WEEK // HOUR)] += items
    return tuple(times * WEEK / ((end - begin) * total) for times in seen)


def learn_profile(
    blocks: Sequence[BlockSummary],
    previous: Profile,
    *,
    effective_from: float,
    span: float,
    seen: Sequence[float] = EVERY_HOUR,
) -> Profile:
    """The next profile from the population's blocks over the last ``span`` seconds, without those of closed hours;
    ``seen``: see ``open_hours``.

    Class priors are the median over keys of their bad rate, shrunk to the previous prior with the weight of one item.
    """
    bad: dict[tuple[str, str], float] = {}
    for block in blocks:
        key = (block.class_, block.key)
        bad[key] = bad.get(key, 0.0) + block.bad
    prior = dict(previous.prior)
    for name, old in previous.prior.items():
        found = sorted((count + 1.0) / (span + 1.0 / old) for (class_, _), count in bad.items() if class_ == name)
        if found:
            prior[name] = found[len(found) // 2]
    hours = week_shape(blocks, span, seen)
    return Profile(version=previous.version + 1, effective_from=effective_from, hours=hours, prior=prior)


def week_shape(blocks: Sequence[BlockSummary], span: float, seen: Sequence[float] = EVERY_HOUR) -> tuple[float, ...]:
    """The week by the hour, in two steps: how weekdays and weekends go, then each hour of the week.

    The first has five and two days of counts an hour, smoothed over its neighbours, so that a thin tape has a shape
    too. A key's block counts what its baseline would count of it: one crisis at noon on one Tuesday does not make
    Tuesdays' noon. An hour is judged by the times that it was ``seen`` open: one that never was goes by its hour of the
    day.
    """
    totals: dict[tuple[str, str], float] = {}
    for block in blocks:
        key = (block.class_, block.key)
        totals[key] = totals.get(key, 0.0) + block.total
    week = [0.0] * WEEK_HOURS
    for block in blocks:
        usual = totals[block.class_, block.key] * BLOCK / span
        week[int((block.start - MONDAY) % WEEK // HOUR)] += min(block.total, cap(usual))
    mean = sum(week) / sum(seen)
    shape = [0.0] * WEEK_HOURS
    for days in (range(5), range(5, 7)):
        counted, times = (_by_hour(values, days) for values in (week, seen))
        for hour in range(24):
            usual = (counted[hour] + DAY_WEIGHT) / (mean * times[hour] + DAY_WEIGHT)
            for place in (24 * day + hour for day in days):
                shape[place] = (week[place] + WEEK_WEIGHT * usual) / (mean * seen[place] + WEEK_WEIGHT)
    scale = WEEK_HOURS / sum(shape)
    return tuple(round(value * scale, 4) for value in shape)


def _by_hour(week: Sequence[float], days: range) -> list[float]:
    """Sums over some days by the hour of the day, smoothed over its neighbours."""
    hours = [sum(week[24 * day + hour] for day in days) for hour in range(24)]
    return [0.25 * hours[hour - 1] + 0.5 * hours[hour] + 0.25 * hours[(hour + 1) % 24] for hour in range(24)]
