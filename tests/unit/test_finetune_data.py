"""A user's texts as `tapewatch models finetune --check` takes and refuses them: the command as its entry point calls it."""

from __future__ import annotations

import csv
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import main

FIRMS = (
    "Acme",
    "Brightwater",
    "Halvorne",
    "Castellan",
    "Nordane",
    "Quillon",
    "Vestry",
    "Marlowe",
    "Ostrava",
    "Pellham",
)
PLACES = ("Lyon", "Porto", "Graz", "Turku", "Leeds", "Ghent", "Split", "Malmo")
SAYS = {
    "Labour": (
        "staff",
        "walk",
        "night",
        "wages",
        "union",
        "picket",
        "shifts",
        "crews",
        "ballot",
        "dockers",
        "pay",
        "gate",
    ),
    "Earnings": (
        "profit",
        "quarter",
        "margin",
        "sales",
        "guides",
        "beats",
        "raises",
        "costs",
        "annual",
        "net",
        "up",
        "by",
    ),
    "Macro": (
        "output",
        "index",
        "slows",
        "survey",
        "orders",
        "exports",
        "prices",
        "factory",
        "trade",
        "month",
        "gap",
        "eases",
    ),
}


def texts(count: int = 240) -> list[dict[str, str]]:
    """As many texts a topic, none of which repeats another's."""
    rng, found = random.Random(7), []
    for i in range(count):
        topic = tuple(SAYS)[i % 3]
        found.append({"text": " ".join([FIRMS[i % 10], *rng.sample(SAYS[topic], 6), PLACES[i % 8]]), "topic": topic})
    return found


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


class Check:
    """Runs the command; what it printed, or what it refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        self._monkeypatch, self._capture = monkeypatch, capfdbinary

    def __call__(self, data: Path, *options: str) -> tuple[int, Any, str]:
        arguments = ["tapewatch", "models", "finetune", "--data", str(data), "--check", *options]
        self._monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capture.readouterr()
        return int(ended.value.code or 0), json.loads(out or b"null"), err.decode()


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Check:
    return Check(monkeypatch, capfdbinary)


def test_texts_are_counted_and_no_story_is_on_both_sides(tmp_path: Path, check: Check) -> None:
    rows = texts()
    for firm in FIRMS:  # editions of one story: other figures, a word more
        for day in range(3):
            rows.append(
                {
                    "text": f"Port of Oslo shuts gate {day} as {firm} pilots demand a higher hourly wage",
                    "topic": "Labour",
                }
            )
    code, found, error = check(write(tmp_path / "own.csv", rows), "--new-topic", "Labour")
    assert (code, error) == (0, "")
    assert found["rows"] == found["texts"] == len(rows) == found["train"] + found["valid"]
    assert found["new_labels"] == ["Labour"]
    assert set(found["labels"]["topic"]) == set(SAYS)
    assert all(by["valid"] >= 10 for by in found["labels"]["topic"].values())
    assert found["alike"] >= 27
    again = check(write(tmp_path / "again.csv", rows), "--new-topic", "Labour")
    assert again[1] == found


def test_editions_of_a_story_stay_together() -> None:
    from models.finetune.split import groups, held_back

    told = ["Acme recalls 4,000 ovens after two fires in Lyon", "Acme recalls 4,500 ovens after two fires in Lyon"]
    others = [f"{firm} opens its office in {place} this week" for firm in FIRMS for place in PLACES]
    together = groups([*told, *others])
    assert together[1] == 0 and together[2] != 0
    back = held_back([*told, *others], [["topic A"]] * 2 + [["topic B"]] * len(others), together)
    assert (0 in back) == (1 in back)
    assert all(together[a] != together[b] for a in back for b in range(len(together)) if b not in back)


def test_json_lines_say_the_same_as_csv(tmp_path: Path, check: Check) -> None:
    rows = [{**row, "split": "valid" if i % 4 == 0 else "train"} for i, row in enumerate(texts())]
    for row in rows:
        row["risk"] = "strike;Night work" if row["topic"] == "Labour" else "none"
    options = ("--new-topic", "Labour", "--new-risk", "Night work")
    wanted = check(write(tmp_path / "own.csv", rows), *options)
    lines = [
        json.dumps({**row, "risk": row["risk"].replace("none", "").split(";") if row["risk"] != "none" else []})
        for row in rows
    ]
    (tmp_path / "own.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert check(tmp_path / "own.jsonl.gz", *options) == wanted
    assert wanted[1]["labels"]["risk"] == {
        "strike": {"train": 60, "valid": 20},
        "Night work": {"train": 60, "valid": 20},
        "none": {"train": 120, "valid": 40},
    }


def test_everything_wrong_is_told_at_once_with_lines_and_remedies(tmp_path: Path, check: Check) -> None:
    rows = texts()
    rows += [
        {"text": "Acme wins the tender for Lyon's trams", "topic": "Earnigs"},
        {"text": "Acme wins the tender for Porto's trams", "sentiment": "Positive"},
        {"text": "  ", "topic": "Macro"},
        {"text": "Nordane opens a yard in Graz", "entity": "Acme", "entity_sentiment": "positive"},
        {"text": "Nordane opens a yard in Turku", "entity_sentiment": "positive"},
        {"text": "Vestry names a new chair", "topic": "Macro"},
        {"text": "VESTRY names a new chair", "topic": "Earnings"},
        {"text": "Акме отзывает печи после двух пожаров", "topic": "Macro"},
        {"text": "Pellham sued over ovens", "risk": "none;litigation"},
    ]
    data = write(tmp_path / "own.csv", rows)
    data.write_bytes(
        data.read_bytes() + b"Soci\xe9t\xe9 Acme lifts forecast,Macro,,,,\r\n" + b'"Acme, again",Macro\r\n'
    )
    code, found, error = check(data)
    assert (code, found) == (2, None)
    assert f"{data} can't be learned from as it is; 90 faults" in error
    for told in (
        "83 x a label that the model has not; correct it, or name a label of your own with --new-topic",
        "(lines 2, 5, 8, 11, 14, …): topic 'Labour' (none of 20); topic 'Earnigs' (did you mean 'Earnings'?); "
        "sentiment 'Positive' (did you mean 'positive'?); risk 'none' beside 'litigation'",
        "1 x no text; write one, or take the row out (line 244)",
        "1 x an entity that does not stand in its text as a whole word; write it as the text does, in any case (line 245): 'Acme'",
        "1 x labels toward an entity without an entity; fill the column entity (line 246)",
        "1 x a text that stands there twice with different labels; keep the right one (line 248): lines 247 and 248",
        "1 x a text without letters, or in another script than the model reads; take it out (line 249)",
        "1 x text that is not UTF-8, or was broken before; save the file as UTF-8 (iconv -f cp1252 -t utf-8) (line 251)",
        "(line 252): 2 cells under 6 columns",
    ):
        assert told in error, error


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        ("text,topic\nAcme wins,Macro\n".encode("utf-16"), "is UTF-16"),
        (b"text,topik\nAcme wins,Macro\n", "column 'topik': did you mean 'topic'?"),
        (b"headline,topic\nAcme wins,Macro\n", "column 'text' is missing"),
        (b"text,day\nAcme wins,Monday\n", "no column has labels"),
        (b"text,topic,topic\nAcme wins,Macro,Macro\n", "column 'topic' stands there twice"),
        (b"text,topic\n", "holds no row"),
        (b'text,topic\n"Acme wins,Macro\n', "is a quote left open?"),
        (
            b"text,topic\nAcme wins,Macro\n",
            "column topic has 1 to learn from and 0 to judge by, a column needs 40 and 20",
        ),
        (b"text,topic,split\nAcme wins,Macro,test\n", "neither train nor valid; name one in every row"),
        (b"text,topic,split\nAcme wins,Macro,train\nAcme wins,Macro,valid\n", "a text that is in train and in valid"),
        (b"text,entity,entity_risk\nAcme sued,Acme,litigation\n", "events toward an entity that its text's own lack"),
    ],
)
def test_what_no_model_can_learn_from_is_refused(tmp_path: Path, check: Check, content: bytes, told: str) -> None:
    data = tmp_path / "own.csv"
    data.write_bytes(content)
    code, _, error = check(data)
    assert code == 2 and told in error and str(data) in error, error


def test_a_label_of_ones_own_is_named_new_and_often_enough(tmp_path: Path, check: Check) -> None:
    rows = texts()
    data = write(tmp_path / "own.csv", rows)
    for label, told in (
        ("Macro", "is there as 'Macro'"),
        ("M & A investments", "is there as 'M&A | Investments'"),
        ("a;b", "no ';'"),
        ("|", "with a letter"),
    ):
        code, _, error = check(data, "--new-topic", label)
        assert code == 2 and told in error, error
    few = write(tmp_path / "few.csv", [row for row in rows if row["topic"] != "Labour"] + rows[:30])
    code, _, error = check(few, "--new-topic", "Labour")
    assert code == 2 and "'Labour' has 8 to learn from and 2 to judge by, a new label needs 20 and 5" in error, error
    alike = [{**row, "risk": "strike"} for row in rows]
    code, _, error = check(write(tmp_path / "alike.csv", alike), "--new-topic", "Labour")
    assert code == 2 and "column risk says 'strike' everywhere" in error, error
