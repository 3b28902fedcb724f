"""Now: what rings, how every watched key stands, and the tape."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, NamedTuple

from monitor.page import charts
from monitor.page.frame import Visit, number
from monitor.page.shown import alert, document, rank
from monitor.page.words import Words
from monitor.problems import Problem
from pipelines import histories
from pipelines.answers import Answers
from pipelines.documents import epoch
from pipelines.finding import Wanted
from pipelines.histories import Standing
from pipelines.watch import WatchedKey, list_key

TOGETHER = 60
"""Small charts on a page."""
TAPE = 60
SHOWN = 172_800.0
"""Seconds of a small chart, in stretches of an hour."""
RINGING = 50
"""Alerts that are shown whole; of more, the page says how many there are."""
PAST = 8
SENTIMENTS = ("negative", "neutral", "positive")
SHARE = 10.0
"""Times its own duration that the order of keys is kept, so that ten thousand keys cost a tenth of a processor."""
SOON = 0.3
"""Seconds that it is kept at least."""


class Ranking(NamedTuple):
    """Watched keys, the most unusual first, as they stood a moment ago; and what follows from the watch-lists alone."""

    keys: Mapping[str, WatchedKey]
    stand: Mapping[str, Standing]
    order: Sequence[str]
    lists: Sequence[str]


class Order:
    """Ranks keys anew beside the requests, as seldom as it costs; who asks gets the last ranking, and waits for the
    first alone."""

    def __init__(self) -> None:
        self._ranking: Ranking | None = None
        self._until = 0.0
        self._lock = Lock()
        self._work = ThreadPoolExecutor(1, thread_name_prefix="order")

    def of(self, answers: Answers) -> Ranking:
        with self._lock:
            ranking = self._ranking
            if ranking is None or ranking.keys is not answers.watch.keys:
                return self._look(answers)
            if time.monotonic() >= self._until:
                self._until = math.inf
                self._work.submit(self._look, answers)
            return ranking

    def close(self) -> None:
        self._work.shutdown()

    def _look(self, answers: Answers) -> Ranking:
        started = time.monotonic()
        try:
            self._ranking = ranked(answers)
        finally:
            done = time.monotonic()
            self._until = done + max(SOON, SHARE * (done - started))
        return self._ranking


def ranked(answers: Answers) -> Ranking:
    keys, stand = answers.watch.keys, histories.standings(answers)
    order = [key for key, one in keys.items() if key in stand or one.watchlists]
    unusual = {key: one.unusual for key, one in stand.items()}
    order.sort(key=lambda key: (-unusual.get(key, 0.0), key))
    lists = sorted({name for one in keys.values() for name in one.watchlists})
    return Ranking(keys, stand, order, lists)


def firing(answers: Answers, visit: Visit) -> dict[str, Any]:
    """What rings, the most severe first, and what did lately."""
    ringing = sorted(answers.alerts(status="firing", limit=1_000), key=rank)
    past = answers.alerts(status="resolved", limit=PAST)
    return {
        "firing": [alert(one, visit.language) for one in ringing[:RINGING]],
        "count": len(ringing),
        "past": [alert(one, visit.language) for one in past],
    }


def watched(answers: Answers, order: Order, visit: Visit, now: float) -> dict[str, Any]:
    """A page of small charts: what rings, then the most unusual key first."""
    wanted, page, ranking = visit.query.get("list", ""), number(visit, "page"), order.of(answers)
    lists = ranking.lists
    if wanted and wanted not in lists:
        raise Problem(
            400, "Bad query", f"list {wanted[:80]!r} is no watch-list; there are {', '.join(lists) or 'none'}"
        )
    rings = _ringing(answers)
    known = [key for key in ranking.order if key in rings] + [key for key in ranking.order if key not in rings]
    if wanted:
        known = [key for key in known if wanted in ranking.keys[key].watchlists]
    pages = max(1, -(-len(known) // TOGETHER))
    page = min(page, pages)
    shown = known[(page - 1) * TOGETHER : page * TOGETHER]
    nothing = Standing()
    return {
        "cards": [
            _card(answers, ranking.keys[key], ranking.stand.get(key, nothing), rings.get(key), visit, now)
            | {"part_of": _part_of(ranking, rings.get(key), visit.words)}
            for key in shown
        ],
        "keys": len(known),
        "page": page,
        "pages": pages,
        "lists": lists,
        "list": wanted,
    }


def _ringing(answers: Answers) -> dict[str, dict[str, Any]]:
    """Key to its alert's latest event, of what rings or is told by what rings (``told_by``: that alert's key): the rest
    burns on unheard."""
    burning = answers.alerts(status="firing", merged=True, limit=1_000)
    heard = {one["alert"]: one["key"] for one in burning if not one.get("merged_into")}
    return {
        one["key"]: one | {"told_by": heard[teller]}
        for one in burning
        if (teller := one.get("merged_into") or one["alert"]) in heard
    }


def _part_of(ranking: Ranking, rings: dict[str, Any] | None, words: Words) -> str | None:
    """The name under which what burns here is told; None where it is its own."""
    if rings is None or rings["told_by"] == rings["key"]:
        return None
    teller = ranking.keys.get(rings["told_by"])
    return name_of(teller, words) if teller else rings["told_by"]


def _card(
    answers: Answers, one: WatchedKey, stand: Standing, rings: dict[str, Any] | None, visit: Visit, now: float
) -> dict[str, Any]:
    words = visit.words
    since = now - SHOWN
    past = histories.buckets(answers, one.key, since, now, 48)
    marks = [mark(rings, words)] if rings else []
    bad, expected = sum(block.bad for block in past), sum(block.expected for block in past)
    name = words("now.chart", name=one.name, bad=f"{bad:.1f}", expected=f"{expected:.1f}")
    return {
        "key": one.key,
        "name": name_of(one, words),
        "score": stand.score,
        "threshold": stand.threshold,
        "known": stand.end > 0,
        "unusual": stand.unusual,
        "span": stand.span,
        "severity": rings["severity"] if rings else None,
        "alert": (rings.get("merged_into") or rings["alert"]) if rings else None,
        "mood": answers.mood(one.key),
        "bad": bad,
        "expected": expected,
        "chart": charts.small(past, answers.mood_history(one.key, since, now), marks, name),
    }


def mark(record: Mapping[str, Any], words: Words) -> charts.Mark:
    """An alert's place on a chart."""
    opened = epoch(record["body"]["data"]["episode"]["opened"])
    return charts.Mark(opened, record["severity"], words(f"severity.{record['severity']}"))


def tape(answers: Answers, visit: Visit) -> dict[str, Any]:
    """The latest documents that the address asks for, reprints of one day folded."""
    wanted, asked = asked_of(answers, visit)
    lists = sorted(one.removeprefix("list:") for one in answers.watch.keys if one.startswith("list:"))
    return {
        "tape": [document(one) for one in answers.tape(wanted, TAPE).entries],
        "asked": asked,
        "filtered": any(asked.values()),
        "topics": topics(answers),
        "tape_lists": lists,
        "sentiments": SENTIMENTS,
    }


def topics(answers: Answers) -> list[str]:
    return sorted({one.topic for one in answers.watch.keys.values() if one.topic})


def asked_of(answers: Answers, visit: Visit) -> tuple[Wanted, dict[str, str]]:
    """The documents that an address asks for, and its own words for it."""
    asked = {name: visit.query.get(name, "").strip()[:300] for name in ("list", "key", "topic", "sentiment", "text")}
    if asked["sentiment"] and asked["sentiment"] not in SENTIMENTS:
        raise Problem(400, "Bad query", f"sentiment {asked['sentiment'][:40]!r} is none of {', '.join(SENTIMENTS)}")
    if asked["topic"] and asked["topic"] not in topics(answers):
        raise Problem(400, "Bad query", f"topic {asked['topic'][:80]!r} is none that is watched")
    key = asked["key"] or (list_key(asked["list"]) if asked["list"] else "")
    if key and key not in answers.watch.keys:
        named = (one.key for one in answers.watch.keys.values() if key.casefold() in one.name.casefold())
        near = next(named, None)
        hint = (
            f"did you mean {near}?" if near else "keys are written as entity:JPM, topic:earnings, list:banks or market"
        )
        raise Problem(400, "Bad query", f"key {key[:200]!r} is not watched; {hint}")
    topic, sentiment, text = (asked[name] or None for name in ("topic", "sentiment", "text"))
    return Wanted(q=text, key=key or None, topic=topic, sentiment=sentiment, folded=True), asked


def name_of(one: WatchedKey, words: Words) -> str:
    """A key's name, of which the catalogue has what is neither a company's nor a user's own."""
    if one.key == "market":
        return words("key.market")
    if one.key.startswith("list:"):
        return words("key.list", names=", ".join(one.watchlists))
    topic = words.topic(one.topic or "")
    return f"{one.entities[0].name} ({topic})" if one.entities and topic else topic or one.name
