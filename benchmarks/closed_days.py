"""How much news companies have on days on which their exchange is closed, beside open days and weekends.

    python -m benchmarks.closed_days HEADLINES

HEADLINES: a table with columns source, ts (UTC) and headline. Companies are found in the headlines by the production
index; days are those of UTC, closed where the exchange is for at least twelve of their hours.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.calendars import closed_hours
from pipelines.entities import EntityIndex
from pipelines.universe import load_universe

LEAST = 90
"""Mentions of a source and an exchange below which they say nothing."""


def mentions(path: Path) -> dict[tuple[str, str], Counter[str]]:
    """By source and calendar, the headlines a day that name one of its companies, each company once."""
    universe = {entity.id: entity.calendar for entity in load_universe() if entity.calendar is not None}
    index, found = EntityIndex(load_universe()), defaultdict[tuple[str, str], Counter[str]](Counter)
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            for name in {hit.id for hit in index.find(row["headline"])} & set(universe):
                found[row["source"], universe[name]][row["ts"][:10]] += 1
    return found


def kind(day: datetime, calendar: str) -> str:
    if day.weekday() > 4:
        return "weekend"
    first = int(day.timestamp() // 3600)
    return "closed" if sum(hour in closed_hours(calendar) for hour in range(first, first + 24)) >= 12 else "open"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headlines", type=Path)
    found = mentions(parser.parse_args().headlines)
    spans = {
        source: sorted(day for (other, _), days in found.items() if other == source for day in days)
        for source, _ in found
    }
    for (source, calendar), days in sorted(found.items()):
        if days.total() < LEAST:
            continue
        by_kind: dict[str, list[int]] = defaultdict(list)
        day, last = (datetime.fromisoformat(spans[source][place]).replace(tzinfo=UTC) for place in (0, -1))
        while day <= last:
            by_kind[kind(day, calendar)].append(days[f"{day:%Y-%m-%d}"])
            day += timedelta(days=1)
        means = {name: sum(counts) / len(counts) for name, counts in by_kind.items()}
        place = (means["closed"] - means["weekend"]) / (means["open"] - means["weekend"])
        shown = ", ".join(
            f"{name} {means[name]:.2f} ({len(by_kind[name])} days)" for name in ("open", "closed", "weekend")
        )
        print(f"{source}, {calendar}: {shown}; from a weekend towards an open day {place:.2f}")


if __name__ == "__main__":
    main()
