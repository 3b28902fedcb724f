"""Two replays of the same documents under two settings: which alerts appear, vanish or move, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from alerts.baseline import DAY, HOUR
from monitor.replay.evidence import Episode
from monitor.replay.timeline import Timeline
from monitor.settings import Settings
from pipelines.candidates import BURST
from pipelines.documents import epoch
from pipelines.watch import Watch

COMPARED = ("detection", "model", "watchlists", "rules", "silences", "routes")
"""Sections of the settings on which it depends what rings, and who is told."""

CHANGED = 0.02
"""Part of a term by which it differs that is told apart."""

Kind = Literal["appears", "vanishes", "moves"]


class Side(NamedTuple):
    """One of the two."""

    settings: Settings
    watch: Watch
    episodes: list[Episode]
    timeline: Timeline


def compared(one: Side, other: Side) -> dict[str, Any]:
    """From ``one`` to ``other``: alerts that somebody is told of by their key and time, and the term that made the
    difference. A burst that rings on one side, and on the other is a part of another alert or told to nobody, moves."""
    pairs, gone, new = _paired(one.episodes, other.episodes)
    shown = [(a, b) for a, b in pairs if a.sent or b.sent]
    moved = [(a, b) for a, b in shown if _place(a, one) != _place(b, other)]
    changes = [
        *(_change("vanishes", a, one, other) for a in gone if a.sent),
        *(_change("appears", b, other, one) for b in new if b.sent),
        *(_move(a, b, one, other) for a, b in moved),
    ]
    counts = Counter(change["kind"] for change in changes)
    return {
        "with": str(other.settings.file),
        "settings": list(_differences(one.settings, other.settings)),
        "same": len(shown) - len(moved),
        **{kind: counts[kind] for kind in ("appears", "vanishes", "moves")},
        "changes": sorted(changes, key=lambda change: (change["at"], change["key"])),
    }


def _place(alert: Episode, side: Side) -> tuple[str | None, str | None]:
    """When somebody was first told of an alert; where nobody was, why not."""
    return (alert.sent, None) if alert.sent else (None, _untold(alert, side))


def _untold(alert: Episode, side: Side) -> str:
    """Where a burst is told, or why it is not, as a change says it."""
    holder = next((one for one in side.episodes if one.id == alert.merged_into), None)
    return f"part of {holder.name} ({holder.key})" if holder is not None else f"told to nobody: {alert.why}"


def _paired(
    one: Sequence[Episode], other: Sequence[Episode]
) -> tuple[list[tuple[Episode, Episode]], list[Episode], list[Episode]]:
    """Those that are one alert, and those of either side alone: of one rule and key, and open at the same time. What
    both sides tell is paired before what one of them does not."""
    ranked = sorted(one, key=lambda a: a.sent is None)
    pairs, left = [], sorted(other, key=lambda b: b.sent is None)
    gone = []
    for a in ranked:
        own = (b for b in left if (b.key, b.rule) == (a.key, a.rule))
        same = next((b for b in own if _begins(b) <= _ends(a) and _begins(a) <= _ends(b)), None)
        if same is None:
            gone.append(a)
        else:
            pairs.append((a, same))
            left.remove(same)
    return pairs, gone, left


def _change(kind: Kind, alert: Episode, here: Side, there: Side) -> dict[str, Any]:
    """An alert of one side alone. Terms are told from the first settings to the second."""
    terms = _terms(alert, here, there)
    if kind == "appears":
        terms = {name: values[::-1] for name, values in terms.items()}
    return {
        "kind": kind,
        "key": alert.key,
        "name": alert.name,
        "at": alert.sent,
        "other_at": None,
        "severity": alert.severity,
        "why": _why(alert, there, terms, turned=kind == "appears"),
        "terms": terms,
    }


def _move(a: Episode, b: Episode, one: Side, other: Side) -> dict[str, Any]:
    """By the later one's settings at the moment at which the earlier one rang."""
    sooner = b.at < a.at
    terms = _terms(b, other, one) if sooner else _terms(a, one, other)
    if sooner:
        terms = {name: values[::-1] for name, values in terms.items()}
    if a.sent and b.sent and a.at == b.at:
        why = "rings at the same moment, and is told at another: silences, routes, or what it was part of"
    elif a.sent and b.sent:
        why = _why(b if sooner else a, one if sooner else other, terms, turned=sooner)
    else:
        why = _untold(b, other) if a.sent else f"rings by itself; before: {_untold(a, one)}"
    return {
        "kind": "moves",
        "key": a.key,
        "name": a.name,
        "at": a.sent or a.at,
        "other_at": b.sent,
        "severity": b.severity,
        "why": why,
        "terms": terms,
    }


def _terms(alert: Episode, here: Side, there: Side) -> dict[str, tuple[float | None, float | None]]:
    """What rang it, here and there: its score and threshold in nats, and the evidence and expectation of its time."""
    width = max(here.timeline.width, there.timeline.width)
    begin, end = _begins(alert) - width, _begins(alert) + width
    near = there.timeline.nearest(alert.key, begin, end)
    bad, expected = zip(*(_counted(side.timeline, alert.key, begin - DAY, end) for side in (here, there)), strict=True)
    return {
        "score": (round(alert.score, 2), None if near is None else round(near[0], 2)),
        "threshold": (round(alert.threshold, 2), None if near is None else round(near[1], 2)),
        "bad": bad,
        "expected": expected,
    }


def _counted(timeline: Timeline, key: str, begin: float, end: float) -> tuple[float, float]:
    """Bad evidence of a time, and what was expected of it."""
    _, rows = timeline.of(key, begin, end)
    return round(sum(row.bad for row in rows), 2), round(sum(row.expected for row in rows), 3)


def _why(alert: Episode, there: Side, terms: dict[str, tuple[float | None, float | None]], *, turned: bool) -> str:
    """The term that changed. ``there``: the side that did not ring then; ``turned``: it is the first."""
    if alert.key not in there.watch.keys:
        return "watched only now" if turned else "not watched any more"
    if alert.rule != BURST and alert.rule not in {rule.name for rule in there.settings.rules}:
        return f"rule {alert.rule}: {'new' if turned else 'gone'}"
    scores, thresholds = (terms[name][::-1] if turned else terms[name] for name in ("score", "threshold"))
    score, threshold, other, asked = scores[0], thresholds[0], scores[1], thresholds[1]
    if other is None or asked is None or score is None or threshold is None:
        return "no story counted for it there"
    if _differs(threshold, asked) and other >= threshold:
        return _said("threshold", terms["threshold"])
    for name in ("bad", "expected", "score", "threshold"):
        first, second = terms[name]
        if first is not None and second is not None and _differs(first, second):
            return _said(name, terms[name])
    return (
        "too little evidence there, or another alert of it was open"
        if other >= asked
        else _said("score", terms["score"])
    )


WORDS = {
    "threshold": "threshold",
    "score": "score",
    "bad": "bad evidence of the day before",
    "expected": "what was expected of that day",
}


def _said(name: str, values: tuple[float | None, float | None]) -> str:
    return f"{WORDS[name]}: {values[0]:g} to {values[1]:g}"


def _differs(first: float, second: float) -> bool:
    return abs(first - second) > CHANGED * max(abs(first), abs(second))


def _begins(alert: Episode) -> float:
    return epoch(alert.at)


def _ends(alert: Episode) -> float:
    """An hour more: what is resolved and rings again is one event."""
    return (epoch(alert.until) if alert.until else float("inf")) + HOUR


def _differences(one: Settings, other: Settings) -> Iterator[str]:
    """What of the settings differs, a line each."""
    first, second = ({name: settings.model_dump(mode="json")[name] for name in COMPARED} for settings in (one, other))
    for section in COMPARED:
        yield from _differing(section, first[section], second[section])


def _differing(name: str, first: Any, second: Any) -> Iterator[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        for part in dict.fromkeys([*first, *second]):
            yield from _differing(f"{name}.{part}", first.get(part), second.get(part))
    elif isinstance(first, list) and isinstance(second, list):
        gone, new = [one for one in first if one not in second], [one for one in second if one not in first]
        if gone or new:
            yield f"{name}: {len(gone)} entries less, {len(new)} more"
    elif first != second:
        yield f"{name}: {first} to {second}"
