"""The report's charts, as SVG that needs nothing beside the page's own style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, NamedTuple

from alerts.baseline import DAY
from pipelines.documents import epoch, iso

WIDE, TALL = 920.0, 150.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 8.0, 16.0, 20.0
SQUARE = (440.0, 270.0)


class Scale(NamedTuple):
    """From values to places along one side of a chart."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.begin + min(1.0, max(0.0, share)) * (self.end - self.begin)


def timeline(key: Mapping[str, Any], episodes: Mapping[str, Mapping[str, Any]]) -> str:
    """One key: bad stories by bin against what was expected, with alerts and labelled events."""
    rows: Sequence[Sequence[float]] = key["stretches"]
    width = key["bin_seconds"]
    begin, end = rows[0][0], rows[-1][0] + width
    x = Scale(begin, end, LEFT, WIDE - RIGHT)
    top = max(1.0, *(max(row[1], row[6]) for row in rows))
    y = Scale(0.0, top, TALL - BOTTOM, TOP)
    parts = [*_band(rows, width, x, y), *_bars(rows, width, x, y)]
    parts += [_line([(x(row[0] + width / 2), y(row[4])) for row in rows], "usual")]
    for event in key["events"]:
        at = x(epoch(event["onset"]))
        parts.append(
            f'<g class="event {event["state"]}"><title>{escape(_said(event))}</title>'
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8:.1f}" y2="{TALL - BOTTOM:.1f}"/></g>'
        )
    for name in key["alerts"]:
        parts.append(_marker(episodes[name], x))
    parts += [*_dates(begin, end, x), *_levels(top, y)]
    told = f"{key['name']}: bad stories against what was expected, {iso(begin)[:10]} to {iso(end)[:10]}"
    return _svg(WIDE, TALL, told, parts)


def curve(points: Sequence[Mapping[str, Any]], name: str, words: str, *, share: bool, at: float | None) -> str:
    """A figure over budgets, with its intervals; ``share``: from 0 to 1, else over the logarithm and beside what the
    budget asks for. ``at``: the budget that was replayed."""
    known = [one for one in points if one[name] is not None]
    wide, tall = SQUARE
    budgets = [one["budget"] for one in known]
    x = Scale(math.log10(min(budgets)) - 0.1, math.log10(max(budgets)) + 0.1, LEFT + 10.0, wide - RIGHT)
    lows, highs = zip(*(one[f"{name}_interval"] for one in known), strict=True)
    if share:
        y, ticks = Scale(0.0, 1.0, tall - 34.0, TOP), [0.0, 0.25, 0.5, 0.75, 1.0]

        def up(value: float) -> float:
            return y(value)
    else:
        least = max(1e-5, min([*(low for low in lows if low > 0.0), *budgets]))
        bottom, ceiling = math.floor(math.log10(least)), math.ceil(math.log10(max(*highs, *budgets)))
        y, ticks = Scale(bottom, ceiling, tall - 34.0, TOP), [10.0**n for n in range(bottom, ceiling + 1)]

        def up(value: float) -> float:
            return y(math.log10(max(value, 10.0**bottom)))

    parts = []
    for tick in ticks:
        parts.append(_rule("grid", (LEFT + 10, wide - RIGHT), (up(tick), up(tick))))
        parts.append(f'<text class="tick end" x="{LEFT + 5:.1f}" y="{up(tick) + 3.5:.1f}">{tick:g}</text>')
    for budget in budgets:
        place = x(math.log10(budget))
        parts.append(f'<text class="tick middle" x="{place:.1f}" y="{tall - 20:.1f}">{budget:g}</text>')
    if not share:
        parts.append(_line([(x(math.log10(b)), up(b)) for b in budgets], "asked"))
    if at is not None and budgets[0] <= at <= budgets[-1]:
        place = x(math.log10(at))
        parts.append(_rule("chosen", (place, place), (TOP, tall - 34)))
    places = [(x(math.log10(one["budget"])), one) for one in known]
    parts.append(_line([(place, up(one[name])) for place, one in places], "curve"))
    for place, one in places:
        low, high = one[f"{name}_interval"]
        told = f"{one['budget']:g}: {one[name]:g} ({low:g} to {high:g})"
        parts.append(
            f'<g class="point"><title>{told}</title><line x1="{place:.1f}" x2="{place:.1f}" y1="{up(low):.1f}" '
            f'y2="{up(high):.1f}"/><circle cx="{place:.1f}" cy="{up(one[name]):.1f}" r="3.5"/></g>'
        )
    below = "false alarms allowed per key and month"
    parts.append(f'<text class="tick middle" x="{(wide + LEFT) / 2:.1f}" y="{tall - 4:.1f}">{below}</text>')
    parts.append(f'<text class="name" x="{LEFT + 10:.1f}" y="{TOP - 5:.1f}">{escape(words)}</text>')
    return _svg(wide, tall, f"{words}, over the budget", parts)


def _svg(width: float, height: float, told: str, parts: Iterable[str]) -> str:
    label = escape(told)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}"><title>{label}</title>'
        f"{''.join(parts)}</svg>"
    )


def _rule(kind: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    return f'<line class="{kind}" x1="{x[0]:.1f}" x2="{x[1]:.1f}" y1="{y[0]:.1f}" y2="{y[1]:.1f}"/>'


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>'


def _band(rows: Sequence[Sequence[float]], width: float, x: Scale, y: Scale) -> Iterator[str]:
    """As one shape: from left to right along the upper bounds, and back along the lower ones."""
    above = [(x(row[0] + part), y(row[6])) for row in rows for part in (0.0, width)]
    below = [(x(row[0] + part), y(row[5])) for row in reversed(rows) for part in (width, 0.0)]
    yield f'<polygon class="band" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in above + below)}"/>'


def _bars(rows: Sequence[Sequence[float]], width: float, x: Scale, y: Scale) -> Iterator[str]:
    floor = y(0.0)
    for row in rows:
        if row[1] > 0.005:
            begin, end = x(row[0]), x(row[0] + width)
            wide = max(1.2, (end - begin) * 0.8)
            kind = "bar over" if row[1] > row[6] else "bar"
            yield (
                f'<rect class="{kind}" x="{(begin + end - wide) / 2:.1f}" y="{y(row[1]):.1f}" width="{wide:.1f}" '
                f'height="{max(0.6, floor - y(row[1])):.1f}"/>'
            )


def _marker(episode: Mapping[str, Any], x: Scale) -> str:
    at, until = x(epoch(episode["at"])), x(epoch(episode["until"])) if episode["until"] else WIDE - RIGHT
    kind = {True: "matched", False: "unmatched", None: "unjudged"}[episode["matches"]]
    return (
        f'<g class="alert {episode["severity"]} {kind}"><title>{escape(episode["at"][:16])}: '
        f"{escape(episode['summary'])}</title>"
        f'<rect x="{at:.1f}" y="{TOP - 5:.1f}" width="{max(1.0, until - at):.1f}" height="3"/>'
        f'<path d="M{at - 5:.1f} {TOP - 13:.1f}h10l-5 9z"/></g>'
    )


def _said(event: Mapping[str, Any]) -> str:
    rang = f"rang {event['rang'][:16]}" if event["rang"] else event["state"]
    return f"{event['onset'][:10]}: {event['what'] or event['entity']}: {rang}"


def _dates(begin: float, end: float, x: Scale) -> Iterator[str]:
    """Some seven of them, at whole days, or at whole hours where there are few."""
    step = next(
        (one for one in (3600.0, 6 * 3600.0, DAY, 7 * DAY, 30 * DAY, 91 * DAY) if (end - begin) / one <= 9), 365 * DAY
    )
    at = math.ceil(begin / step) * step
    while at < end:
        moment = datetime.fromtimestamp(at, UTC)
        words = f"{moment:%H:%M}" if step < DAY else f"{moment:%Y-%m-%d}"
        yield f'<text class="tick middle" x="{x(at):.1f}" y="{TALL - 5:.1f}">{words}</text>'
        yield _rule("grid", (x(at), x(at)), (TALL - BOTTOM, TALL - BOTTOM + 4))
        at += step


def _levels(top: float, y: Scale) -> Iterator[str]:
    for value in (0.0, top):
        yield f'<text class="tick end" x="{LEFT - 5:.1f}" y="{y(value) + 3.5:.1f}">{value:.3g}</text>'
    yield _rule("grid", (LEFT, WIDE - RIGHT), (y(0.0), y(0.0)))
