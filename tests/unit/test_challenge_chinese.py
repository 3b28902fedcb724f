"""The Chinese challenge set: both scripts, every phenomenon, nothing twice, errors with their place."""

import csv
import os
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from models.challenge import CHINESE_PHENOMENA, ChallengeError, Post, chinese, headlines
from models.challenge.fields import ANY
from models.labels import RISKS, SENTIMENTS, TOPICS
from models.risk import compose, held_out

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TAPEWATCH_DATA", ROOT.parent / "shared" / "data" / "train"))
HAN = re.compile(r"[\u4e00-\u9fff]")
WIDE = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
"""Full-width digits and letters: punctuation is full-width in every Chinese text."""


@cache
def rows() -> list[Post]:
    return chinese()


def lacks(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return True
    return False


def traditional(text: str) -> bool:
    """Written in traditional script, as far as can be told: more is missing from the mainland's encoding than Taiwan's."""
    characters = HAN.findall(text)
    return sum(lacks(c, "gb2312") for c in characters) > sum(lacks(c, "big5") for c in characters)


def masked(row: Post) -> str:
    """The text without what names and figures add to it."""
    text = row.text
    for entity in row.entities:
        text = text.replace(entity.name, "某")
    return re.sub(r"[^\u4e00-\u9fffA-Za-z]+", "", text)


def pairs_of_characters(text: str) -> set[str]:
    return {a + b for a, b in pairwise(text)}


# -- how many -----------------------------------------------------------------------------------------------


def test_every_phenomenon_has_a_dozen_lines_and_stands_together() -> None:
    assert len(rows()) >= 220
    counts = Counter(row.phenomenon for row in rows())
    assert tuple(counts) == CHINESE_PHENOMENA
    assert min(counts.values()) >= 12
    assert sum(a.phenomenon != b.phenomenon for a, b in pairwise(rows())) == len(CHINESE_PHENOMENA) - 1


def test_both_scripts_and_both_widths_are_there() -> None:
    scripts = Counter(traditional(row.text) for row in rows())
    assert scripts[True] >= 70
    assert scripts[False] >= 150
    assert sum(bool(WIDE.search(row.text)) for row in rows()) >= 12
    assert sum(bool(re.search(r"[A-Za-z]{3}", row.text)) for row in rows()) >= 16
    for row in rows():
        assert HAN.search(row.text), row


def test_no_answer_is_right_everywhere() -> None:
    sure = Counter(label for row in rows() if len(row.sentiments) == 1 for label in row.sentiments)
    assert max(sure.values()) < 0.6 * sum(sure.values())
    assert min(sure[label] for label in SENTIMENTS) >= 25
    events = Counter(bool(row.risks) for row in rows() if row.risks is not None)
    assert min(events.values()) >= 90
    toward = Counter(e.sentiments for row in rows() for e in row.entities if e.sentiments != ANY)
    assert min(toward[frozenset({label})] for label in ("negative", "positive")) >= 70


def test_labels_are_tried_widely() -> None:
    assert {risk for row in rows() for risk in row.risks or ()} == set(RISKS)
    assert len({row.topic for row in rows() if row.topic}) >= len(TOPICS) - 3
    assert sum(row.topic is not None for row in rows()) > len(rows()) / 2


def test_an_adverse_event_is_no_good_news_by_itself() -> None:
    for row in rows():
        assert not (row.risks and row.sentiments == {"positive"}), row


# -- nothing twice, nothing seen before ---------------------------------------------------------------------


def test_no_two_lines_are_alike() -> None:
    alike = defaultdict(list)
    for row in rows():
        alike[masked(row)].append(row.line)
    assert [lines for lines in alike.values() if len(lines) > 1] == []
    shapes = [(row.line, pairs_of_characters(masked(row))) for row in rows()]
    near = [(a, b) for (a, left), (b, right) in combinations(shapes, 2) if len(left & right) > 0.5 * len(left | right)]
    assert near == []


def test_the_set_is_apart_from_the_texts_about_adverse_events_and_the_english_set() -> None:
    others = [*compose(7), *held_out(), *headlines()]
    assert not {row.text for row in rows()} & {other.text for other in others}
    names = {entity.name for row in rows() for entity in row.entities}
    assert not names & {entity.name for other in others for entity in other.entities}


@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder is not here")
def test_no_text_of_others_is_inside() -> None:
    ours = {row.text for row in rows()}
    for path in DATA.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as lines:
            assert not ours & {row["text"] for row in csv.DictReader(lines)}, path


# -- the reader ---------------------------------------------------------------------------------------------


def test_the_reader_tells_what_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "set.tsv"
    path.write_text(
        "# head\n\n"
        "irony\t!positive\t?\t?\t［甲］[乙丙|negative]又跌，[乙丙|negative]真行\n"
        "probe\t?\trecall,fraud\tLegal | Regulation\t[丁]\n",
        encoding="utf-8",
    )
    first, second = chinese(path)
    assert (first.line, first.phenomenon, first.risks, first.topic) == (3, "irony", None, None)
    assert first.sentiments == {"negative", "neutral"}
    assert first.text == "［甲］乙丙又跌，乙丙真行"
    assert [(e.name, e.spans, e.sentiments) for e in first.entities] == [("乙丙", ((3, 5), (8, 10)), {"negative"})]
    assert (second.risks, second.topic, second.sentiments) == (("fraud", "recall"), "Legal | Regulation", ANY)
    assert second.entities[0].sentiments == ANY


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            "irony negative - ? 跌",
            "columns: '1' is not 5; put one tab between phenomenon, sentiment, risks, topic, text",
        ),
        ("ironie\tnegative\t-\t?\t跌", "phenomenon: 'ironie' is unknown; write one of policy,"),
        ("irony\tbad\t-\t?\t跌", "sentiment: 'bad' is unknown; write one of negative, neutral,"),
        ("irony\tnegative\tfyre\t?\t跌", "risks: 'fyre' is unknown; write one of fraud,"),
        ("irony\tnegative\t-,?\t?\t跌", "risks: '-,?' says a thing twice"),
        ("irony\tnegative\t-\tMarket\t跌", "topic: 'Market' is unknown; write one of Analyst Update,"),
        ("irony\tnegative\t-\t?\t 跌", "text: ' 跌' is empty or has blanks at an end"),
        ("irony\tnegative\t-\t?\t[甲跌", "text: '[甲跌' has a bracket without its pair"),
        ("irony\tnegative\t-\t?\t[甲|坏]跌", "sentiment toward 甲: '坏' is unknown; write one of"),
        ("irony\t?\t-\t?\t[甲|positive][甲]", "sentiment toward 甲: '' differs from its mention before"),
    ],
)
def test_a_wrong_line_names_place_field_value_and_remedy(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "set.tsv"
    path.write_text(f"# one line that is right\nirony\tnegative\t-\t?\t跌\n{line}\n", encoding="utf-8")
    with pytest.raises(ChallengeError, match=re.escape(what)) as error:
        chinese(path)
    assert str(error.value).startswith(f"{path}, line 3, ")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.tsv"
    path.write_bytes("irony\tnegative\t-\t?\t跌\n".encode("gb18030"))
    with pytest.raises(ChallengeError, match="it has to be a readable file in UTF-8") as error:
        chinese(path)
    assert str(error.value).startswith(f"{path}: ")


def test_the_docs_count_the_set() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| [^|]* \| (\d+) \|$", page, re.MULTILINE)
    counts = Counter(row.phenomenon for row in rows())
    assert told == [(name, str(counts[name])) for name in CHINESE_PHENOMENA]
    scripts = Counter(traditional(row.text) for row in rows())
    assert f"{len(rows())} texts, {scripts[False]} in simplified and {scripts[True]} in traditional script" in page
