"""``init`` and ``check-config``."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path

import typer

from monitor import checks
from monitor.settings import SettingsError, load

NAME = "tapewatch.toml"


def write_settings(folder: Path, *, force: bool) -> None:
    """Writes the starter settings; never over a file that is there, unless told to."""
    target = folder / NAME
    if target.exists() and not force:
        raise SettingsError(f"{target}: is there already; --force overwrites it")
    folder.mkdir(parents=True, exist_ok=True)
    target.write_bytes(files("monitor").joinpath("starter.toml").read_bytes())
    sys.stdout.write(f"wrote {target}; next: tapewatch check-config -c {target} && tapewatch run -c {target}\n")


def check(config: Path) -> None:
    """Validates settings down to entities, topics and the model's files, and prints them."""
    settings = load(config)
    parts = checks.check(settings)
    json.dump(settings.redacted(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    typer.echo(f"{config}: fine; {len(settings.sources)} sources, {len(parts.watch.keys)} watched keys", err=True)
