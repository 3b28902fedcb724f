"""``tapewatch models``: the model's life on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

models = typer.Typer(help="Show, check, measure and train models.", no_args_is_help=True)


@models.command(name="list")
def models_list() -> None:
    """The shipped models."""
    from monitor.commands.models import list_models

    list_models()


@models.command(name="show")
def models_show(name: Annotated[str, typer.Argument()] = "default") -> None:
    """A model's card."""
    from monitor.commands.models import show_model

    show_model(name)


@models.command(name="verify")
def models_verify(
    name: Annotated[str, typer.Argument()] = "default",
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda: also run it there and compare with its golden predictions.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="On the CPU, the graph and the passes of CUDA.")] = False,
    memory_mb: Annotated[int | None, typer.Option(min=1, help="Ceiling of GPU memory, as in [model].")] = None,
) -> None:
    """Check every file of a model against its card, and what it says on a device against what it should."""
    from monitor.commands.device import verify_model

    verify_model(name, device, half=half, memory_mb=memory_mb)


@models.command(name="bench")
def models_bench(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    name: Annotated[str, typer.Option("--model", help="A shipped model's name or a folder.")] = "default",
    threads: Annotated[int, typer.Option(min=0, help="Passes computed at once on the CPU; 0: one a core.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.01, help="How long each kind of text is measured.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """How fast a model is on this machine: texts a second by kind, one text alone, memory."""
    from monitor.commands.device import bench_model

    bench_model(name, device, threads=threads, seconds=seconds, as_json=as_json)


@models.command(name="evaluate")
def models_evaluate(
    task: Annotated[str, typer.Option(help="sentiment, topic or entity_sentiment.")],
    data: Annotated[Path, typer.Option(help="CSV with text, label, entity (for its task) and split.")],
    split: Annotated[str | None, typer.Option(help="Only rows of this split.")] = None,
    name: Annotated[str, typer.Option("--model", help="A shipped model's name or a folder.")] = "default",
) -> None:
    """How good a model is on labelled texts, as one JSON object."""
    from monitor.commands.models import evaluate_model

    evaluate_model(task, data, split, name)


@models.command(name="challenge")
def models_challenge(
    name: Annotated[str, typer.Option("--model", help="A shipped model's name or a folder.")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
) -> None:
    """What a model understands: the challenge sets by phenomenon, and whether changes move it as they should."""
    from monitor.commands.challenge import run_challenge

    run_challenge(name, as_json)


@models.command(name="train")
def models_train(
    data: Annotated[Path, typer.Option(help="Folder of the training files.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights.")],
) -> None:
    """Train a model (needs the training environment)."""
    from monitor.commands.models import train_model

    train_model(data, out)


@models.command(name="export")
def models_export(
    out: Annotated[Path, typer.Option(help="Folder or file to write.")],
    name: Annotated[str, typer.Option("--model", help="A shipped model's name or a folder.")] = "default",
    precision: Annotated[str, typer.Option(help="fp16: the graph for the GPU.")] = "fp16",
) -> None:
    """Build another graph from a model's weights."""
    from monitor.commands.models import export_model

    export_model(name, out, precision)


@models.command(name="risk-data")
def models_risk_data(
    out: Annotated[Path | None, typer.Option(help="CSV to write: training, validation and test texts.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed composes other texts of the same material.")] = 7,
    sample: Annotated[int, typer.Option(min=0, help="Print so many, drawn at random, to be read by eye.")] = 0,
    split: Annotated[str | None, typer.Option(help="Only train, valid or test.")] = None,
) -> None:
    """Compose the texts about adverse events that the risk head learns from."""
    from monitor.commands.models import risk_data

    risk_data(out, seed, sample, split)
