"""``tapewatch models finetune``: a model adapted to a user's own texts."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import typer

from models import card as cards
from models.data import DataError
from models.finetune import FinetuneError, Own, load

METHODS = ("full", "lora")


def finetune_model(
    parent: Path,
    data: Path,
    out: Path | None,
    *,
    name: str | None,
    method: str,
    original: Path | None,
    new_topics: Sequence[str],
    new_risks: Sequence[str],
    keep_anyway: bool,
) -> None:
    """Prints what the texts are, learns from them unless ``out`` is None, and prints the figures of the new model."""
    if method not in METHODS:
        raise typer.BadParameter(f"--method is {' or '.join(METHODS)}, not {method!r}")
    card = cards.verify(parent)
    try:
        own = load(data, card, new_topics, new_risks)
    except FinetuneError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if out is None:
        _print(own.summary())
        return
    _need_torch()
    from models.finetune.adapt import Order, adapt

    order = Order(parent, data, out, name or f"{card.name}-own", method, original, keep_anyway=keep_anyway)
    _say(own)
    try:
        made = adapt(order, own)
    except DataError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    _print({"model": made.identity(), "folder": str(out), **made.training, **made.evaluation})
    typer.echo(f"to use it: tapewatch models add {out}", err=True)


def _need_torch() -> None:
    if importlib.util.find_spec("peft") is None:
        typer.echo(
            "fine-tuning needs its own environment (torch, transformers, peft): run `make setup-train` in a checkout "
            "and then .venv-train/bin/tapewatch, or install tapewatch[train] into an environment of its own; --check "
            "alone needs neither",
            err=True,
        )
        raise typer.Exit(1)


def _say(own: Own) -> None:
    counted = own.summary()
    typer.echo(
        f"{counted['texts']} texts of {counted['rows']} rows: {counted['train']} to learn from, {counted['valid']} to "
        f"judge by; {counted['alike']} tell nearly the same as another",
        err=True,
    )
    if own.ignored:
        typer.echo(f"columns that mean nothing here: {', '.join(own.ignored)}", err=True)


def _print(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n")
