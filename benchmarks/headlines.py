"""What would have rung: ``tapewatch replay`` of a file of headlines with every company of the universe watched, and
those of the events.

    python -m benchmarks.headlines HEADLINES EVENTS [--budget 0.05] [--out build/replay] [--draw 60] [--docs docs]

HEADLINES: a document file (columns as in docs/sources.md), EVENTS: CSV with ``entity`` and ``onset_date``. Prints the
figures by budget, which events rang, every other alert about a company by its date, and what other detectors find that
are shown the same evidence; ``--docs`` writes that into ``replay.md`` and ``detection.md`` there. ``--draw``: what so
many alarms show, drawn at random, to be read by eye. Texts are read where they lie and go nowhere but to ``--out`` and
the terminal.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.crises import Recorder, compared, table
from benchmarks.detectors.report import write
from monitor.commands.replay import run_replay
from monitor.settings import Settings
from pipelines.entities import EntityConfigError, resolve
from pipelines.universe import load_universe

MATCHED = (0.05, 1.0)
"""Budgets at which other detectors ring as often as the shipped one."""

CALLED = {"Goldman 1MDB": "Goldman Sachs"}
"""Events that are called by more than their company's name."""


def labels(folder: Path, events: Path) -> Path:
    """The events, by names of companies."""
    path = folder / "events.csv"
    with events.open(encoding="utf-8-sig", newline="") as rows, path.open("w", encoding="utf-8", newline="") as target:
        reader = csv.DictReader(rows)
        writer = csv.DictWriter(target, reader.fieldnames or ())
        writer.writeheader()
        writer.writerows(row | {"entity": CALLED.get(row["entity"], row["entity"])} for row in reader)
    return path


def configuration(folder: Path, events: Path) -> Path:
    """Settings that watch all companies of the universe, and those of the events that are not in it."""
    path = folder / "tapewatch.toml"
    universe = load_universe()
    listed = [json.dumps(entity.id) for entity in universe]
    with events.open(encoding="utf-8-sig", newline="") as rows:
        wanted = dict.fromkeys(row["entity"] for row in csv.DictReader(rows) if row["entity"] != "Market")
    for name in wanted:
        try:
            resolve(name, universe)
        except EntityConfigError:
            listed.append(f"{{ name = {json.dumps(name)} }}")
    entities = ", ".join(listed)
    path.write_text(f'[[watchlists]]\nname = "companies"\nentities = [{entities}]\n', encoding="utf-8")
    return path


def shown(alerts: Path, number: int) -> list[str]:
    """What so many alarms about companies show, drawn at random and in the order of time."""
    told = [json.loads(line) for line in alerts.read_text(encoding="utf-8").splitlines()]
    firing = (one for one in told if one["type"] == "alert.firing")
    rang = [one for one in firing if one["data"]["subject"]["key"].startswith("entity:")]
    rang.sort(key=lambda one: one["timestamp"])
    drawn = random.Random(60).sample(rang, min(number, len(rang)))
    lines = []
    for one in sorted(drawn, key=lambda one: one["timestamp"]):
        lines.append(f"{one['timestamp'][:10]}  {one['data']['subject']['name']}")
        lines += [f"    {story['headline']}" for story in one["data"]["evidence"]["stories"]]
    return lines


def told(report: dict[str, Any], when: datetime) -> str:
    """Figures, companies and days, as Markdown."""
    figures = report["figures"]
    lines = [
        f"{when:%Y-%m-%d}, model `{report['model']}`: {figures['documents']:,} headlines of {figures['months']:.1f} "
        f"months, {figures['entity_keys']:,} companies.",
        "",
        f"| budget | events found, of {figures['events_counted']} | bursts | per key and month | explained by an event "
        "| median delay, days |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {point['budget']:g} | {point['events_found']}: {_ranged(point, 'recall')} | {point['judged_bursts']} "
        f"| {_ranged(point, 'judged_bursts_per_key_month')} | {_ranged(point, 'precision_lower_bound')} "
        f"| {point['delay_days']} |"
        for point in report["curve"]
    ]
    lines += [
        "",
        f"At {report['budget']:g} {figures['judged_alerts']} alerts, the bursts of one event being one, and "
        f"{figures['events_found']} events found:",
        "",
        "| event | first alert | days after the onset |",
        "|---|---|---|",
    ]
    lines += [
        f"| {one['entity']} {one['onset'][:10]} | {(one['rang'] or one['state'])[:10]} "
        f"| {'' if one['delay_days'] is None else one['delay_days']} |"
        for one in report["events"]
    ]
    days: dict[str, list[str]] = {}
    for one in report["alerts"]:
        if one["matches"] is False and one["key"].startswith("entity:"):
            days.setdefault(one["name"], []).append(one["sent"][:10])
    others = "; ".join(f"{name} {', '.join(those)}" for name, those in sorted(days.items()))
    number = sum(map(len, days.values()))
    rest = f"{number} alerts of companies that no event explains: {others}."
    lines += ["", *textwrap.wrap(rest, 120, break_on_hyphens=False)]
    return "\n".join(lines)


def _ranged(point: dict[str, Any], name: str) -> str:
    low, high = point[f"{name}_interval"]
    return f"{point[name]:.3g} ({low:.3g} to {high:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headlines", type=Path)
    parser.add_argument("events", type=Path)
    parser.add_argument("--budget", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=Path("build/replay"))
    parser.add_argument("--draw", type=int, default=0, help="alarms to be read by eye")
    parser.add_argument("--docs", type=Path, help="write the figures into replay.md of this folder")
    arguments = parser.parse_args()
    detection = Settings().detection
    recorder = Recorder(MATCHED, min_open=detection.min_open, lateness=detection.lateness)
    with tempfile.TemporaryDirectory() as folder:
        events = labels(Path(folder), arguments.events)
        run_replay(
            configuration(Path(folder), events),
            [arguments.headlines],
            out=arguments.out,
            start=None,
            end=None,
            events=events,
            budget=arguments.budget,
            class_=None,
            beside=[recorder],
        )
    report = json.loads((arguments.out / "report.json").read_bytes())
    text, found = told(report, datetime.now(UTC)), compared(recorder, report)
    print(text, table(found), json.dumps(found), sep="\n\n")
    if arguments.docs is not None:
        write(arguments.docs / "replay.md", "headlines", text + "\n")
        write(arguments.docs / "detection.md", "headlines", table(found))
    print("", *shown(arguments.out / "alerts.jsonl", arguments.draw), sep="\n")


if __name__ == "__main__":
    main()
