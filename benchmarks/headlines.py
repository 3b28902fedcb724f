"""What would have rung: ``tapewatch replay`` of a file of headlines with every company of the universe watched, and
those of the events.

    python -m benchmarks.headlines HEADLINES EVENTS [--budget 0.05] [--out build/replay] [--draw 60]

HEADLINES: a document file (columns as in docs/sources.md), EVENTS: CSV with ``entity`` and ``onset_date``. Prints which
events rang, every other alert about a company by its date, and what so many alarms show (``--draw``), drawn at random,
to be read by eye. Texts are read where they lie and go nowhere but to the terminal.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from pathlib import Path

from monitor.commands.replay import run_replay
from pipelines.entities import EntityConfigError, resolve
from pipelines.universe import load_universe


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("headlines", type=Path)
    parser.add_argument("events", type=Path)
    parser.add_argument("--budget", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=Path("build/replay"))
    parser.add_argument("--draw", type=int, default=0, help="alarms to be read by eye")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run_replay(
            configuration(Path(folder), arguments.events),
            [arguments.headlines],
            out=arguments.out,
            start=None,
            end=None,
            events=arguments.events,
            budget=arguments.budget,
            class_=None,
        )
    summary = json.loads((arguments.out / "summary.json").read_bytes())
    names = {f"entity:{entity.id}": entity.name for entity in load_universe()}
    for event in summary["events"]:
        rang = f"rang {event['rang'][:10]} ({event['delay_days']:+.1f} days)" if event["rang"] else "did not ring"
        print(f"{event['onset'][:10]}  {event['entity']}: {event['what']}: {rang}")
    others = [alert for alert in summary["unlabelled"] if alert["key"].startswith("entity:")]
    print(f"\n{len(others)} other alerts about companies:")
    for alert in others:
        print(f"{alert['at'][:10]}  {names.get(alert['key'], alert['key'])}: {alert['severity']}")
    print("", *shown(arguments.out / "alerts.jsonl", arguments.draw), sep="\n")


if __name__ == "__main__":
    main()
