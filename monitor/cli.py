"""The command line. What a command does lies in ``monitor.commands`` and is loaded when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from monitor import __version__, cli_models, cli_operations
from monitor.arguments import CONFIG, Config, Input, Inputs

app = typer.Typer(
    name="tapewatch",
    help="Reads the financial tape, judges it, and rings when bad stories burst.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, group in (
    ("models", cli_models.models),
    ("dead-letters", cli_operations.letters),
    ("silences", cli_operations.silences),
    ("deliveries", cli_operations.deliveries),
    ("channels", cli_operations.channels),
    ("rules", cli_operations.rules),
    ("kafka", cli_operations.kafka),
    ("feedback", cli_operations.feedback),
    ("export", cli_operations.export),
    ("documents", cli_operations.documents),
):
    app.add_typer(group, name=name)


@app.command()
def audit(
    since: Annotated[str | None, typer.Option(help="Leave out what was before; ISO 8601.")] = None,
    what: Annotated[str | None, typer.Option(help="Only these, as in silence, feedback or reload.")] = None,
    who: Annotated[str | None, typer.Option(help="Only what this person had done.")] = None,
    config: Config = CONFIG,
) -> None:
    """Who silenced, judged, retried, reloaded or switched a model (of a running daemon): a JSON object a line."""
    from monitor.commands.operations import audited

    audited(config, {"since": since, "what": what, "who": who})


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
def check_config(
    config: Config = CONFIG,
    whole: Annotated[bool, typer.Option("--all", help="Print what is as by default, too.")] = False,
) -> None:
    """Validate the settings and print what they change, resolved and with secrets redacted."""
    from monitor.commands.setup import check

    check(config, whole=whole)


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
    """Fill baselines from history, before the first run; nothing rings. Says what became of the documents, and which
    watched companies those that went in name."""
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
    out: Annotated[Path, typer.Option(help="Folder for alerts.jsonl, summary.json, report.html and report.json.")],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files of documents: JSON Lines, CSV or Parquet, .gz too. Without any the daemon's own log."
        ),
    ] = None,
    config: Config = CONFIG,
    from_: Annotated[str | None, typer.Option("--from", help="Before it baselines learn and nothing rings.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Documents after it are left out.")] = None,
    events: Annotated[
        Path | None, typer.Option(help="CSV of known events: entity or key, onset or onset_date, what, verdict.")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Overrides false_alarms_per_key_month.")] = None,
    class_: Annotated[str | None, typer.Option("--class", help="Overrides the documents' class.")] = None,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Judge the log's documents anew; else the scores in it are taken.")
    ] = False,
    compare: Annotated[
        Path | None, typer.Option(help="Another settings file: which alerts would appear, vanish or move, and why.")
    ] = None,
) -> None:
    """What would these settings have sent? Documents through the production code, on event time.

    With events also which of them would have rung, how soon, and how much else; report.html shows it, report.json holds
    the same (docs/replay.md).
    """
    from monitor.commands.replay import run_replay

    run_replay(
        config,
        inputs or [],
        out=out,
        start=from_,
        end=to,
        events=events,
        budget=budget,
        class_=class_,
        rescore=rescore,
        compare=compare,
    )


@app.command()
def power(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files of documents for history: JSON Lines, CSV or Parquet, .gz too. Without any the daemon's own."
        ),
    ] = None,
    config: Config = CONFIG,
    key: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Only these keys, as shell patterns; all unless given.")
    ] = None,
    within: Annotated[
        list[str] | None, typer.Option(metavar="LENGTH", help="How long a crisis is; 1h, 6h and 1d unless given.")
    ] = None,
    class_: Annotated[str | None, typer.Option("--class", help="news or social; both unless given.")] = None,
    trials: Annotated[int, typer.Option(help="Most crises that a figure is counted on.")] = 100,
    seed: Annotated[int, typer.Option(help="Of what is drawn: the same gives the same figures.")] = 0,
    out: Annotated[Path | None, typer.Option(help="File for a page with plots (.html) or a drawing (.svg).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
) -> None:
    """What would it catch? For each watched key the smallest crisis that rings, and how soon.

    Bad stories are put into the recorded history, at many moments of it, and the detector is asked as it stood then:
    "5 bad stories within 1 d: 60 % (50 to 69), median delay 14 h". The daemon may run or not. With INPUTS their
    documents go through the stages first, as in replay.
    """
    from monitor.commands.power import run_power

    run_power(
        config,
        inputs or [],
        key or [],
        within=within or ["1h", "6h", "1d"],
        class_=class_,
        trials=trials,
        seed=seed,
        out=out,
        as_json=as_json,
    )


@app.command()
def predict(
    source: Input = "-",
    model: cli_models.Model = "default",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Adds the story embedding, a number from -127 to 127 a dimension.")
    ] = False,
    why: Annotated[
        bool, typer.Option("--why", help="Adds the phrases that make a text bad news; takes some twenty times as long.")
    ] = False,
    config: cli_models.Config = None,
) -> None:
    """Texts in, labels out.

    In: JSON Lines as {"text": "Shares plunge", "id": "a", "entities": ["Acme"]}, of which only the text is needed, or
    CSV (a file that ends in .csv or .csv.gz) with a column text or headline, and id if there is one. A line that can't
    be read is named by its number, and a CSV's column by its name; the rest is done, and the exit code is 1. Out:
    sentiment, topic and, where the model has that head, risk (adverse events) of the text and of each company; basis
    says whether a company's answers are its own or the text's.

    A JSON line may have another text in compare: same_story is the probability that both tell one news item, for two
    headlines about one company, at most two days apart.

    With --why also the phrases without which the text, and what it says of each company, would be bad news no more,
    with their places in it and their weights: the part of the probability of bad news that goes with them. None where
    it is no bad news, or has more than 64 words.
    """
    from monitor.commands.predict import run_predict

    run_predict(source, cli_models.folder_of(model, config), device, embedding=embedding, why=why)


@app.command()
def detect(
    source: Input = "-",
    false_alarms_per_month: Annotated[float, typer.Option(help="Expected false alarms per key and month.")] = 0.05,
    list_of: Annotated[
        int | None,
        typer.Option(min=1, metavar="KEYS", help="They are those of a whole list of so many keys, shared equally."),
    ] = None,
    class_: Annotated[str, typer.Option("--class", help="news or social, for lines that don't say.")] = "social",
    start: Annotated[str | None, typer.Option(help="Before it baselines learn and nothing opens.")] = None,
    end: Annotated[str | None, typer.Option(help="Let time pass to here after the last line.")] = None,
    week: Annotated[
        bool, typer.Option("--week", help="Learn the week's busy hours on the way, as the daemon does.")
    ] = False,
    calendar: Annotated[
        str | None, typer.Option(help="With --week: the trading calendar, as XNYS, whose closed days are weekends.")
    ] = None,
) -> None:
    """Scored items in, episodes out: the statistic alone.

    In: JSON Lines in the order of time as {"key": "acme", "ts": "2026-01-31T12:00:00Z", "p_negative": 0.9}; weight, id
    and class are optional, and ts may be seconds since 1970.
    """
    from monitor.commands.detect import run_detect

    budget = false_alarms_per_month / (list_of or 1)
    run_detect(source, budget=budget, class_=class_, start=start, end=end, week=week, calendar=calendar)


def main() -> None:
    """The commands: exit codes 0 done, 1 failed, 2 wrong usage or settings; 130 for an interrupt is their caller's."""
    from alerts.channels.base import ChannelError
    from models.card import ModelError
    from monitor import log as logs
    from monitor.settings import SettingsError
    from pipelines.sources.base import SourceError
    from pipelines.streams.base import EngineError

    logs.configure("console", "warning")  # beside the results, never among them; the daemon's settings say otherwise
    try:
        app()
    except (SettingsError, ChannelError) as error:
        print(error, file=sys.stderr)  # noqa: T201 (the command's answer)
        sys.exit(2)
    except (ModelError, EngineError, SourceError) as error:
        print(error, file=sys.stderr)  # noqa: T201 (a command's output)
        sys.exit(1)
