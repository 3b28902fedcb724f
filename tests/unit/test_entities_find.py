"""Which companies headlines are found to be about."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.entities import EntityHit, EntityIndex, load_universe, resolve

INDEX = EntityIndex(load_universe())


def found(title: str, text: str = "") -> dict[str, EntityHit]:
    return {hit.id: hit for hit in INDEX.find(title, text)}


def judged() -> list[tuple[str, set[str]]]:
    lines = (Path(__file__).parent / "entity_headlines.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [(title, {name for name in wanted.split(",") if name}) for title, wanted in rows]


def test_precision_and_recall_on_the_judged_headlines() -> None:
    rows = judged()
    assert len(rows) >= 200
    right = wrong = missed = 0
    mistakes = []
    for title, wanted in rows:
        got = set(found(title))
        right, wrong, missed = right + len(got & wanted), wrong + len(got - wanted), missed + len(wanted - got)
        if got != wanted:
            mistakes.append((title, sorted(wanted), sorted(got)))
    assert right / (right + wrong) >= 0.98, mistakes
    assert right / (right + missed) >= 0.98, mistakes


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("$AAPL puts look cheap", "cashtag"),
        ("Ford (NYSE: F) recalls", "ticker"),
        ("Boeing jets grounded", "name"),
        ("Facebook fined", "alias"),
        ("Filing of <AAPL.O> late", "ticker"),
    ],
)
def test_the_kind_says_how_it_was_found(title: str, kind: str) -> None:
    assert [hit.kind for hit in INDEX.find(title)] == [kind]


def test_spans_index_title_and_text_joined_by_a_newline() -> None:
    title, text = "Boeing grounded", "Regulators ground jets of Boeing. Airbus gains."
    whole = f"{title}\n{text}"
    hits = found(title, text)
    assert [whole[start:end] for start, end in hits["BA"].spans] == ["Boeing", "Boeing"]
    assert [whole[start:end] for start, end in hits["AIR.PA"].spans] == ["Airbus"]


def test_the_longest_name_wins() -> None:
    assert set(found("Siemens Energy asks Berlin for help")) == {"ENR.DE"}
    assert set(found("Bank of America Merrill Lynch trims estimates")) == {"BAC"}


def test_the_title_weighs_more_than_the_text_and_a_round_up_little() -> None:
    alone = found("Boeing jets grounded")["BA"].relevance
    below = found("Jets grounded", "Boeing said it was sorry.")["BA"].relevance
    among = found("Boeing, Airbus, Tesla, Netflix, Intel, Pfizer and Walmart among movers")["TSLA"].relevance
    assert alone == 1.0
    assert below <= 0.5
    assert among <= 0.3


def test_a_broker_is_not_what_its_rating_is_about() -> None:
    hits = found("Goldman Sachs downgrades Tesla to sell")
    assert hits["GS"].relevance <= 0.25 < 0.8 < hits["TSLA"].relevance
    assert found("Goldman Sachs fined over bond sales")["GS"].relevance == 1.0
    assert found("Carmakers face tariffs: JPMorgan")["JPM"].relevance <= 0.25


def test_a_person_is_news_for_the_company_but_less() -> None:
    hit = found("Elon Musk sued over a post")["TSLA"]
    assert hit.relevance == pytest.approx(0.6)


def test_a_certain_notation_vouches_for_an_everyday_word() -> None:
    assert set(found("Target: what now? $TGT")) == {"TGT"}


def test_an_entity_of_the_users_own_wins_its_name_and_ticker() -> None:
    own = resolve({"name": "Tesla Kiosk", "aliases": ["Tesla"], "tickers": ["KIOX"], "id": "kiosk"}, load_universe())
    index = EntityIndex([*load_universe(), own])
    assert [hit.id for hit in index.find("Tesla opens a shop")] == ["kiosk"]
    assert [hit.id for hit in index.find("KIOX halted")] == ["kiosk"]


def test_custom_names_need_their_capitals_where_they_are_words() -> None:
    index = EntityIndex([resolve({"name": "British Steel"}, []), resolve({"name": "Carillion"}, [])])
    assert [hit.id for hit in index.find("Rescue of British Steel fails")] == ["british-steel"]
    assert index.find("Imports of British steel pipes") == []
    assert [hit.id for hit in index.find("carillion's pensions hole")] == ["carillion"]
    assert index.find("Carillionaire buys yacht") == []


def test_escaped_ampersands_and_typographic_apostrophes() -> None:
    assert set(found("AT&amp;T outage widens")) == {"T"}
    assert set(found("McDonald’s recalls toys")) == {"MCD"}


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_gives_spans_within_it_that_do_not_overlap(title: str, text: str) -> None:
    whole = f"{title}\n{text}"
    spans = sorted(span for hit in INDEX.find(title, text) for span in hit.spans)
    assert all(0 <= start < end <= len(whole) for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


@given(st.sampled_from(judged()), st.sampled_from(judged()))
def test_relevance_and_confidence_are_probabilities(one: tuple[str, set[str]], other: tuple[str, set[str]]) -> None:
    for hit in INDEX.find(one[0], other[0]):
        assert 0 < hit.relevance <= 1
        assert 0.5 <= hit.confidence <= 1


def test_letters_that_grow_in_lower_case_do_not_move_the_spans() -> None:
    title = "İİİ Boeing jets grounded"
    start, end = found(title)["BA"].spans[0]
    assert title[start:end] == "Boeing"
