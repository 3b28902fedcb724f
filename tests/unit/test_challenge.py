"""The challenge set: enough of every phenomenon, nothing twice, nothing that training has seen, errors with their place."""

import csv
import gzip
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from models.challenge import PHENOMENA, ChallengeError, Headline, Post, challenge_set, chinese, headlines
from models.challenge.fields import ANY
from models.challenge.headlines import FILE
from models.labels import SENTIMENTS
from models.reading import scoring_text
from models.risk import Text, compose, held_out
from models.risk.material import read

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TAPEWATCH_DATA", ROOT.parent / "shared" / "data" / "train"))
SHARED_RUN = 8
"""Words in a row that the set has in common with no other text."""


@cache
def rows() -> list[Headline]:
    return headlines()


@cache
def both() -> list[Headline]:
    """The second set's headlines, too."""
    return [*rows(), *challenge_set(2).english]


@cache
def risk_texts() -> list[Text]:
    return [*compose(7), *held_out()]


def runs(text: str) -> Iterator[tuple[str, ...]]:
    found = re.findall(r"[a-z0-9']+", text.casefold())
    return (tuple(found[i : i + SHARED_RUN]) for i in range(len(found) - SHARED_RUN + 1))


def masked(row: Headline) -> str:
    """The text without what names and figures add to it."""
    text = row.text
    for entity in row.entities:
        text = text.replace(entity.name, "X")
    return re.sub(r"[^a-z]+", " ", re.sub(r"\d[\d.,]*", "0", text).casefold())


def groups() -> dict[str, list[Headline]]:
    found = defaultdict(list)
    for row in rows():
        if row.group:
            found[row.group].append(row)
    return found


# -- how many -----------------------------------------------------------------------------------------------


def test_every_phenomenon_has_twenty_headlines_and_stands_together() -> None:
    assert len(rows()) >= 420
    counts = Counter(row.phenomenon for row in rows())
    assert tuple(counts) == PHENOMENA
    assert min(counts.values()) >= 20
    assert sum(first.phenomenon != second.phenomenon for first, second in pairwise(rows())) == len(PHENOMENA) - 1


def test_every_phenomenon_is_tried_in_several_ways() -> None:
    kinds = defaultdict(set)
    for row in rows():
        kinds[row.phenomenon].add(row.kind)
    assert all({"mft", "inv"} <= kinds[phenomenon] for phenomenon in PHENOMENA)
    assert sum("dir" in kinds[phenomenon] for phenomenon in PHENOMENA) >= 18
    assert sum(row.kind == "mft" for row in rows()) < 0.8 * len(rows())


def test_no_answer_is_right_everywhere() -> None:
    sure = Counter(label for row in rows() if len(row.sentiments) == 1 for label in row.sentiments)
    assert max(sure.values()) < 0.5 * sum(sure.values())
    assert min(sure[label] for label in SENTIMENTS) >= 60
    events = Counter(bool(row.risks) for row in rows() if row.risks is not None)
    assert min(events.values()) >= 90
    toward = Counter(e.sentiments for row in rows() for e in row.entities if e.sentiments != ANY)
    assert min(toward[frozenset({label})] for label in ("negative", "positive")) >= 120


@pytest.mark.parametrize("read", [headlines, chinese])
def test_every_line_tries_something(read: Callable[[], list[Headline] | list[Post]]) -> None:
    for row in read():
        judged = row.sentiments != ANY or row.risks is not None or any(e.sentiments != ANY for e in row.entities)
        assert judged, row


@pytest.mark.parametrize("read", [headlines, chinese])
def test_opposite_fates_are_opposite(read: Callable[[], list[Headline] | list[Post]]) -> None:
    opposite = [row for row in read() if row.phenomenon == "opposite"]
    assert opposite
    for row in opposite:
        assert {label for entity in row.entities for label in entity.sentiments} >= {"negative", "positive"}, row


def test_directions_are_those_of_the_labels() -> None:
    def worth(row: Headline) -> float:
        return sum(SENTIMENTS.index(label) for label in row.sentiments) / len(row.sentiments)

    for members in groups().values():
        if members[0].kind == "dir":
            ordered = sorted(members, key=lambda row: row.rank)
            assert all(worth(lower) < worth(higher) for lower, higher in pairwise(ordered)), members


# -- nothing twice, nothing seen before ---------------------------------------------------------------------


def test_no_headline_is_there_twice() -> None:
    counts = Counter(row.text for row in rows())
    assert [text for text, count in counts.items() if count > 1] == []


def test_only_partners_may_differ_in_names_figures_or_case_alone() -> None:
    alike = defaultdict(list)
    for row in rows():
        alike[masked(row)].append(row)
    assert [same for same in alike.values() if len({row.group or str(row.line) for row in same}) > 1] == []


def test_both_sets_are_apart_from_the_texts_about_adverse_events() -> None:
    ours = {row.text.casefold() for row in both()}
    our_runs = {run for row in both() for run in runs(row.text)}
    assert len(our_runs) > 500
    for text in risk_texts():
        assert text.text.casefold() not in ours
        assert not our_runs & set(runs(text.text)), text.text
    names = {entity.name.casefold() for row in both() for entity in row.entities}
    companies = [company for split in read().companies.values() for sector in split.values() for company in sector]
    assert not names & {name.casefold() for company in companies for name in company[:3]}
    assert not names & {entity.name.casefold() for text in held_out() for entity in text.entities}


@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder is not here")
def test_no_text_of_others_is_inside() -> None:
    ours = {scoring_text(row.text).casefold() for row in both()}
    our_runs = {run for row in both() for run in runs(row.text)}
    texts = []
    for path in DATA.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as lines:
            texts += [row["text"] for row in csv.DictReader(lines)]
    with gzip.open(DATA.parent / "replay" / "business_headlines.csv.gz", "rt", newline="", encoding="utf-8") as lines:
        texts += [text for row in csv.DictReader(lines) for text in (row["headline"], row["description"])]
    assert len(texts) > 50_000
    for text in texts:
        assert scoring_text(text).casefold() not in ours, text
        assert not our_runs & set(runs(text)), text


# -- the reader ---------------------------------------------------------------------------------------------


def test_the_set_reads_back_as_it_was_written() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 200
    for row in rows():
        marked = lines[row.line - 1].split("\t")[-1]
        assert re.sub(r"\[([^|\]]+)[^\]]*\]", r"\1", marked) == row.text
        assert all(row.text[start:stop] == e.name for e in row.entities for start, stop in e.spans)
        assert sum(len(entity.spans) for entity in row.entities) == marked.count("[")


def test_labels_mean_what_the_head_of_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "set.tsv"
    path.write_text(
        "# a comment\n\n"
        "rumour\tmft\t-\t!negative\t?\t[Acme|?] and [$BOLT|positive] in talks, says [Acme]\n"
        "safety\tdir\tpair:2\tpositive\t-\tNo [Acme] fire\n"
        "safety\tdir\tpair:1\t?\trecall,accident\t[Acme] on fire\n"
    )
    first, second, third = headlines(path)
    assert (first.line, first.kind, first.group, first.rank, first.risks) == (3, "mft", "", 0, None)
    assert first.sentiments == {"neutral", "positive"}
    assert [(e.name, e.spans, e.sentiments) for e in first.entities] == [
        ("Acme", ((0, 4), (30, 34)), ANY),
        ("$BOLT", ((9, 14),), {"positive"}),
    ]
    assert (second.group, second.rank, second.risks) == ("pair", 2, ())
    assert (third.rank, third.sentiments, third.risks) == (1, ANY, ("accident", "recall"))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("oil mft - neutral - Brent flat", "columns: '1' is not 6; put one tab between phenomenon, kind"),
        ("oyl\tmft\t-\tneutral\t-\tBrent flat", "phenomenon: 'oyl' is unknown; write one of negation,"),
        ("oil\tmtf\t-\tneutral\t-\tBrent flat", "kind: 'mtf' is unknown; write one of mft, inv, dir"),
        ("oil\tmft\tflat\tneutral\t-\tBrent flat", "group: 'flat' stands at an mft line; write '-'"),
        ("oil\tinv\t-\tneutral\t-\tBrent flat", "group: '-' is no name for a group of kind inv"),
        ("oil\tinv\tflat:1\tneutral\t-\tBrent flat", "group: 'flat:1' does not fit its kind"),
        ("oil\tdir\tflat\tneutral\t-\tBrent flat", "group: 'flat' does not fit its kind"),
        ("oil\tdir\tflat:0\tneutral\t-\tBrent flat", "group: 'flat:0' does not fit its kind"),
        ("oil\tmft\t-\tneutrl\t-\tBrent flat", "sentiment: 'neutrl' is unknown; write one of negative, neutral,"),
        ("oil\tmft\t-\tneutral\tfyre\tBrent flat", "risks: 'fyre' is unknown; write one of fraud,"),
        ("oil\tmft\t-\tneutral\tstrike,strike\tBrent flat", "risks: 'strike,strike' says a thing twice"),
        ("oil\tmft\t-\tneutral\tstrike,-\tBrent flat", "risks: 'strike,-' says a thing twice"),
        ("oil\tmft\t-\tneutral\t-\t", "text: '' is empty or has blanks at an end"),
        ("oil\tmft\t-\tneutral\t-\t[Brent flat", "text: '[Brent flat' has a bracket without its pair"),
        ("oil\tmft\t-\tneutral\t-\t[Brent|flat] today", "sentiment toward Brent: 'flat' is unknown; write one of"),
        ("oil\tmft\t-\t?\t-\t[A|positive] or [A|negative]", "sentiment toward A: 'negative' differs from its mention"),
        ("oil\tinv\tflat\tneutral\t-\tBrent flat", "group: 'flat' has this line only"),
        ("rumour\tinv\tnew\tneutral\t-\tNew", "group: 'new' is taken in line 2 by another kind or phenomenon"),
        ("oil\tinv\tnew\tpositive\t-\tNew", "group: 'new' has other labels in line 2"),
        ("oil\tdir\tup:1\tpositive\t-\tUp again", "group: 'up' has the ranks 1, 2, 1; number its lines 1, 2"),
    ],
)
def test_a_wrong_line_names_place_field_value_and_remedy(tmp_path: Path, line: str, what: str) -> None:
    before = [
        "# two groups that are right",
        "oil\tinv\tnew\tneutral\t-\tOld",
        "oil\tinv\tnew\tneutral\t-\tOlder",
        "oil\tdir\tup:1\tnegative\t-\tDown",
        "oil\tdir\tup:2\tpositive\t-\tUp",
    ]
    path = tmp_path / "set.tsv"
    path.write_text("\n".join(before))
    assert len(headlines(path)) == 4
    path.write_text("\n".join([*before, line]))
    with pytest.raises(ChallengeError, match=re.escape(what)) as error:
        headlines(path)
    assert str(error.value).startswith(f"{path}, line 6, ")


@pytest.mark.parametrize("content", [None, b"oil\tmft\t-\tneutral\t-\tM\xfcnchen\n"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "set.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ChallengeError, match="it has to be a readable file in UTF-8") as error:
        headlines(path)
    assert str(error.value).startswith(f"{path}: ")


def test_the_docs_count_the_set() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \|.*\| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    counts = Counter((row.phenomenon, row.kind) for row in rows())
    assert told == [(name, *(str(counts[name, kind]) for kind in ("mft", "inv", "dir"))) for name in PHENOMENA]
