"""The phrases that make a text bad news: found where they stand, and really what makes it bad."""

from __future__ import annotations

import pytest

from models.classifier import FakeClassifier, OnnxClassifier, load
from models.occlusion import PIECES, Phrase, TooLong, carriers
from models.predictions import BAD, Prediction, bad_news
from models.reading import Span, spans_of


class ChineseClassifier(FakeClassifier):
    BAD = ("欺诈",)


@pytest.fixture(scope="module")
def shipped() -> OnnxClassifier:
    return load("default", device="cpu", threads=1)


def told(text: str, phrases: tuple[Phrase, ...] | None) -> list[tuple[str, float]]:
    assert phrases is not None
    return [(text[start:end], weight) for start, end, weight in phrases]


def badness(model: OnnxClassifier, text: str, name: str) -> float:
    answer: Prediction = model.predict([text], [[spans_of(name, text)]])[0]
    said = answer.mentions[0]
    assert said is not None and said.risk is not None
    return bad_news(said.sentiment[model.sentiments.index("negative")], said.risk.probability)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Regulator opens fraud probe into Northwind Bank", "Northwind Bank"),
        ("Northwind Bank under fraud probe, prosecutors say", "Northwind Bank"),
        ("Fraud probe at Contoso widens after raid on offices", "Contoso"),
    ],
)
def test_a_fraud_probe_is_what_makes_a_headline_bad_to_the_shipped_model(
    shipped: OnnxClassifier, text: str, name: str
) -> None:
    whole = badness(shipped, text, name)
    phrases = carriers(shipped, text, spans_of(name, text))
    found = told(text, phrases)
    assert any("fraud" in phrase.lower() or "probe" in phrase.lower() for phrase, _ in found), found
    rest = text
    for phrase, _ in found:
        rest = rest.replace(phrase, "").replace("  ", " ")
    fallen = whole - badness(shipped, rest.strip(), name)
    assert fallen > 0.3 and sum(weight for _, weight in found) <= whole
    assert carriers(shipped, text, spans_of(name, text)) == phrases, "the same text, the same answer"


def test_one_bad_word_has_all_the_weight() -> None:
    text = "Analysts say “Fraud!” at Acme"
    assert told(text, carriers(FakeClassifier(), text)) == [("Fraud", pytest.approx(0.87))]


def test_two_bad_news_that_hide_each_other_share_the_weight() -> None:
    class Counting(FakeClassifier):
        """The second bad word adds little."""

        def _sentiment(self, text: str) -> tuple[float, ...]:
            good = 0.1 ** sum(word in text for word in self.BAD)
            return (1 - good, good, 0.0)

    text = "Acme falls on Monday as the regulator sues"
    assert told(text, carriers(Counting(), text)) == [("falls", pytest.approx(0.495)), ("sues", pytest.approx(0.495))]


def test_it_is_about_the_company_and_its_name_is_no_reason() -> None:
    model = FakeClassifier(five_heads=True)
    text = "Bolt faces fraud probe as Acme wins"
    bolt: Span = (0, 4)
    assert {phrase for phrase, _ in told(text, carriers(model, text, [bolt]))} == {"fraud probe"}
    assert carriers(model, text, [(26, 30)]) is None, "Acme wins"
    own = "Crash Corp opens a depot"
    assert carriers(model, own, [(0, 10)]) == (), "its name is bad news to this model, and stays"


def test_a_script_without_spaces_is_searched_by_characters() -> None:
    for text in ("蓝海银行因涉嫌欺诈被调查", "蓝海银行涉嫌欺诈", "欺诈Acme公司"):
        assert [phrase for phrase, _ in told(text, carriers(ChineseClassifier(), text))] == ["欺诈"]


@pytest.mark.parametrize("text", ["", " ", "😀😀 😀", "…", "Gains", "a" * 1_000_000])
def test_what_is_no_bad_news_has_no_reason(text: str) -> None:
    assert carriers(FakeClassifier(), text) is None


def test_texts_of_one_word_and_of_too_many() -> None:
    assert told("fraud", carriers(FakeClassifier(), "fraud")) == [("fraud", pytest.approx(0.87))]
    joined = "fraud" * 30
    assert told(joined, carriers(FakeClassifier(), joined)) == [(joined, pytest.approx(0.87))]
    as_long_as_can_be = " ".join(["fraud", *["depot"] * (PIECES - 1)])
    assert told(as_long_as_can_be, carriers(FakeClassifier(), as_long_as_can_be))
    for text in (as_long_as_can_be + " depot", "fraud " * 200_000, "欺诈" * 500_000):
        with pytest.raises(TooLong, match=f"more than {PIECES} words"):
            carriers(FakeClassifier(), text)


def test_bad_news_without_a_word_that_carries_it_has_no_phrase() -> None:
    class Grim(FakeClassifier):
        """Everything is bad."""

        BAD = ("",)

    assert BAD < 0.9 and carriers(Grim(), "Acme opens a depot") == () == carriers(Grim(), "😀")
