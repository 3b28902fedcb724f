"""The comparison as a table in a page and as a plot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

MAIN = ("tapewatch", "oracle")
KINDS = {"social": "posts", "news": "news"}


def text(one: dict[str, float], places: int = 2) -> str:
    """A figure with its interval, without the zero before the point."""
    if math.isnan(one["value"]):
        return ""
    value, low, high = (f"{one[name]:.{places}f}".replace("0.", ".", 1) for name in ("value", "low", "high"))
    return f"{value} ({low}–{high})"


def order(compared: dict[str, Any]) -> list[str]:
    """The best at .05 first, the oracle last."""
    names = sorted(compared, key=lambda name: -compared[name]["0.05"]["found"]["spikes"]["value"])
    return [name for name in names if name != "oracle"] + ["oracle"]


def minutes(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f} min" if value < 180 else f"{value / 60:.1f} h"


def table(report: dict[str, Any]) -> str:
    """Markdown: for posts and for news a row a detector."""
    lines = []
    for class_, kind in KINDS.items():
        compared = report[class_]["matched"]
        crises = [name for name in compared["oracle"]["0.05"]["found"] if name.startswith("crisis")]
        heads = [f"{kind}: spikes found at .2", "at .05", "at .01", "ratio 2.5, 4", "ratio 8, 16"]
        heads += [name.replace("crisis of ", "").replace(", under", " stories, under") for name in crises]
        heads += ["median delay", "false alarms"]
        lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        lines[-2:] = ["| detector " + lines[-2], "|---" + lines[-1]]
        for name in order(compared):
            at = {rate: one["found"] for rate, one in compared[name].items()}
            middle = compared[name]["0.05"]
            cells = [text(at[rate]["spikes"]) for rate in ("0.2", "0.05", "0.01")]
            cells += [text(at["0.05"][group]) for group in ("ratio 2.5 and 4", "ratio 8 and 16", *crises)]
            cells += [minutes(middle["median_delay_minutes"]), text(middle["false_per_key_week"], 3)]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def write(page: Path, bench: str, made: str) -> None:
    """Puts a bench's table between its marks."""
    begin, end = (f"<!-- python -m benchmarks.{bench}: {place} -->" for place in ("begin", "end"))
    before, rest = page.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n{made}{end}{after}", encoding="utf-8")


def draw(report: dict[str, Any], path: Path) -> None:
    """Spikes found over false alarms per key-week, each as measured on the held-out streams."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    for axis, (class_, kind) in zip(axes, KINDS.items(), strict=True):
        compared = report[class_]["matched"]
        others = [name for name in order(report["social"]["matched"]) if name not in MAIN]
        # The shipped detector alone is red.
        colours = dict(zip(others, mpl.color_sequences["tab20"][:6] + mpl.color_sequences["tab20"][8:], strict=False))
        for name in (*others, *MAIN):
            rates = [float(rate) for rate in compared[name]]
            found = [one["found"]["spikes"] for one in compared[name].values()]
            strong = name in MAIN
            axis.errorbar(
                rates,
                [one["value"] for one in found],
                [[one["value"] - one["low"] for one in found], [one["high"] - one["value"] for one in found]],
                label=name, marker="o", markersize=5 if strong else 3, linewidth=2.4 if strong else 1.1,
                color={"tapewatch": "#b00020", "oracle": "black"}.get(name, colours.get(name)),
                linestyle="--" if name == "oracle" else "-", capsize=2, zorder=3 if strong else 2,
            )  # fmt: skip
        axis.set_xscale("log")
        axis.set_xticks(rates, [f"{rate:g}" for rate in rates], minor=False)
        axis.minorticks_off()
        axis.set_title(f"simulated {kind}")
        axis.set_xlabel("false alarms per key-week, matched")
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("spikes found")
    axes[0].set_ylim(0, 1)
    axes[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
