"""Drawings as SVG text, for reports: they need no script, and nothing beside the file that they stand in.

Places are in pixels from the top left corner. Colours are classes of STYLE, which follows the reader's light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import log
from typing import NamedTuple

STYLE = """
svg { --back: #fff; --ink: #1c1e21; --soft: #5d646c; --line: #d9dcdf; --c0: #1f5fa8; --c1: #b06a00; --c2: #7b3fa0;
  --c3: #1b7a3d; --c4: #b3261e; font: 12px system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
@media (prefers-color-scheme: dark) { svg { --back: #1d2125; --ink: #e8eaed; --soft: #a2a9b1; --line: #353b41;
  --c0: #8ab8f0; --c1: #e0b252; --c2: #cf9ff0; --c3: #7fd69a; --c4: #ff8a80; } }
svg text { fill: var(--ink); } svg .back { fill: var(--back); } svg .soft { fill: var(--soft); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
svg .hollow { fill: none; stroke-width: 1.6; }
""" + "".join(
    f"svg .line.c{n}, svg .hollow.c{n} {{ stroke: var(--c{n}); }}\n"
    f"svg .dot.c{n}, svg text.c{n} {{ fill: var(--c{n}); }}\n"
    for n in range(5)
)
"""Of every drawing: ``c0`` to ``c4`` are the colours of what is told apart."""

COLOURS = 5


class Scale(NamedTuple):
    """From values to places: ``low`` lies at ``start``, ``high`` at ``end``; by their logarithms where ``logs``."""

    low: float
    high: float
    start: float
    end: float
    logs: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logs:
            low, high, value = log(low), log(high), log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def drawing(width: float, height: float, parts: Iterable[str], *, title: str, style: bool = False) -> str:
    """The whole: ``title`` says in words what is to be seen. ``style``: for a file of its own, which brings STYLE."""
    head = f'<style>{STYLE}</style><rect class="back" width="100%" height="100%"/>' if style else ""
    space = ' xmlns="http://www.w3.org/2000/svg"' if style else ""
    return (
        f'<svg{space} viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img">'
        f"<title>{escape(title)}</title>{head}{''.join(parts)}</svg>"
    )


def line(points: Sequence[tuple[float, float]], kind: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="line {kind}" points="{places}"/>'


def stroke(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line: ``grid``, or a colour as ``line c0``."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def dot(x: float, y: float, kind: str, *, radius: float = 4.0, note: str = "") -> str:
    """``note`` shows where the pointer rests on it."""
    told = f"<title>{escape(note)}</title>" if note else ""
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">{told}</circle>'


def text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "start") -> str:
    """``y`` is the middle of the letters' height; ``anchor``: start, middle or end."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" dy=".35em" text-anchor="{anchor}">{escape(words)}</text>'


def ticks_across(scale: Scale, values: Iterable[float], top: float, bottom: float, unit: str = "") -> list[str]:
    """Lines from ``top`` to ``bottom`` with their values below them."""
    return [
        part
        for value in values
        for part in (
            stroke(scale(value), top, scale(value), bottom, "grid"),
            text(scale(value), bottom + 12, f"{value:g}{unit}", kind="soft", anchor="middle"),
        )
    ]


def ticks_up(scale: Scale, values: Iterable[float], left: float, right: float, *, per_cent: bool = False) -> list[str]:
    """Lines from ``left`` to ``right`` with their values before them."""
    return [
        part
        for value in values
        for part in (
            stroke(left, scale(value), right, scale(value), "grid"),
            text(left - 6, scale(value), f"{value:.0%}" if per_cent else f"{value:g}", kind="soft", anchor="end"),
        )
    ]


def legend(x: float, y: float, names: Sequence[str]) -> list[str]:
    """The colours' names, side by side."""
    parts = []
    for number, name in enumerate(names):
        parts += [dot(x + 5, y, f"dot c{number}"), text(x + 14, y, name, kind="soft")]
        x += 34 + 6.5 * len(name)
    return parts
