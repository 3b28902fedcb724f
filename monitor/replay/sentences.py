"""What a replay came to, in sentences for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def sentences(summary: Mapping[str, Any], out: Path) -> Iterator[str]:
    """A line each; ``summary`` as in summary.json, ``out`` the folder of the report."""
    speed = summary["speed"]
    yield (
        f"{summary['documents']:,} documents, {summary['from'][:10]} to {summary['to'][:10]}, at "
        f"{speed['documents_per_second']:,g} a second ({speed['documents_per_second_without_scoring']:,g} without the "
        "model's time)"
    )
    rules = ", ".join(f"{rule} {count}" for rule, count in summary["by_rule"].items())
    yield f"{summary['alerts']} alerts{f' ({rules})' if rules else ''}{_rate(summary)}"
    if summary["told_to_nobody"]:
        yield "told to nobody: " + ", ".join(f"{count} {why}" for why, count in summary["told_to_nobody"].items())
    if summary.get("events_counted"):
        delay = summary["delay_days"]
        yield (
            f"{summary['events_found']} of {summary['events_counted']} events found{_interval(summary, 'recall')}"
            f"{f', median delay {delay:g} days' if delay is not None else ''}; {summary['judged_alerts']} alerts of "
            f"such keys, explained by an event: {_share(summary['precision_lower_bound'])}"
            f"{_interval(summary, 'precision_lower_bound')}"
        )
    if "compare" in summary:
        told = summary["compare"]
        yield f"with {told['with']}: {told['same']} the same, {told['appears']} appear, {told['vanishes']} vanish, " + (
            f"{told['moves']} move"
        )
    yield f"look at {out / 'report.html'}"


def _rate(summary: Mapping[str, Any]) -> str:
    rate = summary["alerts_per_key_month"]
    if rate is None:
        return ""
    return f", {rate:.3g} per key and month{_interval(summary, 'alerts_per_key_month')}"


def _share(value: float | None) -> str:
    return "not told" if value is None else f"{value:.2f}"


def _interval(summary: Mapping[str, Any], name: str) -> str:
    bounds = summary.get(f"{name}_interval")
    return f" (95 %: {bounds[0]:.3g} to {bounds[1]:.3g})" if bounds else ""
