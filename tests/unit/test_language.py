"""The language of headlines: short ones, full of names, with words that languages share, in feeds that say what they are.

``language_headlines.tsv`` was written for this: the rows marked "known" while the weights were fitted, the "fresh"
ones after it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.language import language

_LINES = (Path(__file__).parent / "language_headlines.tsv").read_text(encoding="utf-8").splitlines()[1:]
HEADLINES = [(code, part, text) for code, part, text in (line.split("\t") for line in _LINES)]


def test_the_set_is_large_and_of_many_languages() -> None:
    codes = [code for code, _, _ in HEADLINES]
    assert len(HEADLINES) >= 600
    assert sum(codes.count(code) >= 10 for code in set(codes)) >= 16
    assert len({text for _, _, text in HEADLINES}) == len(HEADLINES)


@pytest.mark.parametrize("part", ["known", "fresh"])
def test_no_english_headline_is_lost_and_no_foreign_one_judged(part: str) -> None:
    found = [(code, language(text)[0], text) for code, mark, text in HEADLINES if mark == part]
    lost = [text for code, seen, text in found if code == "en" and seen != "en"]
    judged = [text for code, seen, text in found if code != "en" and seen == "en"]
    named = sum(code == seen for code, seen, _ in found)
    english = sum(code == "en" for code, _, _ in found)
    print(f"{part}: {english} English, lost {lost}; {len(found) - english} others, judged {judged}; {named} named")
    assert len(lost) <= 0.012 * english
    assert len(judged) <= 0.035 * (len(found) - english)
    assert named >= 0.9 * len(found)


def test_told_their_language_all_the_others_are_refused() -> None:
    assert [text for code, _, text in HEADLINES if code != "en" and language(text, code)[0] == "en"] == []


def test_a_feed_that_calls_itself_english_unasked_hides_few() -> None:
    others = [text for code, _, text in HEADLINES if code != "en"]
    hidden = [text for text in others if language(text, "en-US")[0] == "en"]
    print(f"hidden {len(hidden)} of {len(others)}: {hidden}")
    assert len(hidden) <= 0.05 * len(others)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Acme shares fall after profit warning", "en"),
        ("AAPL 10-K", "en"),
        ("BUY TSLA NOW", "en"),
        ("Den of thieves raided by police", "en"),
        ("OLYMPUS CEO QUITS AMID ALLEGATIONS", "en"),
        ("Toyota (トヨタ) shares fall sharply after a recall", "en"),
        ("Autobauer ruft 56.000 Wagen wegen Brandgefahr zurück", "de"),
        ("Bénéfice en hausse pour le groupe au premier trimestre", "fr"),
        ("La compañía recorta su previsión de beneficios", "es"),
        ("Il gruppo taglia le stime di utile nel trimestre", "it"),
        ("公司股价大跌，投资者要求赔偿", "zh"),
        ("通期予想を下方修正、株価が下落", "ja"),
        ("삼성전자 주가 급락", "ko"),
        ("Акции компании упали после отчета", "ru"),
    ],
)
def test_the_language_of_headlines(text: str, code: str) -> None:
    found, confidence = language(text)
    assert found == code
    assert 0 < confidence <= 1


def test_where_there_is_too_little_the_feeds_own_word_counts() -> None:
    assert language("Acme", "de-AT") == ("de", 0.5)
    assert language("Acme", "Deutsch") == ("en", 0.5)
    assert language("2026: 4.5 %", "fr") == ("fr", 0.3)
    assert language("", None) == ("und", 0.0)


def test_a_long_text_is_told_by_its_letters_whatever_its_feed_says() -> None:
    german = (
        "Der Vorstand will nach Angaben eines Sprechers bis zum Herbst über den Verkauf der Sparte entscheiden, " * 3
    )
    english = "The board will decide on the sale of the unit by autumn, a spokesman said on Tuesday in Frankfurt. " * 3
    assert language(german, "en")[0] == "de"
    assert language(english, "de")[0] == "en"


def test_it_needs_no_place_for_temporary_files() -> None:
    """A hardened daemon may have none, or a small one."""
    text = "Spółka ogłosiła wczoraj, że zamknie fabrykę"
    code = (
        "import sys, tempfile; tempfile.tempdir = '/nowhere'; from pipelines.language import language; "
        "print(language(sys.argv[1])[0])"
    )
    done = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "pl"), done.stderr
