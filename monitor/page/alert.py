"""One alert: what happened, to whom, how bad, how sure, since when, and what to do."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from monitor.page import charts
from monitor.page.frame import Visit
from monitor.page.now import mark
from monitor.page.shown import alert, document, story
from monitor.problems import Problem
from pipelines import histories
from pipelines.answers import Answers
from pipelines.documents import epoch
from pipelines.finding import Wanted

BLOCK = 1_800.0
BEFORE = 86_400.0
"""Seconds before an alert that its charts show at least."""
AFTER = 7_200.0
MOST = 240
"""Stretches of a chart at most."""
MORE = 30
"""Other documents that are listed."""
SILENCES = ("1h", "4h", "1d", "3d", "7d")


def view(answers: Answers, visit: Visit, name: str, now: float) -> dict[str, Any]:
    """Everything that is known of an alert, by its id or that of one of its events."""
    events = _events(answers, name)
    one = alert(events[-1], visit.language)
    stories = _stories(events)
    since, until = epoch(one["since"]), epoch(one["at"]) if not one["firing"] else now
    return {
        "one": one,
        "life": [_moment(event) for event in events],
        "stories": stories,
        "strongest": max((told["nats"] for told in stories), default=0.0) or 1.0,
        "words": _words(stories),
        "lasted": until - epoch(one["episode"]["opened"]),
        "others": _others(answers, one["key"], since, until, {told["id"] for told in stories}),
        "deliveries": list(_deliveries(answers, events)),
        "clocks": _clocks(answers, events, one),
        "verdicts": [msgspec.to_builtins(verdict) for verdict in reversed(answers.verdicts(one["id"]))],
        "silences": SILENCES,
        "hushed": _hushed(answers, one["key"], now),
        "watched": one["key"] in answers.watch.keys,
        **_charts(answers, events, visit, since, until, now),
    }


def _hushed(answers: Answers, key: str, now: float) -> dict[str, Any] | None:
    """The silence of this key alone that lasts longest, of those that operators made."""
    alone = {"keys": [key]}
    lasting = [
        one
        for one in answers.silences()
        if one["expires"] > now and {name: value for name, value in one["match"].items() if value} == alone
    ]
    return max(lasting, key=lambda one: float(one["expires"]), default=None)


def _events(answers: Answers, name: str) -> list[dict[str, Any]]:
    events = answers.alert(name)
    if not events or not events[0]["alert"]:
        raise Problem(404, "No such alert", f"none has the id {name[:100]!r}; /alerts lists what rang")
    return events


def _moment(event: Mapping[str, Any]) -> dict[str, Any]:
    data = event["body"]["data"]
    unusual = data["unusual"]
    return {
        "at": event["at"],
        "kind": event["type"].removeprefix("alert."),
        "severity": event["severity"],
        "reason": data["reason"],
        "score": unusual["score"],
        "observed": unusual["observed"],
        "stories": unusual["negative_stories"],
    }


def _stories(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every story that one of its events quoted, as the last one had it, in the order in which they were told."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        for told in event["body"]["data"]["evidence"]["stories"]:
            found[told["id"]] = story(told)
    return sorted(found.values(), key=lambda told: (told["published"], told["id"]))


def _words(stories: Sequence[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """What carried the label, over all stories: each phrase with its greatest weight."""
    weights: dict[str, float] = {}
    for told in stories:
        for text, weight in told["words"]:
            name = text.casefold()
            weights[name] = max(weight, weights.get(name, 0.0))
    return sorted(weights.items(), key=lambda pair: -pair[1])[:12]


def _others(answers: Answers, key: str, since: float, until: float, known: set[str]) -> list[dict[str, Any]]:
    wanted = Wanted(key=key, since=since - 60.0, until=until + 60.0, folded=True)
    found = answers.tape(wanted, MORE + len(known)).entries
    return [document(one) for one in found if one["id"] not in known][:MORE]


def _deliveries(answers: Answers, events: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for event in events:
        for owed in histories.owed(answers, event["id"]):
            tries = [one for one in answers.attempts(event["id"]) if one["channel"] == owed["channel"]]
            yield {**owed, "kind": event["type"].removeprefix("alert."), "attempts": sorted(tries, key=_number)}


def _number(attempt: Mapping[str, Any]) -> int:
    return int(attempt["number"])


def _clocks(
    answers: Answers, events: Sequence[Mapping[str, Any]], one: Mapping[str, Any]
) -> list[tuple[str, float | None]]:
    """When it was first published, first seen here, when it rang, and when the first receiver had it."""
    seen = min((epoch(told["first_seen"]) for told in _stories(events)), default=None)
    delivered = [attempt["at"] for attempt in answers.attempts(events[0]["id"]) if attempt["ok"]]
    return [
        ("published", epoch(one["first"]["published"]) if one["first"] else None),
        ("seen", seen),
        ("rang", epoch(events[0]["at"])),
        ("delivered", min(delivered, default=None)),
    ]


def _charts(
    answers: Answers, events: Sequence[Mapping[str, Any]], visit: Visit, since: float, until: float, now: float
) -> dict[str, Any]:
    words, data = visit.words, events[-1]["body"]["data"]
    begin = since - max(BEFORE, until - since)
    end = max(min(now, until + AFTER), begin + BLOCK)
    begin, count = begin // BLOCK * BLOCK, int((end - begin // BLOCK * BLOCK) / BLOCK) + 1
    past = histories.buckets(answers, events[-1]["key"], begin, begin + count * BLOCK, min(MOST, count))
    marks = [mark(events[-1], words)]
    name = data["subject"]["name"]
    return {
        "buckets": past,
        "counted": charts.counted(past, marks, words("alert.counted", name=name)),
        "scored": charts.scored(past, marks, words("alert.scored", name=name)),
    }


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula where a cell begins with it."""


def table(answers: Answers, name: str) -> str:
    """An alert's stories as CSV."""
    events = _events(answers, name)
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\r\n")
    write.writerow(
        (
            "published",
            "first_seen",
            "publisher",
            "headline",
            "url",
            "negative",
            "neutral",
            "positive",
            "nats",
            "reprints",
        )
    )
    for told in _stories(events):
        cells = (
            told["published"], told["first_seen"], told["publisher"], told["headline"], told["url"] or "",
            told["negative"], told["neutral"], told["positive"], told["nats"], told["reprints"],
        )  # fmt: skip
        write.writerow(f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in cells)
    return out.getvalue()


def exported(answers: Answers, name: str) -> dict[str, Any]:
    """An alert's events, deliveries and verdicts as they are recorded."""
    events = _events(answers, name)
    return {
        "events": events,
        "deliveries": list(_deliveries(answers, events)),
        "verdicts": [msgspec.to_builtins(one) for one in answers.verdicts(events[0]["alert"])],
    }
