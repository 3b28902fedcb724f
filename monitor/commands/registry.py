"""``tapewatch models``: what is in the registry, and what comes in and goes out."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import typer

from models import card as cards
from models.card import CardError
from models.registry import Registry, RegistryError, Version, prove
from models.uses import History, Use
from monitor import engines
from monitor.arguments import CONFIG
from monitor.assembly import assemble
from monitor.commands.operations import NobodyThere, ask_if_there
from monitor.model_choice import Choice, choice, earlier, listed, named
from monitor.settings import Settings, load

LOADING = 600.0
"""Seconds that a daemon may take to load a model: on a GPU every pass is run once."""


def registry_of(config: Path | None) -> Registry:
    """The registry of a settings file; without one of the file that lies here, or else the shipped models alone."""
    if config is None and not CONFIG.is_file():
        return Registry(None)
    return engines.registry(load(config or CONFIG))


def find(name: str, config: Path | None) -> Version:
    """The model that a user names. Raises ModelError."""
    return registry_of(config).find(name)


def list_models(config: Path | None, as_json: bool) -> None:
    """Prints what a daemon that runs says, or else what one would use that starts now."""
    rows = _rows(config)
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
        return
    table = [(_mark(row), row["name"], row["version"], row["digest"][:12], _about(row)) for row in rows]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for *cells, about in table:
        typer.echo("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), about]))


def _rows(config: Path | None) -> list[dict[str, Any]]:
    if config is None and not CONFIG.is_file():
        settings = Settings()
        return list(listed(settings, choice(settings, time.time()).use))
    with contextlib.suppress(NobodyThere):
        rows: list[dict[str, Any]] = ask_if_there(config or CONFIG, "GET", "models")["models"]
        return rows
    settings = load(config or CONFIG)
    return list(listed(settings, choice(settings, time.time()).use))


def _mark(row: dict[str, Any]) -> str:
    own = f"for {row['judges']}" if row["judges"] else ""
    return "in use" if row["in_use"] else own or ("before" if row["before"] else "")


def _about(row: dict[str, Any]) -> str:
    where = row["origin"] if row["origin"] == "shipped" else f"{row['origin']}, {row['folder']}"
    return row["problem"] or f"{', '.join(row['languages'])}  {where}"


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


def use_model(name: str | None, config: Path) -> None:
    """Has the daemon that runs judge with a model, None for the one before; without one the next start does."""
    path, body = ("models/rollback", {}) if name is None else ("models/use", {"model": name})
    try:
        answer = ask_if_there(config, "POST", path, body, patience=LOADING)
    except NobodyThere:
        chosen = _choose(name, load(config))
        typer.echo(f"{chosen.version.model}, version {chosen.version.version}: in use from the next start on")
    else:
        typer.echo(f"{answer['model']}, version {answer['version']}: in use since {answer['since']}")
        typer.echo(f"until now: {answer['until_now']}", err=True)


def _choose(name: str | None, settings: Settings) -> Choice:
    """Writes down what the next start is to use, once it is found that it can. Raises ModelError, SettingsError."""
    now = time.time()
    held = _held(settings, now)
    if name is not None:
        chosen = named(settings, name, now)
    else:
        chosen = earlier(settings, held.model if held is not None else settings.model.name, now)
    if chosen.version.tried:
        prove(chosen.version.folder)
    card = cards.verify(chosen.version.folder)
    assemble(settings, card.topic.labels, card.risks)
    History(engines.registry(settings)).add(chosen.use, held)
    return chosen


def _held(settings: Settings, now: float) -> Use | None:
    """What the next start would use as it is; None where it could use nothing, which another choice may mend."""
    try:
        return choice(settings, now).use
    except CardError:
        return None


def remove_model(name: str, config: Path | None) -> None:
    """Never the one in use, the one that a rollback leads to, or one that judges a language of its own."""
    registry = registry_of(config)
    gone = registry.find(name)
    for row in _rows(config):
        if row["model"] == gone.model and (row["in_use"] or row["before"]):
            why = "in use" if row["in_use"] else "what `models rollback` leads to"
            raise RegistryError(f"{gone.model}: is {why}, and stays; use another one first")
        if row["model"] == gone.model and row["judges"]:
            key = f"model.languages.{row['judges']}"
            raise RegistryError(f"{gone.model}: is what {key} names, and stays; change that first")
    registry.remove(gone)
    typer.echo(f"removed {gone.model}, version {gone.version}")
