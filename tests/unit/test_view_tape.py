"""The tape: the newest live document first, and history that was backfilled behind all of them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines import view
from pipelines.asking import LetGo
from pipelines.documents import ScoredDocument, decode, encode, epoch, iso
from pipelines.entities import Entity
from pipelines.finding import Wanted
from pipelines.scored import Sentiment, Topic
from pipelines.streams.base import SCORES, Record
from pipelines.view import ReadModel
from pipelines.view_file import MIGRATIONS
from pipelines.watch import Watch, WatchList

NOW = 1_790_000_000.0
DAY = 86_400.0
WATCH = Watch([WatchList(name="mine", entities=(Entity(id="acme", name="Acme", custom=True),))], ["Earnings"])


def scored(name: str, at: float, *, backfill: bool = False, offset: int = 0) -> Record:
    document = ScoredDocument(
        id=name, source="wire", class_="news", publisher="p", title=name, language="en", backfill=backfill,
        published=iso(at), fetched=iso(NOW), at=iso(at), scored=iso(NOW), model="fake", supported=True,
        signature=b"", topic=Topic("Earnings", 0.9),
    )  # fmt: skip
    return Record(SCORES, name, encode(document), offset)


LOG = [
    scored("yesterday", NOW - DAY),
    scored("today", NOW),
    scored("a revised one", NOW - 60),
    scored("late", NOW - 2 * DAY),
    *(scored(f"history {n}", NOW - (20 - n) * DAY, backfill=True) for n in range(3)),
    scored("a revised one", NOW - 60),
]
TAPE = ["today", "a revised one", "yesterday", "late", "history 2", "history 1", "history 0"]


def names(model: ReadModel, key: str | None = None, limit: int = 50) -> list[str]:
    return [one["id"] for one in model.documents(key, limit)]


def test_history_that_was_backfilled_comes_after_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ReadModel(tmp_path / "view", WATCH)
    model.apply(LOG, "1")
    assert names(model) == names(model, "topic:earnings") == TAPE
    assert names(model, limit=5) == TAPE[:5]
    assert [one["backfill"] for one in model.documents()] == [False] * 4 + [True] * 3
    monkeypatch.setattr(view, "KEEP_DOCUMENTS", 5)
    model.apply([scored(f"history {n}", NOW - 30 * DAY, backfill=True) for n in range(3, 5_010)], "2")
    assert names(model) == TAPE[:5], "a long history took the place of what is live"
    model.close()


def file_of_before(path: Path, version: int) -> sqlite3.Connection:
    """The tables of an older version, empty."""
    db = sqlite3.connect(path)
    for statements in MIGRATIONS[:version]:
        db.executescript(statements)
    db.execute(f"PRAGMA user_version = {version}")
    return db


@pytest.mark.parametrize("version", [3, 5])
def test_a_file_of_before_gets_places_and_words(tmp_path: Path, version: int) -> None:
    model = ReadModel(tmp_path / "new", WATCH)
    model.apply(LOG, "1")
    db = file_of_before(tmp_path / "view", version)
    with db:
        for number, one in enumerate(model.documents(), 1):
            at, record = epoch(one["at"]), json.dumps({**one, "at": one["at"]})
            backfill = (one["backfill"],) if version > 3 else ()
            row = (number, one["id"], at, record, *backfill)
            db.execute(f"INSERT INTO documents VALUES ({', '.join('?' * len(row))})", row)
            db.execute("INSERT INTO document_keys VALUES ('topic:earnings', ?)", (number,))
        db.execute("UPDATE place SET position = '1'")
    db.close()
    model.close()
    model = ReadModel(tmp_path / "view", WATCH)
    assert names(model) == names(model, "topic:earnings") == TAPE and model.position == "1"
    assert [one["id"] for one in model.tape(Wanted(q="a revised"), 5).entries] == ["a revised one"]
    model.apply([scored("a revised one", NOW - 60), scored("today's second", NOW)], "2")
    assert names(model)[:3] == ["today's second", "today", "a revised one"]
    model.close()


def headline(name: str, title: str, at: float, **fields: Any) -> Record:
    record = decode(ScoredDocument, scored(name, at).value)
    return Record(SCORES, name, encode(msgspec.structs.replace(record, title=title, **fields)), 0)


TITLES = {
    "fine": "Regulator fines Acme for hiding an accident",
    "chinese": "监管机构处罚平安银行，罚款两千万",
    "mixed": "Acme股价大跌后停牌",
    "accents": "Société Générale cède sa filiale",
    "ampersand": "AT&T sells towers",
}


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("regulator", ["fine"]),
        ("REGULATORS", ["fine"]),
        ("acme", ["mixed", "fine"]),
        ("acme accident", ["fine"]),
        ('"hiding an accident"', ["fine"]),
        ('"an accident hiding"', []),
        ("accident hid", ["fine"]),
        ("处罚", ["chinese"]),
        ("平安银行", ["chinese"]),
        ("罚", ["chinese"]),
        ("银处", []),
        ("股价", ["mixed"]),
        ("acme 停牌", ["mixed"]),
        ("societe generale", ["accents"]),
        ("AT&T", ["ampersand"]),
        ("borealis post", ["fine"]),
        ("nothing of it", []),
        ("", []),
        ("*", []),
        ('"', []),
        ("acme AND", []),
        ("acme NOT accident", []),
        ("NEAR(acme accident, 2)", []),
        ("text:acme", []),
        ('acme" OR "x', []),
        ("a* ^acme {text}: (", []),
        ("x" * 10_000, []),
        ("x " * 5_000, []),
        ('" ' * 5_000, []),
        ("罚" * 5_000, []),
        ("\ud800 \x00 acme", ["mixed", "fine"]),
    ],
)
def test_words_are_found_whatever_the_script_and_nothing_asked_fails(
    tmp_path: Path, question: str, found: list[str]
) -> None:
    model = ReadModel(tmp_path / "view", WATCH)
    log = [headline(name, title, NOW - n, publisher="Borealis Post" if name == "fine" else None)
           for n, (name, title) in enumerate(reversed(TITLES.items()))]  # fmt: skip
    model.apply(log[::-1], "1")
    assert sorted(one["id"] for one in model.tape(Wanted(q=question), 9).entries) == sorted(found)
    model.close()


def test_what_is_let_go_of_is_in_no_index_and_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "view"
    model = ReadModel(path, WATCH)
    old = headline("old", "Quillfeather scandal deepens", NOW - DAY, fetched=iso(NOW - 9 * DAY))
    model.apply([old, headline("single", "Brambledown quarrel ends", NOW), scored("today", NOW)], "1")
    model.apply([headline("single", "Marrowfat verdict is due", NOW - 5, revision=1)], "2")
    held = lambda word: [one.name for one in tmp_path.iterdir() if word in one.read_bytes().lower()]  # noqa: E731
    assert held(b"quillfeath") and held(b"marrowfat"), "the test looks for what never was there"
    assert model.tape(Wanted(q="brambledown"), 5).entries == [], "a revision is found by its old words"
    model.shed(NOW - 5 * DAY)
    assert model.forget(["single"]) == 1
    model.close()
    for word in (b"quillfeath", b"deepen", b"brambledown", b"quarrel", b"marrowfat", b"verdict is"):
        assert not held(word), word
    model = ReadModel(path, WATCH)
    assert names(model) == ["today"] == [one["id"] for one in model.tape(Wanted(q="today"), 5).entries]
    model.close()


def test_pages_follow_each_other_whatever_comes_in_between(tmp_path: Path) -> None:
    model = ReadModel(tmp_path / "view", WATCH)
    model.apply([scored(f"d{n}", NOW - n // 3) for n in range(20)], "1")
    first = model.tape(Wanted(), 7)
    model.apply([scored("fresh", NOW + 5), scored("d3", NOW - 1), scored("late", NOW - 5.5)], "2")
    seen, after = [one["id"] for one in first.entries], first.after
    while after is not None:
        page = model.tape(Wanted(), 7, *after)
        seen += [one["id"] for one in page.entries]
        after = page.after
    assert sorted(seen) == sorted([*(f"d{n}" for n in range(20)), "late"]) and len(set(seen)) == len(seen)
    model.forget([f"d{n}" for n in range(20)] + ["late"])
    with pytest.raises(LetGo):
        model.tape(Wanted(), 7, *first.after or ())
    model.close()


def test_filters_hold_together_and_copies_of_a_day_are_folded(tmp_path: Path) -> None:
    model = ReadModel(tmp_path / "view", WATCH)
    mood = {label: Sentiment(label, *((0.8, 0.1, 0.1) if label == "negative" else (0.1, 0.1, 0.8)))
            for label in ("negative", "positive")}  # fmt: skip
    noon = NOW - NOW % DAY + DAY / 2
    model.apply(
        [
            *(headline(f"copy {n}", "Acme ore spill", noon + n, sentiment=mood["negative"]) for n in range(4)),
            headline("good", "Acme wins ore contract", noon + 9, sentiment=mood["positive"]),
            headline("legal", "Ore court case", noon + 10, topic=Topic("Legal | Regulation", 0.9)),
            headline("before", "Acme ore spill", noon - DAY, sentiment=mood["negative"]),
        ],
        "1",
    )
    ask = lambda **wanted: [one["id"] for one in model.tape(Wanted(**wanted), 9).entries]  # noqa: E731
    assert ask(q="ore", folded=True) == ["legal", "good", "copy 3", "before"]
    assert [one["reprints"] for one in model.tape(Wanted(q="spill", folded=True), 9).entries] == [3, 0]
    assert ask(sentiment="positive") == ask(q="ore", sentiment="positive", key="topic:earnings") == ["good"]
    assert ask(topic="Legal | Regulation") == ["legal"] and ask(q="ore", key="topic:nothing") == []
    assert ask(since=noon + 3, until=noon + 10) == ["good", "copy 3"] == ask(q="ore", since=noon + 3, until=noon + 10)
    model.close()
