"""``tapewatch models``: the model's life on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monitor import arguments

models = typer.Typer(help="Keep, show, check, measure and train models.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A shipped or added model: NAME, NAME@VERSION or NAME@DIGEST; or a folder.")]
Model = Annotated[str, typer.Option("--model", help="A model, as `models list` names it, or a folder.")]
Config = Annotated[
    Path | None,
    typer.Option("-c", "--config", help="The settings file, for its [model] registry; tapewatch.toml if that is here."),
]


def folder_of(name: str, config: Path | None) -> str:
    from monitor.commands.registry import find

    return str(find(name, config).folder)


@models.command(name="list")
def models_list(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of a table.")] = False,
    config: Config = None,
) -> None:
    """The models that are shipped, and those that were added: which is in use, and which was before."""
    from monitor.commands.registry import list_models

    list_models(config, as_json)


@models.command(name="show")
def models_show(name: Name = "default", config: Config = None) -> None:
    """A model's card."""
    from monitor.commands.registry import show_model

    show_model(name, config)


@models.command(name="add")
def models_add(
    folder: Annotated[Path, typer.Argument(help="A model's folder, as training or fine-tuning exports it.")],
    name: Annotated[str | None, typer.Option(help="What it shall be called; as its card says, if left out.")] = None,
    config: Config = None,
) -> None:
    """Copy a model into the registry, once its files are what its card says and it says what it should. A daemon goes
    on with the one that it has."""
    from monitor.commands.registry import add_model

    add_model(folder, name, config)


@models.command(name="use")
def models_use(name: Name, config: arguments.Config = arguments.CONFIG) -> None:
    """Judge with another model: in a running daemon from its next batch on, else from the next start on.

    It is loaded and has to say what it should before it takes the place of the one in use. It stays in use over
    restarts, until [model] name is changed in the settings file.
    """
    from monitor.commands.registry import use_model

    use_model(name, config)


@models.command(name="rollback")
def models_rollback(config: arguments.Config = arguments.CONFIG) -> None:
    """Go back to the model that was in use before, as `models use` goes to another."""
    from monitor.commands.registry import use_model

    use_model(None, config)


@models.command(name="remove")
def models_remove(name: Name, config: Config = None) -> None:
    """Take a version that was added out of the registry; not the one in use, nor the one that was before."""
    from monitor.commands.registry import remove_model

    remove_model(name, config)


@models.command(name="verify")
def models_verify(
    name: Name = "default",
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda: also run it there and compare with its golden predictions.")
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="On the CPU, the graph and the passes of CUDA.")] = False,
    memory_mb: Annotated[int | None, typer.Option(min=1, help="Ceiling of GPU memory, as in [model].")] = None,
    config: Config = None,
) -> None:
    """Check every file of a model against its card, and what it says on a device against what it should."""
    from monitor.commands.device import verify_model

    verify_model(folder_of(name, config), device, half=half, memory_mb=memory_mb)


@models.command(name="bench")
def models_bench(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    name: Model = "default",
    threads: Annotated[int, typer.Option(min=0, help="Passes computed at once on the CPU; 0: one a core.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.01, help="How long each kind of text is measured.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    config: Config = None,
) -> None:
    """How fast a model is on this machine: texts a second by kind, one text alone, memory."""
    from monitor.commands.device import bench_model

    bench_model(folder_of(name, config), device, threads=threads, seconds=seconds, as_json=as_json)


@models.command(name="evaluate")
def models_evaluate(
    task: Annotated[str, typer.Option(help="sentiment, topic or entity_sentiment.")],
    data: Annotated[Path, typer.Option(help="CSV with text, label, entity (for its task) and split.")],
    split: Annotated[str | None, typer.Option(help="Only rows of this split.")] = None,
    name: Model = "default",
    config: Config = None,
) -> None:
    """How good a model is on labelled texts, as one JSON object."""
    from monitor.commands.models import evaluate_model

    evaluate_model(task, data, split, folder_of(name, config))


@models.command(name="reference")
def models_reference(
    data: Annotated[Path, typer.Option(help="Folder of CSV files with text and split.")],
    name: Model = "default",
    config: Config = None,
) -> None:
    """Give a model's card the reference of the drift watch: what its valid texts are to it."""
    from monitor.commands.models import refer_model

    refer_model(folder_of(name, config), data)


@models.command(name="challenge")
def models_challenge(
    name: Model = "default",
    number: Annotated[int, typer.Option("--set", help="1, the first challenge set, or 2, the newest.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    config: Config = None,
) -> None:
    """What a model understands: a challenge set by phenomenon, and whether changes move it as they should."""
    from monitor.commands.challenge import run_challenge

    run_challenge(folder_of(name, config), number, as_json)


@models.command(name="train")
def models_train(
    data: Annotated[Path, typer.Option(help="Folder of the training files.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights.")],
) -> None:
    """Train a model (needs the training environment)."""
    from monitor.commands.models import train_model

    train_model(data, out)


@models.command(name="finetune")
def models_finetune(
    data: Annotated[Path, typer.Option(help="CSV or JSON Lines (.jsonl), also as .gz: text and columns of labels.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the new model.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether the data is fit, and count it.")] = False,
    parent: Annotated[str, typer.Option("--from", help="The model to start from, or its folder.")] = "default",
    name: Annotated[
        str | None, typer.Option(help="The new model's name; the former one's and -own, if left out.")
    ] = None,
    method: Annotated[str, typer.Option(help="full: all weights; lora: small matrices beside them.")] = "full",
    original: Annotated[
        Path | None, typer.Option("--data-original", help="Folder of the files that the shipped model learned from.")
    ] = None,
    new_topic: Annotated[list[str] | None, typer.Option(help="A topic of your own; may be given often.")] = None,
    new_risk: Annotated[list[str] | None, typer.Option(help="A kind of event of your own; the same.")] = None,
    keep_anyway: Annotated[bool, typer.Option("--keep-anyway", help="Write it even if it got worse.")] = False,
    config: Config = None,
) -> None:
    """Adapt a model to your own texts (learning needs the training environment, --check does not).

    Columns of labels, any of them: sentiment, topic, risk, entity_sentiment and entity_risk (of the company in entity);
    several events are separated by ";", none means that there is none. Column split (train or valid) if you choose what
    to judge by. A run that was broken off goes on after its last whole epoch.
    """
    from monitor.commands.finetune import finetune_model

    if check == (out is not None):
        raise typer.BadParameter("name --out FOLDER to learn, or --check to look at the data alone")
    finetune_model(
        Path(folder_of(parent, config)),
        data,
        out,
        name=name,
        method=method,
        original=original,
        new_topics=new_topic or (),
        new_risks=new_risk or (),
        keep_anyway=keep_anyway,
    )


@models.command(name="export")
def models_export(
    out: Annotated[Path, typer.Option(help="Folder or file to write.")],
    name: Model = "default",
    precision: Annotated[str, typer.Option(help="fp16: the graph for the GPU.")] = "fp16",
    config: Config = None,
) -> None:
    """Build another graph from a model's weights."""
    from monitor.commands.models import export_model

    export_model(folder_of(name, config), out, precision)


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
