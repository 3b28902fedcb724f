"""``documents``: what was taken in, found again and taken out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from monitor.commands.export import read_model
from monitor.settings import SettingsError, load
from pipelines import takedown
from pipelines.view import ReadModel

SHOWN = ("id", "revision", "source", "publisher", "title", "url", "published", "fetched")


def find(config: Path, words: str) -> None:
    """Prints the documents of the read model whose title or address holds ``words``, the latest first."""
    answers, _ = read_model(load(config))
    for document in answers.find(words):
        sys.stdout.write(json.dumps({name: document[name] for name in SHOWN}, ensure_ascii=False) + "\n")
    answers.close()


def forget(config: Path, ids: Sequence[str]) -> None:
    """Takes documents out of store and read model; prints what was changed."""
    settings = load(config)
    if settings.engine.kind != "embedded":
        raise SettingsError(
            f"{config}: engine.kind = {settings.engine.kind!r}: single records can't be taken out of Kafka's topics; "
            "docs/retention.md says what can be done"
        )
    for name in ids:
        if takedown.ID.fullmatch(name) is None:
            raise SettingsError(f"{name!r}: is no document's id; `tapewatch documents find` prints them")
    answers, _ = read_model(settings)
    answers.close()
    changed = takedown.forget(settings.engine.path, ids, now=time.time)
    model = ReadModel(answers.path, answers.watch)
    changed["page"] = model.forget(ids)
    model.close()
    if not any(changed.values()):
        typer.echo(f"nothing is kept of {', '.join(ids)}", err=True)
        raise typer.Exit(1)
    sys.stdout.write(json.dumps(changed) + "\n")
