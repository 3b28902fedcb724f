"""Builds pipelines/data/closures.tsv: the hours in which exchanges are closed on what is a working day of the week.

Usage: python -m benchmarks.build_closures

From the package exchange_calendars. What is kept are facts: on a weekday without a session the whole local day, on one
that ends early the rest of it, in whole hours of UTC. Exchanges whose week is not Monday to Friday are left out.
"""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import exchange_calendars
import pandas as pd

TABLE = Path(__file__).parent.parent / "pipelines" / "data" / "closures.tsv"
FIRST, LAST = pd.Timestamp("2010-01-01"), pd.Timestamp("2035-12-31")
HOUR = 3600
CLAIM = """\
# Made by benchmarks/build_closures.py from exchange_calendars; do not edit. The calendar, the year in which closures
# begin, and each closure as the UTC hour in which it begins and how many hours it lasts: MMDDTHH, +N where not 24.
"""


def closures(name: str) -> Iterator[tuple[int, int]]:
    """(first hour, hours) of each, in hours since 1970."""
    made = exchange_calendars.calendar_utils._default_calendar_factories[name]
    start, end = max(FIRST, made.bound_min() or FIRST), min(LAST, made.bound_max() or LAST)
    calendar = exchange_calendars.get_calendar(name, start=start, end=end)
    if calendar.weekmask != "1111100":
        raise ValueError(f"{name}: its week is {calendar.weekmask}")
    early = dict(zip(calendar.early_closes, calendar.closes[calendar.early_closes], strict=True))
    for day in pd.bdate_range(start, end):
        midnight, next_ = (_hour(one.tz_localize(calendar.tz)) for one in (day, day + pd.Timedelta(days=1)))
        if day not in calendar.sessions:
            yield midnight, next_ - midnight
        elif day in early and (close := -int(-early[day].timestamp() // HOUR)) < next_:
            yield close, next_ - close


def _hour(moment: pd.Timestamp) -> int:
    """In zones of half hours the hour in which it is: rates are those of whole hours."""
    return int(moment.timestamp() // HOUR)


def main() -> None:
    lines = []
    for name in sorted(exchange_calendars.get_calendar_names(include_aliases=False)):
        years: dict[int, list[str]] = defaultdict(list)
        try:
            for first, hours in closures(name):
                begins = pd.Timestamp(first * HOUR, unit="s")
                years[begins.year].append(f"{begins:%m%dT%H}{'' if hours == 24 else f'+{hours}'}")
        except (ValueError, NotImplementedError) as error:
            print(f"left out: {name}: {str(error)[:100]}", file=sys.stderr)
            continue
        if years and name.isupper():
            lines += [f"{name}\t{year}\t{' '.join(found)}\n" for year, found in sorted(years.items())]
    TABLE.write_text(CLAIM + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, of what exchange_calendars asks of it
        main()
