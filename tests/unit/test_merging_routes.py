"""Merged alerts: who is told, what silences hold back, and the same after a restart."""

from __future__ import annotations

import msgspec
import pytest

from alerts.rules import Matcher, Route, Silence
from pipelines import burning, exhibits
from pipelines.burning import Burst
from pipelines.documents import Candidate, Command, decode, encode, iso
from pipelines.streams.base import CANDIDATES, COMMANDS, Output
from tests.desk_bench import ACME, BOREALIS, HOUR, LEGAL, LIST, MARKET, NOW, PAIR, Desk, story_about_a_company

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
