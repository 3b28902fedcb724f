"""The report's charts: a key over time, and a figure over budgets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from alerts.baseline import DAY, HOUR
from monitor.plots import Scale, dot, drawing, line, stroke, text, ticks_across, ticks_up
from pipelines.documents import epoch, iso

WIDE, TALL = 920.0, 150.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 8.0, 16.0, 20.0

CHART = (440.0, 270.0)
"""Pixels of a figure over budgets."""
FLOOR = 226.0

Row = Sequence[float]


def timeline(key: Mapping[str, Any], episodes: Mapping[str, Mapping[str, Any]]) -> str:
    """One key: bad stories by bin against what was expected, with alerts and labelled events."""
    rows: Sequence[Row] = key["stretches"]
    width = key["bin_seconds"]
    begin, end = rows[0][0], rows[-1][0] + width
    top = max(1.0, *(max(row[1], row[6]) for row in rows))
    x, y = Scale(begin, end, LEFT, WIDE - RIGHT), Scale(0.0, top, TALL - BOTTOM, TOP)
    parts = [*_band(rows, width, x, y), *_bars(rows, width, x, y)]
    parts.append(line([(x(row[0] + width / 2), y(row[4])) for row in rows], "c0"))
    for event in key["events"]:
        at = x(max(begin, epoch(event["onset"])))
        upright = stroke(at, TOP - 8, at, TALL - BOTTOM, "upright")
        parts.append(f'<g class="event {event["state"]}"><title>{escape(_said(event))}</title>{upright}</g>')
    parts += [_flag(episodes[name], x, end) for name in key["alerts"]]
    parts += _dates(begin, end, x)
    parts += [text(LEFT - 5, y(value), f"{value:.3g}", kind="soft", anchor="end") for value in (0.0, top)]
    parts.append(stroke(LEFT, y(0.0), WIDE - RIGHT, y(0.0), "grid"))
    told = f"{key['name']}: bad stories against what was expected, {iso(begin)[:10]} to {iso(end)[:10]}"
    return drawing(WIDE, TALL, parts, title=told)


def curve(points: Sequence[Mapping[str, Any]], name: str, words: str, *, share: bool, at: float) -> str:
    """A figure over budgets, with its intervals; ``share``: from 0 to 1, else by its logarithm and beside what the
    budget asks for. ``at``: the budget that was replayed."""
    known = [one for one in points if one[name] is not None]
    wide, tall = CHART
    budgets = [one["budget"] for one in known]
    x = Scale(min(budgets) / 1.25, max(budgets) * 1.25, LEFT + 10, wide - RIGHT, logs=True)
    y, least = (Scale(0.0, 1.0, FLOOR, TOP), 0.0) if share else _decades(known, name)
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if share else [least * 10.0**n for n in range(_orders(y))]
    parts = [*ticks_across(x, budgets, TOP, FLOOR), *ticks_up(y, ticks, LEFT + 10, wide - RIGHT)]
    if not share:
        parts.append(stroke(x(budgets[0]), y(budgets[0]), x(budgets[-1]), y(budgets[-1]), "rule"))
    if budgets[0] <= at <= budgets[-1]:
        parts.append(stroke(x(at), TOP, x(at), FLOOR, "chosen"))
    parts.append(line([(x(one["budget"]), y(max(least, one[name]))) for one in known], "c0"))
    for one in known:
        place, (low, high) = x(one["budget"]), one[f"{name}_interval"]
        note = f"{one['budget']:g}: {one[name]:g} ({low:g} to {high:g})"
        parts.append(stroke(place, y(max(least, low)), place, y(max(least, high)), "line c0"))
        parts.append(dot(place, y(max(least, one[name])), "dot c0", note=note))
    parts.append(
        text((wide + LEFT) / 2, tall - 10, "false alarms allowed per key and month", kind="soft", anchor="middle")
    )
    parts.append(text(LEFT + 10, TOP - 9, words))
    return drawing(wide, tall, parts, title=f"{words}, over the budget")


def _decades(known: Sequence[Mapping[str, Any]], name: str) -> tuple[Scale, float]:
    """A scale over the powers of ten that hold the figures, their intervals and the budgets, and the least of them."""
    bounds = [bound for one in known for bound in (*one[f"{name}_interval"], one["budget"]) if bound > 0.0]
    low, high = math.floor(math.log10(max(1e-5, min(bounds)))), math.ceil(math.log10(max(bounds)))
    return Scale(10.0**low, 10.0**high, FLOOR, TOP, logs=True), 10.0**low


def _orders(scale: Scale) -> int:
    return round(math.log10(scale.high / scale.low)) + 1


def _band(rows: Sequence[Row], width: float, x: Scale, y: Scale) -> Iterator[str]:
    """As one shape: from left to right along the upper bounds, and back along the lower ones."""
    above = [(x(row[0] + part), y(row[6])) for row in rows for part in (0.0, width)]
    below = [(x(row[0] + part), y(row[5])) for row in reversed(rows) for part in (width, 0.0)]
    yield f'<polygon class="band" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in above + below)}"/>'


def _bars(rows: Sequence[Row], width: float, x: Scale, y: Scale) -> Iterator[str]:
    for row in rows:
        if row[1] > 0.005:
            begin, end = x(row[0]), x(row[0] + width)
            wide = max(1.2, (end - begin) * 0.8)
            kind = "bar over" if row[1] > row[6] else "bar"
            yield (
                f'<rect class="{kind}" x="{(begin + end - wide) / 2:.1f}" y="{y(row[1]):.1f}" width="{wide:.1f}" '
                f'height="{max(0.6, y(0.0) - y(row[1])):.1f}"/>'
            )


def _flag(episode: Mapping[str, Any], x: Scale, end: float) -> str:
    """From an alert's beginning to its end; ``end`` of the replay where it has none before."""
    at, until = x(epoch(episode["at"])), x(min(end, epoch(episode["until"])) if episode["until"] else end)
    kind = {True: "matched", False: "unmatched", None: "unjudged"}[episode["matches"]]
    kind += "" if episode["sent"] else " untold"
    note = "" if episode["sent"] else f" ({episode['why']})"
    return (
        f'<g class="alert {episode["severity"]} {kind}"><title>{escape(episode["at"][:16])}: '
        f"{escape(episode['summary'] + note)}</title>"
        f'<rect x="{at:.1f}" y="{TOP - 5:.1f}" width="{max(1.0, until - at):.1f}" height="3"/>'
        f'<path d="M{at - 5:.1f} {TOP - 13:.1f}h10l-5 9z"/></g>'
    )


def _said(event: Mapping[str, Any]) -> str:
    rang = f"rang {event['rang'][:16]}" if event["rang"] else event["state"]
    return f"{event['onset'][:10]}: {event['what'] or event['entity']}: {rang}"


def _dates(begin: float, end: float, x: Scale) -> Iterator[str]:
    """Some seven of them, at whole days, or at whole hours where there are few."""
    steps = (HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 91 * DAY)
    step = next((one for one in steps if (end - begin) / one <= 9), 365 * DAY)
    at = math.ceil(begin / step) * step
    while at < end:
        words = f"{datetime.fromtimestamp(at, UTC):{'%H:%M' if step < DAY else '%Y-%m-%d'}}"
        yield text(x(at), TALL - 8, words, kind="soft", anchor="middle")
        yield stroke(x(at), TALL - BOTTOM, x(at), TALL - BOTTOM + 4, "grid")
        at += step
