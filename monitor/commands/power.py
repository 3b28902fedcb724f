"""``power``: what would these settings have caught, in what was recorded?"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.progress import track

from alerts.power import LEAST_TRIALS
from monitor import log as logs
from monitor import power_report
from monitor.assembly import assemble
from monitor.commands.export import read_model
from monitor.commands.replay import Models, of_files
from monitor.plots import COLOURS
from monitor.power import question_of
from monitor.power_report import Found
from monitor.replay.player import Player
from monitor.replay.progress import shown
from monitor.sections import duration
from monitor.settings import Settings, SettingsError, load
from pipelines.documents import SeriesPoint, decode, iso
from pipelines.power import Class, Question, recorded_of, run
from pipelines.recorded import Recorded
from pipelines.streams.base import SERIES, Record
from pipelines.watch import Watch

LONGEST = 7 * 86_400.0


class History(NamedTuple):
    """What crises are tried in: what is watched, who reads the past of some of the keys, and where it comes from."""

    watch: Watch
    read: Callable[[Question], Recorded]
    told: str


def run_power(
    config: Path,
    inputs: Sequence[Path],
    patterns: Sequence[str],
    *,
    within: Sequence[str],
    class_: str | None,
    trials: int,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Prints what rings; writes a drawing or a page into ``out``. Without ``inputs`` history is the daemon's own."""
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
    with ExitStack() as stack:
        history = _replayed(settings, inputs, stack) if inputs else _kept(settings, stack)
        names = {key: watched.name for key, watched in sorted(history.watch.keys.items())}
        keys = [key for key in names if not patterns or any(fnmatchcase(key, pattern) for pattern in patterns)]
        if not keys:
            raise SettingsError(f"--key {', '.join(patterns)}: is no watched key; `tapewatch check-config` lists them")
        question = question_of(settings, history.watch, keys)
        question = msgspec.structs.replace(question, lengths=lengths, trials=trials, seed=seed)
        if class_ is not None:
            question = msgspec.structs.replace(question, classes=(_class(class_),))
        recorded = history.read(question)
    count, console = sum(len(recorded.classes(key)) for key in keys), Console(stderr=True)
    answers = track(
        run(recorded, question), "", count, console=console, disable=not console.is_terminal, transient=True
    )
    found = Found(
        computed=iso(time.time()),
        configuration=settings.sha256()[:12],
        history=history.told,
        trials=trials,
        seed=seed,
        answers=list(answers),
        names={key: names[key] for key in keys},
    )
    _tell(found, out, as_json=as_json)


def _kept(settings: Settings, stack: ExitStack) -> History:
    """What the read model holds."""
    answers, _ = read_model(settings)
    stack.callback(answers.close)
    return History(answers.watch, lambda question: recorded_of(answers, question), f"read model {answers.path.name}")


def _replayed(settings: Settings, inputs: Sequence[Path], stack: ExitStack) -> History:
    """What the stages make of the documents of files."""
    logs.configure("console", "warning")
    judges = Models(stack).of(settings)
    parts = assemble(settings, judges.classifier.topics, judges.classifier.risks)

    def read(question: Question) -> Recorded:
        points: defaultdict[str, list[SeriesPoint]] = defaultdict(list)

        def take(records: Sequence[Record]) -> None:
            for record in records:
                if record.topic == SERIES:
                    points[record.key].append(decode(SeriesPoint, record.value))

        player = Player(settings, parts, judges.classifier, None, others=judges.others, takers=[take])
        feed = of_files(inputs, player, None, None)
        for note in feed.notes:
            typer.echo(note, err=True)
        for _ in player.play(shown(feed.entries, feed.total)):
            pass  # what rings in the past itself is what replay is for
        return Recorded(points.items(), question.keys, question.calendars)

    return History(parts.watch, read, ", ".join(path.name for path in inputs))


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
