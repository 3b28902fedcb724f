"""What the page says: the same in both languages, nothing of it outside the catalogues; what its charts draw."""

import re
from pathlib import Path
from string import Formatter
from xml.etree import ElementTree

import pytest

import monitor.page
from models.labels import TOPICS
from monitor.page import charts
from monitor.page.frame import health
from monitor.page.now import name_of
from monitor.page.render import signed
from monitor.page.words import LANGUAGES, preferred, words
from pipelines.histories import Bucket
from pipelines.universe import Entity
from pipelines.watch import WatchedKey

FOLDER = Path(monitor.page.__file__).parent
TEMPLATES = sorted((FOLDER / "templates").glob("*.html"))


def test_both_catalogues_have_the_same_texts_with_the_same_names_in_them() -> None:
    english, chinese = (words(language) for language in LANGUAGES)
    assert english.keys() == chinese.keys()
    for key in english.keys():
        told = [
            {name for _, name, _, _ in Formatter().parse(catalogue.known(key, "")) if name}
            for catalogue in (english, chinese)
        ]
        assert told[0] == told[1] or key.endswith(".one"), key
        assert chinese.known(key, "").strip() and english.known(key, "").strip(), key


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_a_text_of_its_own(template: Path) -> None:
    source = re.sub(r"\{[{%#].*?[}%#]\}", "", template.read_text(), flags=re.DOTALL)
    attributes = re.findall(r'(?:title|aria-label|placeholder|alt)="([^"]*)"', source)
    bare = re.sub(r"<[^>]*>", " ", source).replace("tapewatch", "")
    left = [text for text in (bare, *attributes) if re.search(r"[^\W\d_]{2,}", text.replace("entity:JPM", ""))]
    assert left == []


def test_every_text_that_a_template_names_is_in_the_catalogue() -> None:
    known = words("en").keys()
    for template in TEMPLATES:
        for key in re.findall(r"""\bt\(["']([a-z0-9_.]+)["'][,)]""", template.read_text()):
            assert key in known or f"{key}.other" in known, (template.name, key)


def test_topics_and_their_keys_have_chinese_names_and_a_users_own_stays() -> None:
    chinese = words("zh")
    assert all(chinese.topic(topic) != topic and words("en").topic(topic) == topic for topic in TOPICS)
    assert chinese.topic("Fleet") == "Fleet"
    acme = Entity(id="acme", name="Acme")
    for key, name in (
        (WatchedKey(key="topic:earnings", topic="Earnings"), "业绩财报"),
        (WatchedKey(key="entity:acme|topic:earnings", entities=(acme,), topic="Earnings"), "Acme (业绩财报)"),
        (WatchedKey(key="entity:acme", entities=(acme,)), "Acme"),
        (WatchedKey(key="list:mine", watchlists=("mine",)), "名单 mine"),
        (WatchedKey(key="market"), chinese("key.market")),
    ):
        assert name_of(key, chinese) == name
        assert name_of(key, words("en")) == key.name


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,zh;q=0.5", "en"),
        ("fr, zh;q=0.1, en;q=0.05", "zh"),
        ("zh;q=0, en", "en"),
        ("fr;q=abc,;;,=", "en"),
        ("", "en"),
        ("x" * 100_000, "en"),
    ],
)
def test_the_language_is_the_one_that_the_browser_asks_for(header: str, language: str) -> None:
    assert preferred(header) == language


def test_charts_draw_what_was_counted_and_nothing_where_nothing_was() -> None:
    past = [
        Bucket(start=n * 1_800.0, end=(n + 1) * 1_800.0, bad=8.0 if n == 3 else 0.5, expected=0.4, high=1.0, low=0.1,
               score=4.0, threshold=3.0, seen=n != 2, known=n != 2)
        for n in range(6)
    ]  # fmt: skip
    hostile = '<script>"&'
    for drawn in (
        charts.counted(past, [charts.Mark(6_000.0, "critical", hostile)], hostile),
        charts.scored(past, [], hostile),
        charts.small(past, [(1_000.0, -0.5), (2_000.0, 0.5)], [], hostile),
    ):
        root = ElementTree.fromstring(str(drawn))  # noqa: S314
        assert root.attrib["aria-label"] == hostile and root.attrib["role"] == "img"
        assert "script" not in {part.tag for part in root.iter()}
        assert "style" not in {name for part in root.iter() for name in part.attrib}
    counted = ElementTree.fromstring(str(charts.counted(past, [], "")))  # noqa: S314
    high = [part.attrib["d"] for part in counted if part.attrib.get("class") == "bar high"]
    assert [d.count("M") for d in high] == [1], "one stretch is a story or more above its band"
    band = next(part.attrib["d"] for part in counted if part.attrib.get("class") == "band")
    assert band.count("M") == 2, "where nothing is known there is a gap"


@pytest.mark.parametrize(
    ("healthy", "unread", "lag", "said"),
    [
        (6, 0, 0.0, ("well", "All well")),
        (5, 1, 0.0, ("well", "All well")),
        (5, 0, 0.0, ("worn", "Not everything can be seen")),
        (6, 0, 90.0, ("worn", "Running late")),
        (5, 0, 90.0, ("worn", "Not everything can be seen, and running late")),
    ],
)
def test_the_line_under_the_head_says_what_is_wrong_and_nothing_else(
    healthy: int, unread: int, lag: float, said: tuple[str, str]
) -> None:
    told = health(
        {
            "coverage": {"expected": 6, "healthy": healthy, "unread": unread}, "lag": {"score": {"seconds": lag}},
            "ready": True, "reasons": [], "model": "m", "model_in_use": {"since": 0.0}, "watched_keys": 1,
            "false_alarms_per_key_month": 0.05, "outbox": {}, "version": "1", "engine": "memory", "uptime_seconds": 1.0,
            "configuration": "c", "stands_by": [],
        }
    )  # fmt: skip
    assert (told["state"], words("en").known(f"health.{told['said']}", "")) == said


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.004, "0.00"), (0.004, "0.00"), (-0.17, "−0.17"), (0.74, "+0.74"), (-1.0, "−1.00")]
)
def test_a_mood_that_rounds_to_nothing_has_no_sign(value: float, shown: str) -> None:
    assert signed(value) == shown
