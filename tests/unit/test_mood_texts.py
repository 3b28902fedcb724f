"""The English texts about moods: how many of what, how apart from what models are tried on, labels where they belong."""

import csv
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from models.challenge import challenge_set
from models.labelled import PER_TEMPLATE, SAME, MaterialError, Text, counts
from models.labels import SENTIMENTS
from models.moods import compose
from models.moods.compose import FOLDER, read
from models.reading import scoring_text
from models.risk import held_out
from models.risk.compose import masked
from models.risk.grammar import Draft
from models.risk.records import Entity
from tests.templates import kept_together

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TAPEWATCH_DATA", ROOT.parent / "shared" / "data" / "train"))
SHARED_RUN = 8
"""Words in a row that no text has in common with what models are tried on."""


@cache
def composed() -> list[Text]:
    return compose(7)


def bare(text: str) -> str:
    """Words and slots alone, without case and signs."""
    return " ".join(re.findall(r"[a-z']+", text.casefold()))


def without_names(text: Text) -> str:
    return masked(Draft(text.text, (), tuple(Entity(one.name, one.spans, ()) for one in text.entities)))


def runs(text: str) -> Iterator[tuple[str, ...]]:
    found = re.findall(r"[a-z0-9']+", text.casefold())
    return (tuple(found[i : i + SHARED_RUN]) for i in range(len(found) - SHARED_RUN + 1))


# -- how many -----------------------------------------------------------------------------------------------


def test_there_is_enough_of_everything() -> None:
    found = counts(composed())
    assert sum(found["templates"].values()) >= 1_800
    assert sum(found["texts"].values()) >= 6_000
    assert found["events"]["opposite"] >= 100
    share = {one: found["sentiments"][one] / sum(found["sentiments"].values()) for one in SENTIMENTS}
    assert min(share.values()) >= 0.25, share
    assert 0.07 <= found["templates"]["valid"] / sum(found["templates"].values()) <= 0.13


def test_a_template_is_in_one_part_and_stays_there_whatever_the_seed() -> None:
    parts = {origin: {text.split for text in texts} for origin, texts in kept_together(composed()).items()}
    assert all(len(splits) == 1 for splits in parts.values())
    other = compose(8)
    assert {origin: {text.split for text in texts} for origin, texts in kept_together(other).items()} == parts
    assert len({text.text for text in other} & {text.text for text in composed()}) < 0.2 * len(other)


def test_no_text_and_no_template_is_there_twice() -> None:
    lines = [bare(template.line) for template in read()]
    long = [line for line in lines if len(line.split()) > 4]
    assert sorted({line for line in long if long.count(line) > 1}) == []
    texts = [text.text for text in composed()]
    assert sorted({text for text in texts if texts.count(text) > 1}) == []
    for members in kept_together(composed()).values():
        assert len(members) <= PER_TEMPLATE
        alike = [without_names(text) for text in members]
        assert all(alike.count(one) <= SAME for one in alike)


def test_the_same_seed_gives_the_same_texts_in_any_process() -> None:
    program = (
        "import hashlib; from models.moods import compose; print(hashlib.sha256(repr(compose(7)).encode()).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": "3"}
    elsewhere = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True)
    assert elsewhere.stdout.strip() == hashlib.sha256(repr(composed()).encode()).hexdigest()


def test_a_template_gives_the_same_texts_whatever_stands_beside_it(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "macro.txt", tmp_path)
    assert compose(7, tmp_path) == [text for text in composed() if text.origin.startswith("macro.txt")]


# -- what the labels stand on -------------------------------------------------------------------------------


def test_spans_hold_names_and_no_company_fares_worse_than_its_text() -> None:
    for text in composed():
        assert text.text == text.text.strip() and "  " not in text.text
        for entity in text.entities:
            assert all(text.text[start:end].strip() for start, end in entity.spans)
            if text.risks is not None:
                assert set(entity.risks or ()) <= set(text.risks), text
        spans = sorted(span for entity in text.entities for span in entity.spans)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_no_mood_word_decides_alone() -> None:
    """Each of these words stands often enough in texts of another mood than the one that it sounds like."""
    for word, sounds in {
        "falls?|fell": "negative", "cuts?": "negative", "loss|losses": "negative", "lower": "negative",
        "ris(?:e|es)|rose": "positive", "gains?": "positive", "beats?": "positive", "higher": "positive",
    }.items():  # fmt: skip
        with_it = [text for text in composed() if re.search(rf"\b(?:{word})\b", text.text, re.IGNORECASE)]
        other = sum(text.sentiment != sounds for text in with_it)
        assert len(with_it) >= 60 and other >= 0.15 * len(with_it), (word, other, len(with_it))


# -- apart --------------------------------------------------------------------------------------------------


def shared_with(texts: Iterable[str]) -> set[str]:
    """Names the templates alone: whoever writes them should not read what they are tried on."""
    theirs = {run for text in texts for run in runs(text)}
    assert len(theirs) > 500
    return {text.origin for text in composed() if theirs & set(runs(text.text))}


def test_no_text_is_of_the_sets_that_models_are_tried_on() -> None:
    for number in (1, 2):
        assert not shared_with(row.text for row in challenge_set(number).english)
    assert not shared_with(text.text for text in held_out())


def test_no_text_of_others_is_inside() -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there; TAPEWATCH_DATA names the folder of the training data")
    others = []
    for path in sorted(DATA.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as rows:
            others += [scoring_text(row["text"]) for row in csv.DictReader(rows)]
    for path in sorted((DATA.parent / "replay").glob("*.csv.gz")):
        with gzip.open(path, "rt", newline="", encoding="utf-8") as rows:
            others += [row["headline"] for row in csv.DictReader(rows)]
    assert len(others) > 40_000
    assert not shared_with(others)


def test_the_docs_count_them() -> None:
    docs, found = (ROOT / "docs" / "models.md").read_text(encoding="utf-8"), counts(composed())
    judged = [found["sentiments"][one] for one in SENTIMENTS]
    whole = sum(found["templates"].values())
    rest = [whole - sum(judged), found["events"]["adverse"], found["events"]["opposite"]]
    assert f"| {' | '.join(map(str, judged + rest))} |" in docs
    assert f"| templates | {found['templates']['train']:,} | {found['templates']['valid']} |" in docs
    assert f"| texts, seed 7 | {found['texts']['train']:,} | {found['texts']['valid']:,} |" in docs
    assert f"{whole:,} lines" in docs


# -- what can't be read -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            "a line without heading",
            ("line 1, heading: 'a line without heading'", "write '== sentiment / topic / risks'"),
        ),
        ("== ? / ? / ?\n{A} falls ", ("line 2, text: '{A} falls '", "take them away")),
        ("== ? / ? / -\n\n{A} falls {percent}", ("line 3, text: '{A} falls {percent}'", "slot {percent} is no role")),
        (
            "== ? / ? / -\n{A:circus} falls",
            ("line 2, text: '{A:circus} falls'", "sector 'circus' is not in names.toml"),
        ),
        ("== ? / ? / -\n{A:same} falls", ("line 2, text: '{A:same} falls'", "name one")),
        ("== ? / ? / fraud\n{A=-arrest} falls", ("line 2, risks: 'arrest'", "add it to the heading")),
        ("== ? / ? / -\n{A} <falls", ("line 2, text: '{A} <falls'", "has a bracket without its pair; mend it")),
    ],
)
def test_a_bad_line_is_named_with_its_remedy(tmp_path: Path, lines: str, told: tuple[str, str]) -> None:
    (tmp_path / "bad.txt").write_text(lines, encoding="utf-8")
    with pytest.raises(MaterialError) as refused:
        compose(7, tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'bad.txt'}, ")
    for part in told:
        assert part in str(refused.value)


def test_a_folder_without_templates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaterialError, match=r"holds no template; write \*\.txt"):
        compose(7, tmp_path)
