"""The groups of commands of an installation at work: what lies aside, is silenced, owed, kept; the brokers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.arguments import CONFIG, Config

letters = typer.Typer(help="Records that could not be handled (of a running daemon).", no_args_is_help=True)
silences = typer.Typer(help="Keep alerts from being sent for a time (of a running daemon).", no_args_is_help=True)
deliveries = typer.Typer(
    help="What is owed to channels, and what became of it (of a running daemon).", no_args_is_help=True
)
feedback = typer.Typer(help="What analysts say of alerts: true, false or unsure.", no_args_is_help=True)
channels = typer.Typer(help="Try where alerts go.", no_args_is_help=True)
rules = typer.Typer(help="What rings beside bursts.", no_args_is_help=True)
kafka = typer.Typer(help="Make and check the topics of the Kafka engine.", no_args_is_help=True)
documents = typer.Typer(help="Find what was taken in, and take it out again.", no_args_is_help=True)
export = typer.Typer(help="The watched keys' history, for other tools.", no_args_is_help=True)

BY = typer.Option("", help="Who asks for it, for the audit log.")


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
def letters_retry(number: int, by: str = BY, config: Config = CONFIG) -> None:
    """Put a dead letter back on its topic."""
    from monitor.commands.operations import send

    send(config, "POST", f"dead-letters/{number}/retry", {"by": by})


@silences.command(name="list")
def silences_list(config: Config = CONFIG) -> None:
    """Silences until four weeks after their end, a JSON object a line."""
    from monitor.commands.operations import listing

    listing(config, "silences", "silences")


@silences.command(name="add")
def silences_add(
    until: Annotated[str, typer.Option(help="How long it lasts, as in 2h or 3d, or when it ends, ISO 8601.")],
    keys: Annotated[
        list[str] | None, typer.Option("--key", metavar="KEY", help="As in entity:JPM, or a pattern: 'topic:*'.")
    ] = None,
    watchlists: Annotated[list[str] | None, typer.Option("--watchlist", metavar="NAME", help="A list's name.")] = None,
    severities: Annotated[
        list[str] | None, typer.Option("--severity", metavar="SEVERITY", help="info, warning, error or critical.")
    ] = None,
    comment: Annotated[str, typer.Option(help="Why it is silenced.")] = "",
    author: Annotated[str, typer.Option(help="Who silences it.")] = "",
    config: Config = CONFIG,
) -> None:
    """Keep matching alerts from being sent until a time.

    An alert has to fit each option that is given; of one given several times, any.
    """
    from monitor.commands.operations import send

    body: dict[str, Any] = {"until": until, "comment": comment, "author": author}
    body |= {"keys": keys or [], "watchlists": watchlists or [], "severities": severities or []}
    send(config, "POST", "silences", body)


@silences.command(name="expire")
def silences_expire(name: str, by: str = BY, config: Config = CONFIG) -> None:
    """End a silence."""
    from monitor.commands.operations import quote, send

    send(config, "DELETE", f"silences/{quote(name)}" + (f"?by={quote(by)}" if by else ""))


@deliveries.command(name="list")
def deliveries_list(
    state: Annotated[str | None, typer.Option(help="pending, standing, delivered or failed.")] = None,
    config: Config = CONFIG,
) -> None:
    """Deliveries, a JSON object a line: what of, to which channel, what became of it."""
    from monitor.commands.operations import listing, quote

    listing(config, "deliveries" + (f"?state={quote(state)}" if state else ""), "deliveries")


@deliveries.command(name="retry")
def deliveries_retry(name: str, by: str = BY, config: Config = CONFIG) -> None:
    """Owe a delivery anew, at once, and enable its channel again."""
    from monitor.commands.operations import quote, send

    send(config, "POST", f"deliveries/{quote(name)}/retry", {"by": by})


@feedback.command(name="add")
def feedback_add(
    alert: Annotated[str, typer.Argument(help="Its id, or that of one of its events.")],
    verdict: Annotated[str, typer.Argument(help="true, false or unsure.")],
    note: Annotated[str, typer.Option(help="Why; up to 1,000 characters.")] = "",
    by: Annotated[str, typer.Option(help="Who says so.")] = "",
    config: Config = CONFIG,
) -> None:
    """Say whether an alert was true (of a running daemon). The last verdict counts, those before it are kept."""
    from monitor.commands.operations import quote, send

    send(config, "POST", f"alerts/{quote(alert)}/feedback", {"verdict": verdict, "note": note, "by": by})


@feedback.command(name="list")
def feedback_list(
    verdict: Annotated[str | None, typer.Option(help="true, false or unsure.")] = None, config: Config = CONFIG
) -> None:
    """The verdict that counts of each alert, the latest first, a JSON object a line (of a running daemon)."""
    from monitor.commands import feedback as commands

    commands.listed(config, verdict)


@feedback.command(name="export")
def feedback_export(
    out: Annotated[Path, typer.Option(help="File to write: .csv or .csv.gz.")],
    stories: Annotated[
        bool, typer.Option("--stories", help="The stories that the alerts quote, for `models finetune` to label.")
    ] = False,
    config: Config = CONFIG,
) -> None:
    """The verdicts with their alerts' figures as CSV; the daemon may run or not."""
    from monitor.commands import feedback as commands

    commands.export(config, out, stories=stories)


@feedback.command(name="report")
def feedback_report(
    budget: Annotated[
        list[float] | None,
        typer.Option(metavar="NUMBER", help="False alarms a key and month to ask about; may be given several times."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
    config: Config = CONFIG,
) -> None:
    """By watch-list: the precision so far, and what other budgets would have kept; the daemon may run or not."""
    from monitor.commands import feedback as commands

    commands.report(config, budget or [], as_json=as_json)


@channels.command(name="test")
def channels_test(name: str, config: Config = CONFIG) -> None:
    """Send a signed test event to a channel; works without a daemon."""
    from monitor.commands.operations import test_channel

    test_channel(config, name)


@rules.command(name="check")
def rules_check(config: Config = CONFIG) -> None:
    """Count what the flash rules would have rung over the history that the log still has, against their budgets.

    A JSON object a line; a rule above its budget is named on standard error. The daemon may run or not.
    """
    from monitor.commands.rules import check_rules

    check_rules(config)


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
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="name=value on every series; job=tapewatch unless given."),
    ] = None,
    daily: Annotated[bool, typer.Option("--daily", help="OUT is a folder: a file a day, far quicker to load.")] = False,
    config: Config = CONFIG,
) -> None:
    """The watched keys' history for promtool, in the names of the live metrics; the daemon may run or not."""
    from monitor.commands import export as commands

    commands.export_openmetrics(config, since, until, label or [], out, daily=daily)


@export.command(name="series")
def export_series(
    out: Annotated[Path, typer.Option(help="File to write: .csv, .csv.gz or .parquet.")],
    every: Annotated[str, typer.Option(help="A row for each such period: 30m, 6h, 1d, 1w.")] = "30m",
    key: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Only these keys, as shell patterns; all unless given.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Leave out what was before; a day or ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="Leave out what was after; default: now.")] = None,
    config: Config = CONFIG,
) -> None:
    """The watched keys' counts, expectations, scores and sentiment as a table; the daemon may run or not."""
    from monitor.commands import export as commands

    commands.export_series(config, since, until, key or [], every, out)


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
