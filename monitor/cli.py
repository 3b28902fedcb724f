"""The command line. Each group of commands lives in its own module under ``monitor.commands``, loaded when called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor import __version__

CONFIG = Path("tapewatch.toml")

app = typer.Typer(
    name="tapewatch",
    help="Reads the financial tape, judges it, and rings when bad stories burst.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
models = typer.Typer(help="The model's life.", no_args_is_help=True)
letters = typer.Typer(help="Records that could not be handled (of a running daemon).", no_args_is_help=True)
silences = typer.Typer(help="Keep alerts from being sent for a time (of a running daemon).", no_args_is_help=True)
deliveries = typer.Typer(help="What is owed to channels (of a running daemon).", no_args_is_help=True)
channels = typer.Typer(help="Where alerts go.", no_args_is_help=True)
kafka = typer.Typer(help="The Kafka engine.", no_args_is_help=True)
documents = typer.Typer(help="What was taken in.", no_args_is_help=True)
export = typer.Typer(help="What was kept, for other tools.", no_args_is_help=True)
for name, group in (
    ("models", models),
    ("dead-letters", letters),
    ("silences", silences),
    ("deliveries", deliveries),
    ("channels", channels),
    ("kafka", kafka),
    ("export", export),
    ("documents", documents),
):
    app.add_typer(group, name=name)

Config = Annotated[Path, typer.Option("-c", "--config", help="The settings file.")]
Input = Annotated[str, typer.Argument(help="A file, .gz too, or - for standard input.")]
Inputs = Annotated[list[Path], typer.Argument(help="Files of documents: JSON Lines, CSV or Parquet, .gz too.")]


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"tapewatch {__version__}")


@app.command()
def demo(
    seconds: Annotated[float | None, typer.Option(help="End after this many seconds.")] = None,
    listen: Annotated[str, typer.Option(help="Address of the page.")] = "127.0.0.1:8686",
    kafka: Annotated[
        str | None, typer.Option(help="Brokers without TLS: play on them, each part a process of its own.")
    ] = None,
) -> None:
    """The whole main job, offline: a fictional newsroom, a crisis, a signed alert."""
    from monitor.commands.serve import run_demo

    run_demo(seconds, listen, kafka)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write tapewatch.toml.")] = Path(),
    force: Annotated[bool, typer.Option(help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented tapewatch.toml with a starter watch-list and free sources."""
    from monitor.commands.setup import write_settings

    write_settings(folder, force=force)


@app.command(name="check-config")
def check_config(config: Config = CONFIG) -> None:
    """Validate the settings and print them resolved, secrets redacted."""
    from monitor.commands.setup import check

    check(config)


@app.command()
def run(
    config: Config = CONFIG,
    only: Annotated[
        str | None,
        typer.Option(
            help="Parts to run, of ingest,score,aggregate,notify,view; all by default. Needs the Kafka engine."
        ),
    ] = None,
) -> None:
    """Run the daemon, or some of its parts where others run in other processes."""
    from monitor.commands.serve import run_daemon

    run_daemon(config, only)


@app.command()
def backfill(inputs: Inputs, config: Config = CONFIG) -> None:
    """Fill baselines from history; nothing rings."""
    from monitor.commands.serve import run_backfill

    run_backfill(config, inputs)


@app.command()
def backup(
    out: Annotated[Path, typer.Option(help="Folder to make; its parent must be a disk with room for a copy.")],
    config: Config = CONFIG,
) -> None:
    """Copy store and read model, consistent, while the daemon runs or not."""
    from monitor.commands.backup import run_backup

    run_backup(config, out)


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that backup wrote.")],
    config: Config = CONFIG,
) -> None:
    """Put a backup in the place of the store of a stopped daemon; what was there is set aside."""
    from monitor.commands.backup import run_restore

    run_restore(config, folder)


@app.command()
def replay(
    inputs: Inputs,
    out: Annotated[Path, typer.Option(help="Folder for alerts.jsonl and summary.json.")],
    config: Config = CONFIG,
    from_: Annotated[str | None, typer.Option("--from", help="Before it baselines learn and nothing rings.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Documents after it are left out.")] = None,
    events: Annotated[Path | None, typer.Option(help="CSV of known events: entity, onset or onset_date, what.")] = None,
    budget: Annotated[float | None, typer.Option(help="Overrides false_alarms_per_key_month.")] = None,
    class_: Annotated[str | None, typer.Option("--class", help="Overrides the documents' class.")] = None,
) -> None:
    """What would these settings have sent? Documents through the production code, on event time."""
    from monitor.commands.replay import run_replay

    run_replay(config, inputs, out=out, start=from_, end=to, events=events, budget=budget, class_=class_)


@app.command()
def predict(
    source: Input = "-",
    model: Annotated[str, typer.Option(help="A shipped model's name or a model's folder.")] = "default",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Texts in, labels out."""
    from monitor.commands.predict import run_predict

    run_predict(source, model, device)


@app.command()
def detect(
    source: Input = "-",
    false_alarms_per_month: Annotated[float, typer.Option(help="Expected false alarms per key and month.")] = 0.05,
    class_: Annotated[str, typer.Option("--class", help="news or social, for lines that don't say.")] = "social",
    start: Annotated[str | None, typer.Option(help="Before it baselines learn and nothing opens.")] = None,
    end: Annotated[str | None, typer.Option(help="Let time pass to here after the last line.")] = None,
) -> None:
    """Scored items in, episodes out: the statistic alone."""
    from monitor.commands.detect import run_detect

    run_detect(source, budget=false_alarms_per_month, class_=class_, start=start, end=end)


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
def models_verify(name: Annotated[str, typer.Argument()] = "default") -> None:
    """Check every file of a model against its card."""
    from monitor.commands.models import verify_model

    verify_model(name)


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


@letters.command(name="list")
def letters_list(config: Config = CONFIG) -> None:
    """The dead letters, a JSON object a line."""
    from monitor.commands.operations import listing

    listing(config, "dead-letters", "dead_letters", without=("payload",))


@letters.command(name="show")
def letters_show(number: int, config: Config = CONFIG) -> None:
    """One dead letter with its bytes."""
    from monitor.commands.operations import letter

    letter(config, number)


@letters.command(name="retry")
def letters_retry(number: int, config: Config = CONFIG) -> None:
    """Put a dead letter back on its topic."""
    from monitor.commands.operations import send

    send(config, "POST", f"dead-letters/{number}/retry")


@silences.command(name="list")
def silences_list(config: Config = CONFIG) -> None:
    """All silences, a JSON object a line."""
    from monitor.commands.operations import listing

    listing(config, "silences", "silences")


@silences.command(name="add")
def silences_add(
    until: Annotated[str, typer.Option(help="When it ends, ISO 8601.")],
    keys: Annotated[list[str] | None, typer.Option("--key", help="Keys as shell patterns.")] = None,
    watchlists: Annotated[list[str] | None, typer.Option("--watchlist", help="Watch-lists.")] = None,
    severities: Annotated[list[str] | None, typer.Option("--severity", help="Severities.")] = None,
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    author: Annotated[str, typer.Option(help="Who.")] = "",
    config: Config = CONFIG,
) -> None:
    """Keep matching alerts from being sent until a time."""
    from monitor.commands.operations import send

    body: dict[str, Any] = {"until": until, "comment": comment, "author": author}
    body |= {"keys": keys or [], "watchlists": watchlists or [], "severities": severities or []}
    send(config, "POST", "silences", body)


@silences.command(name="expire")
def silences_expire(name: str, config: Config = CONFIG) -> None:
    """End a silence."""
    from monitor.commands.operations import quote, send

    send(config, "DELETE", f"silences/{quote(name)}")


@deliveries.command(name="list")
def deliveries_list(
    state: Annotated[str | None, typer.Option(help="pending, standing, delivered or failed.")] = None,
    config: Config = CONFIG,
) -> None:
    """Deliveries, a JSON object a line."""
    from monitor.commands.operations import listing, quote

    listing(config, "deliveries" + (f"?state={quote(state)}" if state else ""), "deliveries")


@deliveries.command(name="retry")
def deliveries_retry(name: str, config: Config = CONFIG) -> None:
    """Owe a delivery anew, at once, and enable its channel again."""
    from monitor.commands.operations import quote, send

    send(config, "POST", f"deliveries/{quote(name)}/retry")


@channels.command(name="test")
def channels_test(name: str, config: Config = CONFIG) -> None:
    """Send a signed test event to a channel; works without a daemon."""
    from monitor.commands.operations import test_channel

    test_channel(config, name)


@documents.command(name="find")
def documents_find(words: str, config: Config = CONFIG) -> None:
    """Documents whose title or address holds WORDS, with their ids: a JSON object a line, the latest first."""
    from monitor.commands import documents as commands

    commands.find(config, words)


@documents.command(name="forget")
def documents_forget(
    ids: Annotated[list[str], typer.Argument(help="Ids of documents, as find prints them.")], config: Config = CONFIG
) -> None:
    """Take documents out of a stopped daemon's files: texts, evidence, quotes in alerts and in what is owed."""
    from monitor.commands import documents as commands

    commands.forget(config, ids)


@export.command(name="openmetrics")
def export_openmetrics(
    out: Annotated[Path, typer.Option(help="File to write, a folder with --daily.")],
    since: Annotated[str | None, typer.Option(help="Leave out what was before; a day or ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="Leave out what was after; default: now.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="name=value on every series; job=tapewatch unless given.")
    ] = None,
    daily: Annotated[bool, typer.Option("--daily", help="OUT is a folder: a file a day, far quicker to load.")] = False,
    config: Config = CONFIG,
) -> None:
    """The watched keys' history for promtool, in the names of the live metrics; the daemon may run or not."""
    from monitor.commands import export as commands

    commands.export_openmetrics(config, since, until, label or [], out, daily=daily)


@kafka.command(name="init")
def kafka_init(config: Config = CONFIG) -> None:
    """Create the topics that are missing, and say what of the others is not as the settings have it."""
    from monitor.commands.kafka import make_topics

    make_topics(config)


@kafka.command(name="check")
def kafka_check(config: Config = CONFIG) -> None:
    """Say whether brokers, topics, rights and clocks are fit."""
    from monitor.commands.kafka import check_brokers

    check_brokers(config)


def main() -> None:
    """The entry point: exit codes 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted."""
    from alerts.channels.base import ChannelError
    from models.card import ModelError
    from monitor.settings import SettingsError
    from pipelines.sources.base import SourceError
    from pipelines.streams.base import EngineError

    try:
        app()
    except (SettingsError, ChannelError) as error:
        print(error, file=sys.stderr)  # noqa: T201 (the command's answer)
        sys.exit(2)
    except (ModelError, EngineError, SourceError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
