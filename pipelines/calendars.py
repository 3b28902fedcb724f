"""Trading calendars: when an exchange is closed on what is a working day of the week, and which is whose.

``data/closures.tsv`` is a table of facts made by ``benchmarks/build_closures.py`` from a maintained package, so that
nothing is looked up while the daemon runs, and a replay says tomorrow what it says today.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from alerts.baseline import HOUR, Closure

US = "XNYS"
"""NASDAQ keeps the same days."""

CLASSES = ("A", "B", "C")
"""Suffixes of US tickers that name a class of shares, as in BRK.B."""

BY_SUFFIX = {
    "AS": "XAMS",
    "BR": "XBRU",
    "DE": "XETR",
    "HE": "XHEL",
    "L": "XLON",
    "MC": "XMAD",
    "MI": "XMIL",
    "PA": "XPAR",
    "ST": "XSTO",
    "SW": "XSWX",
    "T": "XTKS",
}
"""Suffix to the exchange's market identifier code (ISO 10383)."""


@cache
def _rows() -> dict[str, dict[int, str]]:
    """Calendar to year to what is written of it."""
    table: dict[str, dict[int, str]] = {}
    for line in files("pipelines").joinpath("data", "closures.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, year, found = line.split("\t")
            table.setdefault(name, {})[int(year)] = found
    return table


def calendars() -> Sequence[str]:
    """Names of those that there are."""
    return sorted(_rows())


def known_to(name: str) -> int:
    """The last year of which a calendar knows."""
    return max(_rows()[name])


@cache
def closures(name: str | None) -> tuple[Closure, ...]:
    """A calendar's closed hours in the order of time; none where a key has no calendar. KeyError: there is none so
    named."""
    if name is None:
        return ()
    return tuple(_closure(year, text) for year, found in sorted(_rows()[name].items()) for text in found.split())


@cache
def closed_hours(name: str | None) -> frozenset[int]:
    """The hours since 1970 of a calendar's closures."""
    return frozenset(hour for one in closures(name) for hour in range(*one))


def _closure(year: int, text: str) -> Closure:
    begins, _, hours = text.partition("+")
    first = int(datetime.strptime(f"{year}{begins}", "%Y%m%dT%H").replace(tzinfo=UTC).timestamp() // HOUR)
    return Closure(first, first + int(hours or 24))


def home(ticker: str) -> str | None:
    """The calendar of the exchange that a ticker's suffix names; of a ticker without one that of the US exchanges."""
    _, dot, suffix = ticker.rpartition(".")
    return BY_SUFFIX.get(suffix, US if suffix in CLASSES else None) if dot else US
