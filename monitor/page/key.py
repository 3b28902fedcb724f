"""One key: its past in a range, what is usual for it, and what would ring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from alerts.wording import plain
from monitor.page import charts
from monitor.page.frame import Visit
from monitor.page.now import mark, name_of
from monitor.page.ranges import moment_of
from monitor.page.shown import alert, document
from monitor.page.words import Words
from monitor.problems import Problem
from pipelines import histories
from pipelines.answers import Answers
from pipelines.finding import Wanted
from pipelines.histories import Bucket
from pipelines.watch import WatchedKey

DAY = 86_400.0
RANGES = {"6h": 21_600.0, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY, "120d": 120 * DAY, "365d": 365 * DAY}
STRETCHES = 180
"""Of a chart at most."""
BLOCK = 1_800.0
LEARNED = 28
"""Days whose expectation is told in words: four of each weekday."""
READ = 1_000
"""Documents that topics and publishers are counted over at most."""
RANG = 500
"""Alerts at most, of a range the latest."""
SHOWN = 40
TOP = 8


def view(answers: Answers, visit: Visit, key: str, now: float) -> dict[str, Any]:
    """What is known of a watched key in the range that the address asks for."""
    watched = answers.watch.keys.get(key)
    if watched is None:
        hint = "keys are written as entity:JPM, topic:earnings, list:banks or market; / shows them all"
        raise Problem(404, "No such key", f"{plain(key, 200)!r} is not watched; {hint}")
    since, until, chosen = _range(visit, now)
    count = max(6, min(STRETCHES, int((until - since) / BLOCK)))
    past = histories.buckets(answers, key, since, until, count)
    rang = answers.heads(key=key, since=since, until=until, merged=True, limit=RANG).entries
    found = answers.tape(Wanted(key=key, since=since, until=until), READ).entries
    stories = answers.tape(Wanted(key=key, since=since, until=until, folded=True), SHOWN).entries
    words, name = visit.words, name_of(watched, visit.words)
    return {
        "key": key,
        "name": name,
        "lists": watched.watchlists,
        "stand": histories.standings(answers, key).get(key),
        "mood": answers.mood(key),
        "ranges": RANGES,
        "chosen": chosen,
        "since": since,
        "until": until,
        "buckets": past,
        "counted": charts.counted(past, [mark(one, words) for one in rang], words("alert.counted", name=name)),
        "scored": charts.scored(past, [mark(one, words) for one in rang], words("alert.scored", name=name)),
        "alerts": [alert(one, visit.language) for one in rang[:50]],
        "usual": usual(answers, watched, now, words),
        "topics": _shares(found, lambda one: (one["topic"] or {}).get("label")),
        "publishers": _shares(found, lambda one: one["publisher"]),
        "read": len(found),
        "most": READ,
        "stories": [document(one) for one in stories],
    }


def _range(visit: Visit, now: float) -> tuple[float, float, str]:
    """From and until in seconds since 1970, and the range's name; empty for one of the reader's own."""
    asked = {name: visit.query.get(name, "") for name in ("from", "to")}
    if any(asked.values()):
        until = moment_of("to", asked["to"]) if asked["to"] else now
        since = moment_of("from", asked["from"]) if asked["from"] else until - RANGES["7d"]
        if not until - since >= BLOCK:
            raise Problem(400, "Bad range", "from lies half an hour before to at least")
        return since, until, ""
    name = visit.query.get("range") or "7d"
    if name not in RANGES:
        raise Problem(400, "Bad range", f"range is one of {', '.join(RANGES)}, not {name[:20]!r}")
    return now - RANGES[name], now, name


def usual(answers: Answers, watched: WatchedKey, now: float, words: Words) -> dict[str, Any] | None:
    """What its baseline expects a day, and on which weekday that is most different; None without a history."""
    end = now // DAY * DAY
    days = histories.buckets(answers, watched.key, end - LEARNED * DAY, end, LEARNED)
    stand = histories.standings(answers, watched.key).get(watched.key)
    # On its first day it was expected to be as others are.
    seen = [one for one in days if one.known][1:]
    if stand is None or not seen:
        return None
    mean = sum(one.expected for one in seen) / len(seen)
    weekdays = _by_weekday(seen)
    special = max(weekdays, key=lambda day: abs(weekdays[day] - mean), default=None)
    told = special is not None and len(seen) >= 14 and abs(weekdays[special] - mean) > max(0.1, 0.2 * mean)
    return {
        "daily": mean,
        "weekday": words(f"weekday.{special}") if told else None,
        "then": weekdays[special] if told and special is not None else 0.0,
        "span": stand.span,
    }


def _by_weekday(days: Sequence[Bucket]) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for one in days:
        found.setdefault(datetime.fromtimestamp(one.start, UTC).weekday(), []).append(one.expected)
    return {day: sum(values) / len(values) for day, values in found.items()}


def _shares(documents: Sequence[Mapping[str, Any]], name_of_one: Any) -> list[dict[str, Any]]:
    """The most frequent names with their documents, and how many of these are bad."""
    all_, bad = Counter[str](), Counter[str]()
    for one in documents:
        if name := name_of_one(one):
            all_[name] += 1
            bad[name] += (one["sentiment"] or {}).get("label") == "negative"
    return [{"name": plain(name, 80), "count": count, "bad": bad[name]} for name, count in all_.most_common(TOP)]
