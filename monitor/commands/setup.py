"""``init`` and ``check-config``."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer

from monitor import checks
from monitor.assembly import Parts
from monitor.commands.rules import above, hindsight
from monitor.settings import Settings, SettingsError, load
from monitor.settings_file import ignored
from pipelines.calendars import known_to
from pipelines.watch import Watch

NAME = "tapewatch.toml"


def write_settings(folder: Path, *, force: bool) -> None:
    """Writes the starter settings; never over a file that is there, unless told to."""
    target = folder / NAME
    if target.exists() and not force:
        raise SettingsError(f"{target}: is there already; --force overwrites it")
    folder.mkdir(parents=True, exist_ok=True)
    target.write_bytes(files("monitor").joinpath("starter.toml").read_bytes())
    command = "tapewatch" if shutil.which("tapewatch") else sys.argv[0]
    sys.stdout.write(f"wrote {target}; next: {command} check-config -c {target} && {command} run -c {target}\n")


def check(config: Path, *, whole: bool) -> None:
    """Validates settings down to entities, topics and the model's files, and prints what is not as it is by default, or
    the ``whole`` of them."""
    settings = load(config)
    parts = checks.check(settings)
    resolved = settings.redacted()
    sys.stdout.write(json.dumps(resolved, indent=2, ensure_ascii=False) if whole else _short(resolved))
    sys.stdout.write("\n")
    sources, channels = _number(len(settings.sources), "source"), _number(len(settings.channels), "channel")
    for why in ignored(os.environ):
        typer.echo(why, err=True)
    for line in (*_budgets(settings, parts.watch), *_calendars(parts.watch)):
        typer.echo(f"{config}: {line}", err=True)
    for line in _flashes(settings, parts):
        typer.echo(line, err=True)
    typer.echo(f"{config}: fine; {sources}, {_number(len(parts.watch.keys), 'watched key')}, {channels}", err=True)


def _flashes(settings: Settings, parts: Parts) -> Iterator[str]:
    """What the flash rules would have rung; of a log on brokers only where they are to be asked."""
    if parts.rules.flash and settings.engine.kind == "kafka":
        yield f"{settings.file}: rules: `tapewatch rules check` counts what they would have rung, on the brokers"
    elif parts.rules.flash:
        yield from above(settings, hindsight(settings, parts))


def _budgets(settings: Settings, watch: Watch) -> Iterator[str]:
    """What is asked of each list, of each of its keys, and of all keys together."""
    usual = settings.detection.false_alarms_per_key_month
    asked = {key: watched.budget if watched.budget is not None else usual for key, watched in watch.keys.items()}
    for number, watched in enumerate(watch.lists, 1):
        keys = watched.watched()
        if not keys:
            continue
        each = keys[0].budget if keys[0].budget is not None else usual
        line = f"watchlists #{number} ({watched.name}): {_number(len(keys), 'key')}, {each:.3g} false alarms expected "
        line += f"of each a month, {sum(asked[key.key] for key in keys):.3g} of all"
        if others := sum(asked[key.key] != each for key in keys):
            line += f"; {others} of them {'has' if others == 1 else 'have'} another list's budget"
        yield line
    yield f"all {_number(len(asked), 'watched key')} together: {sum(asked.values()):.3g} false alarms expected a month"


def _calendars(watch: Watch) -> Iterator[str]:
    """Whose closed days are weekends, and for how long they are known."""
    found = Counter(entity.calendar for entity in watch.entities() if entity.calendar is not None)
    if found:
        known = (f"{name} ({count}, to {known_to(name)})" for name, count in sorted(found.items()))
        free = len(watch.entities()) - found.total()
        none = f"; {free} {'goes' if free == 1 else 'go'} by none" if free else ""
        yield f"trading calendars of companies, and the year to which they are known: {', '.join(known)}{none}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _short(resolved: dict[str, Any]) -> str:
    """One JSON object, a line a section or entry: what differs from the defaults, and of entries what is set."""
    lines = []
    for name, default in Settings().redacted().items():
        held = resolved[name]
        if isinstance(held, list):
            entries = ",\n    ".join(
                _line({k: v for k, v in entry.items() if v is not False and v not in (None, [], "", {})})
                for entry in held
            )
            said = f"[\n    {entries}\n  ]" if held else ""
        else:
            said = _line(changed) if (changed := _changed(held, default)) else ""
        if said:
            lines.append(f'  "{name}": {said}')
    return "{\n" + ",\n".join(lines) + "\n}"


def _changed(held: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in held.items():
        if isinstance(value, dict) and isinstance(default[name], dict):
            value = _changed(value, default[name]) or default[name]
        if value != default[name]:
            found[name] = value
    return found


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
