"""Each document is judged by the model of its language, and what no model reads is kept unjudged."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from models.classifier import FakeClassifier
from pipelines.clock import ManualClock
from pipelines.documents import Document, Reading, ScoredDocument, decode, encode, iso
from pipelines.entities import EntityIndex
from pipelines.score import Score
from pipelines.streams.base import DEAD_LETTERS, DOCUMENTS, READINGS, SCORES, Output
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch

NOW = 1_790_000_000.0


def classifier(name: str, *languages: str) -> FakeClassifier:
    made = FakeClassifier(languages=languages, five_heads=True)
    made.name = f"{name}@111111111111"
    return made


def document(number: int, language: str, title: str) -> Output:
    when = iso(NOW)
    made = Document(
        id=f"{number}", source="wire", class_="news", title=title, text="", language=language, published=when,
        fetched=when, at=when,
    )  # fmt: skip
    return Output(DOCUMENTS, made.id, encode(made))


def counted(model: str) -> float:
    return REGISTRY.get_sample_value("tapewatch_scored_documents_total", {"model": f"{model}@111111111111"}) or 0.0


@pytest.fixture
def models() -> dict[str, FakeClassifier]:
    return {"english": classifier("english", "en", "de"), "chinese": classifier("chinese", "zh")}


def judged(models: dict[str, FakeClassifier], others: dict[str, FakeClassifier], *documents: Output) -> Any:
    stage = Score(
        models["english"], EntityIndex([]), Watch([], models["english"].topics), clock=ManualClock(NOW), others=others
    )
    engine = MemoryEngine([stage])
    engine.append(documents)
    engine.run()
    return engine


def test_one_batch_is_judged_by_the_models_of_its_languages(models: dict[str, FakeClassifier]) -> None:
    before = {name: counted(name) for name in models}
    engine = judged(
        models,
        {"zh": models["chinese"], "de": models["chinese"]},
        document(1, "en", "Acme fraud"),
        document(2, "zh", "fraud 公司"),
        document(3, "en", "Acme gains"),
        document(4, "fr", "Acme"),
        document(5, "de", "record"),
    )
    scored = {one.id: one for one in (decode(ScoredDocument, record.value) for record in engine.records(SCORES))}
    by = {name: one.model.partition("@")[0] for name, one in scored.items() if one.supported}
    assert by == {"1": "english", "2": "chinese", "3": "english", "5": "chinese"}
    assert [scored[n].sentiment.label for n in ("1", "2", "3", "5")] == ["negative", "negative", "positive", "positive"]
    assert not scored["4"].supported
    assert {name: counted(name) - before[name] for name in models} == {"english": 2.0, "chinese": 2.0}
    assert models["chinese"].calls == 1, "both of its languages go in one batch"
    readings = {one.model: one.counts["news"] for one in (decode(Reading, r.value) for r in engine.records(READINGS))}
    told = {name.partition("@")[0]: sum(counts["language"]) for name, counts in readings.items()}
    assert told == {"english": 3, "chinese": 2}, "what no model reads is told with the first one's"


def test_a_text_that_one_model_can_not_judge_costs_the_others_nothing(models: dict[str, FakeClassifier]) -> None:
    engine = judged(
        models,
        {"zh": models["chinese"]},
        document(1, "zh", "\x00poison"),
        document(2, "zh", "公司"),
        document(3, "en", "Acme"),
    )
    assert {decode(ScoredDocument, record.value).id for record in engine.records(SCORES)} == {"2", "3"}
    assert len(engine.records(DEAD_LETTERS)) == 1
    assert models["english"].calls == 1
