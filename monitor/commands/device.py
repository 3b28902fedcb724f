"""``tapewatch models verify`` and ``bench``: what a model says, and how fast, on a device of this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import typer

from models import card as cards
from models import golden
from models.bench import TEXTS, Figures, measure
from models.card import Card
from models.classifier import load
from models.placement import gpu_memory_mb, placement
from models.session import CPU, CUDA


def verify_model(name: str, device: str | None, *, half: bool, memory_mb: int | None) -> None:
    """Files against the card; with a device also answers against the golden ones, and where each node is computed."""
    if half and device is None:
        raise typer.BadParameter("--half needs --device cpu: it tries the graph of CUDA there")
    if memory_mb is not None and device != "cuda":
        raise typer.BadParameter("--memory-mb is a ceiling of GPU memory: it needs --device cuda")
    half = (device is not None and _device(device) == "cuda") or half
    folder = cards.folder_of(name)
    card = cards.verify(folder)
    typer.echo(f"{card.identity()}: {len(card.files)} files as the card says")
    if device is None:
        return
    same = _answers(folder, card, device, half=half, memory_mb=memory_mb)
    if not (_nodes(folder, device, half=half) and same):
        raise typer.Exit(1)


def _answers(folder: Path, card: Card, device: str, *, half: bool, memory_mb: int | None) -> bool:
    """Whether the answers are the golden ones."""
    texts = golden.read(folder, card)
    before = gpu_memory_mb() if device == "cuda" else None
    classifier = load(str(folder), device=device, memory_mb=memory_mb, half=half)
    try:
        found = golden.difference(classifier, texts, half=half)
        more = _more_than(before)
    finally:
        classifier.close()
    typer.echo(
        f"answers on {device}, {'half-precision' if half else 'int8'} graph, {found.texts} golden texts: largest "
        f"difference of a probability {found.probability:.4f}, up to {golden.TOLERANCE} is let pass; "
        f"other labels: sentiment {found.sentiments}, topic {found.topics}"
    )
    if device == "cuda":
        typer.echo(
            f"memory on the GPUs, more than before: {'not told by nvidia-smi' if more is None else f'{more} MB'}"
        )
    if not found.allowed:
        typer.echo(f"{card.identity()}: says something else on this {device}, most so of: {found.worst}", err=True)
    return found.allowed


def _nodes(folder: Path, device: str, *, half: bool) -> bool:
    """Whether all that reckons with numbers is computed on the device."""
    found = placement(folder, device=device, half=half)
    strangers = found.astray(CUDA if device == "cuda" else CPU)
    told = "; ".join(f"{provider} {nodes.total()}" for provider, nodes in found.nodes.items())
    typer.echo(f"nodes of one pass: {told}; of them shapes: {found.shapes.total()}")
    if strangers:
        names = ", ".join(f"{kind} {count}" for kind, count in strangers.most_common())
        typer.echo(f"not computed on {device}: {names}; each costs a way there and back", err=True)
    return not strangers


def bench_model(name: str, device: str, *, threads: int, seconds: float, as_json: bool) -> None:
    """Prints how fast a model is here."""
    before = gpu_memory_mb() if _device(device) == "cuda" else None
    classifier = load(name, device=device, threads=threads)
    try:
        found = measure(classifier, seconds, gpu_memory=lambda: _more_than(before))
    finally:
        classifier.close()
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    else:
        typer.echo("\n".join(_table(found)))


def _table(found: Figures) -> Iterator[str]:
    yield f"Model {found.model} on {found.device}, {found.threads} passes at once, calls of {TEXTS} texts."
    yield from ("", "| what | figure |", "|---|---|")
    for kind, rate in found.texts_per_second.items():
        yield f"| {kind} | {rate:,.0f} texts/s |"
    yield f"| one headline alone | p50 {found.alone_p50_ms} ms, p99 {found.alone_p99_ms} ms |"
    yield f"| resident memory, at most | {found.peak_rss_mb:.0f} MB |"
    if found.gpu_memory_mb is not None:
        yield f"| memory on the GPUs, more than before | {found.gpu_memory_mb} MB |"


def _more_than(before: int | None) -> int | None:
    now = None if before is None else gpu_memory_mb()
    return None if before is None or now is None else now - before


def _device(device: str) -> str:
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"--device is cpu or cuda, not {device!r}")
    return device
