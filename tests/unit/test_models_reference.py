"""A card's reference: counted by the model itself, kept in the card, and refused where it doesn't fit."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from models import card as cards
from models.card import CardError, Reference
from models.classifier import load
from models.drift import distances
from models.measures import MEASURES, Bins
from monitor.cli import app
from tests import five_heads

TEXTS = ("acme wins", "beta recall .", "acme and beta", "corp fraud", "fraud and recall", "beta wins", "zzz acme")


def table(path: Path, header: str, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="") as target:
        csv.writer(target).writerows([header.split(","), *rows])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    calm = [("valid", text) for text in TEXTS[:3] * 5]
    table(folder / "calm.csv", "split,text", [*calm, *(("train", text) for text in TEXTS * 4)])
    table(
        folder / "wild.csv", "split,text,label", [("valid", text, "x") for text in TEXTS[3:] * 5] + [("valid", "", "")]
    )
    table(folder / "mentions.csv", "split,text,entity", [("valid", "acme wins", "acme")])
    table(folder / "other.csv", "ticker", [("ACME",)])
    return folder


def refer(folder: Path, data: Path) -> Any:
    done = CliRunner().invoke(app, ["models", "reference", "--model", str(folder), "--data", str(data)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_command_counts_valid_texts_and_the_card_keeps_them(tmp_path: Path, data: Path) -> None:
    folder = five_heads.write(tmp_path / "five")
    before = cards.read(folder)
    told = refer(folder, data)
    card = cards.verify(folder)
    assert replace(card, reference=None) == before and card.reference is not None
    assert told["texts"] == {"calm": 15, "wild": 20} and set(told["effects"]["calm - wild"]) == set(MEASURES)
    calm, wild = card.reference.parts["calm"], card.reference.parts["wild"]
    assert calm["language"] == (15, 0) and calm["adverse"] == (15, 0) and wild["adverse"] == (10, 10)
    assert sum(wild["unknown"][1:]) == 5, "zzz is no word of this model"
    assert wild["length"][0] == 20 and sum(calm["story"]) == 15 and len(card.reference.centres) == 16 * five_heads.STORY
    assert "compared with what it made of the valid parts of calm, wild" in (folder / "README.md").read_text()


def test_live_texts_count_in_the_same_bins(tmp_path: Path, data: Path) -> None:
    folder = five_heads.write(tmp_path / "five")
    refer(folder, data)
    model = load(str(folder))
    assert model.reference is not None
    bins, texts = Bins(model, model.reference.centres), list(TEXTS[:3]) * 5
    same = bins.tally(["en"] * 15, model.predict(texts, story=bins.story))
    assert {name: tuple(counts) for name, counts in same.items()} == model.reference.parts["calm"]
    judged = model.predict(list(TEXTS[3:]), story=True)
    mixed = bins.tally(["en"] * 4 + ["de", "fr"], judged)
    assert mixed["language"] == [4, 2] and sum(mixed["topic"]) == 4
    apart = distances(mixed, model.reference.parts["calm"])
    assert apart["language"] > 0.5 and apart["adverse"] > 0.5, apart
    assert bins.tally(["de"], []) == {"language": [0, 1]}
    model.close()


def test_a_model_without_story_or_events_is_measured_by_the_rest(tmp_path: Path, data: Path) -> None:
    folder = five_heads.write(tmp_path / "two", card=five_heads.TWO_HEADS, without=("risk", "tokens", "story"))
    told = refer(folder, data)
    assert set(told["effects"]["calm - wild"]) == set(MEASURES) - {"adverse", "story"}


def test_a_card_without_a_reference_or_with_other_bins_loads(tmp_path: Path, data: Path) -> None:
    folder = five_heads.write(tmp_path / "five")
    assert load(str(folder)).reference is None
    refer(folder, data)
    card = cards.read(folder)
    assert card.reference is not None
    cards.write(folder, replace(card, reference=replace(card.reference, bins=99)))
    assert load(str(folder)).reference is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"parts": {"calm": {"topic": (1, 2, 3)}}},
            "set 'calm': 'topic' has 3 counts, 6 in all, where this model has 2",
        ),
        (
            {"parts": {"calm": {"mood": (1, 2)}}},
            "set 'calm': 'mood' has 2 counts, 3 in all, where this model has 0 bins",
        ),
        ({"parts": {"calm": {"adverse": (0, 0)}}}, "'adverse' has 2 counts, 0 in all"),
        ({"parts": {"calm": {"adverse": (5, -1)}}}, "'adverse' has 2 counts"),
        ({"centres": b"123"}, "3 bytes of centres, which are none of 8 dimensions"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    folder = five_heads.write(tmp_path / "five")
    reference = replace(Reference(bins=1, parts={}), **change)
    cards.write(folder, replace(cards.read(folder), reference=reference))
    with pytest.raises(CardError, match=f"card of 'five'.*{re.escape(says)}.*models reference"):
        load(str(folder))


def test_a_folder_without_valid_texts_is_refused(tmp_path: Path, data: Path) -> None:
    folder = five_heads.write(tmp_path / "five")
    for path in data.glob("*.csv"):
        path.write_text(path.read_text().replace("valid", "test"))
    done = CliRunner().invoke(app, ["models", "reference", "--model", str(folder), "--data", str(data)])
    assert done.exit_code == 2 and "rows of split 'valid'" in re.sub(r"[\s│]+", " ", done.output)
    assert cards.read(folder).reference is None


def test_the_shipped_card_has_a_reference_of_every_measure() -> None:
    card = cards.verify(cards.folder_of("default"))
    assert card.reference is not None and card.story is not None
    assert all(set(part) == set(MEASURES) for part in card.reference.parts.values())
    assert len(card.reference.centres) == 16 * card.story.dimensions
