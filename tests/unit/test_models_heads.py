"""A model of five heads: adverse events, what is said of each company, the story; and models that have fewer."""

import re
from itertools import pairwise
from math import exp
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from models.card import CardError
from models.classifier import FakeClassifier, OnnxClassifier, load
from models.reading import read, scoring_text
from tests import five_heads
from tests.five_heads import CARD, TOKENS


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> OnnxClassifier:
    return load(str(five_heads.write(tmp_path_factory.mktemp("models") / "five")), threads=2)


def span(text: str, words: str) -> tuple[int, int]:
    start = text.index(words)
    return start, start + len(words)


def logistic(x: float) -> float:
    return 1 / (1 + exp(-x))


def mean(text: str) -> list[float]:
    """Of the logits of a text's words and its two ends."""
    rows = [TOKENS[word] for word in text.split()]
    return [sum(column) / (len(rows) + 2) for column in zip(*rows, strict=True)]


def test_risk_is_calibrated_called_and_named_as_the_card_says(classifier: OnnxClassifier) -> None:
    found = classifier.predict(["acme recall"])[0].risk
    _, _, _, anything, recall, fraud = mean("acme recall")
    assert found is not None
    assert found.probability == pytest.approx(logistic(2.0 * anything - 1.0), rel=1e-6)
    assert found.adverse
    assert found.kinds == (("recall", pytest.approx(logistic(0.5 * recall + 0.25), rel=1e-6)),)
    assert logistic(0.5 * fraud + 0.25) < 0.6, "the other kind is too unlikely to be named"
    calm = classifier.predict(["acme wins"])[0].risk
    assert calm is not None and not calm.adverse and calm.kinds == () and calm.probability < 0.01


def test_kinds_come_the_likeliest_first(classifier: OnnxClassifier) -> None:
    found = classifier.predict(["fraud fraud recall"])[0].risk
    assert found is not None
    assert [kind for kind, _ in found.kinds] == ["fraud", "recall"]


def test_what_is_said_of_a_company_is_the_mean_over_its_tokens(classifier: OnnxClassifier) -> None:
    text = "acme corp wins"
    toward = classifier.predict([text], [[[span(text, "acme corp")]]])[0].mentions[0]
    logits = [(a + b) / 2 for a, b in zip(TOKENS["acme"], TOKENS["corp"], strict=True)]
    powers = [exp(value / 2.0) for value in logits[:3]]
    assert toward is not None and toward.risk is not None
    assert toward.sentiment == pytest.approx([power / sum(powers) for power in powers], rel=1e-6)
    assert toward.risk.probability == pytest.approx(logistic(1.5 * logits[3] - 0.5), rel=1e-6)
    assert toward.risk.kinds == (("recall", pytest.approx(logistic(0.75 * logits[4] - 0.25), rel=1e-6)),)


def test_all_mentions_of_one_company_count(classifier: OnnxClassifier) -> None:
    text = "corp wins and beta"
    both = [span(text, "corp"), span(text, "beta")]
    toward = classifier.predict([text], [[both]])[0].mentions[0]
    assert toward is not None and toward.risk is not None
    assert toward.risk.probability == pytest.approx(logistic(1.5 * (8.0 - 4.0) / 2 - 0.5), rel=1e-6)


def test_two_companies_of_one_text_have_fates_of_their_own(classifier: OnnxClassifier) -> None:
    text = "beta recall and corp wins"
    found = classifier.predict([text], [[[span(text, "corp")], [span(text, "beta")]]])[0]
    hit, bystander = found.mentions
    assert hit is not None and bystander is not None and hit.risk is not None and bystander.risk is not None
    assert hit.risk.adverse and hit.sentiment[0] > 0.7
    assert not bystander.risk.adverse and bystander.risk.kinds == () and bystander.sentiment[1] > 0.5


def test_a_company_beyond_the_window_is_not_judged(classifier: OnnxClassifier) -> None:
    text = "acme " + "and " * 12 + "corp" + " and" * 12
    found = classifier.predict([text], [[[span(text, "corp")], [span(text, "acme"), span(text, "corp")], []]])[0]
    assert found.truncated
    assert found.mentions[0] is None and found.mentions[2] is None
    alone = classifier.predict([text], [[[span(text, "acme")]]])[0].mentions[0]
    assert found.mentions[1] == alone is not None, "what stands within the window counts"


def test_of_a_long_text_three_quarters_of_the_window_are_its_head_and_the_rest_its_tail(
    classifier: OnnxClassifier,
) -> None:
    words = five_heads.WINDOW - 2 + 5  # the ends of the text take two places, and five words are too many
    read = [
        classifier.predict([text], [[[span(text, "corp")]]])[0]
        for at in range(words)
        if (text := " ".join(["and"] * at + ["corp"] + ["and"] * (words - at - 1)))
    ]
    assert all(one.truncated for one in read)
    head, tail = five_heads.WINDOW - five_heads.WINDOW // 4 - 1, five_heads.WINDOW // 4 - 1
    assert [one.mentions[0] is not None for one in read] == [True] * head + [False] * 5 + [True] * tail
    assert read[0].sentiment == read[-1].sentiment != read[head].sentiment
    short = " ".join(["and"] * (five_heads.WINDOW - 3) + ["corp"])
    assert not classifier.predict([short])[0].truncated


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*TOKENS, "unknown"]), max_size=14), min_size=1, max_size=30), st.data())
def test_answers_are_the_same_to_the_bit_alone_and_in_any_batch(
    classifier: OnnxClassifier, batch: list[list[str]], data: st.DataObject
) -> None:
    texts = [" ".join(words) for words in batch]
    mentions = [[[match.span()] for match in re.finditer(r"\S+", text)] for text in texts]
    together = classifier.predict(texts, mentions, story=True)
    place = data.draw(st.integers(0, len(batch) - 1))
    assert classifier.predict([texts[place]], [mentions[place]], story=True) == [together[place]]
    bare = classifier.predict([texts[place]])[0]
    assert replace(together[place], mentions=(), story=None) == bare, "asking for more changes nothing else"


def test_the_story_comes_as_bytes_and_only_if_asked_for(classifier: OnnxClassifier) -> None:
    one, same, other = classifier.predict(["acme recall", "recall acme", "beta wins"], story=True)
    assert classifier.predict(["acme recall"])[0].story is None
    assert one.story is not None and same.story is not None and other.story is not None
    vectors = [np.frombuffer(mark, np.int8).astype(float) / 127 for mark in (one.story, same.story, other.story)]
    assert len(vectors[0]) == five_heads.STORY
    assert [float(vector @ vector) for vector in vectors] == pytest.approx([1.0] * 3, abs=0.03)
    assert vectors[0] @ vectors[1] > 0.99 > 0.9 > vectors[0] @ vectors[2]


def test_a_model_of_two_heads_answers_what_it_can(tmp_path: Path) -> None:
    card = replace(five_heads.CARD, risk=None, mention=None, story=None)
    two = load(str(five_heads.write(tmp_path, without=("risk", "tokens", "story"), card=card)))
    found = two.predict(["Acme recall"], [[[(0, 4)]]], story=True)[0]
    assert (found.risk, found.mentions, found.story) == (None, (None,), None)
    assert two.risks == ()


def test_a_model_may_know_companies_and_no_events(tmp_path: Path) -> None:
    folder = five_heads.write(tmp_path, card=replace(CARD, risk=None))
    with pytest.raises(CardError, match="its labels make 3 values of output 'tokens', the graph has 6"):
        load(str(folder))


@pytest.mark.parametrize("output", ["risk", "tokens", "story", "topic"])
def test_a_graph_that_lacks_a_head_of_its_card_is_refused(tmp_path: Path, output: str) -> None:
    folder = five_heads.write(tmp_path, without=(output,))
    with pytest.raises(CardError, match=rf"'five': has a head for output '{output}'.*export the model again"):
        load(str(folder))


def test_a_card_with_other_labels_than_the_graph_is_refused(tmp_path: Path) -> None:
    assert CARD.risk is not None
    more = replace(CARD.risk, labels=(*five_heads.KINDS, "arrest"))
    folder = five_heads.write(tmp_path, card=replace(CARD, risk=more))
    with pytest.raises(CardError, match="its labels make 4 values of output 'risk', the graph has 3"):
        load(str(folder))


# -- where a mention stands in what is read ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "body", "where", "mention"),
    [
        ("Acme falls", "", "title", "Acme"),
        ("Why AT&amp;T &amp; Acme fall", "", "title", "Acme"),
        ("Why AT&amp;T falls", "", "title", "AT&amp;T"),
        ("  See https://acme.example/x now:\n Acme   Corp falls", "", "title", "Acme   Corp"),
        ("Shares fall", "Its bank  says Acme owes &#163;3m", "body", "Acme"),
        ("Shares fall", "Its bank  says Acme owes &#163;3m", "body", "&#163;3m"),
        ("Acme falls…", "Acme falls on a probe of Beta", "title", "Acme"),
        ("Acme falls…", "Acme falls on a probe of Beta", "body", "Beta"),
        ("", "  Acme falls", "body", "Acme"),
        ("Acme falls", "Acme falls", "body", "Acme"),
    ],
)
def test_spans_follow_their_words_into_what_is_read(title: str, body: str, where: str, mention: str) -> None:
    found = read(title, body)
    source = title if where == "title" else body
    spans = {where: [span(source, mention)]}
    moved = found.spans(**{"title": [], "body": [], **spans})
    assert [found.text[slice(*one)] for one in moved] == [scoring_text(mention)]


def test_what_is_not_read_has_no_span() -> None:
    found = read("See https://acme.example/x now", "word " * 300 + "Acme" + " word" * 300)
    assert found.spans([span("See https://acme.example/x now", "acme")]) == ()
    assert found.spans([], [(1_500, 1_504)]) == ()
    title = "x" * 745 + " Acme Corp " + "x" * 600
    assert read(title).spans([(746, 755)]) == ((746, 750),), "what is cut in two counts as far as it is read"
    assert read("Acme falls", "Acme falls at once").spans([(0, 4)], [(0, 4)]) == ((0, 4),), "read once, told once"


@given(st.text(st.sampled_from("ab &;#x1ampglt<é\n\t .…"), max_size=40), st.text(max_size=30), st.data())
def test_spans_lie_within_what_is_read_and_keep_their_order(title: str, body: str, data: st.DataObject) -> None:
    found = read(title, body)
    cut = st.integers(0, len(title))
    edges = sorted((data.draw(cut), data.draw(cut), data.draw(cut)))
    spans = found.spans([(edges[0], edges[1]), (edges[1], edges[2])])
    assert all(0 <= start < end <= len(found.text) for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


# -- the fake ---------------------------------------------------------------------------------------------


def test_the_fake_judges_each_company_by_the_words_after_it() -> None:
    text = "Acme beats forecasts as Beta faces fraud probe"
    found = FakeClassifier(five_heads=True).predict([text], [[[(0, 4)], [span(text, "Beta")], [(999, 1_001)]]])[0]
    first, second, beyond = found.mentions
    assert found.risk is not None and found.risk.adverse
    assert first is not None and second is not None and beyond is None
    assert first.risk is not None and first.sentiment[2] > 0.8 and first.risk.kinds == ()
    assert second.risk is not None and [kind for kind, _ in second.risk.kinds] == ["investigation", "fraud"]
    assert FakeClassifier().predict([text], [[[(0, 4)]]])[0].mentions == (None,)
