"""What explains an alert's stories: in time or not at all, by the model that judged them, in the headline's own places."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest
from prometheus_client import REGISTRY

from alerts.exhibits import Exhibit, Why
from models.classifier import ClassifierError, FakeClassifier, Prediction
from pipelines.explain import Explainer
from tests.daemon_bench import wait_for

NAME = FakeClassifier().name


def exhibit(headline: str, **changes: Any) -> Exhibit:
    given: dict[str, Any] = {"document": headline, "model": NAME, "negative": 0.9, "positive": 0.02}
    return Exhibit(headline=headline, source="wire", published=0.0, first_seen=0.0, **(given | changes))


def explainer(model: FakeClassifier, within: float | None = None) -> Explainer:
    return Explainer({model.name: lambda: model}, within=within)


def explained(one: Explainer, stories: Sequence[Exhibit]) -> dict[str, Why]:
    """What a batch with one alert learns of its stories."""
    one.search([stories])
    return one.explain(stories)


class Hanging(FakeClassifier):
    """Answers nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()

    def predict(self, *arguments: Any, **options: Any) -> list[Prediction]:
        self.go.wait(30)
        return super().predict(*arguments, **options)


def outcomes() -> dict[str, float]:
    names = ("explained", "model", "headline", "length", "time")
    found = {n: REGISTRY.get_sample_value("tapewatch_explained_stories_total", {"outcome": n}) for n in names}
    return {name: value for name, value in found.items() if value is not None}


def test_each_story_has_its_phrases_or_a_reason_why_not() -> None:
    before = outcomes()
    stories = [
        exhibit("Acme faces fraud charges"),
        exhibit("Acme opens a depot"),
        exhibit("Acme falls", model="earlier@000000000000"),
        exhibit("a b c d " * 20 + "fraud"),
    ]
    answers = explained(explainer(FakeClassifier()), stories)
    assert [answers[one.document] for one in stories] == [((11, 16, 0.87),), "headline", "model", "length"]
    assert {name: value - before[name] for name, value in outcomes().items()} == {
        "explained": 1, "headline": 1, "model": 1, "length": 1, "time": 0
    }  # fmt: skip


def test_only_what_an_alert_shows_is_searched_and_once() -> None:
    model = FakeClassifier()
    one = explainer(model)
    stories = [exhibit(f"Acme falls {n} times", nats=float(n)) for n in range(8)]
    assert set(explained(one, stories)) == {f"Acme falls {n} times" for n in range(3, 8)}
    calls = model.calls
    again = [exhibit(story.headline, document=f"reprint {n}", nats=story.nats) for n, story in enumerate(stories)]
    assert explained(one, again)["reprint 7"] == ((5, 10, 0.87),) and model.calls == calls


def test_places_are_those_of_the_headline_as_it_is_shown() -> None:
    for headline in ("📉📉 Acme &amp; Sons: fraud", "Acme: https://x.example/a a fraud", "\ue000Acme: a fraud"):
        shown = headline.replace("\ue000", "")  # private use: shown nowhere
        acme = headline.index("Acme")
        story = exhibit(headline, mentions=((acme, acme + 4),))
        ((start, end, _),) = explained(explainer(FakeClassifier(five_heads=True)), [story])[headline]
        assert shown[int(start) : int(end)] == "fraud"


def test_a_batch_hardly_waits_for_a_model_that_stands_still_and_the_newest_is_explained_behind_it() -> None:
    model = Hanging()
    one = explainer(model, within=0.1)
    started = time.monotonic()
    for verb in ("falls", "sues", "slump"):
        alerts = [[exhibit(f"{name} {verb}")] for name in ("Acme", *map(str, range(20)))]
        one.search(alerts)
        assert {answer for stories in alerts for answer in one.explain(stories).values()} == {"time"}
    assert 0.3 <= time.monotonic() - started < 5.0
    assert model.calls == 0
    model.go.set()
    found = {"Acme slump": ((5, 10, 0.87),)}
    wait_for(lambda: one.explain([exhibit("Acme slump")]) == found, "explanation of the newest")
    assert one.explain([exhibit("Acme falls")]) == {"Acme falls": ((5, 10, 0.87),)}, "it was in hand"
    assert one.explain([exhibit("Acme sues")]) == {"Acme sues": "time"}, "nobody wants it any more"


def test_the_most_telling_story_of_each_alert_comes_first() -> None:
    class Recording(FakeClassifier):
        def __init__(self) -> None:
            super().__init__()
            self.asked: dict[str, None] = {}

        def predict(self, texts: Sequence[str], *arguments: Any, **options: Any) -> list[Prediction]:
            self.asked |= {text: None for text in texts if text.endswith("today")}
            return super().predict(texts, *arguments, **options)

    model = Recording()
    alerts = [[exhibit(f"{name}{n} today", nats=float(n)) for n in (1, 2)] for name in ("Acme", "Bolt")]
    explainer(model).search(alerts)
    assert list(model.asked) == ["Acme2 today", "Bolt2 today", "Acme1 today", "Bolt1 today"]


def test_in_a_storm_of_alerts_only_the_first_wait() -> None:
    class Slow(FakeClassifier):
        def predict(self, *arguments: Any, **options: Any) -> list[Prediction]:
            time.sleep(0.1)
            return super().predict(*arguments, **options)

    one = explainer(Slow(), within=0.1)
    started = time.monotonic()
    answers = [explained(one, [exhibit(f"Acme falls {n}")])[f"Acme falls {n}"] for n in range(100)]
    assert set(answers[50:]) == {"time"} and time.monotonic() - started < 5.0


def test_with_no_time_nothing_is_searched() -> None:
    model = FakeClassifier()
    assert explained(explainer(model, within=0.0), [exhibit("Acme falls")]) == {"Acme falls": "time"}
    assert model.calls == 0


@pytest.mark.parametrize("error", [ClassifierError("no"), RuntimeError("closed"), MemoryError()])
def test_a_model_that_fails_costs_the_explanation_and_is_asked_again(error: Exception) -> None:
    class Failing(FakeClassifier):
        broke = False

        def predict(self, *arguments: Any, **options: Any) -> list[Prediction]:
            if not self.broke:
                self.broke = True
                raise error
            return super().predict(*arguments, **options)

    one = explainer(Failing())
    assert explained(one, [exhibit("Acme falls")]) == {"Acme falls": "model"}
    assert explained(one, [exhibit("Acme falls")]) == {"Acme falls": ((5, 10, 0.87),)}


def test_another_model_explains_nothing_of_what_it_did_not_judge() -> None:
    one = explainer(FakeClassifier())
    explained(one, [exhibit("Acme falls")])
    opened = Event()
    one.adopt({"next@000000000000": lambda: opened.set() or FakeClassifier()})
    assert opened.wait(10), "the next alert should find it ready"
    assert explained(one, [exhibit("Acme sues")]) == {"Acme sues": "model"}
    assert explained(one, [exhibit("Acme falls")]) == {"Acme falls": ((5, 10, 0.87),)}, "that was found in time"
