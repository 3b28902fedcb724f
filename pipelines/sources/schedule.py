"""When to poll a feed next, and how it is doing. Pure: facts in, plan out.

Explicit intervals win over what the feed asks for; only Retry-After and back-off lengthen them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from pipelines.sources.base import SourceState

DEFAULT_INTERVAL = 300.0
SHORTEST = 1.0
SHORTEST_ASKED = 30.0
"""Seconds below which a feed's own wish is not followed: few mean it."""
LONGEST_ASKED = 3_600.0
BACKOFF_FROM = 2.0
BACKOFF_TO = 3_600.0
RETRY_AFTER_TO = 86_400.0
STALE_FACTOR = 6.0
"""Times its own usual interval between new items before a feed counts as frozen."""
STALE_FLOOR = 6 * 3_600.0
STALE_UNKNOWN = 86_400.0
"""Seconds without anything new after which a feed whose habit nobody knows counts as frozen: it may have been so when
it was first read."""
USUAL_WEIGHT = 0.2
DOWN_AFTER = 3
"""Failures in a row after which a source counts as down; one hiccup is none."""


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """What a feed asks for: seconds of its ttl, of Cache-Control, and hours (UTC) to leave it alone."""

    ttl: float | None = None
    max_age: float | None = None
    skip_hours: tuple[int, ...] = ()


class Health(msgspec.Struct, array_like=True):
    """What is remembered of a feed between polls; saved with its cursor. Times in seconds since 1970."""

    last_success: float | None = None
    last_new: float | None = None
    usual: float | None = None
    """Usual seconds between polls that bring something new."""
    streak: int = 0
    items: int = 0
    first: float | None = None
    """When it was first read."""


def interval_of(explicit: float | None, asked: Asked) -> float:
    """Seconds between polls of a healthy feed."""
    if explicit is not None:
        return max(SHORTEST, explicit)
    # Zero is no wish: "max-age=0" forbids caches to answer, it does not invite to ask all the time.
    wishes = [wish for wish in (asked.ttl, asked.max_age) if wish]
    if not wishes:
        return DEFAULT_INTERVAL
    return min(max(*wishes, SHORTEST_ASKED), LONGEST_ASKED)


def next_poll(
    now: float, interval: float, *, streak: int, retry_after: float | None, skip_hours: tuple[int, ...], draw: float
) -> float:
    """When to poll next. ``streak`` failures in a row double the wait, with up to a fifth of jitter."""
    if streak:
        wait = max(interval, min(BACKOFF_TO, max(interval, BACKOFF_FROM) * 2.0 ** min(streak - 1, 12)))
        wait *= 1.0 + 0.2 * draw
    else:
        wait = interval * (1.0 + (0.05 * draw if interval >= 10.0 else 0.0))
    if retry_after is not None:
        wait = max(wait, min(retry_after, RETRY_AFTER_TO))
    due = now + wait
    if not streak and skip_hours and len(skip_hours) < 24:
        while datetime.fromtimestamp(due, UTC).hour in skip_hours:
            due += 3_600.0 - due % 3_600.0
    return due


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds of Retry-After (seconds or a date), None where there is none."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now)


def max_age(headers: Mapping[str, str]) -> float | None:
    """Seconds of Cache-Control's max-age."""
    found = re.search(r"\bmax-age\s*=\s*(\d{1,9})", headers.get("cache-control", ""), re.IGNORECASE)
    return float(found[1]) if found else None


def note_success(health: Health, now: float, new: int) -> Health:
    """The health after a poll that worked and brought ``new`` new items."""
    usual, last_new = health.usual, health.last_new
    if new:
        if last_new is not None:
            gap = now - last_new
            usual = gap if usual is None else usual + USUAL_WEIGHT * (gap - usual)
        last_new = now
    first = health.first or health.last_success or now
    return Health(now, last_new, usual, 0, health.items + new, first)


def note_failure(health: Health) -> Health:
    return msgspec.structs.replace(health, streak=health.streak + 1)


def is_frozen(health: Health, interval: float) -> bool:
    """Whether a feed that answers has brought nothing new for far longer than is usual for it.

    Judged at its last answer: while nobody asked it, it could bring nothing.
    """
    since = health.last_new or health.first
    if since is None or health.last_success is None:
        return False
    silence = STALE_UNKNOWN if health.usual is None else max(STALE_FLOOR, STALE_FACTOR * health.usual)
    return health.last_success - since > max(silence, 10 * interval)


def state_of(health: Health, *, frozen: bool) -> SourceState:
    """How a source that is polled is doing; one that was never read is down from its first failure."""
    if health.streak >= DOWN_AFTER or (health.streak and health.last_success is None):
        return "down"
    return "stale" if frozen else "up"
