"""``tapewatch replay``: documents through the production stages on event time; what would have been sent?"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer

from models.classifier import Classifier, load
from monitor import __version__
from monitor import log as logs
from monitor.assembly import assemble
from monitor.commands.detect import time_option
from monitor.history import BadLines
from monitor.model_choice import choice
from monitor.model_choice import others as other_models
from monitor.replay.curve import BUDGETS
from monitor.replay.evidence import Episodes, Near
from monitor.replay.figures import outcomes, points, span_of
from monitor.replay.inputs import from_files, told
from monitor.replay.labels import read_labels
from monitor.replay.log import Log
from monitor.replay.page import render
from monitor.replay.player import SOURCE, Fed, Player
from monitor.replay.progress import shown
from monitor.replay.report import BESIDE, build
from monitor.sections import MOST_ALARMS
from monitor.settings import Settings, SettingsError
from monitor.settings import load as load_settings
from pipelines.score import Known


class Feed(NamedTuple):
    """What is replayed, from its first entry on, and what there is to say of it."""

    entries: Iterator[Fed]
    total: int
    end: float | None
    """Up to when time passes; None where the documents don't say."""
    notes: list[str]
    bad_lines: int


def run_replay(
    config: Path,
    inputs: Sequence[Path],
    *,
    out: Path,
    start: str | None,
    end: str | None,
    events: Path | None,
    budget: float | None,
    class_: str | None,
    rescore: bool = False,
) -> None:
    """Writes alerts.jsonl, summary.json and the report into ``out``. Without ``inputs`` the daemon's own log is
    replayed."""
    if class_ not in (None, "news", "filing", "social"):
        raise typer.BadParameter("--class is news, filing or social")
    if budget is not None and not 0 < budget <= MOST_ALARMS:
        raise typer.BadParameter(f"--budget {budget:g}: is above 0, and at most {MOST_ALARMS:g}, as in the settings")
    logs.configure("console", "warning")
    settings = load_settings(config)
    if budget is not None:
        settings = settings.model_copy(
            update={"detection": settings.detection.model_copy(update={"false_alarms_per_key_month": budget})}
        )
    first, last = time_option("--from", start), time_option("--to", end)
    with ExitStack() as stack:
        classifier, others = judges(settings, stack)
        parts = assemble(settings, classifier.topics)
        labels, unsure = read_labels(events, parts) if events is not None else (None, 0)
        names = {"": classifier.name} | {language: one.name for language, one in others.items()}
        log = None if inputs else Log(settings, time.time(), names)
        known: Known | None = log.known if log is not None and not rescore else None
        near = Near(labels or ())
        player = Player(
            settings, parts, classifier, first, others=others, known=known, takers=[near.take], budgets=BUDGETS
        )
        began = time.perf_counter()
        if log is not None:
            stack.callback(log.close)
            feed = _of_log(log, class_, first, last)
        else:
            feed = of_files(inputs, player, class_, last)
        _make(out)
        episodes = Episodes()
        with (out / "alerts.jsonl").open("wb") as target:
            for alert in chain(player.play(shown(feed.entries, feed.total)), player.finish(last or feed.end)):
                episodes.take(alert)
                target.write(bytes(alert.body) + b"\n")
    span = span_of(player, first)
    outcome = outcomes(player, parts, labels, span)
    outcome.notes[:0] = [*feed.notes, *([f"{unsure} events are marked unsure: they count nowhere"] if unsure else [])]
    for note in outcome.notes:
        typer.echo(note, err=True)
    outcome.summary |= {"bad_lines": feed.bad_lines, "reused_scores": log.reused if log is not None else 0}
    outcome.summary["curve"] = points(player.curve, parts, labels, span, told=outcome.told)
    about: dict[str, Any] = {"version": __version__, "model": " + ".join(dict.fromkeys(names.values()))}
    about |= {"budget": settings.detection.false_alarms_per_key_month, "configuration": settings.sha256()[:12]}
    report = about | build(outcome, labels or (), near, episodes.all(), player.timeline, parts.watch, span)
    _write(out / "report.json", report)
    (out / "report.html").write_text(render(report), encoding="utf-8")
    summary = about | outcome.summary | {"speed": _speed(player, time.perf_counter() - began)}
    _write(out / "summary.json", summary | {"notes": outcome.notes})
    sys.stdout.write(json.dumps({name: value for name, value in summary.items() if name not in BESIDE}) + "\n")


def of_files(inputs: Sequence[Path], player: Player, class_: str | None, last: float | None) -> Feed:
    """The documents of files up to ``last``; lines that can't be read are told. Raises SettingsError, FileError."""
    read = BadLines()
    documents = player.documents(from_files(inputs, time.time(), read, source=SOURCE), class_, last)
    one = next(documents, None)
    for line in read.told():
        typer.echo(line, err=True)
    if one is None:
        why = f"all {read.documents} are after --to" if read.documents else "they are empty, or no line can be read"
        raise SettingsError(f"{', '.join(map(str, inputs))}: no documents to replay: {why}")
    return Feed(chain([one], documents), read.documents, None, list(told(read)), read.count)


def _of_log(log: Log, class_: str | None, first: float | None, last: float | None) -> Feed:
    entries = log.feed(class_, last, history=first is not None)
    return Feed(entries, log.documents, log.end or None, [], log.unreadable)


def _speed(player: Player, seconds: float) -> dict[str, float]:
    """Documents per second, with what the models took and without."""
    documents, rest = player.counts["documents"], max(1e-9, seconds - player.model_seconds)
    return {
        "seconds": round(seconds, 2),
        "model_seconds": round(player.model_seconds, 2),
        "documents_per_second": round(documents / seconds, 1),
        "documents_per_second_without_scoring": round(documents / rest, 1),
    }


def judges(settings: Settings, stack: ExitStack) -> tuple[Classifier, dict[str, Classifier]]:
    """The model for all, and those of single languages; closed with ``stack``."""
    versions = {"": choice(settings, time.time()).version} | other_models(settings)
    model, loaded = settings.model, dict[str, Classifier]()
    for folder in dict.fromkeys(str(version.folder) for version in versions.values()):
        loaded[folder] = load(folder, device=model.device, threads=model.threads, memory_mb=model.memory_mb)
        stack.callback(loaded[folder].close)
    judging = {language: loaded[str(version.folder)] for language, version in versions.items()}
    return judging.pop(""), judging


def _write(path: Path, told: Mapping[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--out {out}: {error.strerror or error}; name a folder that can be made") from None
