"""``rules check``: what the rules would have rung over the history that the log still has."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import typer

from monitor import checks
from monitor.assembly import Parts
from monitor.engines import log_reader
from monitor.settings import Settings, SettingsError, load
from pipelines.alarms import silences
from pipelines.documents import iso
from pipelines.hindsight import Hindsight, look_back
from pipelines.streams.base import StoreTorn

MOST = 5
"""Keys that are named of one rule."""


def check_rules(config: Path) -> None:
    """Prints each rule with what it would have rung, a JSON object a line, and warns of those above their budget."""
    settings = load(config)
    parts = checks.check(settings)
    if not settings.rules:
        raise SettingsError(f"{settings.file}: has no [[rules]]; docs/alerts.md has some to start from")
    found = hindsight(settings, parts)
    watched = silences(parts.rules, parts.watch)
    for rule in parts.rules.flash:
        monthly = found.monthly(rule.name)
        line = {
            "rule": rule.name,
            "kind": "flash",
            "version": rule.version,
            "alerts": found.count(rule.name),
            "from": iso(found.first) if found.documents else None,
            "to": iso(found.last) if found.documents else None,
            "documents": found.documents,
            "alerts_per_month": None if monthly is None else round(monthly, 2),
            "false_alarms_per_month": rule.budget,
            "keys": dict(found.rang[rule.name].most_common(MOST)),
        }
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    for quiet in parts.rules.silence:
        keys = [budget for chosen, budget in watched.values() if chosen is quiet]
        line = {
            "rule": quiet.name,
            "kind": "silence",
            "version": quiet.version,
            "watched": len(keys),
            "false_alarms_per_month": quiet.budget,
            "false_alarms_per_key_month": round(keys[0], 6) if keys else None,
        }
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    for told in above(settings, found):
        typer.echo(told, err=True)


def hindsight(settings: Settings, parts: Parts) -> Hindsight:
    """What the log says of the flash rules; nothing where there is none yet. Raises SettingsError."""
    if settings.engine.kind == "embedded" and not settings.engine.path.is_file():
        return Hindsight(rang={rule.name: Counter() for rule in parts.rules.flash})
    try:
        with closing(log_reader(settings)) as reader:
            return look_back(reader, parts.watch, parts.rules.flash)
    except (sqlite3.Error, StoreTorn) as error:
        raise SettingsError(f"{settings.engine.path}: can't be read: {error}") from None


def above(settings: Settings, found: Hindsight) -> Iterator[str]:
    """A line for each flash rule: how often it rang, and a warning where that is above its budget."""
    for number, entry in enumerate(settings.rules, 1):
        if entry.kind != "flash":
            continue
        where = f"{settings.file}: rules #{number} ({entry.name})"
        monthly, count = found.monthly(entry.name), found.count(entry.name)
        if monthly is None:
            yield f"{where}: no history to count by yet; `tapewatch rules check` counts once there is"
            continue
        days = 30.4 * found.months
        said = f"would have rung {count} times in the {days:.1f} days that the log holds, {monthly:.3g} a month"
        if monthly > entry.false_alarms_per_month:
            chance = found.chance(entry.name, entry.false_alarms_per_month)
            yield (
                f"{where}: WARNING: {said}, where {entry.false_alarms_per_month:g} are allowed (so many come by chance "
                f"with a probability of {chance:.2g}): raise probability or publishers, name less, or allow more"
            )
        else:
            yield f"{where}: {said}; {entry.false_alarms_per_month:g} are allowed"
