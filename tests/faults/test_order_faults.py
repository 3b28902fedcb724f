"""Duplicates, disorder, late items and any cut into batches, through the aggregate and notify stages."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.detector import Detector
from models.classifier import FakeClassifier
from pipelines.aggregate import Aggregate
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, Evidence, SeriesPoint, Watermark, decode, encode, epoch, iso
from pipelines.held import Held
from pipelines.notify import Notify
from pipelines.particulars import Context
from pipelines.signatures import signature
from pipelines.streams.base import ALERTS, EVIDENCE, SERIES, WATERMARK, Output
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch
from tests.stream_bench import DAY, HOUR, T0

LATENESS = 600.0
KEYS = ("market", "topic:energy-oil", "topic:macro")
DAYS = 17
CRISIS = T0 + 14 * DAY
TOTALS: dict[str, int] = {}
"""What was injected and seen over all examples, to be printed at the end."""


def note(**counts: int) -> None:
    for name, count in counts.items():
        TOTALS[name] = TOTALS.get(name, 0) + count


@pytest.fixture(scope="module", autouse=True)
def tell(request: pytest.FixtureRequest) -> Iterable[None]:
    yield
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\ninjected and seen over all examples: {TOTALS}")


@dataclass(frozen=True, order=True)
class Piece:
    """One document about one key: when it counts and when it came."""

    came: float
    number: int
    at: float
    key: str
    b: float

    def output(self) -> Output:
        title = " ".join(f"q{self.number}z{word}q" for word in range(6))  # no two stories share a word
        evidence = Evidence(
            id=f"{self.number:032x}",
            key=self.key,
            class_="news",
            at=iso(self.at),
            b=self.b,
            relevance=1.0,
            signature=signature(title),
            source="wire",
            publisher=f"p{self.number % 5}",
            title=title,
            published=iso(self.at),
            fetched=iso(self.at),
            scored=iso(self.at),
            negative=self.b,
            neutral=1.0 - self.b,
            positive=0.0,
        )
        return Output(EVIDENCE, self.key, encode(evidence))


def tape(seed: int) -> list[Piece]:
    """Four to eight items a day and key, few of them bad, and six hours of crisis for the one that had no bad ones."""
    rng = random.Random(seed)
    found = []
    for key in KEYS:
        at, rate = T0, rng.uniform(4.0, 8.0) / DAY
        while (at := at + rng.expovariate(rate)) < T0 + DAYS * DAY:
            found.append((at, key, 0.9 if key != KEYS[0] and rng.random() < 0.1 else 0.05))
    found += [(CRISIS + n * 1_200.0, KEYS[0], 0.95) for n in range(18)]
    return [Piece(at, number, at, key, b) for number, (at, key, b) in enumerate(sorted(found))]


def log(pieces: Iterable[Piece]) -> list[Output]:
    """In the order in which they came, with a watermark each two hours and a last one much later."""
    outputs, passed = [mark(T0)], T0
    for piece in sorted(pieces):
        while passed + 2 * HOUR <= piece.came:
            passed += 2 * HOUR
            outputs.append(mark(passed))
        outputs.append(piece.output())
    return [*outputs, mark(T0 + (DAYS + 10) * DAY)]


def mark(at: float) -> Output:
    return Output(EVIDENCE, WATERMARK, encode(Watermark(at=iso(at))))


class Run:
    """The stages over a log that is handed on in pieces of these sizes."""

    def __init__(self, outputs: Sequence[Output], cuts: Sequence[int] = (10**9,), **engine: object) -> None:
        clock, watch = ManualClock(T0), Watch([], FakeClassifier().topics)
        context = Context(version="t", detector="1", configuration="c", budget=0.05)
        self.engine = MemoryEngine(
            [
                Aggregate(Detector(lateness=LATENESS), watch, clock=clock, model="fake", provisional=False),
                Notify(watch, context=context, routes=(), channels=("desk",), clock=clock),
            ],
            **engine,
        )
        # A watermark speaks for one partition of the score stage: all of them must have said it.
        speakers = 3 if engine.get("hostile") else 1
        waiting = [o._replace(origin=n) for o in outputs for n in range(speakers if o.key == WATERMARK else 1)]
        while waiting:
            for cut in cuts:
                self.engine.append(waiting[:cut])
                self.engine.run()
                del waiting[:cut]

    @property
    def bodies(self) -> dict[str, list[bytes]]:
        """By key, in their order."""
        found: dict[str, list[bytes]] = {}
        for one in self.alerts:
            found.setdefault(one.key, []).append(bytes(one.body))
        return found

    @property
    def alerts(self) -> list[AlertRecord]:
        return [decode(AlertRecord, record.value) for record in self.engine.records(ALERTS)]

    def told(self) -> list[tuple[str, str, float]]:
        return [(one.key, one.type, epoch(one.at)) for one in self.alerts]

    def states(self, partitions: int = 1) -> dict[str, bytes]:
        """Every key's detector, as bytes."""
        found: dict[str, bytes] = {}
        for partition in range(partitions):
            table = self.engine.state("aggregate", partition).table("detector")
            found |= {key: msgspec.msgpack.encode(held.state) for key, held in table.items()}
        return found

    def held(self, key: str) -> Held:
        held: Held | None = self.engine.state("aggregate").table("detector").get(key)
        assert held is not None
        return held

    def counted(self) -> dict[str, tuple[int, float]]:
        """Documents and evidence by key: of the closed blocks and of the open one."""
        sums = {key: [0.0, 0.0] for key in KEYS}
        for record in self.engine.records(SERIES):
            point = decode(SeriesPoint, record.value)
            sums[point.key][0] += point.documents
            sums[point.key][1] += point.bad + point.others
        for key in KEYS:
            news = self.held(key).state.news
            assert news is not None
            sums[key][0] += news.base.block_documents
            sums[key][1] += news.base.block_bad + news.base.block_others
        return {key: (round(documents), round(weight, 2)) for key, (documents, weight) in sums.items()}

    def late(self) -> int:
        return sum(self.held(key).state.late for key in KEYS)


SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(SEEDS, st.lists(st.integers(1, 400), min_size=1, max_size=6), st.integers(1, 300), SEEDS)
def test_the_same_log_gives_the_same_bytes_whatever_the_cuts(seed: int, cuts: list[int], batch: int, mess: int) -> None:
    """Also where an engine handles batches twice, spreads keys over partitions and forgets all it holds in memory."""
    rng = random.Random(mess)
    pieces = [replace(piece, came=piece.at + rng.uniform(0.0, 2 * LATENESS)) for piece in tape(seed)]
    pieces += rng.sample(pieces, 40)
    outputs = log(pieces)
    whole = Run(outputs)
    assert {kind for _, kind, _ in whole.told()} >= {"alert.firing", "alert.resolved"}, "nothing rang"
    pieced = Run(outputs, cuts, batch=batch)
    assert pieced.bodies == whole.bodies and pieced.states() == whole.states()
    hostile = Run(outputs, cuts, hostile=True, seed=mess)
    assert hostile.engine.redelivered > 0, "no batch was handled twice"
    assert {key: list(dict.fromkeys(told)) for key, told in hostile.bodies.items()} == whole.bodies
    assert hostile.states(3) == whole.states()
    note(cuts=len(outputs) // max(1, sum(cuts) // len(cuts)), redelivered=hostile.engine.redelivered, late=whole.late())


@FEW
@given(SEEDS, SEEDS)
def test_duplicates_change_nothing(seed: int, mess: int) -> None:
    rng, pieces = random.Random(mess), tape(seed)
    again = [replace(piece, came=piece.at + rng.uniform(0.0, 36 * HOUR)) for piece in pieces if rng.random() < 0.3]
    once, twice = Run(log(pieces)), Run(log([*pieces, *again]))
    assert len(again) > 20
    assert twice.bodies == once.bodies and twice.states() == once.states()
    note(duplicates=len(again))


@FEW
@given(SEEDS, SEEDS)
def test_disorder_within_the_lateness_counts_as_sorted(seed: int, mess: int) -> None:
    rng, pieces = random.Random(mess), tape(seed)
    moved = [replace(piece, came=piece.at + rng.uniform(0.0, LATENESS)) for piece in pieces]
    behind = sum(a.number > b.number for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False))
    ordered, disordered = Run(log(pieces)), Run(log(moved))
    assert behind > 0, "nothing came out of order"
    assert disordered.late() == 0
    assert disordered.counted() == ordered.counted()
    one, two = (
        [(key, at) for key, kind, at in run.told() if kind == "alert.firing" and CRISIS <= at < CRISIS + 6 * HOUR]
        for run in (ordered, disordered)
    )
    assert [key for key, _ in one] == [key for key, _ in two] and KEYS[0] in dict(one)
    shifts = [abs(a - b) for (_, a), (_, b) in zip(one, two, strict=True)]
    assert max(shifts) <= LATENESS + 1_200.0, "by the lateness, and the next item where the order decides between two"
    note(out_of_order=behind)


@FEW
@given(SEEDS, SEEDS)
def test_what_is_later_is_counted_as_late_and_changes_no_alert(seed: int, mess: int) -> None:
    """Also of a crisis that is over: it does not open again."""
    rng, pieces = random.Random(mess), tape(seed)
    latest = {key: [piece.at for piece in pieces if piece.key == key] for key in KEYS}
    late = []
    for number in range(40):
        key, came = rng.choice(KEYS), rng.uniform(CRISIS - 2 * DAY, T0 + DAYS * DAY)
        clock = max(at for at in latest[key] if at <= came)
        # In a block that is closed by now: one that is still open would count it.
        at = (clock - clock % 1_800.0) - LATENESS - rng.uniform(1.0, 2 * DAY)
        late.append(Piece(came, 10**6 + number, at, key, 0.95))
    ordered, mixed = Run(log(pieces)), Run(log([*pieces, *late]))
    assert mixed.late() == len(late) and ordered.late() == 0
    assert mixed.bodies == ordered.bodies
    assert mixed.counted() == ordered.counted()
    note(later=len(late))
