"""One event, one alert: what rings when the alert that held it is over, and what was told."""

from __future__ import annotations

import pytest

from alerts.rules import Matcher, Silence
from pipelines.documents import iso
from tests.desk_bench import ACME, BOREALIS, HOUR, LEGAL, LIST, MARKET, NOW, Desk, data


def test_a_grave_company_rings_when_the_wide_alert_that_held_it_is_over() -> None:
    desk = Desk()
    desk.tell(MARKET, 100.0, {ACME: 0.1, BOREALIS: 0.05})
    desk.tell(ACME, 9.0, {LIST: 1.0}, at=60.0, severity="error")
    desk.tell(BOREALIS, 4.0, {LIST: 1.0}, at=60.0)
    desk.tell(MARKET, 100.0, kind="resolved", at=HOUR)
    assert desk.told()[1:] == [("resolved", MARKET, "quiet"), ("firing", ACME, None)]
    assert desk.records()[-1].at == iso(NOW + HOUR)
    desk.tell(BOREALIS, 8.0, {LIST: 1.0}, kind="updated", at=HOUR + 60.0, score=20.0)
    assert desk.told()[3:] == [("firing", BOREALIS, None)]


def test_what_a_wide_alert_was_by_another_name_does_not_ring_when_it_is_over() -> None:
    desk = Desk()
    desk.tell(LIST, 6.0, {ACME: 0.9})
    desk.tell(ACME, 9.0, {LIST: 1.0}, at=1_200.0, severity="error")
    desk.tell(LIST, 10.0, {ACME: 0.9}, kind="resolved", at=HOUR)
    assert desk.told() == [("firing", LIST, None), ("resolved", LIST, "quiet")]


def test_a_burst_that_an_alert_told_before_it_ended_is_a_part_of_it() -> None:
    desk = Desk()
    desk.tell(MARKET, 100.0, {ACME: 0.1, BOREALIS: 0.05})
    desk.tell(MARKET, 100.0, kind="resolved", at=HOUR)
    before = [60.0 * number for number in range(4)]
    desk.tell(ACME, 5.0, {LIST: 1.0}, at=3 * HOUR, came=[*before, 3 * HOUR])
    assert desk.told() == [("firing", MARKET, None), ("resolved", MARKET, "quiet")]
    assert desk.records()[-1].merged_into == desk.records()[0].alert
    desk.tell(ACME, 10.0, {LIST: 1.0}, kind="updated", at=4 * HOUR, came=[*before, *[3.5 * HOUR] * 6])
    assert desk.told()[2:] == [("firing", ACME, None)]
    rings = data(desk.records()[-1])
    assert rings["follows"] == desk.records()[0].alert
    assert rings["summary"].endswith("; it follows an alert that is over.")
    desk.tell(ACME, 10.0, {LIST: 1.0}, kind="resolved", at=6 * HOUR)
    assert data(desk.records()[-1])["follows"] == desk.records()[0].alert


@pytest.mark.parametrize(
    ("key", "shared", "came", "at"),
    [
        (ACME, {LIST: 1.0}, [2 * HOUR] * 4, 2 * HOUR),  # all of it came after the end
        (ACME, {LIST: 1.0}, [-2 * HOUR] * 4, 2 * HOUR),  # or before its burst began
        (ACME, {LIST: 1.0}, [60.0] * 4, 26 * HOUR),  # that is a day ago
        (LEGAL, {LIST: 0.05}, [60.0] * 4, 2 * HOUR),  # not the list's stories
    ],
)
def test_what_an_alert_did_not_tell_rings_after_it(
    key: str, shared: dict[str, float], came: list[float], at: float
) -> None:
    desk = Desk()
    desk.tell(LIST, 20.0, {BOREALIS: 0.05})
    desk.tell(LIST, 20.0, kind="resolved", at=HOUR)
    desk.tell(key, 5.0, shared, at=at, came=came, score=20.0)
    assert desk.told()[2:] == [("firing", key, None)]
    assert data(desk.records()[-1])["follows"] is None


def test_nobody_heard_what_a_silenced_alert_told() -> None:
    hush = Silence(id="s", match=Matcher(keys=("market",)), created=NOW - 1, expires=NOW + 9e5)
    desk = Desk(silences=[hush])
    desk.tell(MARKET, 100.0, {ACME: 0.1})
    desk.tell(MARKET, 100.0, kind="resolved", at=HOUR)
    desk.tell(ACME, 5.0, {LIST: 1.0}, at=2 * HOUR, came=[60.0] * 5)
    assert desk.told()[2:] == [("firing", ACME, None)]


def test_an_alert_soon_after_its_keys_own_says_so() -> None:
    desk = Desk()
    desk.tell(ACME, 5.0)
    desk.tell(ACME, 5.0, kind="resolved", at=HOUR)
    first = desk.records()[0].alert
    desk.tell(ACME, 5.0, at=1.5 * HOUR, came=[1.5 * HOUR] * 5)
    assert data(desk.records()[-1])["follows"] == first != desk.records()[-1].alert


def test_a_crisis_in_a_shock_stands_out_of_it() -> None:
    desk = Desk()
    desk.tell(MARKET, 100.0, {"entity:other": 0.05})
    for number in range(12):
        desk.tell(f"entity:x{number}", 3.0 + number % 2, {LIST: 1.0}, at=60.0)
    desk.tell(ACME, 5.0, {LIST: 1.0}, at=120.0, score=20.0)
    assert desk.told() == [("firing", MARKET, None)], "it has hardly more than the others"
    desk.tell(ACME, 14.0, {LIST: 1.0}, kind="updated", at=600.0, score=40.0)
    assert desk.told()[1:] == [("firing", ACME, None)]
    desk.tell(MARKET, 300.0, {ACME: 0.05}, kind="updated", at=660.0)
    assert [one for one in desk.told() if one[1] == ACME] == [("firing", ACME, None)], "it was swallowed again"


def test_none_of_many_companies_rings_when_the_shock_is_over() -> None:
    desk = Desk()
    desk.tell(MARKET, 100.0, {"entity:other": 0.05})
    for number in range(12):
        desk.tell(f"entity:x{number}", 6.0, {LIST: 1.0}, at=60.0, severity="error")
    desk.tell(MARKET, 100.0, kind="resolved", at=HOUR)
    assert desk.told() == [("firing", MARKET, None), ("resolved", MARKET, "quiet")]


def test_a_wide_burst_whose_stories_were_told_does_not_ring_when_their_alerts_are_over() -> None:
    desk = Desk()
    desk.tell(ACME, 4.0, {LIST: 1.0})
    desk.tell(LIST, 4.4, {ACME: 0.9}, at=60.0)
    desk.tell(ACME, 4.0, kind="resolved", at=HOUR)
    desk.tell(LIST, 5.0, {ACME: 0.8}, kind="updated", at=HOUR + 60.0)
    assert desk.told()[2:] == []
    desk.tell(LIST, 40.0, {ACME: 0.1}, kind="updated", at=2 * HOUR)
    assert desk.told()[2:] == [("firing", LIST, None)]
