"""Two companies for weeks with a crisis of one, and the replay command on files of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monitor.commands import replay as command
from tests.stream_bench import DAY, HOUR, T0, Tape, Told

NAMES = ("Acme", "Borealis")
WEEKS = 5
CONFIG = (
    "[detection]\nfalse_alarms_per_key_month = 0.2\n[[watchlists]]\nname = 'mine'\nentities = ["
    + ", ".join(f"{{ name = '{name} Corp', aliases = ['{name}'] }}" for name in NAMES)
    + "]\n"
)
CRISIS = T0 + 25 * DAY


def tape(seed: int = 5) -> list[Told]:
    """Two companies for weeks, and a crisis of Acme; in the order of arrival, which of some is days late."""
    made = Tape(seed)
    stories = [one for name in NAMES for one in made.poisson(T0, T0 + WEEKS * 7 * DAY, 5.0, "wire", name)]
    stories += [made.story(CRISIS + n * 0.2 * HOUR, "wire", "Acme", bad=True) for n in range(15)]
    for one in stories:
        if made.rng.random() < 0.1:
            one.fetched = one.at + made.rng.expovariate(1 / DAY)
    return sorted(stories)


def documents(folder: Path, stories: Sequence[Told], name: str = "tape.jsonl", zone: str = "Z") -> Path:
    path = folder / name
    with path.open("w") as target:
        for one in stories:
            when = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%dT%H:%M:%S") + zone
            line = {"id": str(one.number), "title": one.title, "published": when, "publisher": f"P{one.number % 5}"}
            line["language"] = "en"  # made of words that are none
            target.write(json.dumps(line) + "\n")
    return path


def labels(folder: Path, *rows: str, columns: str = "entity,onset,what,verdict") -> Path:
    path = folder / "events.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


def replay(folder: Path, *inputs: Path, out: str = "out", **options: Any) -> dict[str, Any]:
    given = {"start": None, "end": None, "events": None, "budget": None, "class_": None} | options
    command.run_replay(folder / "tapewatch.toml", inputs, out=folder / out, **given)
    found: dict[str, Any] = json.loads((folder / out / "summary.json").read_bytes())
    return found


def day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
