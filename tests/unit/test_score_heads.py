"""What a document says of each company in it, through the score stage: the bystander of bad news is not its victim."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from models.classifier import FakeClassifier
from pipelines.clock import ManualClock
from pipelines.documents import Document, Evidence, ScoredDocument, decode, encode, iso
from pipelines.entities import Entity, EntityIndex
from pipelines.score import Score
from pipelines.streams.base import DEAD_LETTERS, DOCUMENTS, EVIDENCE, SCORES, Output
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch, WatchList

NOW = 1_790_000_000.0
ACME = Entity(id="acme", name="Acme Corp", aliases=("Acme",), custom=True)
BOLT = Entity(id="bolt", name="Bolt Industries", aliases=("Bolt",), custom=True)
SEVERAL = WatchList(name="several", entities=(ACME, BOLT), topics=("Legal | Regulation",))
ONE = WatchList(name="one", entities=(ACME,))


class Desk:
    """Documents through the score stage."""

    def __init__(self, classifier: FakeClassifier) -> None:
        watch = Watch([SEVERAL, ONE], classifier.topics)
        self.clock = ManualClock(NOW)
        self.engine = MemoryEngine([Score(classifier, EntityIndex([ACME, BOLT]), watch, clock=self.clock)])

    def tell(self, title: str, text: str = "") -> "Desk":
        self.write(title, text)
        self.engine.run()
        return self

    def write(self, title: str, text: str = "") -> None:
        when = iso(NOW)
        document = Document(
            id=title, source="wire", class_="news", title=title, text=text, language="en", published=when, fetched=when, at=when
        )  # fmt: skip
        self.engine.append([Output(DOCUMENTS, document.id, encode(document))])

    @property
    def scored(self) -> Any:
        return decode(ScoredDocument, self.engine.records(SCORES)[-1].value)

    @property
    def evidence(self) -> dict[str, Evidence]:
        return {record.key: decode(Evidence, record.value) for record in self.engine.records(EVIDENCE)}


@pytest.fixture
def desk() -> Desk:
    return Desk(FakeClassifier(five_heads=True))


def test_two_companies_of_one_text_have_fates_of_their_own(desk: Desk) -> None:
    desk.tell("Acme beats forecasts as Bolt faces fraud probe")
    acme, bolt = desk.scored.entities
    assert (acme.id, acme.basis, acme.sentiment.label, acme.risk.adverse) == ("acme", "entity", "positive", False)
    assert (bolt.id, bolt.basis, bolt.sentiment.label, bolt.risk.adverse) == ("bolt", "entity", "negative", True)
    assert [(one.label, one.probability) for one in bolt.risk.labels] == [("investigation", 0.8), ("fraud", 0.8)]
    assert desk.scored.sentiment.label == "negative" and desk.scored.risk.adverse


def test_evidence_is_what_is_said_of_the_company(desk: Desk) -> None:
    told = desk.tell("Acme beats forecasts as Bolt faces fraud probe").evidence
    # 1 - (1 - negative mood)(1 - adverse event)
    assert told["entity:acme"].b == pytest.approx(1 - (1 - 0.02) * (1 - 0.05))
    assert told["entity:bolt"].b == pytest.approx(1 - (1 - 0.9) * (1 - 0.9))
    assert (told["entity:acme"].risk, told["entity:acme"].events) == (0.05, ())
    assert (told["entity:bolt"].risk, told["entity:bolt"].events) == (0.9, ("investigation", "fraud"))
    assert told["entity:acme"].positive == 0.9 and told["entity:bolt"].negative == 0.9


def test_evidence_tells_who_judged_and_where_its_company_stands_in_the_headline(desk: Desk) -> None:
    told = desk.tell("Acme beats forecasts as Bolt faces fraud probe", "Acme and Bolt said more.").evidence
    assert {one.model for one in told.values()} == {"fake@000000000000"}
    assert told["entity:acme"].mentions == ((0, 4),) and told["entity:bolt"].mentions == ((24, 28),)
    assert told["list:several"].mentions == ((24, 28),), "the one for whom it is worst"
    assert told["market"].mentions == ()


def test_keys_that_are_no_companies_get_what_is_said_of_all(desk: Desk) -> None:
    told = desk.tell("Acme beats legal forecasts as Bolt faces fraud probe").evidence
    for key in ("market", "topic:legal-regulation"):
        assert told[key].b == pytest.approx(0.99) and told[key].events == ("investigation", "fraud")
    assert told["entity:acme/topic:legal-regulation"].b < 0.1 < 0.9 < told["entity:bolt/topic:legal-regulation"].b


def test_a_list_gets_what_is_worst_for_one_of_its_companies(desk: Desk) -> None:
    told = desk.tell("Acme beats forecasts as Bolt faces fraud probe").evidence
    assert told["list:several"].b == told["entity:bolt"].b
    assert told["list:one"].b == told["entity:acme"].b, "the trouble of a company that is not on it is not its own"


def test_an_event_in_good_mood_is_bad_news(desk: Desk) -> None:
    told = desk.tell("Acme gains after recall").evidence["entity:acme"]
    assert told.positive == 0.9 and told.negative == 0.02
    assert told.b == pytest.approx(1 - (1 - 0.02) * (1 - 0.9))
    assert told.events == ("recall",)


def test_beyond_the_window_a_company_has_what_is_said_of_all(desk: Desk) -> None:
    desk.tell("A fraud probe", "Nothing more is known of it yet. " * 8 + "Acme is near.")
    (acme,) = desk.scored.entities
    assert (acme.basis, acme.sentiment, acme.risk) == ("document", desk.scored.sentiment, desk.scored.risk)
    assert desk.evidence["entity:acme"].b == desk.evidence["market"].b == pytest.approx(0.99)


def test_companies_are_asked_about_where_they_stand_in_what_is_read(desk: Desk) -> None:
    desk.tell("A&amp;B &amp; C: see https://x.example/y \n  Acme beats; Bolt sues", "<b>")
    acme, bolt = desk.scored.entities
    assert (acme.sentiment.label, bolt.sentiment.label) == ("positive", "negative")


def test_what_is_judged_is_counted(desk: Desk) -> None:
    def counts() -> list[float]:
        return [
            REGISTRY.get_sample_value(f"tapewatch_{name}", labels) or 0.0
            for name, labels in (
                ("risk_total", {"label": "investigation"}),
                ("risk_total", {"label": "recall"}),
                ("adverse_documents_total", {"model": "fake@000000000000"}),
                ("judged_entities_total", {"basis": "entity"}),
                ("judged_entities_total", {"basis": "document"}),
                ("model_confidence_count", {"model": "fake@000000000000", "head": "risk"}),
                ("model_confidence_bucket", {"model": "fake@000000000000", "head": "risk", "le": "0.9"}),
            )
        ]

    before = counts()
    desk.tell("Acme faces probe").tell("Acme opens").tell("All quiet", "Nothing more is known of it yet. " * 8 + "Acme")
    assert [now - then for now, then in zip(counts(), before, strict=True)] == [1, 0, 1, 2, 1, 3, 1]


def test_a_model_of_two_heads_judges_as_it_did() -> None:
    desk = Desk(FakeClassifier()).tell("Acme beats forecasts as Bolt faces fraud probe")
    acme, _ = desk.scored.entities
    assert (acme.basis, acme.sentiment, acme.risk, desk.scored.risk) == ("document", desk.scored.sentiment, None, None)
    for told in desk.evidence.values():
        assert (told.b, told.risk, told.events) == (0.9, None, ())


def test_a_poisoned_text_costs_itself_and_its_mates_keep_their_companies() -> None:
    desk = Desk(FakeClassifier(five_heads=True, poison="BOOM"))
    desk.write("BOOM")
    desk.tell("Acme beats forecasts as Bolt faces fraud probe")
    assert [record.key for record in desk.engine.records(DEAD_LETTERS)] == ["BOOM"]
    assert [one.basis for one in desk.scored.entities] == ["entity", "entity"]
