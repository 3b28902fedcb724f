"""The texts about adverse events: how many, how varied, how apart, and that every label stands where it says."""

import csv
import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from models.labels import RISKS
from models.reading import scoring_text
from models.risk import RiskDataError, Text, compose, held_out
from models.risk.compose import SAME, masked
from models.risk.grammar import CHOICE, SLOT, WHOLE, fill
from models.risk.material import FOLDER, Template, read
from models.risk.table import readable

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TAPEWATCH_DATA", ROOT.parent / "shared" / "data" / "train"))
SHARED_RUN = 8
"""Words in a row that no two parts may have in common."""


@cache
def composed() -> list[Text]:
    return compose(7)


@cache
def everything() -> list[Text]:
    return [*composed(), *held_out()]


def part(split: str) -> list[Text]:
    return [text for text in everything() if text.split == split]


def kinds(texts: Iterable[Text]) -> Counter[str]:
    return Counter(risk for text in texts for risk in text.risks)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.casefold())


def runs(text: str) -> Iterator[tuple[str, ...]]:
    found = words(text)
    return (tuple(found[i : i + SHARED_RUN]) for i in range(len(found) - SHARED_RUN + 1))


# -- how many -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "texts", "each", "harmless"),
    [("train", 6_000, 200, 6_000), ("valid", 1_200, 15, 600), ("test", 600, 15, 250)],
)
def test_there_is_enough_of_every_kind(split: str, texts: int, each: int, harmless: int) -> None:
    rows = part(split)
    assert len(rows) >= texts
    assert set(kinds(rows)) == set(RISKS)
    assert min(kinds(rows).values()) >= each
    assert sum(not row.risks for row in rows) >= harmless


@pytest.mark.parametrize("split", ["train", "valid"])
def test_look_alikes_outnumber_adverse_texts_but_not_twofold(split: str) -> None:
    rows = part(split)
    harmless = sum(not row.risks for row in rows)
    assert len(rows) - harmless <= harmless <= 2 * (len(rows) - harmless)


def test_kinds_are_balanced() -> None:
    counts = kinds(part("train")).values()
    assert max(counts) <= 2 * min(counts)


def test_bystanders_appear_in_adverse_texts() -> None:
    rows = part("train")
    beside = [row for row in rows if row.risks and any(not entity.risks for entity in row.entities)]
    both = [row for row in beside if any(entity.risks for entity in row.entities)]
    assert len(both) >= 1_500, "texts in which one is hit and another is not"
    assert sum(len(entity.spans) > 1 for row in rows for entity in row.entities) >= 1_000, "mentioned again"


def test_texts_are_as_long_as_headlines_and_short_items() -> None:
    lengths = sorted(len(text.text) for text in everything())
    assert lengths[0] >= 8
    assert 45 <= lengths[len(lengths) // 2] <= 90
    assert lengths[-1] <= 300


# -- the same again -----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_file_in_any_process(tmp_path: Path) -> None:
    files = []
    for hash_seed in ("1", "2"):
        files.append(tmp_path / f"{hash_seed}.csv")
        command = [sys.executable, "-m", "monitor", "models", "risk-data", "--out", files[-1]]
        subprocess.run(
            command, check=True, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True
        )
    assert files[0].read_bytes() == files[1].read_bytes()
    with files[0].open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(everything())
    for row, text in zip(rows, everything(), strict=True):
        assert (row["split"], row["text"], row["risks"].split()) == (text.split, text.text, list(text.risks))
        entities = json.loads(row["entities"])
        assert [(e["name"], e["risks"]) for e in entities] == [(e.name, list(e.risks)) for e in text.entities]
        assert [e["spans"] for e in entities] == [[list(span) for span in e.spans] for e in text.entities]


def test_another_seed_gives_other_texts() -> None:
    other = {text.text for text in compose(8)}
    assert len(other & {text.text for text in composed()}) < 0.4 * len(other)


def test_a_template_gives_the_same_texts_whatever_stands_beside_it() -> None:
    material = read()
    alone = [template for template in material.templates if template.kind == "strike"]
    few = {text.text for text in compose(7, material._replace(templates=tuple(alone))) if " + " not in text.origin}
    assert few <= {text.text for text in composed()}


# -- apart --------------------------------------------------------------------------------------------------


def expanded(line: str) -> list[str]:
    """Every choice of a line's alternatives."""
    choice = CHOICE.search(line)
    if not choice:
        return [line]
    head, tail = line[: choice.start()], line[choice.end() :]
    return [full for option in choice.group(1).split("|") for full in expanded(head + option + tail)]


def literal(template: Template) -> str:
    return WHOLE.sub("", template.line) if template.line.startswith("!") else template.line


def test_no_template_is_written_twice() -> None:
    counts = Counter(template.line.casefold() for template in read().templates)
    assert [line for line, count in counts.items() if count > 1] == []


def test_no_run_of_words_is_in_templates_of_both_splits() -> None:
    found = defaultdict(set)
    for template in (*read().templates, *read().follow):
        for line in expanded(literal(template)):
            for piece in SLOT.split(line)[::2]:
                found[template.split].update(runs(piece))
    assert len(found["train"]) > 100
    assert len(found["valid"]) > 30
    assert found["train"] & found["valid"] == set()


def test_no_template_has_a_near_variant_in_the_other_split() -> None:
    def bag(template: Template) -> set[str]:
        return set(words(SLOT.sub(" ", literal(template))))

    split = {name: [(t, bag(t)) for t in read().templates if t.split == name] for name in ("train", "valid")}
    near = [
        (one.line, other.line)
        for one, a in split["valid"]
        for other, b in split["train"]
        if min(len(a), len(b)) >= 3 and len(a & b) > 0.55 * len(a | b)
    ]
    assert near == []


def test_no_company_is_in_both_splits() -> None:
    companies = {
        split: {name for sector in sectors.values() for company in sector for name in company[:3]}
        for split, sectors in read().companies.items()
    }
    assert companies["train"] & companies["valid"] == set()
    assert len(companies["train"]) > 3 * 200


def test_the_test_set_is_apart_from_the_grammar() -> None:
    runs_of_grammar = {run for text in composed() for run in runs(text.text)}
    texts = {text.text.casefold() for text in composed()}
    names = {company[:2] for sectors in read().companies.values() for sector in sectors.values() for company in sector}
    taken = {name for pair in names for name in pair}
    for text in held_out():
        assert text.text.casefold() not in texts
        assert not runs_of_grammar & set(runs(text.text)), text.text
        assert not taken & {entity.name for entity in text.entities}, text.text


@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder is not here")
def test_no_text_of_others_is_inside() -> None:
    ours = {scoring_text(text.text).casefold() for text in everything()}
    our_runs = {run for text in everything() for run in runs(text.text)}
    compared = 0
    for path in DATA.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                assert scoring_text(row["text"]).casefold() not in ours, f"{path.name}: {row['text']}"
                compared += 1
    with gzip.open(DATA.parent / "replay" / "business_headlines.csv.gz", "rt", newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            for text in (row["headline"], row["description"]):
                assert scoring_text(text).casefold() not in ours or not text.strip(), text
                assert not our_runs & set(runs(text)), text
                compared += 1
    print(f"{compared} texts of others compared with {len(ours)} of ours")
    assert compared > 50_000


# -- each label where it says -------------------------------------------------------------------------------


def test_spans_hold_the_names_of_their_entities() -> None:
    forms = {}
    for sectors in read().companies.values():
        for sector, companies in sectors.items():
            nouns = {f"the {noun}" for noun in read().nouns[sector]} | {"the company", "the group"}
            for company in companies:
                forms[company.long] = {
                    company.short.casefold(),
                    company.long.casefold(),
                    f"${company.ticker}".casefold(),
                } | nouns
    for text in everything():
        spans = sorted(span for entity in text.entities for span in entity.spans)
        assert all(first[1] <= second[0] for first, second in pairwise(spans)), text
        for entity in text.entities:
            assert entity.spans
            for start, stop in entity.spans:
                mention = text.text[start:stop].casefold()
                assert mention in forms.get(entity.name, {entity.name.casefold()}), (mention, entity.name, text.text)


def test_what_is_adverse_to_an_entity_is_told_by_its_text() -> None:
    for text in everything():
        assert {risk for entity in text.entities for risk in entity.risks} <= set(text.risks)
        assert list(text.risks) == sorted(set(text.risks), key=RISKS.index)


def test_actors_are_never_hit() -> None:
    actors = {name for names in read().actors.values() for name in names}
    assert [text for text in composed() for entity in text.entities if entity.name in actors and entity.risks] == []


def test_no_name_tells_the_label() -> None:
    hit: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    actors = {name for names in read().actors.values() for name in names}
    for text in part("train"):
        for entity in text.entities:
            if entity.name not in actors:
                seen[entity.name] += 1
                hit[entity.name] += bool(entity.risks)
    shares = {name: hit[name] / count for name, count in seen.items() if count >= 30}
    assert len(shares) > 180
    assert min(shares.values()) > 0.12
    assert max(shares.values()) < 0.75


def test_no_event_word_is_reserved_for_bad_news() -> None:
    """The very words of the events are in look-alikes too: a head can't get by with a list of words."""
    harmless = Counter(word for text in part("train") if not text.risks for word in set(words(text.text)))
    events = (
        "fraud recall recalls strike strikes crash probe default arrested charges fine fined bankruptcy sued suit settles"
        " hack attack breach short downgrade warning jobs closes shutters fires fired explosion collapse lawsuit sanctions"
        " ban banned resigned corruption bribery laundering insolvency outage boycott harassment shares slump plunge"
    ).split()
    assert {word: harmless[word] for word in events if harmless[word] < 2} == {}


# -- varied -------------------------------------------------------------------------------------------------


def test_no_text_is_there_twice() -> None:
    counts = Counter(text.text for text in everything())
    assert [text for text, count in counts.items() if count > 1] == []


def test_few_texts_differ_in_names_and_figures_only() -> None:
    singles = [text for text in part("train") if " + " not in text.origin]
    counts = Counter(masked(text) for text in singles)
    assert sum(count for count in counts.values() if count > 1) < 0.25 * len(singles)
    assert max(Counter(text.origin for text in singles).values()) <= 7
    assert SAME == 2


def test_styles_are_mixed() -> None:
    rows = part("train")
    for name, share in {
        "capitals": sum(row.text.isupper() for row in rows) / len(rows),
        "small letters": sum(row.text.islower() for row in rows) / len(rows),
        "cashtags": sum("$" in row.text and bool(re.search(r"\$[A-Z]{4}", row.text)) for row in rows) / len(rows),
        "sentences": sum(row.text.endswith(".") for row in rows) / len(rows),
    }.items():
        print(f"{name}: {share:.3f}")
        assert 0.015 < share < 0.3, name


# -- what is wrong is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{A!} stumbles over {nothing_known}", "{nothing_known} is no role"),
        ("{A!bad_luck} stumbles", "'bad_luck' is not a label"),
        ("{A} does well", "an adverse line marks who is hit"),
        ("{A:zeppelins!} lands", "'zeppelins' is not in names.toml"),
    ],
)
def test_a_wrong_template_names_its_place(line: str, what: str) -> None:
    import random

    template = Template(line, "fraud", True, "train", "kinds/fraud:train.adverse:3", {})
    with pytest.raises(RiskDataError, match=re.escape(what)) as error:
        fill(template, read(), random.Random(1))
    assert str(error.value).startswith("kinds/fraud:train.adverse:3: ")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("fraud [Acme] did it", "expected the labels or '-', a tab, and the text"),
        ("froud\t[Acme|fraud] did it", "'froud' is none of"),
        ("recall\t[Acme|fraud] did it", "'fraud' is marked on a company but is not among"),
        ("fraud\t[Acme|fraud did it", "a bracket without its pair"),
    ],
)
def test_a_wrong_test_line_names_its_place(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "test.tsv"
    path.write_text(f"# a comment\n-\tfine\n{line}\n")
    with pytest.raises(RiskDataError, match=re.escape(what)) as error:
        held_out(path)
    assert f"{path}, line 3: " in str(error.value)


def test_the_test_set_reads_back_as_it_was_written() -> None:
    lines = [line for line in (FOLDER / "test.tsv").read_text().splitlines() if line and not line.startswith("#")]
    for line, text in zip(lines, held_out(), strict=True):
        labels, _, marked = line.partition("\t")
        assert set(labels.replace("-", "").split(",")) - {""} == set(text.risks)
        assert re.sub(r"\[([^|\]]+)[^\]]*\]", r"\1", marked) == text.text
        assert readable(text).count("[") == marked.count("[")


def test_every_label_is_defined_and_counted_in_the_docs() -> None:
    page = (ROOT / "docs" / "risk.md").read_text()
    assert re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE) == list(RISKS)
    told = {
        label: tuple(map(int, counts))
        for label, *counts in re.findall(r"^\| (\w+) \| \d+, \d+ \| (\d+) \| (\d+) \| (\d+) \|", page, re.MULTILINE)
    }
    counted = [kinds(part(split)) for split in ("train", "valid", "test")]
    assert told == {label: tuple(count[label] for count in counted) for label in RISKS}


def test_the_material_stays_readable() -> None:
    files = [path for path in FOLDER.rglob("*") if path.suffix in (".toml", ".tsv", ".py")]
    assert sum(path.stat().st_size for path in files) < 1_500_000
    assert max(len(line) for path in files for line in path.read_text().splitlines()) < 800


@pytest.mark.parametrize(
    ("arguments", "what"), [([], "--out FILE"), (["--sample", "1", "--split", "dev"], "train, valid, test")]
)
def test_the_command_refuses_what_it_cannot_do(arguments: list[str], what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "monitor", "models", "risk-data", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert what in " ".join(done.stderr.split())
