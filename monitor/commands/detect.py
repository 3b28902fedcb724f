"""``tapewatch detect``: scored items in, episodes out, by the aggregate stage's own detector."""

from __future__ import annotations

import contextlib
import hashlib
import math
import sys
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec
import typer

from alerts.detector import Block, Detector
from alerts.episode import EpisodeEvent
from alerts.key_state import Item, KeyState
from alerts.wording import iso
from monitor.commands.predict import open_input, whole
from pipelines.calendars import calendars
from pipelines.documents import SeriesPoint, decode
from pipelines.points import point_of
from pipelines.streams.memory import MemoryState
from pipelines.week import TABLES, Weeks, learn


class LineError(ValueError):
    """A line that can't be read."""


def run_detect(
    source: str, *, budget: float, class_: str, start: str | None, end: str | None, week: bool, calendar: str | None
) -> None:
    """Reads scored items in time order; writes what happens, a JSON object a line."""
    if class_ not in ("news", "social"):
        raise typer.BadParameter("--class is news or social")
    if not 0 < budget < math.inf:
        raise typer.BadParameter("--false-alarms-per-month must be a number above 0")
    if calendar is not None and not week:
        raise typer.BadParameter(f"--calendar {calendar}: needs --week; without it every day is alike")
    if calendar is not None and calendar not in calendars():
        raise typer.BadParameter(f"--calendar {calendar!r} is none of {', '.join(calendars())}")
    offline = Offline(budget, class_, _option("--start", start), week=week, calendar=calendar)
    failed = False
    with open_input(source) as stream:
        for number, raw in enumerate(whole(stream, source), 1):
            if not raw.strip():
                continue
            try:
                offline.take(raw, number)
            except LineError as error:
                typer.echo(f"line {number}: {error}", err=True)
                failed = True
    offline.finish(_option("--end", end))
    if failed:
        raise typer.Exit(1)


LATEST = 253_402_300_800.0
"""Seconds since 1970 of the year 10000, where dates end."""
HEAVIEST = 1e6
"""Most that an item may weigh: novelty and relevance are 1 at most, and sums of it stay numbers."""


class Tables:
    """What MemoryState asks of a stage."""

    name = "week"
    inputs = ()
    tables = TABLES


class LearnedWeeks(Weeks):
    """The week as it is learned on the way, by the notify stage's own code, of keys that share a calendar."""

    def __init__(self, calendar: str | None) -> None:
        super().__init__()
        self._calendar = calendar
        self._state = MemoryState(Tables())  # type: ignore[arg-type]  # no stage; only its tables are used

    def take(self, key: str, blocks: Sequence[Block], at: float) -> None:
        """Learns a key's blocks that were closed at a time."""
        for block in blocks:
            point = decode(SeriesPoint, point_of(key, block, closed_at=at, backfill=False).value)
            profile = learn(point, self._state, lambda _: self._calendar)
            if profile is not None:
                self.adopt([*self.profiles, profile][-3:])


class Offline:
    """The detector over a file. A key's exposure starts with the file's first item, whichever key it was of.

    ``week``: whether the week's shape is learned on the way; else it is flat.
    """

    def __init__(self, budget: float, class_: str, start: float | None, *, week: bool, calendar: str | None) -> None:
        self._detector = Detector(budget=budget)
        self._learned = LearnedWeeks(calendar) if week else None
        self._weeks = self._learned or Weeks()
        self._calendar = calendar
        self._class = class_
        self._start = start
        self._keys: dict[str, KeyState] = {}
        self._since: float | None = None
        self._latest = -math.inf

    def take(self, raw: bytes, number: int) -> None:
        key, item = self._item(raw, number)
        if self._since is None:
            self._since = item.at
        state = self._keys.get(key)
        if state is None:
            state = self._keys[key] = self._detector.new(min(self._since, item.at))
        self._latest = max(self._latest, item.at)
        learning = self._start is not None and item.at < self._start
        shape = self._weeks.at(item.at, self._calendar)
        step = self._detector.observe(key, state, item, shape, learning=learning)
        _write(step.events)
        if self._learned is not None:
            self._learned.take(key, step.blocks, state.clock)
        for other in [name for name, held in self._keys.items() if held.episode is not None and name != key]:
            _write(self._detector.advance(other, self._keys[other], item.at, shape))

    def finish(self, end: float | None) -> None:
        """Lets time pass to ``end`` for every key."""
        if end is not None:
            shape = self._weeks.at(end, self._calendar)
            events = [
                event
                for key, state in sorted(self._keys.items())
                for event in self._detector.advance(key, state, end, shape)
            ]
            _write(sorted(events, key=lambda event: (event.at, event.key)))

    def _item(self, raw: bytes, number: int) -> tuple[str, Item]:
        try:
            fields = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            remedy = 'write a line as {"key": "acme", "ts": "2026-01-31T12:00:00Z", "p_negative": 0.9}'
            raise LineError(f"not JSON ({error}); {remedy}") from None
        if not isinstance(fields, dict):
            raise LineError("not an object")
        key = fields.get("key")
        if not isinstance(key, str) or not key:
            raise LineError("key is missing or empty")
        b, weight = _number(fields, "p_negative", None, 1.0), _number(fields, "weight", 1.0, HEAVIEST)
        name = fields.get("id")
        class_ = fields.get("class", self._class)
        if class_ not in ("news", "filing", "social"):
            raise LineError(f"class {class_!r} is not news, filing or social")
        document = str(name) if name is not None else hashlib.sha256(b"%d:" % number + raw).hexdigest()[:32]
        publisher = fields.get("publisher")
        return key, Item(
            moment(fields.get("ts")),
            b,
            weight,
            class_ == "social",
            document,
            publisher if isinstance(publisher, str) else None,
            weight > 0.5,
        )


def _number(fields: dict[str, Any], name: str, default: float | None, top: float) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise LineError(f"{name} is missing or no number")
    if not 0 <= value <= top:
        raise LineError(f"{name} {value} is not within 0 and {top:g}")
    return float(value)


def moment(value: Any) -> float:
    """ISO 8601 or seconds since 1970, as seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _within(value, value)
    if not isinstance(value, str):
        raise LineError("ts is missing, and neither ISO 8601 nor seconds since 1970")
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise LineError(f"ts {value[:40]!r} is neither ISO 8601 nor seconds since 1970") from None
    if parsed.tzinfo is None:
        raise LineError(f"ts {value[:40]!r} has no offset; write it as 2026-01-31T12:00:00Z")
    return _within(parsed.timestamp(), value)


def _within(seconds: float, told: Any) -> float:
    if not 0.0 <= seconds < LATEST:
        raise LineError(f"ts {str(told)[:40]!r} is not within 1970 and 9999, in seconds since 1970 or ISO 8601")
    return float(seconds)


def time_option(name: str, value: str | None) -> float | None:
    """A day, or a time in ISO 8601, that an option was given, as seconds since 1970. Raises typer.BadParameter."""
    if value is None:
        return None
    try:
        return day_or_moment(value)
    except LineError as error:
        raise typer.BadParameter(f"{name}: {error}") from None


def day_or_moment(value: str) -> float:
    """A day, which begins at its midnight (UTC), or a time in ISO 8601 with a zone, as seconds since 1970."""
    if is_day(value):
        with contextlib.suppress(ValueError):
            return moment(f"{date.fromisoformat(value)}T00:00:00Z")
        raise LineError(
            f"{value[:40]!r} is neither a day, as 2026-01-31, nor a time with a zone, as 2026-01-31T12:00:00Z"
        )
    return moment(value)


def is_day(value: str) -> bool:
    """Whether a time says no hour."""
    return "T" not in value and " " not in value


def _option(name: str, value: str | None) -> float | None:
    if value is None:
        return None
    given: float | str = value
    with contextlib.suppress(ValueError):
        given = float(value)
    try:
        return moment(given)
    except LineError as error:
        raise typer.BadParameter(f"{name}: {error}") from None


def _write(events: list[EpisodeEvent]) -> None:
    for event in events:
        shown = {
            "type": f"alert.{event.kind}",
            "key": event.key,
            "episode": event.episode,
            "ts": iso(event.at),
            "score": round(event.score, 4),
            "threshold": round(event.threshold, 4),
            "observed": round(event.observed, 4),
            "others": round(event.others, 4),
            "expected": round(event.expected, 5),
            "expected_low": round(event.expected_low, 5),
            "expected_high": round(event.expected_high, 5),
            "stories": event.stories,
            "severity": event.severity,
            "since": iso(event.since),
            "baseline_span_seconds": round(event.baseline_span, 3),
            "opened_by": event.opened_by,
            "reason": event.reason,
        }
        sys.stdout.buffer.write(msgspec.json.encode(shown) + b"\n")
    sys.stdout.flush()
