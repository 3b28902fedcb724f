"""What operators list comes from the log alone, in whatever order its topics are read, and after an upgrade."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from alerts.outbox import DeliveryAttempt, Obligation
from pipelines.documents import Command, DeadLetter, SeriesPoint, encode, iso
from pipelines.streams.base import COMMANDS, DEAD_LETTERS, DELIVERIES, OUTBOX, Record
from pipelines.view import ReadModel
from pipelines.view_file import MIGRATIONS
from pipelines.watch import Watch

NOW = 1_790_000_000.0
NAME = "e1|desk"


def attempt(number: int, *, ok: bool = False, gone: bool = False) -> bytes:
    return encode(
        DeliveryAttempt(
            event="e1",
            channel="desk",
            number=number,
            at=NOW + number,
            ok=ok,
            reason="ok" if ok else "gone" if gone else "server_error",
            gone=gone,
        )
    )


def owed(**changed: object) -> bytes:
    fixed = {"event": "e1", "channel": "desk", "type": "alert.firing", "order": "k", "created": NOW, "due": NOW}
    return encode(Obligation(body=b"{}", **{**fixed, **changed}))


def command(kind: str, subject: str, at: float = NOW, **details: object) -> bytes:
    return encode(Command(kind=kind, subject=subject, at=iso(at), details=dict(details)))


def letter(name: str) -> bytes:
    return encode(
        DeadLetter(
            id=name, stage="score", reason="undecodable", detail="?", at=iso(NOW), topic="documents", payload=b"x"
        )
    )


FIGURES = {
    "key": "market", "name": "Market", "class": "news", "rule": "burst", "version": "1", "severity": "error",
    "since": "", "opened": "", "score": 8.0, "threshold": 6.0, "budget": 0.05, "observed": 9.0, "expected": 1.0,
    "expected_low": 0.5, "expected_high": 2.0, "ratio": 9.0, "stories": 9, "documents": 9, "publishers": 3,
    "share": 0.9, "usual_share": 0.1, "baseline_span_seconds": 1e6, "model": "m", "detector": "1",
    "configuration": "c", "quoted": ["d1"],
}  # fmt: skip


def verdict(name: str, said: str, at: float = NOW, **more: object) -> bytes:
    return command("feedback", "e1", at, id=name, verdict=said, figures=FIGURES, **more)


MATCH = {"keys": ["entity:acme*"]}
LOG = {
    OUTBOX: [(NAME, owed()), (NAME, owed(attempts=2, unscheduled=2, due=NOW + 9))],
    DELIVERIES: [(NAME, attempt(1)), (NAME, attempt(2, gone=True)), (NAME, attempt(3, ok=True))],
    COMMANDS: [
        ("s1", command("silence", "s1", match=MATCH, expires=NOW + 60, author="Ada")),
        ("s2", command("silence", "s2", match={"keys": "no list"}, expires=NOW + 60)),
        ("s1", command("expire_silence", "s1", NOW + 7)),
        ("2", command("retry_dead_letter", "2")),
        ("e1", verdict("v1", "false", note="Looks old")),
        ("e1", verdict("v2", "true", at=NOW + 1)),
        ("e1", verdict("v3", "perhaps")),
        ("?", b"no command"),
    ],
    DEAD_LETTERS: [("a", letter("a")), ("b", letter("b")), ("c", letter("c"))],
}


def records(topics: Sequence[str]) -> list[Record]:
    return [Record(topic, key, value, number) for topic in topics for number, (key, value) in enumerate(LOG[topic], 1)]


def filled(path: Path, told: Sequence[Record], *, size: int = 3) -> ReadModel:
    model = ReadModel(path, Watch([], ["Earnings"]))
    for start in range(0, len(told), size):
        model.apply(told[start : start + size], f"up to {start}")
    return model


@pytest.mark.parametrize("order", list(itertools.permutations(LOG)), ids="-".join)
def test_the_order_between_topics_does_not_matter(tmp_path: Path, order: tuple[str, ...]) -> None:
    told = records(order)
    # Everything twice, as an engine that delivers at least once may have it.
    model = filled(tmp_path / "view", [*told, *told])
    assert [(one["id"], one["state"], one["attempts"], "body" in one) for one in model.deliveries()] == [
        (NAME, "delivered", 3, False)
    ]
    assert (model.delivery(NAME), model.delivery("e2|desk")) == ("delivered", None)
    assert model.deliveries("pending") == []
    assert [(one["id"], one["expires"], one["author"]) for one in model.silences()] == [("s1", NOW + 7, "Ada")]
    assert [(one["number"], one["id"]) for one in model.dead_letters()] == [(1, "a"), (3, "c")]
    assert model.dead_letter(2) is None and model.dead_letter(3) == letter("c")
    assert [(one.id, one.verdict, one.note) for one in model.verdicts("e1")] == [
        ("v1", "false", "Looks old"),
        ("v2", "true", ""),
    ]
    assert [one.id for one in model.verdicts()] == ["v2"]
    model.close()


def test_a_note_goes_with_the_texts_and_with_what_its_alert_quotes(tmp_path: Path) -> None:
    told = [
        Record(COMMANDS, "e1", verdict(f"v{number}", "false", NOW + number, note="Looks old"), number)
        for number in (1, 2)
    ]
    model = filled(tmp_path / "old", told)
    model.shed(NOW + 2)
    assert [(one.verdict, one.note) for one in model.verdicts("e1")] == [("false", None), ("false", "Looks old")]
    model.forget(["another"])
    assert model.verdicts("e1")[1].note == "Looks old"
    model.forget(["d1"])
    assert [one.note for one in model.verdicts("e1")] == [None, None]
    model.apply(told[:1], "again")
    assert [(one.id, one.note) for one in model.verdicts("e1")] == [("v1", None), ("v2", None)], "it is back, or last"
    model.close()


def test_what_is_long_over_is_forgotten_and_what_may_still_come_is_not(tmp_path: Path) -> None:
    day = 86_400.0
    told = [
        *records([COMMANDS, DEAD_LETTERS]),
        Record(COMMANDS, "s3", command("silence", "s3", match=MATCH, expires=NOW + 20 * day), 6),
        Record(COMMANDS, "9", command("retry_dead_letter", "9"), 7),  # read ahead of its letter
    ]
    path = tmp_path / "view"
    model = filled(path, told)
    shown: list[tuple[list[str], list[int]]] = []
    with sqlite3.connect(path) as db:
        for days in (27, 29, 49):
            model.forget_over(NOW + days * day)
            shown.append(([one["id"] for one in model.silences()], [n for (n,) in db.execute("SELECT * FROM retried")]))
        assert shown == [(["s1", "s3"], [2, 9]), (["s3"], [9]), ([], [9])]
        assert [n for (n,) in db.execute("SELECT number FROM letters")] == [1, 3]
        model.apply([Record(DEAD_LETTERS, "i", letter("i"), 9), Record(DEAD_LETTERS, "j", letter("j"), 10)], "later")
        assert [one["number"] for one in model.dead_letters()] == [1, 3, 10]
        model.forget_over(NOW + 49 * day)
        assert db.execute("SELECT * FROM retried").fetchall() == []
    db.close()
    assert [one["number"] for one in model.dead_letters()] == [1, 3, 10]
    model.close()


def test_a_channel_that_was_disabled_fails_what_it_was_owed(tmp_path: Path) -> None:
    told = [
        Record(OUTBOX, NAME, owed(), 1),
        Record(DELIVERIES, NAME, attempt(1), 2),
        Record(OUTBOX, NAME, owed(attempts=1, state="failed", reason="disabled", settled=NOW + 2), 3),
    ]
    model = filled(tmp_path / "view", told)
    assert [(one["state"], one["reason"]) for one in model.deliveries("failed")] == [("failed", "disabled")]
    model.close()


def test_a_file_of_a_newer_version_is_set_aside(tmp_path: Path) -> None:
    """After a roll-back the page is filled again from the log, and an upgrade can have the longer series back."""
    path = tmp_path / "view"
    filled(path, [Record(OUTBOX, NAME, owed(), 1)]).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    model = ReadModel(path, Watch([], ["Earnings"]))
    assert model.position == "" and model.deliveries() == []
    model.close()
    (kept,) = [one for one in tmp_path.glob("view.newer-*") if one.name[-1].isdigit()]
    with sqlite3.connect(kept) as db:
        assert db.execute("SELECT count(*) FROM deliveries").fetchone() == (1,)
    db.close()


def test_a_file_of_the_first_schema_keeps_its_series_and_reads_the_log_again(tmp_path: Path) -> None:
    point = SeriesPoint(
        key="market", class_="news", start=iso(NOW), end=iso(NOW + 1800), bad=1, others=2, expected=1,
        expected_low=0, expected_high=2, score=0.5, threshold=6, baseline_span=7,
    )  # fmt: skip
    path = tmp_path / "view"
    with sqlite3.connect(path) as db:
        db.executescript(MIGRATIONS[0])
        db.execute("INSERT INTO series VALUES ('market', 'news', ?, ?)", (NOW, encode(point).decode()))
        db.execute("UPDATE place SET offset = 417")
        db.execute("PRAGMA user_version = 1")
    db.close()
    model = ReadModel(path, Watch([], ["Earnings"]))
    assert model.position == ""
    assert [json.loads(encode(point))] == model.series("market")
    assert (model.deliveries(), model.dead_letters(), model.silences()) == ([], [], [])
    model.close()
