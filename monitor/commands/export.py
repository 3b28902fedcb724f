"""``export``: what was kept, for other tools."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from alerts.baseline import BLOCK
from monitor.assembly import assemble
from monitor.commands.detect import time_option
from monitor.engines import view_path
from monitor.model_choice import choice
from monitor.model_use import facts_on_card
from monitor.sections import duration
from monitor.settings import Settings, SettingsError, load
from pipelines import openmetrics
from pipelines.answers import Answers
from pipelines.documents import iso
from pipelines.view_file import MIGRATIONS

if TYPE_CHECKING:
    import pandas as pd

_LABEL = re.compile(r"^([a-zA-Z_][a-zA-Z0-9_]*)=(.*)$", re.ASCII | re.DOTALL)
DAY = 86_400.0
JOB = {"job": "tapewatch"}
"""What the shipped scrape settings, rules and dashboards ask for."""


def export_openmetrics(
    config: Path, since: str | None, until: str | None, labels: Sequence[str], out: Path, *, daily: bool
) -> None:
    """Writes the history of watched keys; prints what was written."""
    settings = load(config)
    begin, end = time_option("--since", since) or 0.0, time_option("--until", until) or time.time()
    named = JOB | dict(_label(text) for text in labels)
    answers, keys = read_model(settings)
    try:
        written = openmetrics.Written()
        for file, first, last in _files(answers, out, begin, end, daily=daily):
            written.add(_write(answers, keys, file, first, last, named))
    except OSError as error:
        raise SettingsError(f"--out {out}: {error.strerror or error}") from None
    finally:
        answers.close()
    if not written.samples:
        typer.echo(f"{answers.path}: holds nothing of the {len(keys)} watched keys from that time", err=True)
        raise typer.Exit(1)
    span = {"from": iso(written.first or 0.0), "to": iso(written.last or 0.0)}
    sys.stdout.write(json.dumps({"keys": len(written.keys), "samples": written.samples} | span) + "\n")


def export_series(
    config: Path, since: str | None, until: str | None, patterns: Sequence[str], every: str, out: Path
) -> None:
    """Writes the watched keys' blocks as a table of CSV or Parquet; prints what was written."""
    write, step = _form(out), _period(every)
    from pipelines import frames  # pandas takes a second to load

    begin, end = time_option("--since", since) or 0.0, time_option("--until", until) or time.time()
    answers, watched = read_model(load(config))
    keys = [key for key in watched if not patterns or any(fnmatchcase(key, pattern) for pattern in patterns)]
    partial = out.with_name(out.name + ".partial")
    try:
        if not keys:
            raise SettingsError(f"--key {', '.join(patterns)}: is no watched key; `tapewatch check-config` lists them")
        table = frames.series(answers, keys, since=begin, until=end, every=step)
        if table.empty:
            typer.echo(f"{answers.path}: holds nothing of the {len(keys)} keys from that time", err=True)
            raise typer.Exit(1)
        write(table, partial)
        partial.rename(out)
    except OSError as error:
        raise SettingsError(f"--out {out}: {error.strerror or error}") from None
    finally:
        answers.close()
        partial.unlink(missing_ok=True)
    span = {"from": iso(table["time"].min().timestamp()), "to": iso(table["time"].max().timestamp())}
    sys.stdout.write(json.dumps({"keys": int(table["key"].nunique()), "rows": len(table)} | span) + "\n")


def _form(out: Path) -> Callable[[pd.DataFrame, Path], object]:
    """What writes a table in the form that a file's name asks for."""
    if out.name.endswith(".parquet"):
        return lambda table, path: table.to_parquet(path, index=False)
    if out.name.endswith((".csv", ".csv.gz")):
        packed: Literal["gzip"] | None = "gzip" if out.name.endswith(".gz") else None
        moments = "%Y-%m-%dT%H:%M:%SZ"
        return lambda table, path: table.to_csv(path, index=False, date_format=moments, compression=packed)
    raise SettingsError(f"--out {out}: ends in none of .csv, .csv.gz, .parquet")


def _period(every: str) -> float:
    try:
        step = duration(every)
    except ValueError as error:
        raise SettingsError(f"--every {every!r}: {error}") from None
    if step < BLOCK or step % BLOCK:
        raise SettingsError(f"--every {every!r}: is no whole number of half hours, as 30m, 6h, 1d and 1w are")
    return step


def _files(
    answers: Answers, out: Path, since: float, until: float, *, daily: bool
) -> Iterator[tuple[Path, float, float]]:
    """Each file with the time that it spans: all in ``out``, or a file a day in a folder of that name."""
    if not daily:
        yield out, since, until
        return
    out.mkdir(parents=True, exist_ok=True)
    start = max(since, answers.oldest() or until)
    start -= start % DAY
    while start < until:
        yield out / f"{iso(start)[:10]}.om", max(start, since), min(start + DAY, until)
        start += DAY


def _write(
    answers: Answers, keys: Sequence[str], file: Path, since: float, until: float, labels: Mapping[str, str]
) -> openmetrics.Written:
    """Writes a file that is there whole or not at all; none where there is nothing."""
    partial = file.with_name(file.name + ".partial")
    try:
        with partial.open("wb") as target:
            written = openmetrics.write(answers, keys, target, file.parent, since=since, until=until, labels=labels)
        if written.samples:
            partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
    return written


def read_model(settings: Settings) -> tuple[Answers, list[str]]:
    """The read model's file, to be asked only, and the keys that are watched. Raises SettingsError."""
    path = view_path(settings)
    if not path.is_file():
        raise SettingsError(f"{path}: there is no read model yet; `tapewatch backfill` or `tapewatch run` fills one")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            (known,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise SettingsError(f"{path}: can't be read: {error}") from None
    if known != len(MIGRATIONS):
        raise SettingsError(
            f"{path}: has schema {known}, this version reads {len(MIGRATIONS)}; start the daemon of this version once"
        )
    facts = facts_on_card(choice(settings, time.time()).version.folder)
    watch = assemble(settings, facts.topics, facts.risks).watch
    return Answers(path, watch), sorted(watch.keys)


def _label(text: str) -> tuple[str, str]:
    found = _LABEL.match(text)
    if found is None or found[1].startswith("__"):
        raise SettingsError(f"--label {text!r}: is not name=value, as in instance=tapewatch:8686")
    return found[1], found[2]
