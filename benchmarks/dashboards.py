"""Draws the dashboards' panels from what a real Prometheus saw of the demo: ``make dashboards``.

Grafana is not at hand where this was made, so these are the panels' own queries in the panels' own places, drawn by
matplotlib. It takes two and a half minutes, the demo's length.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from deploy.grafana.__main__ import BOARDS
from tests.monitoring.programs import Prometheus

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SECONDS = 140
STEP = 2
SHOWN = ("newsroom", "pipeline")
VALUES = {"key": "entity:halvorne-motors", "__rate_interval": "20s"}
COLOURS = {
    "green": "#3a9c4f",
    "yellow": "#d9a514",
    "orange": "#e07b28",
    "red": "#c8342f",
    "blue": "#3274d9",
    "text": "#555",
}
UNITS = {"s": " s", "percentunit": " %", "bytes": " GB", "cps": "/s", "reqps": "/s", "short": ""}
ROW = 0.34
"""Inches of one row of Grafana's grid."""


async def demo(prometheus: Prometheus) -> tuple[float, float]:
    """Plays the demo under Prometheus; returns when the watching began and ended."""
    command = [sys.executable, "-m", "monitor", "demo", "--listen", prometheus.targets["tapewatch"]]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    began = time.time()
    await asyncio.sleep(SECONDS)
    process.send_signal(signal.SIGTERM)
    ended = time.time()
    await process.wait()
    return began, ended


def filled(text: str) -> str:
    return re.sub(r"\$(\w+)", lambda found: VALUES.get(found[1], ".*"), text)


def legend(template: str, labels: dict[str, str]) -> str:
    if template == "__auto":
        return ", ".join(value for name, value in labels.items() if name != "__name__") or "value"
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


def scaled(value: float, unit: str) -> float:
    return value * {"percentunit": 100.0, "bytes": 1e-9}.get(unit, 1.0)


class Drawer:
    """Draws one dashboard's panels. Times in seconds since 1970."""

    def __init__(self, prometheus: Prometheus, began: float, ended: float) -> None:
        self._prometheus = prometheus
        self._began, self._ended = began, ended

    def draw(self, board: dict[str, Any], path: Path) -> None:
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        figure = plt.figure(figsize=(15, rows * ROW), facecolor="white")
        for panel in panels:
            at = panel["gridPos"]
            place = (
                at["x"] / 24 + 0.03,
                1 - (at["y"] + at["h"] - 0.9) / rows,
                at["w"] / 24 - 0.045,
                (at["h"] - 2.2) / rows,
            )
            axes = figure.add_axes(place)
            axes.set_title(filled(panel["title"]), fontsize=9, loc="left", fontweight="bold")
            {"timeseries": self._lines, "stat": self._figure}.get(panel["type"], self._rows)(panel, axes)
        figure.savefig(path, dpi=80)
        plt.close(figure)

    def _now(self, expr: str) -> list[Any]:
        found: list[Any] = self._prometheus.api("query", query=filled(expr), time=self._ended)["result"]
        return found

    def _lines(self, panel: dict[str, Any], axes: Any) -> None:
        unit = panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            found = self._prometheus.api(
                "query_range", query=filled(target["expr"]), start=self._began, end=self._ended, step=STEP
            )["result"]
            for one in found[:12]:
                times = [at - self._began for at, _ in one["values"]]
                values = [scaled(float(value), unit) for _, value in one["values"]]
                axes.plot(times, values, linewidth=1.2, label=legend(target["legendFormat"], one["metric"])[:40])
        axes.ticklabel_format(useOffset=False)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
        axes.set_xlim(0, self._ended - self._began)
        axes.text(0.005, 0.98, UNITS[unit].strip(), transform=axes.transAxes, fontsize=7, va="top", color="#777")
        if axes.lines:
            axes.legend(fontsize=6, loc="upper right", framealpha=0.6)

    def _figure(self, panel: dict[str, Any], axes: Any) -> None:
        defaults = panel["fieldConfig"]["defaults"]
        found = self._now(panel["targets"][0]["expr"])
        value = float(found[0]["value"][1]) if found else math.nan
        colour = [
            step["color"] for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]
        ]
        axes.set_facecolor(COLOURS[colour[-1]])
        axes.set_xticks([])
        axes.set_yticks([])
        text = f"{scaled(value, defaults['unit']):.3g}{UNITS[defaults['unit']]}"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=15, color="white")

    def _rows(self, panel: dict[str, Any], axes: Any) -> None:
        """Whatever else, as rows of labels and values as they stand at the end."""
        axes.axis("off")
        lines = []
        for target in panel["targets"]:
            for one in self._now(target["expr"])[:9]:
                labels = "   ".join(value for name, value in sorted(one["metric"].items()) if name != "__name__")
                lines.append(f"{float(one['value'][1]):>9.3g}  {labels[:75]}")
        axes.text(0.0, 0.97, "\n".join(lines[:11]), transform=axes.transAxes, va="top", fontsize=7, family="monospace")


def main() -> None:
    mpl.use("Agg")
    with tempfile.TemporaryDirectory(prefix="tapewatch-dashboards-") as folder:
        prometheus = Prometheus(Path(folder) / "prometheus")
        prometheus.targets = {"tapewatch": f"127.0.0.1:{prometheus.port + 1}", "alertmanager": "127.0.0.1:9"}
        with prometheus:
            began, ended = asyncio.run(demo(prometheus))
            drawer = Drawer(prometheus, began, ended)
            for name in SHOWN:
                drawer.draw(json.loads(json.dumps(BOARDS[name].json())), IMAGES / f"dashboard-{name}.png")


if __name__ == "__main__":
    main()
