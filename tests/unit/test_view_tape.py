"""The tape: the newest live document first, and history that was backfilled behind all of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipelines import view
from pipelines.documents import ScoredDocument, Topic, encode, iso
from pipelines.entities import Entity
from pipelines.streams.base import SCORES, Record
from pipelines.view import ReadModel
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


def test_a_file_of_before_learns_which_of_its_documents_are_history(tmp_path: Path) -> None:
    model = ReadModel(tmp_path / "view", WATCH)
    model.apply(LOG, "1")
    model.close()
    with sqlite3.connect(tmp_path / "view") as db:
        db.execute("DROP TABLE verdicts")
        db.execute("DROP INDEX documents_tape")
        db.execute("ALTER TABLE documents DROP COLUMN backfill")
        db.execute("PRAGMA user_version = 3")
    db.close()
    model = ReadModel(tmp_path / "view", WATCH)
    assert names(model) == TAPE and model.position == "1"
    model.close()
