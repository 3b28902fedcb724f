"""What this version writes, kept for the versions after it: ``python -m tests.golden.make``.

A week and a day of a small tape go through the embedded engine and the production stages; every table of state, every
topic and every table of the read model has something in the end. Of a released version nothing here is written again:
what cannot be read as it is needs a migration or a new schema (docs/upgrade.md).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from alerts.baseline import Profile
from alerts.outbox import DeliveryAttempt, Obligation
from alerts.rules import FlashRule, Rules, SilenceRule
from alerts.verdicts import Verdict, figures
from models.card import Reference
from models.measures import VERSION
from monitor.intake import Intake
from pipelines.clock import ManualClock
from pipelines.commands import feedback
from pipelines.documents import (
    AlertRecord,
    Candidate,
    Command,
    DeadLetter,
    Document,
    Evidence,
    Operation,
    Reading,
    ScoredDocument,
    SeriesPoint,
    SourceRecord,
    Watermark,
    decode,
    encode,
    epoch,
    iso,
)
from pipelines.ingest import TABLES as INGEST_TABLES
from pipelines.ingest import Origin
from pipelines.notify import OPERATION
from pipelines.sources.base import RawItem
from pipelines.streams.base import (
    ALERTS,
    CANDIDATES,
    COMMANDS,
    DEAD_LETTERS,
    DELIVERIES,
    DOCUMENTS,
    EVIDENCE,
    INGEST,
    OUTBOX,
    PROFILES,
    READINGS,
    SCORES,
    SERIES,
    SOURCES,
    TOPICS,
    WATERMARK,
    Output,
    Record,
)
from pipelines.streams.embedded import EmbeddedEngine
from pipelines.streams.store import LogTail
from pipelines.view import TOPICS as SHOWN
from pipelines.view import ReadModel
from tests.stream_bench import DAY, HOUR, NAMES, T0, Tape, report, stages

HERE = Path(__file__).parent / "v1"

KINDS: dict[str, type[msgspec.Struct]] = {
    DOCUMENTS: Document,
    SCORES: ScoredDocument,
    EVIDENCE: Evidence,
    PROFILES: Profile,
    SOURCES: SourceRecord,
    CANDIDATES: Candidate,
    COMMANDS: Command,
    SERIES: SeriesPoint,
    READINGS: Reading,
    ALERTS: AlertRecord,
    OUTBOX: Obligation,
    DELIVERIES: DeliveryAttempt,
    DEAD_LETTERS: DeadLetter,
}
"""Topic to what its records are, watermarks and operations apart."""

RULES = Rules(flash=(FlashRule(name="fraud", phrases=("fraud",)),), silence=(SilenceRule(name="quiet"),))

BROKEN = b'{"title": "no document"'
DAYS = 9
STORE, VIEW = "tapewatch.db", "tapewatch.db.view"


def kind_of(record: Record) -> type[msgspec.Struct]:
    if record.key == WATERMARK:
        return Watermark
    return Operation if record.key.startswith(OPERATION) else KINDS[record.topic]


# -- the tape ---------------------------------------------------------------------------------------------


async def play(engine: EmbeddedEngine, clock: ManualClock) -> None:
    """Eight days of calm, with a source that is away for some hours; on the ninth one company's crisis."""
    intake, tape, rng = Intake(engine, clock=clock, max_age=DAY), Tape(3), random.Random(3)
    for hour in range(24 * (DAYS - 1)):
        clock.set(T0 + hour * HOUR)
        if hour % 3 == 0:
            named = rng.choice(NAMES)
            told = tape.story(clock.time(), "wire", named, bad=rng.random() < 0.1).title
            await bring(intake, clock, [told], "wire")
            await bring(intake, clock, [tape.story(clock.time(), "posts", named, bad=False).title], "posts", "social")
        away = 30 <= hour < 36
        await engine.append([report("wire", clock.time(), down="timeout" if away else None, success=clock.time())])
        await engine.watermark(DOCUMENTS, clock.time())
    await engine.drained()
    for number, word in enumerate(("falls", "fraud", "probe", "slump", "crash", "loss", "sues") * 3):
        clock.set(clock.time() + 30.0)
        title = " ".join(
            ["Acme", *rng.sample(("ledger", "harbour", "bridge", "turbine", "bonds", "orders"), 3), word, str(number)]
        )
        await bring(intake, clock, [title], "wire")
    await engine.watermark(DOCUMENTS, clock.time())
    await engine.drained()


async def bring(intake: Intake, clock: ManualClock, titles: Sequence[str], source: str, class_: Any = "news") -> None:
    now = clock.time()
    origin = Origin(source=source, class_=class_, publisher="Wire", interval=60.0, last_success=now - 60.0)
    items = [
        RawItem(
            guid=title,
            url=f"https://{source}.example/{n}-{now:.0f}",
            title=title,
            body="A text.",
            published=now,
            fetched=now,
        )
        for n, title in enumerate(titles)
    ]
    await intake.commit(items, origin, cursor=b"etag")


async def operate(engine: EmbeddedEngine, clock: ManualClock) -> None:
    """What operators, channels and a dead feed leave behind."""
    now = clock.time()

    def command(kind: Any, subject: str, details: dict[str, Any]) -> Output:
        return Output(COMMANDS, subject, encode(Command(kind=kind, at=iso(now), subject=subject, details=details)))

    owed = [decode(Obligation, record.value) for record in await log(engine, OUTBOX)]
    first, *others = owed
    tried = [
        DeliveryAttempt(event=first.event, channel="desk", number=1, at=now, ok=True, reason="ok", status=204),
        *(
            DeliveryAttempt(event=one.event, channel="desk", number=1, at=now, ok=False, reason="timeout")
            for one in others
        ),
    ]
    alert = json.loads(first.body)["data"]["episode"]["id"]
    told = [json.loads(record.value) for record in await log(engine, ALERTS)]
    judged = figures([one for one in told if one["alert"] == alert])
    verdict = Verdict(id="v1", alert=alert, at=iso(now), verdict="true", by="desk", note="as read", figures=judged)
    operation = Operation(type="ops.source_stale", at=iso(now), subject="posts", summary="source posts is stale")
    await engine.append(
        [
            command(
                "silence", "hush", {"match": {"keys": ["entity:hydra"]}, "expires": now + 30 * DAY, "author": "desk"}
            ),
            Output(COMMANDS, alert, encode(feedback(verdict))),
            *(Output(DELIVERIES, f"{one.event}|{one.channel}", encode(one)) for one in tried),
            Output(CANDIDATES, OPERATION + "posts", encode(operation)),
            *(reading(now - days * DAY) for days in (3, 2, 1)),
            Output(DOCUMENTS, "broken", BROKEN),
        ]
    )
    await engine.take_in(lambda state: (state.table("told").put("posts", "stale"), []))
    await engine.drained()


def reading(at: float) -> Output:
    """Of a model with a reference in its card, and of texts enough for a block of the drift watch."""
    reference = Reference(bins=VERSION, parts={"tweets": {"language": (990, 10)}}, centres=b"\x7f\x01")
    counts = {"news": {"language": [290, 10], "length": [100, 200]}}
    one = Reading(at=iso(at), model="golden@111111111111", bins=VERSION, counts=counts, reference=reference)
    return Output(READINGS, one.model, encode(one))


async def log(engine: EmbeddedEngine, topic: str) -> list[Record]:
    return await engine.ask(lambda store: store.read([topic], 0, 1_000_000))


# -- what is kept -----------------------------------------------------------------------------------------


def samples(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The first and the last record of each kind, and a candidate of every kind of event."""
    chosen: dict[tuple[str, str, str], Record] = {}
    for record in records:
        if record.value == BROKEN:
            continue
        kind = kind_of(record)
        which = decode(Candidate, record.value).event.kind if kind is Candidate else "first"
        chosen.setdefault((record.topic, kind.__name__, which), record)
        chosen[record.topic, kind.__name__, "last"] = record
    return [
        {"topic": topic, "kind": kind, "key": record.key, "value": record.value.decode()}
        for (topic, kind, _), record in chosen.items()
    ]


def schemas() -> dict[str, Any]:
    """Kind to its JSON Schema."""
    kinds = [*KINDS.values(), Watermark, Operation]
    return {kind.__name__: msgspec.json.schema(kind) for kind in kinds}


def tables() -> dict[str, dict[str, type[Any]]]:
    """Owner to its tables."""
    by_stage = {stage.name: dict(stage.tables) for stage in stages(ManualClock(T0)) if stage.tables}
    return {INGEST: dict(INGEST_TABLES), **by_stage}


def layouts() -> dict[str, Any]:
    """Every table's rows: fields in their order, and which a row must have."""
    return {
        f"{owner}.{name}": layout(msgspec.inspect.type_info(kind))
        for owner, held in tables().items()
        for name, kind in held.items()
    }


def layout(info: Any) -> Any:
    if isinstance(info, msgspec.inspect.StructType):
        fields = [[field.encode_name, field.required, layout(field.type)] for field in info.fields]
        return {"struct": info.cls.__name__, "array": info.array_like, "fields": fields}
    if isinstance(info, msgspec.inspect.UnionType):
        return {"union": [layout(one) for one in info.types]}
    for name in ("item_type", "value_type"):
        if hasattr(info, name):
            return {type(info).__name__: layout(getattr(info, name))}
    if isinstance(info, msgspec.inspect.TupleType):
        return {"TupleType": [layout(one) for one in info.item_types]}
    return type(info).__name__


def packed(source: Path, target: Path) -> None:
    """The database in as few bytes as may be, the same ones for the same content."""
    whole = source.with_name(source.name + ".whole")
    with closing(sqlite3.connect(source)) as db:
        db.execute("VACUUM INTO ?", (str(whole),))
    with gzip.GzipFile(target, "wb", mtime=0) as out:
        out.write(whole.read_bytes())


async def make(folder: Path, write: Callable[[str, Any], None]) -> None:
    clock = ManualClock(T0)
    engine = EmbeddedEngine(folder / STORE, clock=clock, retention=400 * DAY)
    made = stages(clock, five_heads=True, rules=RULES)
    await engine.start(made)
    await play(engine, clock)
    await operate(engine, clock)
    records = [record for topic in TOPICS for record in await log(engine, topic)]
    documents = [decode(Document, r.value) for r in await log(engine, DOCUMENTS) if r.key not in (WATERMARK, "broken")]
    alerts = [decode(AlertRecord, record.value) for record in await log(engine, ALERTS)]
    tail, model = LogTail(folder / STORE), ReadModel(folder / VIEW, made[2]._watch)
    read, position = tail.read(SHOWN, "", 1_000_000)
    model.apply(read, position)
    tail.close()
    await engine.retain(clock.time() - DAY)  # as a log is that has been there for longer than its retention
    await engine.stop()
    write(
        "expected.json",
        {
            "now": clock.time(),
            "documents": len(documents),
            "last": {"id": documents[-1].id, "title": documents[-1].title, "at": epoch(documents[-1].at)},
            "alerts": [{"id": one.id, "type": one.type, "key": one.key, "alert": one.alert} for one in alerts],
            "pending": [one["id"] for one in model.deliveries("pending")],
            "series": len(model.series("market", limit=100_000)),
            "moods": {key: model.mood(key) for key in ("entity:acme", "market")},
            "letters": len(model.dead_letters()),
            "verdicts": msgspec.to_builtins(model.verdicts()),
        },
    )
    model.close()
    write("records.json", samples(records))
    write("schemas.json", schemas())
    write("rows.json", layouts())
    for name in (STORE, VIEW):
        packed(folder / name, HERE / f"{name}.gz")


def main() -> None:
    HERE.mkdir(exist_ok=True)

    def write(name: str, content: Any) -> None:
        (HERE / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")

    folder = Path(tempfile.mkdtemp())
    try:
        asyncio.run(make(folder, write))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
