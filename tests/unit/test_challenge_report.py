"""What a model makes of the challenge sets: every share by hand, changes that do what they say, the command."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from models.card import CardError
from models.challenge import NEWEST, PHENOMENA, Headline, Post, challenge_set, chinese, headlines, report
from models.challenge.changes import BETTER, CASHTAGS, INVARIANT, NAMES, WORSE
from models.challenge.report import Constant, Events, Share
from models.classifier import FakeClassifier, Prediction
from models.labels import SENTIMENTS
from models.predictions import Mentions
from tests import five_heads

SETS = {
    "headlines.tsv": (
        "safety\tmft\t-\tnegative\trecall\t[Acme|negative] to recall cars, [Bolt|positive] gains\n"  # Fake: positive
        "safety\tmft\t-\tneutral\t-\tProbe of the moon sent\n"  # negative, an investigation
        "safety\tmft\t-\t!negative\t?\t[Acme] opens a shop\n"
        "oil\tinv\tcheap\tpositive\t-\tCheap oil: [Bolt|positive] wins\n"
        "oil\tinv\tcheap\tpositive\t-\t[Bolt|positive] has cheap oil\n"  # neutral
        "oil\tdir\tdear:2\tpositive\t-\tRecord at [Acme]\n"
        "oil\tdir\tdear:1\t?\tfraud,strike\tFraud and strike at Acme\n"
    ),
    "chinese.tsv": (
        "policy\tneutral\t-\tEarnings\t[甲公司|neutral]发布 earnings\n"
        "policy\tnegative\tstrike\tMarkets\t罢工\n"
        "idiom\t?\t?\t?\t利空出尽\n"
    ),
}


@pytest.fixture
def english(tmp_path: Path) -> list[Headline]:
    path = tmp_path / "headlines.tsv"
    path.write_text(SETS["headlines.tsv"])
    return headlines(path)


@pytest.fixture
def in_chinese(tmp_path: Path) -> list[Post]:
    path = tmp_path / "chinese.tsv"
    path.write_text(SETS["chinese.tsv"], encoding="utf-8")
    return chinese(path)


# -- minimum functionality ----------------------------------------------------------------------------------


def test_each_share_is_that_of_what_was_tried(english: list[Headline]) -> None:
    (found,) = report(FakeClassifier(five_heads=True), english).sets
    safety, oil = found.phenomena
    assert (safety.phenomenon, safety.texts, safety.sentiment) == ("safety", 3, Share(3, 0.3333))
    assert safety.toward == Share(2, 0.5), "toward Acme neutral up to the next company, Bolt gains"
    assert (safety.adverse, safety.kinds) == (Share(2, 0.5), Share(2, 0.5))
    assert (oil.sentiment, oil.toward) == (Share(3, 0.6667), Share(2, 0.5))
    assert (oil.adverse, oil.kinds) == (Share(4, 1.0), Share(4, 1.0))
    assert found.whole.sentiment == Share(6, 0.5)
    assert found.constant == Constant("positive", 0.6667), "right of four of six, !negative among them"
    assert found.events == Events(precision=0.6667, recall=1.0, kinds_precision=0.75, kinds_recall=1.0)
    assert (found.whole.topic, found.toward_by_document) == (Share(0, None), 0)


def test_without_a_head_nothing_is_tried_and_the_text_speaks_for_its_companies(english: list[Headline]) -> None:
    (found,) = report(FakeClassifier(), english).sets
    assert found.whole.sentiment == Share(6, 0.5)
    assert (found.whole.adverse, found.whole.kinds, found.events) == (Share(0, None), Share(0, None), None)
    assert (found.whole.toward, found.toward_by_document) == (Share(4, 0.5), 4)


def test_the_chinese_set_has_topics_beside(english: list[Headline], in_chinese: list[Post]) -> None:
    _, found = report(FakeClassifier(five_heads=True), english, in_chinese).sets
    policy, idiom = found.phenomena
    assert (policy.sentiment, policy.topic, policy.toward) == (Share(2, 0.5), Share(2, 0.5), Share(1, 1.0))
    assert (policy.adverse, policy.kinds) == (Share(2, 0.5), Share(2, 0.5))
    assert (idiom.texts, idiom.sentiment, idiom.topic) == (1, Share(0, None), Share(0, None))


def test_a_model_of_other_sentiments_is_refused(english: list[Headline]) -> None:
    class Bulls(FakeClassifier):
        def __init__(self) -> None:
            super().__init__()
            self.sentiments = ("bearish", "bullish")

    with pytest.raises(
        CardError, match=r"its sentiments are bearish, bullish, those of the challenge sets are negative,"
    ):
        report(Bulls(), english)


# -- invariance and direction -------------------------------------------------------------------------------


class Moody(FakeClassifier):
    """Judges texts by one thing that has nothing to do with them, events too."""

    def __init__(self, moved: Callable[[str], bool]) -> None:
        super().__init__(five_heads=True)
        self.moved = moved

    def predict(
        self, texts: Sequence[str], mentions: Mentions | None = None, *, story: bool = False
    ) -> list[Prediction]:
        asked = mentions if mentions is not None else [()] * len(texts)
        answers = super().predict(["wins" if self.moved(text) else "loss by fraud" for text in texts])
        return [replace(answer, mentions=(None,) * len(one)) for answer, one in zip(answers, asked, strict=True)]


def behaviour(classifier: FakeClassifier, rows: list[Headline]) -> dict[str, tuple[Share, Share]]:
    return {test.name: (test.sentiment, test.adverse) for test in report(classifier, rows).behaviour}


def test_groups_of_the_set_are_tried(english: list[Headline]) -> None:
    found = behaviour(FakeClassifier(five_heads=True), english)
    assert found["said_otherwise"] == (Share(1, 0.0), Share(1, 1.0)), "positive, then neutral; both without an event"
    assert found["worse_to_better"] == (Share(1, 1.0), Share(0, None)), "in the order of their ranks"


@pytest.mark.parametrize(
    ("moved", "failing"),
    [
        (str.isupper, "capitals"),
        (str.islower, "small_letters"),
        (lambda text: text.endswith("."), "full_stop"),
        (lambda text: text.startswith("UPDATE"), "later_edition"),
        (lambda text: "(" in text, "ticker_added"),
        (lambda text: NAMES[0] in text, "other_companies"),
    ],
)
def test_a_model_that_is_moved_by_what_must_not_matter_fails(
    english: list[Headline], moved: Callable[[str], bool], failing: str
) -> None:
    found = behaviour(Moody(moved), english)
    for name in INVARIANT:
        expected = 0.0 if name == failing else 1.0
        assert [share.right for share in found[name]] == [expected, expected], name


def test_a_model_that_takes_bad_news_for_good_fails(english: list[Headline]) -> None:
    found = behaviour(Moody(lambda text: "plunge" in text or "arrested" in text), english)
    wrong, right = Share(7, 0.0), Share(7, 1.0)
    assert found["shares_plunge"] == found["chief_arrested"] == (wrong, wrong)
    assert found["shares_surge"] == (right, Share(0, None))
    worse = behaviour(Moody(lambda text: "surge" not in text), english)
    assert worse["shares_surge"] == (wrong, Share(0, None))
    assert worse["shares_plunge"] == (right, right)


# -- the changes --------------------------------------------------------------------------------------------


def test_changes_do_what_they_say_to_the_whole_sets() -> None:
    for row in (*challenge_set(1).english, *challenge_set(2).english):
        changed = INVARIANT["other_companies"](row)
        assert all(entity.name not in changed for entity in row.entities)
        assert len(row.entities) == sum(new in changed for new in (*NAMES, *CASHTAGS)), row
        assert INVARIANT["full_stop"](row).rstrip(".") == row.text.rstrip(".")
        assert INVARIANT["ticker_added"](row).replace(" (ADMQ)", "") == row.text
        assert INVARIANT["capitals"](row).casefold() == INVARIANT["small_letters"](row).casefold()
        for change in (WORSE | BETTER).values():
            assert change(row).startswith(row.text) and change(row)[len(row.text)] in " ."


def test_changes_know_names_from_cashtags(tmp_path: Path) -> None:
    path = tmp_path / "headlines.tsv"
    path.write_text(
        "ticker\tmft\t-\t?\t-\t[$ACME|positive], [Bolt] and [Bolt] again?\nticker\tmft\t-\t?\t-\t[$ACME|positive] up.\n"
    )
    first, second = headlines(path)
    assert INVARIANT["other_companies"](first) == f"{CASHTAGS[0]}, {NAMES[1]} and {NAMES[1]} again?"
    assert INVARIANT["ticker_added"](first) == "$ACME, Bolt (ADMQ) and Bolt again?"
    assert INVARIANT["ticker_added"](second) == second.text
    assert INVARIANT["full_stop"](first) == first.text and INVARIANT["full_stop"](second) == "$ACME up"
    assert WORSE["shares_plunge"](first).endswith("again? Shares plunge on the news.")


# -- the command --------------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor", "models", "challenge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_judges_the_shipped_model_on_the_set_that_it_can_read() -> None:
    found = json.loads(run("--set", 1, "--json").stdout)
    assert found["number"] == 1
    assert [one["name"] for one in found["sets"]] == ["headlines"], "the shipped model reads no Chinese"
    whole = found["sets"][0]["whole"]
    rows = headlines()
    assert whole["texts"] == len(rows) == sum(row["texts"] for row in found["sets"][0]["phenomena"])
    assert whole["sentiment"]["n"] == sum(row.sentiments != frozenset(SENTIMENTS) for row in rows)
    assert 0.4 < whole["sentiment"]["right"] < 1
    tests = {test["name"]: test["sentiment"] for test in found["behaviour"]}
    assert set(tests) == {"said_otherwise", "worse_to_better", *INVARIANT, *WORSE, *BETTER}
    assert tests["shares_plunge"]["right"] > 0.9 < tests["shares_surge"]["right"]


def test_the_command_prints_tables_with_the_columns_that_the_model_answers(tmp_path: Path) -> None:
    card = replace(five_heads.CARD, languages=("en", "zh"))
    said = run("--model", five_heads.write(tmp_path / "five", card=card)).stdout
    assert f", challenge set {NEWEST}: share that is right" in said
    assert "## headlines" in said and "## chinese" in said and "## Behaviour" in said
    assert "| phenomenon | texts | sentiment | toward | adverse | kinds |\n" in said
    assert "| phenomenon | texts | sentiment | toward | adverse | kinds | topic |\n" in said
    assert "Always saying negative would be right in 0." in said
    assert "Called adverse: precision" in said and "Kinds named: precision" in said
    assert "companies the text's sentiment stands" in said, "its window is short"
    two = run(
        "--set",
        1,
        "--model",
        five_heads.write(tmp_path / "two", card=replace(five_heads.CARD, risk=None, mention=None)),
    )
    assert ", challenge set 1: share" in two.stdout and f"| `{PHENOMENA[0]}` | 22 |" in two.stdout
    assert "| phenomenon | texts | sentiment | toward |\n" in two.stdout and "## chinese" not in two.stdout
    assert "Adverse events are not judged: the model has no head for them." in two.stdout


def test_the_command_names_a_model_that_is_not_there(tmp_path: Path) -> None:
    answer = run("--model", tmp_path / "none")
    assert answer.returncode == 1 and "none" in answer.stderr and not answer.stdout


def test_the_command_names_the_sets_that_there_are() -> None:
    answer = run("--set", NEWEST + 1)
    assert answer.returncode == 2 and not answer.stdout
    assert f"--set is 1 or 2, not {NEWEST + 1}" in answer.stderr
