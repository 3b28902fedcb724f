"""``power``: what would these settings have caught, in what was recorded?"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.progress import track

from alerts.power import LEAST_TRIALS
from monitor import power_report
from monitor.commands.export import read_model
from monitor.plots import COLOURS
from monitor.power import question_of
from monitor.power_report import Found
from monitor.sections import duration
from monitor.settings import SettingsError, load
from pipelines.documents import iso
from pipelines.power import Answer, Class, recorded_of, run

LONGEST = 7 * 86_400.0


def run_power(
    config: Path,
    patterns: Sequence[str],
    *,
    within: Sequence[str],
    class_: str | None,
    trials: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Prints what rings; writes a drawing or a page into ``out``."""
    if out is not None and not out.name.endswith((".html", ".svg")):
        raise SettingsError(f"--out {out}: ends in neither .html nor .svg")
    if class_ not in (None, "news", "social"):
        raise SettingsError(f"--class {class_!r}: is neither news nor social")
    if trials < LEAST_TRIALS:
        raise SettingsError(f"--trials {trials}: fewer than {LEAST_TRIALS} say nothing")
    lengths = tuple(_length(one) for one in within)
    if len(set(lengths)) != len(lengths) or len(lengths) > COLOURS:
        raise SettingsError(f"--within {', '.join(within)}: at most {COLOURS} lengths, each of them once")
    settings = load(config)
    answers, watched = read_model(settings)
    keys = [key for key in watched if not patterns or any(fnmatchcase(key, pattern) for pattern in patterns)]
    if not keys:
        raise SettingsError(f"--key {', '.join(patterns)}: is no watched key; `tapewatch check-config` lists them")
    question = question_of(settings, answers.watch, keys)
    question = msgspec.structs.replace(question, lengths=lengths, trials=trials, seed=seed)
    if class_ is not None:
        question = msgspec.structs.replace(question, classes=(_class(class_),))
    recorded = recorded_of(answers, question)
    answers.close()
    known: list[Answer] = []
    console = Console(stderr=True)
    for key in track(keys, "trying out", console=console, disable=not console.is_terminal, transient=True):
        known += run(recorded, msgspec.structs.replace(question, keys=(key,)))
    found = Found(
        computed=iso(time.time()),
        configuration=settings.sha256()[:12],
        history=f"read model {answers.path.name}",
        trials=trials,
        seed=seed,
        answers=known,
        names={key: answers.watch.keys[key].name for key in keys},
    )
    _tell(found, out, as_json=as_json)


def _length(text: str) -> float:
    try:
        length = duration(text)
    except ValueError as error:
        raise SettingsError(f"--within {text!r}: {error}") from None
    if not 0 < length <= LONGEST:
        raise SettingsError(f"--within {text!r}: is above 0, and at most 7d")
    return length


def _class(name: str) -> Class:
    return "social" if name == "social" else "news"


def _tell(found: Found, out: Path | None, *, as_json: bool) -> None:
    figures = power_report.enough(found.answers)
    if out is not None:
        if out.name.endswith(".svg") and not figures:
            raise SettingsError(f"--out {out}: there is no figure to draw")
        drawn = power_report.page(found) if out.name.endswith(".html") else power_report.overview(found, style=True)
        try:
            out.write_text(drawn, encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"--out {out}: {error.strerror or error}; name a file that can be written") from None
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    else:
        for line in power_report.sentences(found):
            typer.echo(line)
    if not figures:
        typer.echo(
            "no figure for any key: fill history with `tapewatch backfill`, or let the daemon run longer", err=True
        )
        raise typer.Exit(1)
