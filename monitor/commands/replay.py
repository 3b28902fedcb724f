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
from monitor.assembly import Parts, assemble
from monitor.commands.detect import time_option
from monitor.history import BadLines
from monitor.model_choice import choice
from monitor.model_choice import others as other_models
from monitor.replay.compare import Side, compared
from monitor.replay.curve import BUDGETS, Curve
from monitor.replay.evidence import Episodes, Near
from monitor.replay.figures import Outcomes, Span, learning, outcomes, points, span_of
from monitor.replay.folder import Folder
from monitor.replay.inputs import from_files, told
from monitor.replay.labels import Told, about_events, read_labels
from monitor.replay.log import Log
from monitor.replay.page import render
from monitor.replay.player import SOURCE, Fed, Player
from monitor.replay.progress import shown
from monitor.replay.report import BESIDE, build
from monitor.replay.scores import Scores
from monitor.replay.sentences import sentences
from monitor.sections import MOST_ALARMS
from monitor.settings import Settings, SettingsError
from monitor.settings import load as load_settings
from pipelines.documents import AlertRecord, Document
from pipelines.sources.files import FileError


class Asked(NamedTuple):
    """What is to be replayed."""

    inputs: Sequence[Path]
    """Files; none: the daemon's own log."""
    first: float | None
    last: float | None
    class_: str | None
    rescore: bool = False


class Feed(NamedTuple):
    """What a player is fed, and what there is to say of it."""

    entries: Iterator[Fed]
    total: int
    end: float | None
    """Up to when time passes; None where the documents don't say."""
    notes: list[str]
    bad_lines: int


class Judges(NamedTuple):
    """The model for all, and those of single languages."""

    classifier: Classifier
    others: dict[str, Classifier]

    @property
    def names(self) -> dict[str, str]:
        """By language, "" for all others."""
        return {"": self.classifier.name} | {language: one.name for language, one in self.others.items()}


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
    compare: Path | None = None,
    beside: Sequence[Curve] = (),
) -> None:
    """Writes alerts.jsonl, summary.json and the report into ``out``. Without ``inputs`` the daemon's own log is
    replayed. ``compare``: other settings, and what would be different with them. ``beside``: who else is shown what
    the detector is."""
    asked = _asked(inputs, start, end, class_, rescore=rescore)
    logs.configure("console", "warning")
    settings = _with(load_settings(config), budget)
    other = load_settings(compare) if compare is not None else None
    with ExitStack() as stack:
        models = Models(stack)
        judges = models.of(settings)
        parts = assemble(settings, judges.classifier.topics, judges.classifier.risks)
        labels = read_labels(events, parts) if events is not None else None
        log = None if inputs else Log(settings, time.time())
        scores = log.scores if log is not None else Scores()
        stack.callback(log.close if log is not None else scores.close)
        happened = labels.labels if labels is not None else ()
        near, episodes = Near(happened), Episodes()
        player = Player(
            settings,
            parts,
            judges.classifier,
            asked.first,
            others=judges.others,
            known=scores.known(judges.names) if log is not None and not rescore else None,
            takers=[near.take] if other is None else [near.take, scores.take],
            budgets=BUDGETS,
            beside=beside,
        )
        began = time.perf_counter()
        feed = _feed(asked, log, player, aloud=True)
        folder = Folder(out)
        stack.callback(folder.drop)
        with folder.open("alerts.jsonl") as target:
            alerts = _played(player, feed, asked)
            target.writelines(bytes(alert.body) + b"\n" for alert in alerts if episodes.take(alert))
        speed = _speed(player, time.perf_counter() - began)
        span = span_of(player, asked.first)
        outcome = _outcome(player, parts, labels, span, episodes, feed, log)
        about = _about(settings, judges)
        report = about | build(outcome, happened, near, episodes.all(), player.timeline, parts.watch, span)
        summary = about | outcome.summary | {"speed": speed}
        if other is not None:
            side = Side(settings, parts.watch, episodes.all(), player.timeline)
            report["compare"] = compared(side, _again(other, models.of(other), asked, log, scores))
            summary["compare"] = {name: value for name, value in report["compare"].items() if name != "changes"}
        _write(folder, report, summary | {"notes": outcome.notes})
    _tell(summary, outcome.notes, out)


def _asked(inputs: Sequence[Path], start: str | None, end: str | None, class_: str | None, *, rescore: bool) -> Asked:
    if class_ not in (None, "news", "filing", "social"):
        raise typer.BadParameter("--class is news, filing or social")
    asked = Asked(inputs, time_option("--from", start), time_option("--to", end), class_, rescore)
    if asked.first is not None and asked.last is not None and asked.first >= asked.last:
        raise typer.BadParameter(f"--from {start}: is not before --to {end}; nothing could ring between them")
    return asked


def _outcome(
    player: Player, parts: Parts, events: Told | None, span: Span, episodes: Episodes, feed: Feed, log: Log | None
) -> Outcomes:
    labels = events.labels if events is not None else None
    outcome = outcomes(player, parts, labels, span, episodes)
    unlearned = learning(span, own_log=log is not None)
    outcome.notes[:0] = [
        *feed.notes,
        *([unlearned] if unlearned is not None else []),
        *(about_events(events) if events is not None else ()),
    ]
    curve, alone = points(player.curve, parts, labels, span, told=outcome.told)
    reused = log.scores.reused if log is not None else 0
    outcome.summary |= {"bad_lines": feed.bad_lines, "reused_scores": reused, "curve": curve, "bursts_alone": alone}
    return outcome


def _about(settings: Settings, judges: Judges) -> dict[str, Any]:
    return {
        "version": __version__,
        "model": " + ".join(dict.fromkeys(judges.names.values())),
        "budget": settings.detection.false_alarms_per_key_month,
        "configuration": settings.sha256()[:12],
    }


def _write(folder: Folder, report: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    folder.write("report.json", _json(report))
    folder.write("report.html", render(report).encode())
    folder.write("summary.json", _json(summary))
    folder.keep()


def _tell(summary: Mapping[str, Any], notes: Sequence[str], out: Path) -> None:
    for note in notes:
        typer.echo(note, err=True)
    if sys.stdout.isatty():
        sys.stdout.writelines(f"{line}\n" for line in sentences(summary, out))
    else:
        sys.stdout.write(json.dumps({name: value for name, value in summary.items() if name not in BESIDE}) + "\n")


def _again(settings: Settings, judges: Judges, asked: Asked, log: Log | None, scores: Scores) -> Side:
    """The same documents under other settings, with the judgements that are the same."""
    parts, episodes = assemble(settings, judges.classifier.topics, judges.classifier.risks), Episodes()
    known = scores.known(judges.names)
    player = Player(settings, parts, judges.classifier, asked.first, others=judges.others, known=known)
    for alert in _played(player, _feed(asked, log, player, aloud=False), asked):
        episodes.take(alert)
    return Side(settings, parts.watch, episodes.all(), player.timeline)


def _played(player: Player, feed: Feed, asked: Asked) -> Iterator[AlertRecord]:
    yield from player.play(shown(feed.entries, feed.total))
    yield from player.finish(asked.last or feed.end)


def _feed(asked: Asked, log: Log | None, player: Player, *, aloud: bool) -> Feed:
    if log is None:
        return of_files(asked.inputs, player, asked.class_, asked.last, aloud=aloud)
    entries = log.feed(asked.class_, asked.last, history=asked.first is not None)
    begun: list[Fed] = []
    for entry in entries:
        begun.append(entry)
        if isinstance(entry, Document):
            return Feed(chain(begun, entries), log.documents, log.end or None, [], log.unreadable)
    raise SettingsError(f"the daemon's log: no documents to replay: all {log.documents} are after --to")


def of_files(
    inputs: Sequence[Path], player: Player, class_: str | None, last: float | None, *, aloud: bool = True
) -> Feed:
    """The documents of files up to ``last``. ``aloud``: lines that can't be read are told. Raises SettingsError,
    FileError."""
    read = BadLines()
    documents = player.documents(from_files(inputs, time.time(), read, source=SOURCE), class_, last)
    one = next(documents, None)
    for line in read.told() if aloud else ():
        typer.echo(line, err=True)
    if one is None:
        nothing = f"{', '.join(map(str, inputs))}: no documents to replay"
        if read.documents:
            raise SettingsError(f"{nothing}: all {read.documents} are after --to")
        raise FileError(f"{nothing}: they are empty, or no line can be read")
    return Feed(chain([one], documents), read.documents, None, list(told(read)), read.count)


def _with(settings: Settings, budget: float | None) -> Settings:
    if budget is None:
        return settings
    if not 0 < budget <= MOST_ALARMS:
        raise typer.BadParameter(f"--budget {budget:g}: is above 0, and at most {MOST_ALARMS:g}, as in the settings")
    detection = settings.detection.model_copy(update={"false_alarms_per_key_month": budget})
    return settings.model_copy(update={"detection": detection})


def _speed(player: Player, seconds: float) -> dict[str, float]:
    """Documents per second, with what the models took and without."""
    documents, rest = player.counts["documents"], max(1e-9, seconds - player.model_seconds)
    return {
        "seconds": round(seconds, 2),
        "model_seconds": round(player.model_seconds, 2),
        "documents_per_second": round(documents / seconds, 1),
        "documents_per_second_without_scoring": round(documents / rest, 1),
    }


class Models:
    """Loads each model once, and closes it with ``stack``."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._loaded: dict[str, Classifier] = {}

    def of(self, settings: Settings) -> Judges:
        """Those that judge by these settings. Raises ModelError."""
        versions = {"": choice(settings, time.time()).version} | other_models(settings)
        judging = {language: self._load(str(one.folder), settings) for language, one in versions.items()}
        return Judges(judging.pop(""), judging)

    def _load(self, folder: str, settings: Settings) -> Classifier:
        if folder not in self._loaded:
            model = settings.model
            self._loaded[folder] = load(folder, device=model.device, threads=model.threads, memory_mb=model.memory_mb)
            self._stack.callback(self._loaded[folder].close)
        return self._loaded[folder]


def _json(told: Mapping[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"
