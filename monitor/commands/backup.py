"""``backup`` and ``restore``: the embedded engine's files, copied and put back."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import typer

from monitor import __version__
from monitor.engines import view_path
from monitor.settings import Settings, SettingsError, load
from pipelines.streams import backup


def run_backup(config: Path, out: Path) -> None:
    """Copies the store that the settings name; prints what was copied."""
    settings = _embedded(config)
    store, view = settings.engine.path, view_path(settings)
    manifest = backup.take(store, view, out, tapewatch=__version__, now=time.time())
    sys.stdout.write(msgspec.json.encode(manifest).decode() + "\n")


def run_restore(config: Path, folder: Path) -> None:
    """Puts a backup in the place of the store that the settings name."""
    settings = _embedded(config)
    store, view = settings.engine.path, view_path(settings)
    manifest, former = backup.restore(folder, store, view, now=time.time())
    for path in former:
        typer.echo(f"what was there is now {path}; delete it when it is no longer needed", err=True)
    sys.stdout.write(msgspec.json.encode(manifest).decode() + "\n")


def _embedded(config: Path) -> Settings:
    settings = load(config)
    if settings.engine.kind != "embedded":
        raise SettingsError(
            f"{config}: engine.kind = {settings.engine.kind!r}: its records and tables are Kafka's to keep "
            "(docs/backup.md); backup and restore are for the embedded engine"
        )
    return settings
