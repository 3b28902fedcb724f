"""Charts as SVG, drawn here: what was counted over the band of what was expected, the score under its threshold.

Numbers alone go into them and words of the catalogue; colours come from the style sheet. Times are in UTC, and the
page's script writes them anew in the viewer's zone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup

from pipelines.documents import iso
from pipelines.histories import Bucket

TICKS = (900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_629_800, 7_889_400)
"""Seconds that may lie between two ticks of time."""


class Mark(NamedTuple):
    """An alert at its place in time, in seconds since 1970."""

    at: float
    severity: str
    text: str


class Frame(NamedTuple):
    """A drawing's size and what it spans: seconds since 1970 from left to right, 0 to ``top`` from below."""

    since: float
    until: float
    top: float
    width: int
    height: int
    left: int = 0
    above: int = 0
    below: int = 0

    def x(self, at: float) -> float:
        return self.left + (self.width - self.left) * (at - self.since) / (self.until - self.since)

    def y(self, value: float) -> float:
        room = self.height - self.above - self.below
        return self.above + room * (1 - min(1.0, max(0.0, value / self.top)))


def nice(value: float) -> float:
    """The smallest of 1, 2, 4, 6, 8 times a power of ten that is not below ``value``: half of it is round too."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * 0.999)


def small(buckets: Sequence[Bucket], mood: Sequence[tuple[float, float]], marks: Sequence[Mark], name: str) -> Markup:
    """A key's last days, to be seen beside others: bad stories over their band, the mood as a line below."""
    top = max(1.0, *(max(one.bad, one.high) for one in buckets))
    frame = Frame(buckets[0].start, buckets[-1].end, top, 240, 56, above=6, below=16)
    lower = Frame(frame.since, frame.until, 2.0, 240, 56, above=42, below=1)
    inside = (
        _band(frame, buckets)
        + _bars(frame, buckets)
        + Markup('<path class="zero" d="M0 {y}H240"/>').format(y=_n(lower.y(1.0)))
        + _line(lower, ((at, value + 1.0) for at, value in mood), "mood")
        + _marks(frame, marks)
    )
    return _svg(frame, inside, name, "small")


def counted(buckets: Sequence[Bucket], marks: Sequence[Mark], name: str) -> Markup:
    """Bad stories over the band of what was expected, with alerts marked."""
    top = nice(max(1.0, *(max(one.bad, one.high) for one in buckets)))
    frame = Frame(buckets[0].start, buckets[-1].end, top, 760, 200, left=34, above=16, below=22)
    inside = _axes(frame) + _band(frame, buckets) + _bars(frame, buckets) + _marks(frame, marks)
    return _svg(frame, inside, name, "chart")


def scored(buckets: Sequence[Bucket], marks: Sequence[Mark], name: str) -> Markup:
    """The score over time, and the threshold at which it rings."""
    known = [one for one in buckets if one.seen]
    threshold = known[-1].threshold if known else 0.0
    top = nice(max(1.0, threshold * 1.1, *(one.score for one in buckets)))
    frame = Frame(buckets[0].start, buckets[-1].end, top, 760, 140, left=34, above=16, below=22)
    steps = ((at, one.score) for one in known for at in (one.start, one.end))
    limit = Markup('<path class="threshold" d="M{x} {y}H{width}"/>').format(
        x=frame.left, y=_n(frame.y(threshold)), width=frame.width
    )
    return _svg(frame, _axes(frame) + _line(frame, steps, "score") + limit + _marks(frame, marks), name, "chart")


def _svg(frame: Frame, inside: Markup, name: str, kind: str) -> Markup:
    return Markup(
        '<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{name}">{inside}</svg>'
    ).format(kind=kind, width=frame.width, height=frame.height, name=name, inside=inside)


def _band(frame: Frame, buckets: Sequence[Bucket]) -> Markup:
    """Where nine of ten stretches would lie, and what is expected; not before anything was known."""
    area, line = [], []
    for run in _runs(buckets):
        upper = [f"{_n(frame.x(one.start))} {_n(frame.y(one.high))}H{_n(frame.x(one.end))}" for one in run]
        lower = [f"{_n(frame.x(one.end))} {_n(frame.y(one.low))}H{_n(frame.x(one.start))}" for one in reversed(run)]
        area.append("M" + "L".join([*upper, *lower]) + "z")
        middle = [f"{_n(frame.x(one.start))} {_n(frame.y(one.expected))}H{_n(frame.x(one.end))}" for one in run]
        line.append("M" + "L".join(middle))
    drawn = Markup('<path class="band" d="{area}"/><path class="expected" d="{line}"/>')
    return drawn.format(area="".join(area), line="".join(line)) if area else Markup()


def _runs(buckets: Iterable[Bucket]) -> Iterator[list[Bucket]]:
    run: list[Bucket] = []
    for one in buckets:
        if one.known:
            run.append(one)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _bars(frame: Frame, buckets: Iterable[Bucket]) -> Markup:
    """A story or more above the band in the colour of alarm: one bad story is above many a band, and no alarm."""
    paths = Markup()
    for kind, wanted in (("bar", False), ("bar high", True)):
        steps = []
        for one in buckets:
            if one.bad > 0.005 and (one.bad - one.high >= 1.0) == wanted:
                left, width, base = frame.x(one.start), frame.x(one.end) - frame.x(one.start), _n(frame.y(0))
                top = _n(min(frame.y(0) - 1, frame.y(one.bad)))
                steps.append(f"M{_n(left + width * 0.15)} {base}V{top}h{_n(width * 0.7)}V{base}z")
        if steps:
            paths += Markup('<path class="{kind}" d="{d}"/>').format(kind=kind, d="".join(steps))
    return paths


def _line(frame: Frame, points: Iterable[tuple[float, float]], kind: str) -> Markup:
    drawn = "L".join(f"{_n(frame.x(at))} {_n(frame.y(value))}" for at, value in points)
    return Markup('<path class="{kind}" d="M{d}"/>').format(kind=kind, d=drawn) if drawn else Markup()


def _marks(frame: Frame, marks: Iterable[Mark]) -> Markup:
    drawn = Markup()
    for one in marks:
        if frame.since <= one.at <= frame.until:
            x = frame.x(one.at)
            drawn += Markup(
                '<g class="mark {severity}"><title>{text}</title><path d="M{x} {top}V{base}"/>'
                '<path class="flag" d="M{left} {above}h8l-4 6z"/></g>'
            ).format(
                severity=one.severity, text=one.text, x=_n(x), left=_n(x - 4), above=max(0, frame.above - 10),
                top=max(0, frame.above - 6), base=_n(frame.y(0)),
            )  # fmt: skip
    return drawn


def _axes(frame: Frame) -> Markup:
    drawn = Markup()
    for value in (0.0, frame.top / 2, frame.top):
        drawn += Markup('<path class="grid" d="M{x} {y}H{width}"/><text x="{tx}" y="{ty}" class="y">{v}</text>').format(
            x=frame.left, y=_n(frame.y(value)), width=frame.width, tx=frame.left - 6, ty=_n(frame.y(value) + 4),
            v=f"{value:g}",
        )  # fmt: skip
    step = next((one for one in TICKS if (frame.until - frame.since) / one <= 7), TICKS[-1])
    at = math.ceil(frame.since / step) * step
    while at <= frame.until:
        if frame.x(at) - frame.left > 30 and frame.x(at) < frame.width - 30:
            moment = datetime.fromtimestamp(at, UTC)
            form = "day" if step >= 86_400 else "hour"
            text = moment.strftime("%m-%d" if form == "day" else "%H:%M")
            drawn += Markup(
                '<path class="grid" d="M{x} {base}v4"/>'
                '<text x="{x}" y="{y}" class="x" data-time="{iso}" data-form="{form}">{text}</text>'
            ).format(x=_n(frame.x(at)), base=_n(frame.y(0)), y=frame.height - 4, iso=iso(at), form=form, text=text)
        at += step
    return drawn


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
