"""The model in use: its card in short, and whether what it reads has drifted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models import card as cards
from models.card import Card, CardError
from monitor.app import Daemon
from pipelines import drift
from pipelines.notify import Notify

PATIENCE = 2.0
"""Seconds that the tables of a stage are waited for."""


async def about(daemon: Daemon) -> dict[str, Any]:
    """``card``: (name, value); empty where the model has none. ``drift``: None where another process knows of it."""
    use = daemon.model_use.status()
    folders = [Path(one["folder"]) for one in await daemon.model_use.listed() if one["in_use"]]
    card = await asyncio.to_thread(_card, folders[0]) if folders else None
    return {
        "model": daemon.model.name,
        "since": use["since"],
        "by": use["by"],
        "before": use["before"],
        "card": list(_told(card)) if card is not None else [],
        "drift": await _drift(daemon),
    }


def _card(folder: Path) -> Card | None:
    try:
        return cards.read(folder)
    except CardError:
        return None


def _told(card: Card) -> Iterator[tuple[str, str]]:
    yield "version", card.version
    yield "created", card.created[:10]
    yield "languages", ", ".join(card.languages)
    yield "topics", str(len(card.topic.labels))
    yield "events", str(len(card.risks))
    yield "tokens", str(card.max_tokens)
    if card.backbone:
        yield "backbone", ", ".join(card.backbone.values())
    yield "trained", ", ".join(f"{one['name']} ({one['rows']})" for one in card.data)
    yield "licence", card.licence
    if card.limits:
        yield "limits", " ".join(card.limits)


async def _drift(daemon: Daemon) -> list[dict[str, Any]] | None:
    if Notify.name not in daemon.only:
        return None
    try:
        async with asyncio.timeout(PATIENCE):
            return await daemon.engine.inspect(Notify.name, drift.report)
    except TimeoutError:
        return None
