"""A model of five heads from the command line, in real processes."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import five_heads


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return five_heads.write(tmp_path_factory.mktemp("models") / "five")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return five_heads.write(tmp_path_factory.mktemp("models") / "two", card=five_heads.TWO_HEADS)


def run(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)


def answer(model: Path, line: dict[str, Any], *options: str) -> dict[str, Any]:
    done = run("predict", "--model", model, *options, stdin=json.dumps(line))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_predict_tells_events_of_the_text_and_of_each_company(model: Path) -> None:
    line = {"text": "Beta recall and Corp wins", "entities": ["Corp", "Beta", "Acme"]}
    found = answer(model, line)
    assert set(found["risk"]) == {"probability", "adverse", "labels"}
    corp, beta, acme = found["entities"]
    assert (corp["name"], corp["found"], corp["basis"], corp["sentiment"]["label"]) == (
        "Corp",
        True,
        "entity",
        "negative",
    )
    assert corp["risk"]["adverse"] and [one["label"] for one in corp["risk"]["labels"]] == ["recall"]
    assert corp["risk"]["labels"][0]["probability"] > 0.9
    assert (beta["found"], beta["basis"], beta["sentiment"]["label"]) == (True, "entity", "neutral")
    assert beta["risk"] == {"probability": pytest.approx(0.0015, abs=1e-4), "adverse": False, "labels": []}
    assert (acme["found"], acme["basis"]) == (False, "document")
    assert (acme["sentiment"], acme["risk"]) == (found["sentiment"], found["risk"])
    assert "embedding" not in found


def test_a_name_in_a_longer_name_is_no_mention_of_its_own(model: Path) -> None:
    line = {"text": "Beta Corp and Beta", "entities": ["Beta", "Beta Corp"]}
    beta, beta_corp = answer(model, line)["entities"]
    assert not beta["risk"]["adverse"], "Corp's events are of the longer name"
    assert beta_corp["risk"]["adverse"]
    (beta, both) = answer(model, {"text": "Beta Corp", "entities": ["Beta", "Beta Corp"]})["entities"]
    assert (beta["found"], beta["basis"]) == (True, "entity"), "where it has no other it is the one there is"
    assert both["risk"]["adverse"] and not beta["risk"]["adverse"]


def test_a_model_of_two_heads_has_the_answers_of_the_text_for_everybody(two: Path) -> None:
    found = answer(two, {"text": "Beta recall and Corp wins", "entities": ["Corp", "Acme"]})
    assert "risk" not in found
    for entity, is_there in zip(found["entities"], (True, False), strict=True):
        assert entity == {**entity, "found": is_there, "sentiment": found["sentiment"], "basis": "document"}
        assert "risk" not in entity


def test_predict_adds_the_embedding_if_it_is_asked_to(model: Path, two: Path) -> None:
    found = answer(model, {"text": "Beta wins"}, "--embedding")["embedding"]
    assert len(found) == five_heads.STORY and all(isinstance(value, int) and -127 <= value <= 127 for value in found)
    assert min(found) < 0, "bytes are signed"
    refused = run("predict", "--embedding", "--model", two, stdin='{"text": "x"}')
    assert refused.returncode == 2 and "no story embedding" in refused.stderr and refused.stdout == ""


def test_predict_tells_whether_another_text_tells_the_same_story(model: Path, two: Path) -> None:
    line = {"text": "Beta wins", "compare": "Acme recall"}
    same = answer(model, line)["same_story"]
    assert -1 <= same["cosine"] < 1
    assert same["probability"] == pytest.approx(1 / (1 + math.exp(5 - 10 * same["cosine"])), abs=1e-4)
    assert answer(model, line | {"compare": "Beta wins"})["same_story"]["probability"] == 1.0
    for found in (
        run("predict", "--model", two, stdin=json.dumps(line)),
        run("predict", stdin='{"text": "x", "compare": 3}'),
    ):
        assert found.returncode == 1 and found.stdout == "" and "line 1: compare" in found.stderr


def test_show_says_what_the_model_answers(model: Path) -> None:
    shown = run("models", "show", model).stdout
    for part in ("any (called from 0.6) and 2 kinds (named from 0.6)", "of each company", "embedding of 8 dimensions"):
        assert part in shown


def test_evaluate_judges_sentiment_toward_the_entity(model: Path, two: Path, tmp_path: Path) -> None:
    data = tmp_path / "entities.csv"
    rows = [
        ("Beta recall and Corp wins", "Corp", "negative"),
        ("Beta recall and Corp wins", "Beta", "neutral"),
        ("Wins wins", "Acme", "positive"),
    ]
    with data.open("w", newline="") as out:
        csv.writer(out).writerows([("text", "entity", "label"), *rows])
    done = run("models", "evaluate", "--task", "entity_sentiment", "--data", data, "--model", model)
    found = json.loads(done.stdout)
    assert (found["accuracy"], found["basis"], found["basis_document"]) == (1.0, "entity", 1)
    done = run("models", "evaluate", "--task", "entity_sentiment", "--data", data, "--model", two)
    found = json.loads(done.stdout)
    assert (found["basis"], found["basis_document"]) == ("document", 3)
    data.write_text("text,label\nBeta wins,positive\n")
    lacking = run("models", "evaluate", "--task", "entity_sentiment", "--data", data, "--model", model)
    assert lacking.returncode == 2 and "'entity' is missing" in lacking.stderr
