"""How an alert speaks: text made harmless, times, spans and the one-sentence summary. Pure.

Headlines and names come from strangers. What leaves here is one line of printable text in reading order, so that no
receiver, terminal or log can be led astray by it; escaping for a markup is the renderer's task.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from alerts.episode import EpisodeEvent

Time = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        description="ISO 8601, UTC, milliseconds",
        extra_json_schema={"format": "date-time"},
    ),
]

HEADLINE = 200
NAME = 80
LINK_LIMIT = 500
"""Characters; a longer link is left out whole, since half a link leads somewhere else."""

_JOINERS = "\u200c\u200d"
"""Needed to write Persian, Indic scripts and composed emoji; they reorder and hide nothing."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})

_REASONS = {
    "quiet": "bad news is back to its usual rate",
    "expired": "no source was left to tell",
    "merged": "it is part of another alert",
    "operator": "closed by an operator",
}

_ENDS = {
    "back": "it is back to a usual volume",
    "unseen": "its sources could not be seen",
    "expired": "so little is the usual now",
    "operator": "closed by an operator",
}
"""Of silences."""


def iso(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def epoch(time: str) -> float:
    """ISO 8601 with an offset as seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()


def plain(text: str, limit: int) -> str:
    """One line of at most ``limit`` characters without control, bidirectional or invisible characters."""
    kept = (
        (" " if character in "\t\n\r\x0b\x0c\x85\u2028\u2029" else character)
        for character in text[: 4 * limit + 64]
        if character in "\t\n\r\x0b\x0c\x85\u2028\u2029" + _JOINERS
        or unicodedata.category(character) not in _UNPRINTABLE
    )
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def name(text: str | None) -> str | None:
    """A name that may be missing."""
    return None if text is None else plain(text, NAME)


def share(value: float) -> float:
    """A probability or a share, for people."""
    return round(min(1.0, max(0.0, value)), 3)


def link(url: str | None) -> str | None:
    """The address if it is a plain http or https one that a reader can follow safely, else None."""
    if url is None or len(url) > LINK_LIMIT or any(c.isspace() or not c.isprintable() for c in url):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    followable = parts.scheme.lower() in ("http", "https") and bool(host) and "@" not in parts.netloc
    return url if followable else None


def span(seconds: float) -> str:
    """A length of time in words: ``35 minutes``, ``3 hours``, ``12 days``."""
    seconds = max(0.0, seconds)
    for size, name, upto in ((1.0, "second", 90.0), (60.0, "minute", 5_400.0), (3_600.0, "hour", 172_800.0)):
        if seconds < upto:
            return counted(round(seconds / size), name)
    return counted(round(seconds / 86_400.0), "day")


def counted(number: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith("ry") else noun + "s"
    return f"{number} {noun if number == 1 else plural}"


def amount(value: float) -> str:
    """A quantity of evidence: one decimal, two below one."""
    return f"{value:.2f}" if 0 < value < 0.95 else f"{value:.1f}"


def summary(
    event: EpisodeEvent, subject: str, mostly: str | None = None, others: int = 0, *, follows: bool = False
) -> str:
    """One plain English sentence: who, how much, against what expectation from how long a history.

    ``mostly``: the kind of adverse event that most of the stories tell, if there is one. ``others``: how many other
    keys' bursts are part of it. ``follows``: an alert came before it.
    """
    more = f"; {counted(others, 'other key')} {'is' if others == 1 else 'are'} part of it" if others else ""
    more += "; it follows an alert that is over" if follows else ""
    if event.kind == "resolved":
        why = _REASONS.get(event.reason or "", "it ended")
        lasted = span(event.at - event.opened_at)
        return f"{subject}: the burst is over after {lasted} ({why}); {_counts(event, mostly)}{more}."
    lead = "" if event.kind == "firing" else f"now {event.severity}, "
    return f"{subject}: {lead}{_counts(event, mostly)}{more}."


def flash(event: EpisodeEvent, subject: str, rule: str) -> str:
    """One sentence of a flash: which rule, told by how many, how probable it is that it is bad news."""
    by = f"“{rule}” told by {counted(event.publishers, 'publisher')}"
    if event.kind == "resolved":
        return f"{subject}: nothing more of “{rule}”, {span(event.at - event.opened_at)} after it rang; {by}."
    lead = "" if event.kind == "firing" else f"now {event.severity}, "
    return f"{subject}: {lead}{by} {_within(event)}, bad news with a probability of {event.share:.2f}."


def silence(event: EpisodeEvent, subject: str) -> str:
    """One sentence of a silence: for how long, where how much was expected."""
    if event.kind == "resolved":
        why = _ENDS.get(event.reason or "", "it ended")
        return f"{subject}: the silence is over after {span(event.at - event.since)} ({why})."
    expected = f"{amount(event.expected)} ({amount(event.expected_low)} to {amount(event.expected_high)})"
    return (
        f"{subject}: nothing for {span(event.at - event.since)} where {expected} items were expected from "
        f"{span(event.baseline_span)} of history, while its sources live."
    )


def _within(event: EpisodeEvent) -> str:
    lasted = event.at - event.since
    return f"in {span(lasted)}" if lasted >= 0.5 else "at once"


def _counts(event: EpisodeEvent, mostly: str | None) -> str:
    what = "negative story" if event.publishers else "negative post"
    told = f" from {counted(event.publishers, 'publisher')}" if event.publishers else ""
    about = f", mostly about {mostly.replace('_', ' ')}" if mostly else ""
    expected = amount(event.expected)
    if event.expected_high >= 0.05:
        expected += f" ({amount(event.expected_low)} to {amount(event.expected_high)})"
    return (
        f"{counted(event.stories, what)}{told} {_within(event)}{about}, weighing "
        f"{amount(event.observed)} where {expected} was expected from {span(event.baseline_span)} of history"
    )
