"""One event, one alert: which of the keys that burn together rings."""

from __future__ import annotations

import pytest

from alerts.episode import Kind
from monitor.replay.evidence import Episodes
from pipelines.documents import iso
from tests.desk_bench import ACME, BOREALIS, HOUR, LEGAL, LIST, MARKET, NOW, PAIR, Desk, data, story_about_a_company
from tests.unit.test_merging_routes import ROUTES


def test_a_story_about_a_company_is_one_alert_and_lists_the_others() -> None:
    desk = Desk()
    story_about_a_company(desk)
    assert desk.told() == [("firing", PAIR, None)]
    assert {one.merged_into for one in desk.records()[1:]} == {desk.records()[0].alert}
    assert not any(one.channels for one in desk.records()[1:])
    desk.tell(PAIR, 6.0, {ACME: 1.0, LIST: 1.0, LEGAL: 1.0}, kind="updated", at=60.0)
    last = data(desk.records()[-1])
    assert last["merged"]["total"] == 4
    assert [one["key"] for one in last["merged"]["keys"]] == [MARKET, LIST, LEGAL, ACME]
    assert last["merged"]["keys"][0] == {
        "key": "market", "name": "The market", "severity": "warning", "explained": 0.889, "part": 1.0,
    }  # fmt: skip
    assert last["summary"].endswith("of history; 4 other keys are part of it.")


def test_the_summary_counts_the_others_in_chinese_too() -> None:
    desk = Desk(language="zh")
    story_about_a_company(desk)
    desk.tell(PAIR, 6.0, kind="updated", at=60.0)
    assert data(desk.records()[-1])["summary"].endswith("；另有4个监测对象并入本警报。")


def test_two_companies_are_two_alerts_and_their_list_is_explained_by_both() -> None:
    desk = Desk()
    desk.tell(ACME, 4.0, {LIST: 1.0})
    desk.tell(BOREALIS, 4.0, {LIST: 1.0}, at=60.0)
    desk.tell(LIST, 8.0, {ACME: 0.5, BOREALIS: 0.5}, at=60.0)
    desk.tell(LIST, 16.0, {ACME: 0.5, BOREALIS: 0.5}, kind="updated", at=600.0)
    assert desk.told() == [("firing", ACME, None), ("firing", BOREALIS, None)]


def test_a_list_with_more_than_its_companies_rings() -> None:
    desk = Desk()
    desk.tell(ACME, 4.0, {LIST: 1.0})
    desk.tell(LIST, 8.0, {ACME: 0.5}, at=60.0)
    assert desk.told()[1:] == []  # without Acme's stories it would not have rung
    desk.tell(LIST, 16.0, {ACME: 0.25}, kind="updated", at=600.0)
    assert desk.told()[1:] == [("firing", LIST, None)]


def test_many_companies_are_details_of_the_wider_alert() -> None:
    desk = Desk()
    desk.tell(LIST, 10.0, {ACME: 0.1, BOREALIS: 0.1, LEGAL: 0.2})
    for name in ("acme", "borealis", "cygnus", "dorado"):
        desk.tell(f"entity:{name}", 3.0, {LIST: 1.0}, at=60.0)
    assert desk.told() == [("firing", LIST, None)]


def test_a_company_that_bursts_into_a_wide_alert_which_stands_still_is_news() -> None:
    desk = Desk()
    desk.tell(MARKET, 100.0, {BOREALIS: 0.05})
    desk.tell(ACME, 4.0, {LIST: 1.0}, at=2 * HOUR)
    assert desk.told() == [("firing", MARKET, None), ("firing", ACME, None)]


def test_a_company_that_makes_up_a_good_part_of_a_wider_alert_rings_by_itself() -> None:
    desk = Desk()
    desk.tell(MARKET, 10.0, {ACME: 0.1, BOREALIS: 0.1})
    desk.tell(ACME, 3.0, {LIST: 1.0}, at=60.0)
    assert len(desk.told()) == 1
    desk.tell(MARKET, 20.0, {ACME: 0.3, BOREALIS: 0.1}, kind="updated", at=300.0)
    assert desk.told()[1:] == [("updated", MARKET, None), ("firing", ACME, None)]


def test_the_fourth_company_of_an_hour_rings_its_list_instead() -> None:
    desk = Desk()
    desk.tell(ACME, 3.0, {LIST: 1.0})
    desk.tell(LIST, 3.0, {ACME: 0.4})  # tipped by Acme's stories
    for number, name in enumerate(("borealis", "cygnus", "dorado")):
        desk.tell(f"entity:{name}", 3.0, {LIST: 1.0}, at=60.0 * number)
    assert desk.told()[:4] == [("firing", f"entity:{name}", None) for name in ("acme", "borealis", "cygnus")] + [
        ("firing", LIST, None)
    ]
    assert "entity:dorado" not in {key for _, key, _ in desk.told()}


# -- which name it keeps ----------------------------------------------------------------------------------


def test_within_minutes_the_more_specific_takes_over_and_the_first_ends_as_merged() -> None:
    desk = Desk()
    desk.tell(MARKET, 3.0, {ACME: 0.9})
    desk.tell(ACME, 3.0, {LIST: 1.0}, at=120.0)
    assert desk.told() == [("firing", MARKET, None), ("firing", ACME, None), ("resolved", MARKET, "merged")]
    assert desk.owed("desk") == [("firing", MARKET), ("firing", ACME), ("resolved", MARKET)]
    desk.tell(MARKET, 6.0, {ACME: 0.9}, kind="updated", at=600.0)
    desk.tell(MARKET, 6.0, {ACME: 0.9}, kind="resolved", at=HOUR)
    assert len(desk.told()) == 3, "an end was told twice"


@pytest.mark.parametrize("kind", ["updated", "resolved"])
def test_the_next_event_of_what_merged_away_is_not_taken_for_its_end_as_merged(kind: Kind) -> None:
    desk, episodes = Desk(), Episodes()
    desk.tell(MARKET, 3.0, {ACME: 0.9})
    desk.tell(ACME, 3.0, {LIST: 1.0}, at=120.0)
    desk.tell(MARKET, 6.0, {ACME: 0.9}, kind=kind, at=HOUR)
    last = desk.records()[-1]
    assert (last.type, last.key, last.at) == (f"alert.{kind}", MARKET, iso(NOW + HOUR)) and last.merged_into
    burning = [row.key for _, row in desk.engine.state("notify").table("burning").items() if row.ended is None]
    assert set(burning) == ({ACME, MARKET} if kind == "updated" else {ACME}), "a burst that is over burns for ever"
    for record in desk.records():
        episodes.take(record)
    held = next(one for one in episodes.all() if one.key == MARKET and one.sent is None)
    assert held.until == (iso(NOW + HOUR) if kind == "resolved" else None)


def test_replay_counts_what_was_told_and_knows_which_alert_tells_of_what() -> None:
    desk, episodes = Desk(), Episodes()
    desk.tell(MARKET, 3.0, {ACME: 0.9})
    desk.tell(ACME, 3.0, {LIST: 1.0}, at=120.0)
    desk.tell(MARKET, 6.0, {ACME: 0.9}, kind="updated", at=600.0)
    desk.tell(ACME, 3.0, {LIST: 1.0}, kind="resolved", at=HOUR)
    taken = [episodes.take(record) for record in desk.records()]
    assert sum(taken) == len(desk.told())
    first, acme, held = episodes.all()
    assert [(one.key, one.sent) for one in (first, acme, held)] == [
        (MARKET, iso(NOW)),
        (ACME, iso(NOW + 120.0)),
        (MARKET, None),
    ]
    assert (first.merged_into, held.merged_into, held.why) == (acme.id, acme.id, "part of another alert")
    assert first.until == iso(NOW + 120.0) and acme.until == iso(NOW + HOUR)
    assert [(one.key, one.at - NOW, one.id) for one in episodes.told()] == [
        (MARKET, 0.0, first.id),
        (ACME, 120.0, acme.id),
        (MARKET, 120.0, acme.id),
    ]


def test_replay_takes_an_alert_that_reaches_more_channels_later_for_one() -> None:
    desk, episodes = Desk(ROUTES), Episodes()
    story_about_a_company(desk)
    told = [record for record in desk.records() if record.channels]
    taken = [episodes.take(record) for record in desk.records()]
    assert len(told) == 2 and len({record.id for record in told}) == 1 and sum(taken) == 1
    (only,) = (one for one in episodes.all() if one.sent is not None)
    assert {one.id for one in episodes.told()} == {only.id}


def test_later_the_first_keeps_its_name() -> None:
    desk = Desk()
    desk.tell(MARKET, 3.0, {ACME: 0.9})
    desk.tell(ACME, 3.0, {LIST: 1.0}, at=1_200.0)
    assert desk.told() == [("firing", MARKET, None)]


def test_what_merged_without_having_rung_ends_without_a_word() -> None:
    desk = Desk()
    story_about_a_company(desk)
    for key in (MARKET, LIST, LEGAL, ACME, PAIR):
        desk.tell(key, 3.0, kind="resolved", at=HOUR)
    assert desk.told() == [("firing", PAIR, None), ("resolved", PAIR, "quiet")]
    state = desk.engine.state("notify")
    assert [row.key for _, row in state.table("burning").items() if row.ended is None] == []
    assert not list(state.table("burst").items())
    for day in (1, 3):
        desk.tell(BOREALIS, 3.0, at=day * 86_400.0)
        desk.tell(BOREALIS, 3.0, kind="resolved", at=day * 86_400.0 + HOUR)
    assert {row.key for _, row in state.table("burning").items()} == {BOREALIS}, "it remembers for ever"
