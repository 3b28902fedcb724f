"""One event, one alert: candidates through the notify stage, and whole markets through all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from alerts.episode import EpisodeEvent, Kind, Severity
from alerts.exhibits import Exhibit
from alerts.outbox import Obligation
from alerts.rules import Matcher, Route, Silence
from benchmarks.merging import NAMES as COMPANIES
from benchmarks.merging import crisis_in_shock, shock, two_companies
from benchmarks.merging import run as play
from monitor.replay.evidence import Episodes
from pipelines import burning, exhibits
from pipelines.burning import Burst
from pipelines.clock import ManualClock
from pipelines.documents import AlertRecord, Candidate, Command, Coverage, decode, encode, iso
from pipelines.entities import Entity
from pipelines.notify import Notify
from pipelines.particulars import Context
from pipelines.streams.base import ALERTS, CANDIDATES, COMMANDS, OUTBOX, Output
from pipelines.streams.memory import MemoryEngine
from pipelines.watch import Watch, WatchList

NOW = 1_790_000_000.0
HOUR = 3_600.0
NAMES = ("Acme", "Borealis", "Cygnus", "Dorado", "Electra")
ENTITIES = tuple(Entity(id=name.lower(), name=f"{name} Corp", aliases=(name,), custom=True) for name in NAMES)
TOPIC = "Legal | Regulation"
ACME, BOREALIS, PAIR = "entity:acme", "entity:borealis", "entity:acme/topic:legal-regulation"
LIST, LEGAL, MARKET = "list:mine", "topic:legal-regulation", "market"

Told = tuple[str, str, str | None]


class Desk:
    """A notify stage alone, which candidates are handed to."""

    def __init__(
        self, routes: Sequence[Route] = (), silences: Sequence[Silence] = (), *, language: Any = "en", **engine: Any
    ) -> None:
        self.routes, self.silences, self.language = routes, silences, language
        self.clock = ManualClock(NOW)
        self.engine = MemoryEngine([self.stage()], **engine)
        self._sequence: dict[str, int] = {}
        self._opened: dict[str, float] = {}
        self._episodes: dict[str, int] = {}
        self._number = 0

    def stage(self) -> Notify:
        lists = [WatchList(name="mine", entities=ENTITIES, topics=(TOPIC,))]
        return Notify(
            Watch(lists, [TOPIC, "Macro"]),
            context=Context(version="t", detector="1", configuration="c", budget=0.05, language=self.language),
            routes=self.routes,
            channels=("desk", "macro", "legal"),
            silences=self.silences,
            clock=self.clock,
        )

    def tell(
        self,
        key: str,
        observed: float,
        shared: dict[str, float] | None = None,
        *,
        kind: Kind = "firing",
        at: float = 0.0,
        score: float | None = None,
        severity: Severity = "warning",
        fetched: float | None = None,
        came: Sequence[float] = (),
    ) -> None:
        """A key's event ``at`` seconds after the beginning; a tenth of the evidence was expected. ``fetched``: when
        the story that made it came in. ``came``: by when each part of the evidence had."""
        if kind == "firing":
            self._number += 1
            self._opened[key], self._sequence[key] = NOW + at, 0
            self._episodes[key] = self._episodes.get(key, 0) + 1
        else:
            self._sequence[key] += 1
        event = EpisodeEvent(
            kind=kind,
            key=key,
            episode=self._episodes[key],
            opened_by=f"doc-{key}-{self._episodes[key]}",
            opened_at=self._opened[key],
            at=NOW + at,
            since=self._opened[key] - 600.0,
            sequence=self._sequence[key],
            score=observed if score is None else score,
            threshold=5.0,
            observed=observed,
            others=1.0,
            expected=observed / 10,
            expected_low=0.0,
            expected_high=observed / 5,
            stories=round(observed) + 1,
            publishers=3,
            share=0.9,
            usual_share=0.2,
            baseline_span=9e5,
            severity=severity,
            excess=0.9 * observed,
            excess_low=observed / 2,
            reason="quiet" if kind == "resolved" else None,
        )
        exhibit = Exhibit(
            document=f"doc-{key}", headline=f"Bad news of {key}", source="wire", published=NOW, first_seen=NOW,
            negative=0.9, positive=0.02, nats=3.0,
        )  # fmt: skip
        coverage = Coverage(sources_expected=1, sources_healthy=1)
        candidate = Candidate(
            event=event, rule="burst", exhibits=(exhibit,), coverage=coverage, model="fake", decided=iso(NOW + at),
            shared=shared or {}, fetched=None if fetched is None else iso(NOW + fetched),
            came=tuple(NOW + one for one in came),
        )  # fmt: skip
        self.clock.set(max(self.clock.time(), NOW + at))
        self.engine.append([Output(CANDIDATES, key, encode(candidate))])
        self.engine.run()

    def records(self) -> list[AlertRecord]:
        return [decode(AlertRecord, record.value) for record in self.engine.records(ALERTS)]

    def told(self) -> list[Told]:
        """(type, key, reason) of what was told, in order."""
        mine = [one for one in self.records() if one.merged_into is None]
        return [(one.type.removeprefix("alert."), one.key, data(one)["reason"]) for one in mine]

    def owed(self, channel: str) -> list[tuple[str, str]]:
        """(type, key) of what a channel is owed."""
        owed = [decode(Obligation, record.value) for record in self.engine.records(OUTBOX)]
        bodies = [json.loads(one.body) for one in owed if one.channel == channel]
        return [(body["type"].removeprefix("alert."), body["data"]["subject"]["key"]) for body in bodies]


def data(record: AlertRecord) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(bytes(record.body))["data"]
    return told


def story_about_a_company(desk: Desk, *, at: float = 0.0) -> None:
    """One document rings them all, the most specific first."""
    desk.tell(PAIR, 3.0, {ACME: 1.0, LIST: 1.0, LEGAL: 1.0}, at=at)
    desk.tell(ACME, 3.2, {PAIR: 0.9, LIST: 1.0, LEGAL: 0.9}, at=at)
    desk.tell(LIST, 3.4, {PAIR: 0.85, ACME: 0.95, LEGAL: 0.9}, at=at)
    desk.tell(LEGAL, 3.4, {PAIR: 0.85, ACME: 0.9, LIST: 0.9}, at=at)
    desk.tell(MARKET, 3.6, {PAIR: 0.8, ACME: 0.9, LIST: 0.95, LEGAL: 0.9}, at=at)


# -- which of them rings ----------------------------------------------------------------------------------


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


# -- what burns on ----------------------------------------------------------------------------------------


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


# -- who is told ------------------------------------------------------------------------------------------

ROUTES = (
    Route(keys=("market",), channels=("macro",)),
    Route(watchlists=("mine",), channels=("desk",)),
    Route(keys=("topic:*",), channels=("legal",)),
)


def test_an_alert_reaches_every_channel_that_a_route_of_its_members_names() -> None:
    desk = Desk(ROUTES)
    story_about_a_company(desk)
    assert desk.owed("desk") == [("firing", PAIR)]
    assert desk.owed("macro") == [("firing", PAIR)], "whom the market's route names hears nothing of the event"
    first = desk.records()[0]
    assert {one.id for one in desk.records() if one.merged_into is None} == {first.id}
    desk.tell(PAIR, 6.0, kind="updated", at=60.0)
    desk.tell(PAIR, 6.0, kind="resolved", at=HOUR)
    assert [kind for kind, _ in desk.owed("macro")] == ["firing", "updated", "resolved"]


def test_a_silenced_alert_holds_nothing_back_that_is_not_silenced() -> None:
    hush = Silence(id="s", match=Matcher(keys=("entity:acme*",)), created=NOW - 1, expires=NOW + 9e5)
    desk = Desk(silences=[hush])
    story_about_a_company(desk)
    assert ("firing", LIST) in desk.owed("desk")
    assert not {key for _, key in desk.owed("desk")} & {ACME, PAIR}


def hushing(desk: Desk, name: str, key: str, at: float, until: float) -> None:
    details = {"match": {"keys": [key]}, "expires": NOW + until}
    command = Command(kind="silence", subject=name, at=iso(NOW + at), details=details)
    desk.engine.append([Output(COMMANDS, name, encode(command))])
    desk.engine.run()


@pytest.mark.parametrize("late", [0.0, 2 * HOUR, 60 * 86_400.0])
def test_a_log_that_is_read_again_later_gives_the_same_alerts(late: float) -> None:
    """Silences begin and end in it: which of them hushes what is the log's own to say, whenever it is read."""
    first = Desk(ROUTES)
    hushing(first, "s1", "entity:acme*", 0.0, 900.0)
    story_about_a_company(first, at=60.0)  # hushed: the list rings
    hushing(first, "s2", "list:mine", 1_000.0, 10 * HOUR)
    first.tell(ACME, 9.0, {PAIR: 0.9, LIST: 0.9, LEGAL: 0.9}, kind="updated", at=1_200.0)  # not hushed any more
    first.tell(BOREALIS, 6.0, {LIST: 1.0}, at=1_300.0)
    first.tell(LIST, 30.0, {ACME: 0.3, BOREALIS: 0.2}, kind="updated", at=1_400.0)  # hushed
    first.tell(ACME, 9.0, kind="resolved", at=HOUR)
    first.tell(LIST, 30.0, kind="resolved", at=2 * HOUR)
    assert [one.silenced_by for one in first.records() if one.silenced_by] == ["s1", "s1", "s2", "s2"]
    again = Desk(ROUTES)
    for record in first.engine.records(CANDIDATES, COMMANDS):  # each in a batch of its own
        again.clock.set(first.clock.time() + late)
        again.engine.append([Output(record.topic, record.key, record.value)])
        again.engine.run()
    assert [encode(one) for one in again.records()] == [encode(one) for one in first.records()]


def test_what_comes_in_during_a_silence_is_hushed_however_old_it_is() -> None:
    desk = Desk()
    hushing(desk, "s", "entity:acme", 0.0, HOUR)
    desk.tell(ACME, 4.0, at=-2 * HOUR, fetched=60.0)
    assert [one.silenced_by for one in desk.records()] == ["s"]


def test_a_silenced_member_names_no_channel() -> None:
    hush = Silence(id="s", match=Matcher(keys=("market",)), created=NOW - 1, expires=NOW + 9e5)
    desk = Desk(ROUTES, [hush])
    story_about_a_company(desk)
    assert desk.owed("macro") == []


# -- what a crash may do ----------------------------------------------------------------------------------


def whole_story(desk: Desk) -> None:
    desk.tell(MARKET, 3.0, {ACME: 0.9})
    desk.tell(ACME, 3.0, {LIST: 1.0}, at=120.0)
    desk.tell(LIST, 3.2, {ACME: 0.9}, at=130.0)
    desk.tell(BOREALIS, 3.0, {LIST: 1.0}, at=300.0)
    desk.tell(MARKET, 9.0, {ACME: 0.4, BOREALIS: 0.4}, kind="updated", at=600.0)
    desk.tell(ACME, 6.0, {LIST: 1.0}, kind="updated", at=700.0)
    desk.tell(LIST, 30.0, {ACME: 0.2, BOREALIS: 0.1}, kind="updated", at=900.0)
    desk.tell(ACME, 6.0, kind="resolved", at=HOUR)
    desk.tell(LIST, 30.0, kind="resolved", at=2 * HOUR)


def test_the_same_is_told_whatever_is_handled_twice() -> None:
    quiet, hostile = Desk(), Desk(hostile=True, seed=4)
    for desk in (quiet, hostile):
        whole_story(desk)
    once = {(one.id, bytes(one.body)) for one in quiet.records()}
    assert {(one.id, bytes(one.body)) for one in hostile.records()} == once
    assert len(quiet.told()) == len({one.id for one in quiet.records() if one.merged_into is None})


def test_a_restart_goes_on_where_it_was_and_candidates_told_again_tell_nothing() -> None:
    straight, broken = Desk(), Desk()
    whole_story(straight)
    story = broken.engine
    sent: list[Output] = []
    for record in straight.engine.records(CANDIDATES):
        again = msgspec.structs.replace(decode(Candidate, record.value), resent=True)
        story.restart([broken.stage()])
        story.append([*sent[-2:], Output(CANDIDATES, record.key, record.value)])
        story.run()
        sent.append(Output(CANDIDATES, record.key, encode(again)))
    assert broken.told() == straight.told()


def test_quotes_that_are_too_old_leave_the_candidates_that_are_kept() -> None:
    desk = Desk()
    desk.tell(ACME, 3.0)
    state = desk.engine.state("notify")
    burning.unquote(state, exhibits.older_than(NOW + 1))
    kept: list[Burst] = [burst for _, burst in state.table("burst").items()]
    assert kept and not any(b"Bad news" in burst.candidate for burst in kept)


# -- whole markets ----------------------------------------------------------------------------------------


def test_a_shock_over_500_companies_is_one_alert() -> None:
    """While it lasts, and in the eight hours after, in which some companies get a bad story more."""
    found = play(shock, 5)
    assert len(found.rang) > 500, "it did not burst at the companies"
    assert found.alerts == ["market"]


def test_a_crisis_in_such_a_shock_rings() -> None:
    found = play(crisis_in_shock, 3)
    assert found.alerts == ["market", f"entity:{COMPANIES[7].lower()}"]


def test_two_unrelated_crises_in_one_hour_are_two_alerts() -> None:
    found = play(two_companies, 7)
    assert len(found.rang) >= 4, "it burst at the companies alone"
    assert [key.split(":")[0] for key in found.alerts] == ["entity", "entity"]
