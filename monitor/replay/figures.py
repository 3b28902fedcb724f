"""What a replay comes to, in figures with their intervals."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec

from alerts import intervals
from alerts.baseline import DAY, HOUR, MONTH, NEWS, SOCIAL
from models.evaluate import wilson
from monitor.assembly import Parts
from monitor.replay.curve import Curve, Rang
from monitor.replay.evidence import MERGED, Episodes
from monitor.replay.labels import Label, Outcome, match, scope
from monitor.replay.player import Player
from pipelines.documents import epoch, iso

WITHOUT_LABELS = (
    "judged_keys",
    "judged_bursts",
    "judged_bursts_per_key_month",
    "judged_bursts_per_key_month_interval",
)


class Span(msgspec.Struct, frozen=True):
    """The time in which alerts could ring, in seconds since 1970."""

    begin: float
    end: float
    least: float
    """Seconds of history that a baseline takes: news a week, posts a day."""
    begun: float = 0.0
    """When the documents begin, with which baselines do, that are empty before."""

    @property
    def months(self) -> float:
        return max(1e-9, (self.end - self.begin) / MONTH)


class Outcomes(msgspec.Struct):
    """Everything that a report tells of one setting: figures, and what they are made of."""

    summary: dict[str, Any]
    matched: set[str]
    """Ids of the alerts that an event explains."""
    unmatched: set[str]
    """Of those that none does, though labels speak of such keys."""
    notes: list[str]
    told: bool
    """Whether there was time enough for rates and shares to mean anything."""


def span_of(player: Player, start: float | None) -> Span:
    """``start``: before it nothing rang; nor did anything before the first document that was no history."""
    begun = epoch(player.first or player.last)
    least = SOCIAL.cold if set(player.classes) == {"social"} else NEWS.cold
    return Span(max(epoch(player.live or player.last), start or begun), epoch(player.last), least, begun)


def learning(span: Span, *, own_log: bool) -> str | None:
    """What is to be known of baselines that begin empty; None where they had learned before anything could ring."""
    learned = span.begun + span.least
    if span.begin >= learned:
        return None
    if own_log:
        remedy = (
            "the daemon itself may stand on more history. Keep more of its log ([engine] retention), or replay files "
            "that begin earlier, with --from"
        )
    else:
        remedy = f"add documents of the {span.least / DAY:.0f} days before, and give --from"
    return (
        f"baselines begin empty at {iso(span.begun)[:16]}Z and learn until {iso(learned)[:16]}Z: before that up to "
        f"twice the evidence is asked for; {remedy}"
    )


def outcomes(player: Player, parts: Parts, labels: Sequence[Label] | None, span: Span, episodes: Episodes) -> Outcomes:
    """Counts, alarms per key and month and, with labels, what was found, how soon, and how much else rang.

    An alert counts once, when somebody is first told of it. Intervals are of 95 %: Wilson's for shares, Garwood's exact
    ones for rates (as if alarms came independently), of the median delay by order statistics.
    """
    every = episodes.all()
    sent = [one for one in every if one.sent is not None]
    entities = companies(parts)
    notes: list[str] = []
    summary = _counted(player, parts, span) | {
        "entity_keys": len(entities),
        "bursts": len(player.curve.replayed),
        "alerts": len(sent),
        "entity_alerts": sum(one.key in entities for one in sent),
        "by_rule": dict(Counter(one.rule for one in sent).most_common()),
        "told_to_nobody": dict(Counter(one.why for one in every if one.sent is None).most_common()),
    }
    if player.counts["unsupported"]:
        unread = f"{player.counts['unsupported']} of {player.counts['documents']} documents"
        notes.append(f"{unread} count nowhere: no model in use reads their language")
    notes += [
        f"{number} alerts are told to nobody: {why}"
        for why, number in summary["told_to_nobody"].items()
        if why != MERGED
    ]
    told = _is_told(player, span, notes)
    for name, keys in (("alerts", parts.watch.keys), ("entity_alerts", entities)):
        summary |= _rate(f"{name}_per_key_month", summary[name], len(keys), span, told=told)
    summary["by_key"] = dict(Counter(one.key for one in sent).most_common())
    found, unmatched = set[str](), set[str]()
    if labels is not None:
        keys, rang = scope(labels, parts.watch), episodes.told()
        events, found, _ = match(labels, rang, span.begin, span.end)
        unmatched = {one.id for one in rang if one.key in keys and one.id not in found}
        summary |= rated(labels, rang, keys, span, told=told) | {
            "events": [_told(outcome) for outcome in events],
            "unlabelled": [
                {"key": one.key, "at": one.sent, "severity": one.severity} for one in sent if one.id not in found
            ],
        }
        notes += _about(events, span)
    return Outcomes(summary, found, unmatched, notes, told)


def companies(parts: Parts) -> set[str]:
    """The keys of single companies, whatever the topic."""
    return {key for key, watched in parts.watch.keys.items() if watched.is_company}


def _counted(player: Player, parts: Parts, span: Span) -> dict[str, Any]:
    return {
        "documents": player.counts["documents"],
        **{
            name: player.counts[name]
            for name in (
                "accepted",
                "duplicate",
                "revision",
                "empty",
                "oversize",
                "scored",
                "unsupported",
                "dead_letters",
            )
        },
        "late": player.timeline.late,
        "from": player.first,
        "to": player.last,
        "months": round(span.months, 2),
        "watched_keys": len(parts.watch.keys),
    }


def rated(
    labels: Sequence[Label],
    rang: Sequence[Rang],
    keys: Collection[str],
    span: Span,
    *,
    told: bool,
    what: Literal["alerts", "bursts"] = "alerts",
) -> dict[str, Any]:
    """What one detector's alerts, or its bursts, are worth by labels, each id once. ``keys``: those that labels judge.
    Not ``told``: rates."""
    events, found, wrong = match(labels, rang, span.begin, span.end)
    hits, tried = sum(one.state == "found" for one in events), sum(one.state in ("found", "missed") for one in events)
    inside = {one.id for one in rang if one.key in keys}
    true, false = len(inside & found), len(inside & wrong)
    delays = [delay for one in events if (delay := _delay(one)) is not None]
    middle = intervals.median(delays)
    return {
        "events_known": len(events),
        "events_counted": tried,
        "events_found": hits,
        **_share("recall", hits, tried, told=told),
        **_share("precision_lower_bound", true, len(inside), told=told),
        **_share("precision_labelled", true, true + false, told=told),
        "judged_keys": len(keys),
        f"judged_{what}": len(inside),
        "judged_false": false,
        **_rate(f"judged_{what}_per_key_month", len(inside), len(keys), span, told=told),
        "delay_days": round(statistics.median(delays), 2) if delays else None,
        "delay_days_interval": None if middle is None else [round(value, 2) for value in middle],
    }


def points(
    curve: Curve, parts: Parts, labels: Sequence[Label] | None, span: Span, *, told: bool
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Of each budget what ``rated`` tells of its bursts, without labels the bursts of companies alone; and the same of
    the bursts of the replayed detector."""
    keys = scope(labels, parts.watch) if labels else {key for key in parts.watch.keys if key.startswith("entity:")}

    def point(rang: Sequence[Rang]) -> dict[str, Any]:
        found = rated(labels or (), rang, keys, span, told=told, what="bursts")
        return found if labels else {name: value for name, value in found.items() if name in WITHOUT_LABELS}

    return [{"budget": budget} | point(rang) for budget, rang in curve.rang.items()], point(curve.replayed)


def _is_told(player: Player, span: Span, notes: list[str]) -> bool:
    """Whether rates mean anything."""
    history, rung = epoch(player.last) - epoch(player.first or player.last), span.end - span.begin
    if history < span.least:
        short = (
            f"the documents span {history / DAY:.1f} days, less than the {span.least / DAY:.0f} that a baseline takes"
        )
    elif rung < DAY:
        short = f"alerts could ring for {max(0.0, rung) / HOUR:.1f} hours only, from --from to the last document"
    else:
        return True
    notes.append(f"{short}: recall, precision and alarms per month are not told; replay a longer time")
    return False


def _about(events: Sequence[Outcome], span: Span) -> list[str]:
    """What the figures leave out, and what to bear in mind of them."""
    notes = []
    for one in events:
        label = one.label
        name = f"{label.subject!r}, {iso(label.onset)[:10]}"
        if one.state == "unwatched":
            notes.append(f"{name}: no watched key has that name: it can't be found, and recall leaves it out")
        elif one.state == "outside":
            notes.append(f"{name}: outside of the time in which alerts could ring: recall leaves it out")
        elif label.onset < span.begin + span.least and span.begin <= label.onset:
            notes.append(f"{name}: in the first {span.least / DAY:.0f} days, in which baselines ask for more evidence")
    return notes


def _delay(outcome: Outcome) -> float | None:
    """Days from the onset to the first alert."""
    return None if outcome.first is None else round((outcome.first.at - outcome.label.onset) / DAY, 4) + 0.0


def _told(outcome: Outcome) -> dict[str, Any]:
    label, first, delay = outcome.label, outcome.first, _delay(outcome)
    return {
        "entity": label.subject,
        "what": label.what,
        "onset": iso(label.onset),
        "dated": label.dated,
        "keys": sorted(label.keys),
        "state": outcome.state,
        "rang": iso(first.at) if first else None,
        "key": first.key if first else None,
        "alert": first.id if first else None,
        "delay_days": None if delay is None else round(delay, 2) + 0.0,  # never -0.0
    }


def _share(name: str, hits: int, of: int, *, told: bool) -> dict[str, Any]:
    if not of or not told:
        return {name: None, f"{name}_interval": None}
    return {name: round(hits / of, 4), f"{name}_interval": wilson(hits, of)}


def _rate(name: str, count: int, keys: int, span: Span, *, told: bool) -> dict[str, Any]:
    if not keys or not told:
        return {name: None, f"{name}_interval": None}
    exposure = keys * span.months
    low, high = intervals.poisson(count)
    return {name: round(count / exposure, 5), f"{name}_interval": [round(low / exposure, 5), round(high / exposure, 5)]}
