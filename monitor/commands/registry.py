"""``tapewatch models``: what is in the registry, and what comes in and goes out."""

from __future__ import annotations

from pathlib import Path

import typer

from models import card as cards
from models.registry import Registry, Version
from monitor import engines
from monitor.arguments import CONFIG
from monitor.settings import load


def registry_of(config: Path | None) -> Registry:
    """The registry of a settings file; without one of the file that lies here, or else the shipped models alone."""
    if config is None and not CONFIG.is_file():
        return Registry(None)
    return engines.registry(load(config or CONFIG))


def find(name: str, config: Path | None) -> Version:
    """The model that a user names. Raises ModelError."""
    return registry_of(config).find(name)


def list_models(config: Path | None) -> None:
    for one in registry_of(config).versions():
        about = one.problem or ", ".join(one.languages)
        where = one.folder if one.origin == "added" else one.origin
        typer.echo(f"{one.name}  {one.version}  {one.digest[:12]}  {about}  {where}")


def show_model(name: str, config: Path | None) -> None:
    typer.echo(cards.readable(cards.read(find(name, config).folder)))


def add_model(source: Path, name: str | None, config: Path | None) -> None:
    """Prints by which name it is known now."""
    registry = registry_of(config)
    added = registry.add(source, name)
    typer.echo(f"{added.model}  version {added.version}  {added.folder}")
    typer.echo(
        f"its files and answers are what they should be; to use it: tapewatch models use {added.model}", err=True
    )


def remove_model(name: str, config: Path | None) -> None:
    registry = registry_of(config)
    gone = registry.find(name)
    registry.remove(gone)
    typer.echo(f"removed {gone.model}, version {gone.version}")
