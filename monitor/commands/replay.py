"""``tapewatch replay``: documents through the production stages on event time; what would have been sent?"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby, takewhile
from pathlib import Path
from typing import Any

import msgspec
import typer

from alerts.baseline import Profile
from alerts.detector import Detector
from models.classifier import Classifier, load
from monitor import log as logs
from monitor.assembly import Parts, alert_context, assemble
from monitor.commands.detect import LineError as MomentError
from monitor.commands.detect import moment as moment_of
from monitor.commands.detect import time_option
from monitor.history import BadLines, history
from monitor.model_choice import choice
from monitor.sections import MOST_ALARMS
from monitor.settings import Settings, SettingsError
from monitor.settings import load as load_settings
from pipelines.aggregate import Aggregate
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, Document, Watermark, decode, encode, epoch, iso
from pipelines.explain import Explainer
from pipelines.ingest import TABLES, Ingest, Origin, moment
from pipelines.notify import Notify
from pipelines.score import Score
from pipelines.sources.base import RawItem
from pipelines.sources.order import chunks
from pipelines.streams.base import (
    ALERTS,
    DEAD_LETTERS,
    DOCUMENTS,
    EVIDENCE,
    PROFILES,
    SCORES,
    TOPICS,
    WATERMARK,
    Output,
    Stage,
)
from pipelines.streams.memory import MemoryEngine, MemoryState

SOURCE = "replay"
"""The source of what is replayed."""

CHUNK = 256
CHUNK_BYTES = 16 * 2**20
"""Bytes of words after which a chunk ends before it has its documents."""
STEP = 600.0
"""Event time between two watermarks where no document comes."""
DAY = 86_400.0
MATCH_BEFORE = DAY
MATCH_AFTER = 3 * DAY
"""An alert of an event's company from a day before its onset (dates are days) to three days after finds it."""


class Event(msgspec.Struct, frozen=True):
    """A known event."""

    entity: str
    onset: float
    what: str


class Tables:
    """What MemoryState asks of a stage: ingest keeps its ids like one."""

    name = "ingest"
    inputs = ()
    tables = TABLES


class Player:
    """Runs documents, in order, through ingest, score, aggregate and notify on a clock that they move."""

    def __init__(self, settings: Settings, parts: Parts, classifier: Classifier, start: float | None) -> None:
        detection = settings.detection
        self._clock = ManualClock()
        stages: list[Stage] = [
            Score(classifier, parts.entities, parts.watch, clock=self._clock),
            Aggregate(
                Detector(
                    budget=detection.false_alarms_per_key_month,
                    min_open=detection.min_open,
                    lateness=detection.lateness,
                ),
                parts.watch,
                clock=self._clock,
                model=classifier.name,
                start=start,
                provisional=False,
            ),
            Notify(
                parts.watch,
                context=alert_context(settings, page=True),
                routes=parts.routes,
                channels=[channel.name for channel in settings.channels],
                silences=parts.silences,
                clock=self._clock,
                explainer=Explainer({classifier.name: lambda: classifier}, within=None),
            ),
        ]
        self._engine = MemoryEngine(stages, batch=CHUNK)
        self._ids = MemoryState(Tables())  # type: ignore[arg-type]  # ingest is no stage; only its tables are used
        self.counts: Counter[str] = Counter()
        self.alerts: list[AlertRecord] = []
        self.profiles: list[Profile] = []
        """The week as it was learned on the way, a version a day."""
        self._passed = float("-inf")
        self.first: str | None = None
        """Time of the first document that was handed on."""
        self.last = ""

    def documents(self, items: Iterable[RawItem], class_: Any, until: float | None) -> Iterator[Document]:
        """Items, which come by their time, as documents that do. What is after ``until`` counts nowhere."""
        ingest, origin = Ingest(max_age=None), Origin(source=SOURCE, class_=class_ or "news")
        wanted = items if until is None else takewhile(lambda item: moment(item, SOURCE) <= until, items)
        for part in chunks(wanted, CHUNK, CHUNK_BYTES):
            if class_ is not None:
                part = [msgspec.structs.replace(item, class_=class_) for item in part]
            outcome = ingest.accept(part, origin, self._ids, moment(part[-1], SOURCE))
            for table in self._ids.tables.values():
                table.freeze(forget=True)
            for name in ("accepted", "duplicate", "revision", "oversize"):
                self.counts[name] += getattr(outcome, name)
            self.counts["empty"] += outcome.invalid
            yield from outcome.documents

    def play(self, documents: Iterable[Document]) -> Iterator[AlertRecord]:
        """Alerts as they come."""
        # Day by day: the week's profile takes effect at midnight, and must be there by then.
        for _, day in groupby(documents, key=lambda document: document.at[:10]):
            for chunk in chunks(day, CHUNK, CHUNK_BYTES):
                self.counts["documents"] += len(chunk)
                self.first, self.last = self.first or chunk[0].at, chunk[-1].at
                outputs: list[Output] = []
                for document in chunk:
                    outputs.extend(self._pass(epoch(document.at)))
                    outputs.append(Output(DOCUMENTS, document.id, encode(document)))
                # Everything is decided at its own time: how many are handed on at once changes no byte.
                self._clock.set(epoch(chunk[0].at))
                yield from self._run(outputs)

    def finish(self, until: float | None) -> Iterator[AlertRecord]:
        """Lets time pass after the last document, a week by default."""
        yield from self._run(list(self._pass(until if until is not None else epoch(self.last) + 7 * DAY)))

    def _pass(self, at: float) -> Iterator[Output]:
        """Watermarks up to ``at``, thinned out over long silences."""
        if self._passed == float("-inf"):
            self._passed = at
        while self._passed + STEP <= at:
            self._passed += STEP
            yield Output(DOCUMENTS, WATERMARK, encode(Watermark(at=iso(self._passed))))

    def _run(self, outputs: list[Output]) -> Iterator[AlertRecord]:
        if not outputs:
            return
        self._engine.append(outputs)
        self._engine.run()
        found = [decode(AlertRecord, record.value) for record in self._engine.records(ALERTS)]
        self.counts["scored"] += len(self._engine.records(SCORES))
        self.counts["evidence"] += len(self._engine.records(EVIDENCE))
        self.counts["dead_letters"] += len(self._engine.records(DEAD_LETTERS))
        self.profiles.extend(decode(Profile, record.value) for record in self._engine.records(PROFILES))
        for topic in TOPICS:
            self._engine.forget(topic)
        # Their bodies are written out; what is counted in the end needs none.
        self.alerts.extend(msgspec.structs.replace(alert, body=msgspec.Raw()) for alert in found)
        yield from found


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
) -> None:
    """Writes alerts.jsonl and summary.json into ``out``."""
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
    known = _events(events) if events is not None else None
    model = settings.model
    classifier = load(
        str(choice(settings, time.time()).version.folder),
        device=model.device,
        threads=model.threads,
        memory_mb=model.memory_mb,
    )
    try:
        parts = assemble(settings, classifier.topics)
        player = Player(settings, parts, classifier, time_option("--from", start))
        last, bad = time_option("--to", end), BadLines()
        documents = player.documents(history(inputs, datetime.now(UTC).timestamp(), bad, source=SOURCE), class_, last)
        one = next(documents, None)
        for line in bad.told():
            typer.echo(line, err=True)
        if one is None:
            raise SettingsError("no documents to replay")
        _make(out)
        with (out / "alerts.jsonl").open("wb") as target:
            for alert in chain(player.play(chain([one], documents)), player.finish(last)):
                target.write(bytes(alert.body) + b"\n")
    finally:
        classifier.close()
    summary = summarise(player, parts, known, start=time_option("--from", start), bad_lines=bad.count)
    (out / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    for event in summary.get("events", ()):
        if not event["keys"]:
            typer.echo(f"{events}: {event['entity']!r} is no watched company: it can't be found", err=True)
    brief = {name: value for name, value in summary.items() if name not in ("unlabelled", "events", "by_key")}
    sys.stdout.write(json.dumps(brief) + "\n")


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--out {out}: {error.strerror or error}; name a folder that can be made") from None


def summarise(
    player: Player,
    parts: Parts,
    events: Sequence[Event] | None,
    *,
    start: float | None,
    bad_lines: int,
) -> dict[str, Any]:
    """Counts, alarms per key and month, and, with events, which of them rang and when."""
    firing = [alert for alert in player.alerts if alert.type == "alert.firing"]
    begun, last = epoch(player.first or player.last), epoch(player.last)
    months = max(1e-9, (last - max(begun, start or begun)) / (30.4 * DAY))
    entities = {key for key, watched in parts.watch.keys.items() if key.startswith("entity:") and not watched.topic}
    on_entities = [alert for alert in firing if alert.key in entities]
    summary: dict[str, Any] = {
        "documents": player.counts["documents"],
        "bad_lines": bad_lines,
        **{
            name: player.counts[name]
            for name in ("accepted", "duplicate", "revision", "empty", "oversize", "scored", "dead_letters")
        },
        "from": player.first,
        "to": player.last,
        "months": round(months, 2),
        "watched_keys": len(parts.watch.keys),
        "entity_keys": len(entities),
        "alerts": len(firing),
        "alerts_per_key_month": round(len(firing) / (len(parts.watch.keys) * months), 5),
        "entity_alerts": len(on_entities),
        "entity_alerts_per_key_month": round(len(on_entities) / (max(1, len(entities)) * months), 5),
        "by_key": dict(Counter(alert.key for alert in firing).most_common()),
    }
    if events is not None:
        found, used = _match(events, firing, parts)
        rang = sum(entry["rang"] is not None for entry in found)
        summary["events_known"] = len(events)
        summary["events_found"] = rang
        summary["recall"] = round(rang / max(1, len(events)), 4)
        summary["precision_lower_bound"] = round(len(used & {a.id for a in on_entities}) / max(1, len(on_entities)), 4)
        summary["events"] = found
        summary["unlabelled"] = [
            {"key": alert.key, "at": alert.at, "severity": alert.severity} for alert in firing if alert.id not in used
        ]
    return summary


def _match(
    events: Sequence[Event], firing: Sequence[AlertRecord], parts: Parts
) -> tuple[list[dict[str, Any]], set[str]]:
    used: set[str] = set()
    found = []
    for event in events:
        keys = keys_of(event.entity, parts)
        near = [
            alert
            for alert in firing
            if alert.key in keys and event.onset - MATCH_BEFORE <= epoch(alert.at) < event.onset + MATCH_AFTER
        ]
        used.update(alert.id for alert in near)
        first = min(near, key=lambda alert: alert.at, default=None)
        found.append(
            {
                "entity": event.entity,
                "what": event.what,
                "onset": iso(event.onset),
                "keys": sorted(keys),
                "rang": first.at if first else None,
                "key": first.key if first else None,
                "delay_days": round((epoch(first.at) - event.onset) / DAY, 2) + 0.0 if first else None,  # never -0.0
            }
        )
    return found, used


def keys_of(name: str, parts: Parts) -> set[str]:
    """The entity keys that an event's company may have: its name, or a name that its name contains."""
    wanted = name.casefold()
    if wanted in ("market", "the market"):
        return {"market"}
    keys = set()
    for key, watched in parts.watch.keys.items():
        if not key.startswith("entity:"):
            continue
        names = {n.casefold() for entity in watched.entities for n in (entity.name, entity.id, *entity.aliases)}
        # A ticker only as it is: "A" and "T" are words of many names.
        names |= {ticker.casefold() for entity in watched.entities for ticker in entity.tickers if ticker == name}
        if wanted in names or any(n in wanted.split() or wanted in n.split() for n in names):
            keys.add(key)
    return keys


def _events(path: Path) -> list[Event]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--events {path}: {error}") from None
    rows, found = csv.DictReader(lines), []
    if "entity" not in (columns := rows.fieldnames or ()) or not {"onset", "onset_date"} & set(columns):
        raise SettingsError(
            f"--events {path}: columns {', '.join(columns)!r}; needed are entity and onset or onset_date"
        )
    for number, row in enumerate(rows, 2):
        onset = row.get("onset") or row.get("onset_date") or ""
        try:
            at = moment_of(onset if "T" in onset else f"{onset}T00:00:00Z")
        except MomentError as error:
            raise SettingsError(f"{path}, line {number}: onset: {error}") from None
        found.append(Event(row["entity"], at, row.get("what") or ""))
    return found
