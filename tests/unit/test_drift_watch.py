"""The drift watch: readings of simulated days through the notify stage, which keeps what it knows as bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from models.card import Reference
from models.classifier import FakeClassifier
from models.drift import BLOCKS, WEEK
from models.measures import VERSION
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, DeadLetter, Document, Reading, decode, encode, epoch, iso
from pipelines.drift import CALM, FORGOTTEN
from pipelines.entities import EntityIndex
from pipelines.notify import Notify
from pipelines.particulars import Context
from pipelines.score import Score
from pipelines.streams.base import ALERTS, DEAD_LETTERS, DOCUMENTS, READINGS, Output
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch

DAY = 86_400.0
START = 20_000 * DAY + 15 * 3_600.0
"""The afternoon of a day, so that the first one is no whole one."""
MIX = {"language": [0.98, 0.02], "sentiment": [0.25, 0.6, 0.15], "length": [0.1, 0.3, 0.4, 0.2]}
TURNED = MIX | {"sentiment": [0.75, 0.2, 0.05]}
ABROAD = MIX | {"language": [0.5, 0.5]}


def notify() -> Notify:
    context = Context(version="t", detector="1", configuration="c", budget=0.05)
    return Notify(Watch([], ()), context=context, routes=(), channels=("desk",), clock=ManualClock(START))


class Days:
    """Days of one notify stage, each with a few readings; the stage begins anew every tenth."""

    def __init__(self) -> None:
        self.engine = MemoryEngine([notify()], batch=3)
        self.rng = np.random.default_rng(3)
        self.now = START

    def live(
        self,
        days: int,
        mix: dict[str, list[float]] = MIX,
        *,
        texts: int = 800,
        model: str = "one",
        class_: Any = "news",
    ) -> Days:
        for _ in range(days):
            for _ in range(4):
                counts = {name: self.rng.multinomial(texts // 4, shares).tolist() for name, shares in mix.items()}
                self.read(model=model, counts={class_: counts})
            self.now = self.now - self.now % DAY + DAY + 3_600.0
            if int(self.now // DAY) % 10 == 0:
                self.engine.restart([notify()])
        return self

    def read(self, model: str = "one", **fields: Any) -> None:
        reading = Reading(**{"at": iso(self.now), "model": model, "bins": VERSION, "counts": {}} | fields)
        self.engine.append([Output(READINGS, model, encode(reading))])
        self.engine.run()

    def told(self) -> list[tuple[int, str, str]]:
        """(day, what, of what) of each event."""
        found = [decode(AlertRecord, record.value) for record in self.engine.records(ALERTS)]
        return [(int(epoch(one.at) // DAY), one.type.removeprefix("ops.model_drift"), one.key) for one in found]

    def body(self, place: int = -1) -> Any:
        return json.loads(bytes(decode(AlertRecord, self.engine.records(ALERTS)[place].value).body))["data"]


def gauge(name: str, measure: str, reference: str = "stream", model: str = "one") -> float | None:
    labels = {"model": model, "class": "news", "measure": measure, "reference": reference}
    return REGISTRY.get_sample_value(f"tapewatch_model_drift{name}", labels)


def test_a_change_rings_once_on_its_day_and_is_over_when_it_is_gone() -> None:
    days = Days().live(1 + BLOCKS + 30)
    assert days.told() == [], "calm days ring nothing"
    calm, limit = gauge("", "sentiment"), gauge("_threshold", "sentiment")
    assert calm is not None and limit is not None and calm < limit
    changed = int(days.now // DAY)
    days.live(10, TURNED)
    assert days.told() == [(changed + 1, "", "news/stream")], "told as the next day begins, and once"
    data = days.body()
    assert data["severity"] == "warning" and data["details"]["reference"] == "stream"
    assert data["details"]["sentiment"] > data["details"]["sentiment_limit"] and "length" not in data["details"]
    assert "news texts are not what they were: sentiment 1." in data["summary"]
    risen = gauge("", "sentiment")
    assert risen is not None and risen > limit
    days.live(12)
    (_, over) = days.told()
    assert over[1:] == ("_resolved", "news/stream")
    assert changed + 10 + CALM < over[0] <= changed + 10 + CALM + WEEK, "a week is looked at as well"
    assert days.body()["dedupe_key"] == data["dedupe_key"] and days.body()["details"]["since"]


def test_what_stays_changed_becomes_the_reference() -> None:
    days = Days().live(1 + BLOCKS).live(BLOCKS + 20, ABROAD)
    assert [what for _, what, _ in days.told()] == ["", "_resolved"]
    assert "have changed for good" in days.body()["summary"]
    days.live(5)
    assert len(days.told()) == 3, "back to what it was before is a change now"


def test_the_first_day_counts_for_nothing_and_quiet_days_are_taken_together() -> None:
    days = Days().live(1, ABROAD).live(2 * BLOCKS, texts=120).live(4)
    learned = REGISTRY.get_sample_value("tapewatch_model_drift_learned_ratio", {"model": "one", "class": "news"})
    assert learned == 1.0 and days.told() == []
    history = days.engine.state("notify").table("drift").get(f"one|{VERSION}|news")
    assert len(history.reference) == BLOCKS and {sum(one["language"]) for one in history.reference} == {240}
    assert sum(one["language"][1] for one in history.reference) < 0.1 * 240 * BLOCKS, "the first day is in it"


def test_classes_and_models_are_watched_apart() -> None:
    days = Days()
    for _ in range(BLOCKS + 3):
        days.live(1)
        days.now -= DAY
        days.live(1, ABROAD, class_="social")
    assert days.told() == []
    days.live(2, TURNED).live(FORGOTTEN + 3, TURNED, model="two")
    assert [what for _, what, _ in days.told()] == ["", "_resolved"], "another model begins anew"
    assert "read by this model no more" in days.body()["summary"]
    assert gauge("", "sentiment", model="one") is None
    tables = days.engine.state("notify").tables
    assert [key for key, _ in tables["drift_block"].items()] == [f"two|{VERSION}|news"]


def reference(*mixes: dict[str, list[float]]) -> Reference:
    parts = {
        f"set{number}": {name: tuple(round(1_000 * share) for share in shares) for name, shares in mix.items()}
        for number, mix in enumerate(mixes)
    }
    return Reference(bins=VERSION, parts=parts)


def test_the_card_is_held_against_four_weeks_and_its_nearest_set_counts() -> None:
    days = Days()
    days.read(reference=reference(MIX, TURNED))
    days.live(2 + BLOCKS)
    near, far = gauge("", "sentiment", "card"), gauge("_threshold", "sentiment", "card")
    assert near is not None and far is not None and near < 0.1 and far > 0.8, "the sets lie that far from each other"
    assert days.told() == []
    days.live(20, ABROAD)
    rings = [what for what in days.told() if what[2] == "news/card"]
    assert len(rings) == 1 and rings[0][1] == ""
    card = next(days.body(place) for place in (0, 1) if days.body(place)["subject"] == "news/card")
    assert card["severity"] == "info" and "not what one was validated on: language" in card["summary"]


def test_without_a_card_s_reference_the_stream_s_own_is_there() -> None:
    Days().live(3 + BLOCKS)
    assert gauge("", "sentiment", "card") is None and gauge("", "sentiment", "stream") is not None


def test_a_reading_that_does_not_fit_becomes_a_dead_letter_and_spoils_nothing() -> None:
    days = Days().live(1 + BLOCKS)
    days.read(counts={"news": {"sentiment": [1, 2, 3, 4]}})
    (letter,) = (decode(DeadLetter, record.value) for record in days.engine.records(DEAD_LETTERS))
    assert letter.reason == "undecodable" and "4 bins of 'sentiment', where this model had 3" in letter.detail
    days.live(3)
    assert days.told() == [] and gauge("", "sentiment") is not None


@pytest.mark.parametrize("told", [None, reference(MIX)])
def test_the_score_stage_tells_of_every_batch_by_class(told: Reference | None) -> None:
    model, clock = FakeClassifier(five_heads=True, reference=told), ManualClock(START)
    entities, watch = EntityIndex([]), Watch([], model.topics)
    stage = Score(model, entities, watch, clock=clock)
    engine = MemoryEngine([stage], batch=4)

    def text(number: int, title: str, class_: Any = "news", language: str = "en", *, backfill: bool = False) -> Output:
        when = iso(START)
        document = Document(
            id=str(number), source="s", class_=class_, title=title, language=language, published=when, fetched=when,
            at=when, backfill=backfill,
        )  # fmt: skip
        return Output(DOCUMENTS, document.id, encode(document))

    engine.append(
        [
            text(1, "Acme fraud"), text(2, "Acme Gewinn", language="de"), text(3, "Acme wins", "filing"),
            text(4, "nice", "social"), text(5, "Acme opens"), text(6, "old", backfill=True),
        ]
    )  # fmt: skip
    engine.run()
    first, second = (decode(Reading, record.value) for record in engine.records(READINGS))
    assert (first.model, first.at, first.reference, second.reference) == (model.name, iso(START), told, None)
    news, social = first.counts["news"], first.counts["social"]
    assert news["language"] == [2, 1] and news["sentiment"] == [1, 0, 1] and news["adverse"] == [1, 1]
    assert social["language"] == [1, 0] and social["length"][0] == 1
    assert set(second.counts) == {"news"} and second.counts["news"]["language"] == [1, 0], "history is left out"
    other = FakeClassifier(reference=reference(TURNED))
    other.name = "other@000000000000"
    stage.adopt(entities, watch, other)
    engine.append([text(7, "Acme opens again")])
    engine.run()
    third = decode(Reading, engine.records(READINGS)[-1].value)
    assert (third.model, third.reference) == (other.name, other.reference), "another model tells of itself"
