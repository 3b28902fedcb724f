"""What a replay showed, as one object: the report's figures, curves, events, alerts and timelines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from monitor.replay.evidence import Episode, Near
from monitor.replay.figures import Outcomes, Span
from monitor.replay.labels import Label
from monitor.replay.timeline import Timeline
from pipelines.watch import Watch

KEYS = 40
"""Timelines that are shown, those of labelled events first."""

COLUMNS = ("start", "bad", "others", "stories", "expected", "low", "high", "score", "threshold")
"""Of a timeline's rows: a bin's start in seconds since 1970, what was counted in it, what was expected with the bounds
of nine in ten counts, and where it came nearest to ringing."""

BESIDE = ("events", "unlabelled", "by_key", "curve", "bursts_alone")
"""What of a summary stands in places of its own."""


def build(
    outcome: Outcomes,
    labels: Sequence[Label],
    near: Near,
    episodes: Sequence[Episode],
    timeline: Timeline,
    watch: Watch,
    span: Span,
) -> dict[str, Any]:
    """``report.json``, and what the page is drawn from. ``near``: what counted around the onsets of ``labels``."""
    happened = [number for number, label in enumerate(labels) if label.happened]
    names = {one.id: one.key for one in episodes}
    events = [
        told
        | {"through": names[told["alert"]] if told["alert"] and names[told["alert"]] != told["key"] else None}
        | {"nearest": _nearest(told, labels[number], timeline)}
        | {"stories": [msgspec.to_builtins(story) for story in near.of(number)]}
        for number, told in zip(happened, outcome.summary.get("events", ()), strict=True)
    ]
    for one in (one for one in episodes if one.sent is not None):
        one.matches = True if one.id in outcome.matched else (False if one.id in outcome.unmatched else None)
    labelled = dict.fromkeys(key for told in events for key in told["keys"] if "/" not in key or key == told["key"])
    rang = Counter(one.key for one in episodes if one.sent is not None)
    keys = [*labelled, *(key for key, _ in rang.most_common() if key not in labelled)]
    return {
        "schema": 2,
        "figures": {name: value for name, value in outcome.summary.items() if name not in BESIDE},
        "notes": outcome.notes,
        "curve": outcome.summary.get("curve", []),
        "bursts_alone": outcome.summary.get("bursts_alone", {}),
        "events": events,
        "alerts": [msgspec.to_builtins(one) for one in episodes],
        "columns": COLUMNS,
        "keys": [_key(key, events, episodes, timeline, watch, span) for key in keys[:KEYS]],
        "keys_left_out": max(0, len(keys) - KEYS),
    }


def _nearest(told: dict[str, Any], label: Label, timeline: Timeline) -> dict[str, Any] | None:
    """Which of an event's keys came how near to ringing; None where none had an item."""
    found = [(timeline.nearest(key, *label.window), key) for key in told["keys"]]
    known = [(best[0] - best[1], key, best) for best, key in found if best is not None]
    if not known:
        return None
    _, key, (score, threshold) = max(known)
    return {"key": key, "score": round(score, 2), "threshold": round(threshold, 2)}


def _key(
    key: str,
    events: Sequence[dict[str, Any]],
    episodes: Sequence[Episode],
    timeline: Timeline,
    watch: Watch,
    span: Span,
) -> dict[str, Any]:
    width, stretches = timeline.of(key, span.begin, span.end)
    return {
        "key": key,
        "name": watch.keys[key].name,
        "bin_seconds": width,
        "stretches": [[round(getattr(one, name), 3) for name in COLUMNS] for one in stretches],
        "alerts": [one.id for one in episodes if one.key == key],
        "events": [
            number for number, told in enumerate(events) if key in told["keys"] and told["state"] in ("found", "missed")
        ],
    }
