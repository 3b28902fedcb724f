"""The story pairs: enough of every phenomenon, nothing twice, nothing seen before, errors with their place; their figures."""

import csv
import gzip
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from models import card as cards
from models.challenge import ChallengeError, headlines
from models.reading import scoring_text
from models.risk import compose, held_out
from models.stories import PHENOMENA, Pair, pairs, weights
from models.stories.pairs import APART, NEAR_SHARE, SAME_SHARE
from pipelines.signatures import signature, similarity, word_set
from tests import five_heads

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TAPEWATCH_DATA", ROOT.parent / "shared" / "data" / "train"))
SHARED_RUN = 8
"""Words in a row that the pairs have in common with no other text."""


@cache
def rows() -> list[Pair]:
    return pairs()


def texts() -> list[str]:
    return [text for pair in rows() for text in (pair.first, pair.second)]


def runs(text: str) -> Iterator[tuple[str, ...]]:
    found = re.findall(r"[a-z0-9']+", text.casefold())
    return (tuple(found[i : i + SHARED_RUN]) for i in range(len(found) - SHARED_RUN + 1))


# -- how many, how hard -------------------------------------------------------------------------------------


def test_both_labels_have_many_pairs_over_many_phenomena() -> None:
    labels = Counter(pair.same for pair in rows())
    assert min(labels[True], labels[False]) >= 250
    counts = Counter(pair.phenomenon for pair in rows())
    assert list(counts) == list(PHENOMENA)
    assert min(counts.values()) >= 16
    assert sum(first.phenomenon != second.phenomenon for first, second in pairwise(rows())) == len(PHENOMENA) - 1


def test_common_words_alone_do_not_tell_the_label() -> None:
    """Each label has pairs that share hardly a word, and pairs that share most."""
    for label in (True, False):
        alike = [similarity(signature(pair.first), signature(pair.second)) for pair in rows() if pair.same == label]
        assert sum(one <= 0.2 for one in alike) >= 0.2 * len(alike)
        assert sum(one >= 0.5 for one in alike) >= 0.2 * len(alike)


# -- nothing twice, nothing seen before ---------------------------------------------------------------------


def test_no_text_stands_twice() -> None:
    assert [text for text, count in Counter(text.casefold() for text in texts()).items() if count > 1] == []


def test_texts_of_two_pairs_are_not_alike() -> None:
    """Half of their words in common at most: nothing is in the set twice under other names."""
    marked = [(pair.line, text, word_set(signature(text))) for pair in rows() for text in (pair.first, pair.second)]
    for (line, text, mine), (other_line, other, theirs) in combinations(marked, 2):
        assert line == other_line or 2 * len(mine & theirs) <= len(mine | theirs), (text, other)


def test_the_pairs_are_apart_from_the_other_sets() -> None:
    ours = {text.casefold() for text in texts()}
    our_runs = {run for text in texts() for run in runs(text)}
    assert len(our_runs) > 1_000
    for text in [one.text for one in (*headlines(), *compose(7), *held_out())]:
        assert text.casefold() not in ours
        assert not our_runs & set(runs(text)), text


@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder is not here")
def test_no_text_of_others_is_inside() -> None:
    ours = {scoring_text(text).casefold() for text in texts()}
    our_runs = {run for text in texts() for run in runs(text)}
    others = []
    for path in DATA.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as lines:
            others += [row["text"] for row in csv.DictReader(lines)]
    with gzip.open(DATA.parent / "replay" / "business_headlines.csv.gz", "rt", newline="", encoding="utf-8") as lines:
        others += [text for row in csv.DictReader(lines) for text in (row["headline"], row["description"])]
    assert len(others) > 50_000
    for text in others:
        assert scoring_text(text).casefold() not in ours, text
        assert not our_runs & set(runs(text)), text


# -- the reader ---------------------------------------------------------------------------------------------


def test_lines_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(
        "# a comment\n\nvoice\tsame\tAcme buys Bolt\tBolt is bought by Acme\nreversal\tdifferent\tUp\tDown\n"
    )
    assert pairs(path) == [
        Pair(3, "voice", True, "Acme buys Bolt", "Bolt is bought by Acme"),
        Pair(4, "reversal", False, "Up", "Down"),
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("voice same A B", "columns: '1' is not 4; put one tab between phenomenon, label, first, second"),
        ("vioce\tsame\tA\tB", "phenomenon: 'vioce' is unknown; write one of paraphrase, sentence,"),
        ("voice\tequal\tA\tB", "label: 'equal' is unknown; write one of same, different"),
        ("voice\tdifferent\tA\tB", "label: 'different' does not fit voice; write same, or another phenomenon"),
        ("denial\tsame\tA\tB", "label: 'same' does not fit denial; write different, or another phenomenon"),
        ("voice\tsame\t\tB", "first: '' is empty or has blanks at an end; write the text alone"),
        ("voice\tsame\tA\tB ", "second: 'B ' is empty or has blanks at an end; write the text alone"),
        ("voice\tsame\tUp it is\tUP IT IS", "second: 'UP IT IS' is the first text again; write it in other words"),
    ],
)
def test_a_wrong_line_names_place_field_value_and_remedy(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(f"voice\tsame\tOne\tTwo\n{line}")
    with pytest.raises(ChallengeError, match=re.escape(what)) as error:
        pairs(path)
    assert str(error.value).startswith(f"{path}, line 2, ")


# -- as frequent as in the field ----------------------------------------------------------------------------


def test_weights_make_the_kinds_of_pairs_as_frequent_as_in_the_field() -> None:
    weighed = list(zip(rows(), weights(rows()), strict=True))
    whole = sum(weight for _, weight in weighed)
    assert whole == pytest.approx(len(rows()))
    assert sum(weight for pair, weight in weighed if pair.same) == pytest.approx(SAME_SHARE * whole)
    near = sum(weight for pair, weight in weighed if not pair.same and pair.phenomenon not in APART)
    assert near == pytest.approx((1 - SAME_SHARE) * NEAR_SHARE * whole)


def test_a_command_fits_the_probability_anew(tmp_path: Path) -> None:
    def fit(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "models.stories", str(folder)], cwd=ROOT, capture_output=True, text=True
        )

    folder = five_heads.write(tmp_path / "five")
    before = cards.read(folder)
    assert fit(folder).returncode == 0
    after = cards.read(folder)
    assert after.story is not None and after == replace(before, story=after.story)
    rate = 1 / (1 + math.exp(-after.story.offset - after.story.slope * 0.9))
    assert rate < 0.5, "words without meaning tell little, and most pairs are of two stories"
    bare = fit(five_heads.write(tmp_path / "bare", card=replace(five_heads.CARD, story=None)))
    assert bare.returncode == 1 and "has no head for stories; name one that has" in bare.stderr


# -- the figures --------------------------------------------------------------------------------------------


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.stories", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_docs_tell_what_the_benchmark_measures() -> None:
    printed = benchmark().stdout
    page = (ROOT / "docs" / "stories.md").read_text(encoding="utf-8")
    lines = [line for line in printed.splitlines() if line]
    assert len(lines) > len(PHENOMENA)
    assert [line for line in lines if line not in page] == []


def test_the_benchmark_measures_the_embedding_of_a_model_that_has_one(tmp_path: Path) -> None:
    printed = benchmark("--model", str(five_heads.write(tmp_path / "five"))).stdout
    assert re.search(r"^embedding: area 0\.[3-7]\d\d \(0\.\d+ to 0\.\d+\)", printed, re.MULTILINE), printed
    assert "| same | n | joined | signature | words | embedding |" in printed
    bare = benchmark("--model", str(five_heads.write(tmp_path / "bare", card=replace(five_heads.CARD, story=None))))
    assert bare.returncode == 1 and "has no head for stories; name a model that has one" in bare.stderr
