"""``kafka init`` and ``kafka check``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from monitor.engines import check_engine, kafka_connection, kafka_layout
from monitor.settings import Settings, SettingsError, load
from monitor.stages import STAGES
from pipelines.streams.base import EngineError

if TYPE_CHECKING:
    from kafka import KafkaAdminClient

SKEW = 5.0
"""Seconds between two clocks from which it is said: alerts' latencies and ages are of this machine's clock."""


def make_topics(config: Path) -> None:
    """Creates what is missing; exit code 1 where something else is not as the settings have it."""
    settings = _settings(config)  # first: without the extra it says so, and nothing below can be imported
    from pipelines.streams.kafka.topics import create, differences

    layout = kafka_layout(settings)
    with _admin(settings) as admin:
        made = create(admin, layout, STAGES)
        for name in made:
            typer.echo(f"created {name}")
        admin.wait_for_topics([topic.name for topic in layout.topics(STAGES)])
        wrong = [one.text for one in differences(admin, layout, STAGES)]
        _tell(wrong, f"{len(layout.topics(STAGES))} topics are as they should be")


def check_brokers(config: Path) -> None:
    """Says what is fit and what is not; exit code 1 where something is not."""
    settings = _settings(config)
    from pipelines.streams.kafka.topics import clock_skew, differences, group_rights, rights

    layout = kafka_layout(settings)
    with _admin(settings) as admin:
        cluster = admin.describe_cluster()
        brokers = ", ".join(f"{one['host']}:{one['port']}" for one in cluster["brokers"])
        typer.echo(f"cluster {cluster['cluster_id']}: {len(cluster['brokers'])} brokers ({brokers})")
        wrong = [one.text for one in differences(admin, layout, STAGES)]
        wrong += rights(admin, layout, STAGES) + group_rights(admin, layout, STAGES)
        if len(cluster["brokers"]) < layout.replication:
            wrong.append(f"{len(cluster['brokers'])} brokers can't hold replication = {layout.replication} copies")
        if "CREATE" in cluster["authorized_operations"]:
            skew = clock_skew(admin, kafka_connection(settings), layout, time.time)
            typer.echo(f"the broker's clock is {skew:+.3f} s from this machine's")
            if abs(skew) > SKEW:
                wrong.append(f"the clocks of broker and this machine are {abs(skew):.0f} s apart: set them by NTP")
        else:
            typer.echo("clocks: not compared, for want of the right to create a topic for a moment")
        _tell(wrong, f"{len(layout.topics(STAGES))} topics, rights and brokers are fit")


def _tell(wrong: list[str], well: str) -> None:
    for sentence in wrong:
        typer.echo(sentence, err=True)
    if wrong:
        raise typer.Exit(1)
    typer.echo(well)


def _settings(config: Path) -> Settings:
    settings = load(config)
    if settings.engine.kind != "kafka":
        raise SettingsError(f'{config}: engine.kind = "{settings.engine.kind}": this command is for kind = "kafka"')
    check_engine(settings)
    return settings


@contextmanager
def _admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """A client of the brokers. What they answer with is said in one line."""
    from kafka.errors import KafkaError

    from pipelines.streams.kafka.probe import Probe
    from pipelines.streams.kafka.quiet import hush
    from pipelines.streams.kafka.signin import refusal

    hush()
    connection = kafka_connection(settings)
    if (why := refusal(connection)) is not None:
        raise EngineError(why)
    probe = Probe(connection)
    try:
        yield probe.admin
    except KafkaError as error:
        brokers = ", ".join(settings.engine.kafka.brokers)
        raise EngineError(f"{brokers}: {_first_line(error)}") from error
    finally:
        probe.close()


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0][:300] if str(error) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
