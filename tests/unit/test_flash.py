"""The rule flash through score, aggregate and notify: what rings it, how often, and when it is over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from alerts.rules import FlashRule, Rules
from pipelines.documents import Document, encode, iso
from pipelines.streams.base import DOCUMENTS, Output
from tests.stream_bench import DAY, HOUR, T0, Played, stages, watermark

MINUTE = 60.0
FRAUD = FlashRule(name="fraud charge", phrases=("fraud", "立案调查"), publishers=2, within=HOUR, cooldown=DAY)
ALONE = msgspec.structs.replace(FRAUD, publishers=1)
KEY = "entity:acme"


class Wire:
    """Documents in their order."""

    def __init__(self) -> None:
        self.number = 0

    def story(self, at: float, title: str, publisher: str | None, **changes: Any) -> tuple[float, Output]:
        self.number += 1
        when = iso(at)
        document = Document(
            id=f"{self.number:032x}", source="wire", class_="news", publisher=publisher, title=title, language="en",
            published=when, fetched=when, at=when,
        )  # fmt: skip
        changed = msgspec.structs.replace(document, **changes)
        return at, Output(DOCUMENTS, document.id, encode(changed))


def passing(end: float, step: float, start: float = T0) -> Iterator[tuple[float, Output]]:
    at = start
    while (at := at + step) < end:
        yield at, watermark(at)


def play(
    *stories: tuple[float, Output],
    rule: FlashRule = FRAUD,
    end: float = T0 + 3 * DAY,
    step: float = 600.0,
    five_heads: bool = False,
    cut: int = 2_000,
    **engine: Any,
) -> Played:
    timed = sorted([*stories, *passing(end, step)], key=lambda entry: entry[0])
    return Played(rules=Rules(flash=(rule,)), five_heads=five_heads, **engine).play(timed, cut)


def told(played: Played, key: str = KEY) -> list[dict[str, Any]]:
    """The bodies of a key's alerts that are no bursts."""
    bodies = [json.loads(bytes(alert.body)) for alert in played.alerts(key)]
    return [body["data"] for body in bodies if body["data"]["rule"]["kind"] != "burst"]


def statuses(played: Played, key: str = KEY) -> list[str]:
    return [str(data["status"]) for data in told(played, key)]


def test_as_many_publishers_as_the_rule_asks_for_ring_it_once() -> None:
    wire = Wire()
    played = play(
        wire.story(T0 + HOUR, "Acme ledger hides fraud, say prosecutors", "Post"),
        wire.story(T0 + HOUR + 5 * MINUTE, "Prosecutors charge the Acme treasurer over fraud in bonds", "Herald"),
        wire.story(T0 + 2 * HOUR, "Acme fraud: what is known of the missing harbour millions", "Herald"),
    )
    first, last = told(played)
    assert first["status"] == "firing" and last["status"] == "resolved" and last["reason"] == "quiet"
    assert first["rule"] == {"name": "fraud charge", "version": FRAUD.version, "kind": "flash"}
    assert first["summary"] == (
        "Acme Corp: “fraud charge” told by 2 publishers in 5 minutes, bad news with a probability of 0.90."
    )
    assert first["unusual"]["publishers"] == 2 and first["severity"] == "error"
    assert first["unusual"]["score"] == first["unusual"]["threshold"] == 4.61  # both of them just at .9
    assert first["unusual"]["false_alarms_per_month"] == FRAUD.budget
    assert [story["publisher"] for story in first["evidence"]["stories"]] == ["Post", "Herald"]
    assert statuses(played, "market") == statuses(played, "list:mine") == []
    assert last["episode"]["id"] == first["episode"]["id"]


TWO = ("Acme ledger hides fraud, say prosecutors", "Treasurer of Acme is charged over fraud in bonds")


@pytest.mark.parametrize(
    ("titles", "publishers", "apart", "rings"),
    [
        (TWO, ("Post", "Herald"), HOUR, True),
        (TWO, ("Post", "Herald"), HOUR + 1.0, False),
        (TWO, ("Post", "The Post"), 60.0, False),
        ((TWO[0], TWO[0]), ("Post", "Herald"), 60.0, False),
        ((TWO[0], TWO[0] + " again"), ("Post", "Herald"), 60.0, True),
        ((TWO[0], "Acme opens a depot"), ("Post", "Herald"), 60.0, False),
        ((TWO[0], "Acme orders slump and bonds crash"), ("Post", "Herald"), 60.0, False),
        ((TWO[0], "Borealis treasurer charged over fraud"), ("Post", "Herald"), 60.0, False),
    ],
    ids=[
        "within",
        "too late",
        "one publisher",
        "a copy",
        "own words",
        "good news",
        "another matter",
        "another company",
    ],
)
def test_only_independent_publishers_within_the_window_count(
    titles: Sequence[str], publishers: Sequence[str], apart: float, rings: bool
) -> None:
    wire = Wire()
    at = T0 + HOUR
    stories = [
        wire.story(at + n * apart, title, name) for n, (title, name) in enumerate(zip(titles, publishers, strict=True))
    ]
    assert ("firing" in statuses(play(*stories))) == rings


@pytest.mark.parametrize(
    ("rule", "title", "rings"),
    [
        ({"phrases": ("立案调查",)}, "Acme 被证监会立案调查 fraud", True),
        ({"phrases": ("fraud charge",)}, "Acme faces a FRAUD charge", True),
        ({"phrases": ("fraud charge",)}, "Acme faces fraud charges", False),
        ({"risks": ("litigation",)}, "Acme is told that a city sues", True),
        ({"risks": ("fraud",)}, "Acme is told that a city sues", False),
        ({"topics": ("Dividend",)}, "Acme dividend falls", True),
        ({"topics": ("Dividend",)}, "Acme falls", False),
        ({"phrases": ("fraud",), "probability": 0.9999}, "Acme fraud", False),
        ({"phrases": ("fraud",), "watchlists": ("others",)}, "Acme fraud", False),
    ],
)
def test_what_a_story_must_tell(rule: dict[str, Any], title: str, rings: bool) -> None:
    wanted = FlashRule(name="one", **rule)
    played = play(Wire().story(T0 + HOUR, title, "Post"), rule=wanted, five_heads=True)
    assert ("firing" in statuses(played)) == rings


@pytest.mark.parametrize("changes", [{"class_": "social"}, {"backfill": True}], ids=["a post", "history"])
def test_posts_and_history_ring_nothing(changes: dict[str, Any]) -> None:
    assert statuses(play(Wire().story(T0 + HOUR, "Acme fraud", "Post", **changes), rule=ALONE)) == []


def test_more_publishers_are_told_and_make_it_critical() -> None:
    wire = Wire()
    words = ("ledger", "harbour", "bridge", "turbine", "bonds", "orders", "lawyers", "margins")
    stories = [
        wire.story(T0 + HOUR + n * HOUR, f"Acme fraud in its {word} and {words[n - 1]}", f"Paper {n}")
        for n, word in enumerate(words)
    ]
    events = told(play(*stories, rule=ALONE))
    assert [(one["status"], one["unusual"]["publishers"], one["severity"]) for one in events] == [
        ("firing", 1, "error"), ("updated", 2, "error"), ("updated", 4, "critical"), ("updated", 8, "critical"),
        ("resolved", 8, "critical"),
    ]  # fmt: skip
    assert len({one["episode"]["id"] for one in events}) == 1


@pytest.mark.parametrize("step", [30.0, 600.0, 7 * HOUR])
def test_it_is_over_when_its_cooldown_was_quiet_however_often_time_is_let_pass(step: float) -> None:
    wire = Wire()
    saga = [wire.story(T0 + HOUR + n * 20 * HOUR, f"Acme fraud, chapter {n}", "Post") for n in range(3)]
    again = wire.story(T0 + 5 * DAY, "Acme fraud, a new book", "Post")
    played = play(*saga, again, rule=ALONE, end=T0 + 7 * DAY, step=step)
    assert [(kind, at - T0) for kind, at in played.told(KEY) if kind != "alert.updated"] == [
        ("alert.firing", HOUR), ("alert.resolved", HOUR + 40 * HOUR + DAY), ("alert.firing", 5 * DAY),
        ("alert.resolved", 6 * DAY),
    ]  # fmt: skip


def test_batches_and_redelivery_change_nothing() -> None:
    def stories() -> list[tuple[float, Output]]:
        wire = Wire()
        return [
            wire.story(T0 + n * 7 * MINUTE, f"{name} fraud in part {n} of its books", f"Paper {n % 5}")
            for n in range(1, 60)
            for name in ("Acme", "Borealis", "Cygnus")
        ]

    calm = play(*stories())
    for seed in range(3):
        hostile = play(*stories(), hostile=True, seed=seed, cut=1, step=HOUR)
        assert hostile.engine.redelivered > 0
        for name in ("acme", "borealis", "cygnus"):
            ids = {one["id"]: one["unusual"] for one in told(hostile, f"entity:{name}")}
            assert ids == {one["id"]: one["unusual"] for one in told(calm, f"entity:{name}")}


def test_what_is_read_long_after_it_was_written_counts_with_what_came_before_the_stop() -> None:
    wire, rules = Wire(), Rules(flash=(FRAUD,))
    stop = T0 + HOUR + 10 * MINUTE
    played = play(wire.story(T0 + HOUR, TWO[0], "Post"), end=stop)
    played.clock.set(stop + 9 * HOUR)
    played.engine.restart(stages(played.clock, rules=rules))
    played.play([wire.story(stop + 10 * MINUTE, TWO[1], "Herald")])
    assert statuses(played) == ["firing"]


def test_a_rule_that_left_the_settings_ends_its_alerts() -> None:
    wire = Wire()
    played = play(wire.story(T0 + HOUR, "Acme fraud", "Post"), rule=ALONE, end=T0 + 2 * HOUR)
    played.engine.restart(stages(played.clock))
    played.play(passing(T0 + 3 * HOUR, 600.0, T0 + 2 * HOUR))
    first, last = told(played)
    assert (last["status"], last["reason"]) == ("resolved", "operator")
    assert last["rule"] == first["rule"] and last["unusual"]["false_alarms_per_month"] == 1.0


def test_its_alerts_are_counted_however_long_ago_the_one_before_was() -> None:
    wire = Wire()
    stories = [wire.story(T0 + day * DAY, f"Acme fraud, part {day}", "Post") for day in (1, 4, 20)]
    played = play(*stories, rule=ALONE, end=T0 + 25 * DAY, step=1_800.0)
    assert [(one["status"], one["episode"]["number"]) for one in told(played)] == [
        (status, number) for number in (1, 2, 3) for status in ("firing", "resolved")
    ]
    (row,) = played.engine.state("aggregate").table("flashes").get(KEY).rules.values()
    assert row.tellings == [], "stories that can't ring any more are kept"


def test_chinese_summaries() -> None:
    from alerts import chinese
    from alerts.flash import Flash, Telling, close, tell

    flash, telling = Flash(), Telling(T0, "post", 0.95, b"", None)
    event = tell(ALONE, KEY, flash, telling, "d", None)
    assert event is not None
    assert chinese.flash(event, "Acme", "财务造假") == "Acme：1家媒体报道“财务造假”，为负面消息的概率0.95。"
    over = close(KEY, flash, T0 + DAY, "quiet")
    assert over is not None
    assert (
        chinese.flash(over, "Acme", "财务造假")
        == "Acme：触发24小时后，“财务造假”已无新的报道；共1家媒体报道“财务造假”。"
    )
