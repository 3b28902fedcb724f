"""The second challenge sets: other phenomena than the first's, enough of each, nothing twice, nothing of the first."""

import re
from collections import Counter
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from models.challenge import (
    CHINESE_PHENOMENA,
    PHENOMENA,
    SECOND_CHINESE_PHENOMENA,
    SECOND_PHENOMENA,
    ChallengeSet,
    Headline,
    Post,
    challenge_set,
)
from models.challenge.fields import ANY
from models.labels import RISKS, SENTIMENTS, TOPICS
from pipelines.universe import load_universe
from tests.unit.test_challenge import masked, runs
from tests.unit.test_challenge_chinese import masked as masked_chinese
from tests.unit.test_challenge_chinese import pairs_of_characters, traditional

ROOT = Path(__file__).parents[2]


@cache
def first() -> ChallengeSet:
    return challenge_set(1)


@cache
def second() -> ChallengeSet:
    return challenge_set()


def names(of: ChallengeSet) -> set[str]:
    return {entity.name.casefold() for row in (*of.english, *of.chinese) for entity in row.entities}


# -- how many -----------------------------------------------------------------------------------------------


def test_it_tries_other_things_than_the_first_set_and_enough_of_each() -> None:
    assert second().number == 2
    for rows, known, before, each in (
        (second().english, SECOND_PHENOMENA, PHENOMENA, 16),
        (second().chinese, SECOND_CHINESE_PHENOMENA, CHINESE_PHENOMENA, 12),
    ):
        counts = Counter(row.phenomenon for row in rows)
        assert tuple(counts) == known and min(counts.values()) >= each
        assert sum(a.phenomenon != b.phenomenon for a, b in pairwise(rows)) == len(known) - 1, "they stand together"
        assert not set(known) & set(before)


def test_every_english_phenomenon_is_tried_in_all_ways() -> None:
    kinds = {(row.phenomenon, row.kind) for row in second().english}
    assert len(kinds) == 3 * len(SECOND_PHENOMENA)


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_no_answer_is_right_everywhere(language: str) -> None:
    rows: list[Headline | Post] = getattr(second(), language)
    sure = Counter(label for row in rows if len(row.sentiments) == 1 for label in row.sentiments)
    assert max(sure.values()) < 0.55 * sum(sure.values())
    assert min(sure[label] for label in SENTIMENTS) >= 0.1 * sum(sure.values())
    events = Counter(bool(row.risks) for row in rows if row.risks is not None)
    assert min(events.values()) > len(rows) / 4
    for row in rows:
        assert row.sentiments != ANY or row.risks is not None or any(e.sentiments != ANY for e in row.entities), row


def test_labels_are_tried_widely() -> None:
    assert {risk for row in (*second().english, *second().chinese) for risk in row.risks or ()} == set(RISKS)
    assert len({row.topic for row in second().chinese if row.topic}) >= len(TOPICS) / 2
    assert sum(traditional(row.text) for row in second().chinese) >= 40


# -- nothing twice, nothing of the first --------------------------------------------------------------------


def test_no_two_texts_are_alike_but_partners() -> None:
    shapes = [(row.group or str(row.line), masked(row)) for row in second().english]
    assert [shape for (a, shape), (b, other) in combinations(shapes, 2) if shape == other and a != b] == []
    posts = [(row.line, pairs_of_characters(masked_chinese(row))) for row in (*first().chinese, *second().chinese)]
    near = [(a, b) for (a, left), (b, right) in combinations(posts, 2) if len(left & right) > 0.5 * len(left | right)]
    assert near == []


def test_it_shares_no_company_and_no_eight_words_with_the_first() -> None:
    assert not names(second()) & names(first())
    before = {run for row in first().english for run in runs(row.text)}
    assert [row.text for row in second().english if before & set(runs(row.text))] == []
    assert not {masked(row) for row in first().english} & {masked(row) for row in second().english}


def test_no_company_is_a_real_one() -> None:
    assert not names(second()) & {name.casefold() for one in load_universe() for name in (one.name, *one.aliases)}


# -- what is told of it -------------------------------------------------------------------------------------


def test_the_docs_count_it() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    english, chinese = (Counter(row.phenomenon for row in rows) for rows in second()[1:])
    told = re.findall(r"^\| `(\w+)` \| [^|]* \| (\d+|–) \| (\d+|–) \|$", page, re.MULTILINE)
    named = dict.fromkeys((*SECOND_PHENOMENA, *SECOND_CHINESE_PHENOMENA))
    assert told == [(name, str(english[name] or "–"), str(chinese[name] or "–")) for name in named]
    posts = second().chinese
    scripts = Counter(traditional(row.text) for row in posts)
    assert f"{len(second().english)} English texts" in page
    assert f"{len(posts)} Chinese ones, {scripts[False]} in simplified and {scripts[True]} in traditional" in page
