"""What the notify stage remembers, and for how long: an open alert's events while it is open, all else for four weeks."""

from __future__ import annotations

import pytest

from pipelines.documents import Command, Operation, encode, iso
from pipelines.notify import OPERATION
from pipelines.remembered import Told
from pipelines.streams.base import CANDIDATES, COMMANDS, Output
from tests.stream_bench import DAY, HOUR, T0, Played, Tape, stages, watermark

KEY = "entity:acme"


def command(kind: str, subject: str, at: float, **details: object) -> Output:
    return Output(COMMANDS, subject, encode(Command(kind=kind, subject=subject, at=iso(at), details=dict(details))))


def crisis() -> Played:
    """Twelve calm days, and an alert that rings and stays open."""
    tape = Tape(5)
    told = list(tape.poisson(T0, T0 + 12 * DAY, 4.0, "wire", "Acme", bad=0.05))
    told += [tape.story(T0 + 12 * DAY + n * 60.0, "wire", "Acme", bad=True) for n in range(8)]
    return Played().play((one.fetched, one.output()) for one in told)


def later(played: Played, seconds: float, *, log: bool = False) -> None:
    """Time passes for what is kept, and nothing tells the alert of it. ``log``: the log's time, too."""
    now = played.clock.time() + seconds
    played.clock.set(now)
    played.engine.append([command("enable_channel", "none", now)])
    if log:
        stale = Operation(type="ops.source_stale", at=iso(now), subject="wire", summary="wire is stale")
        played.engine.append([Output(CANDIDATES, f"{OPERATION}|wire", encode(stale))])
    played.engine.run()


def start_again(played: Played) -> list[str]:
    """A restart, which tells the last event of every open alert again; the ids of all events since the beginning."""
    played.engine.restart(stages(played.clock))
    played.engine.run()
    return [alert.id for alert in played.alerts(KEY)]


@pytest.mark.parametrize("noted", ["by this version", "by one before"])
def test_an_alert_that_stays_open_for_long_is_not_told_again(noted: str) -> None:
    played = crisis()
    told = [alert.id for alert in played.alerts(KEY)]
    events = played.engine.state("notify").table("events")
    assert told
    if noted == "by one before":
        for name, row in list(events.items()):
            events.put(name, Told(row.at))
        assert start_again(played) == told
    later(played, 40 * DAY)
    assert start_again(played) == told, "what it remembers of an open alert was let go of"

    resolving = played.clock.time()
    played.play([(resolving, watermark(resolving)), (resolving + HOUR, watermark(resolving + HOUR))])
    assert len(start_again(played)) == len(told) + 1
    later(played, 29 * DAY)
    assert not list(events.items()), "what is over stays for ever"


def test_silences_are_kept_for_four_weeks_after_their_end() -> None:
    played = crisis()
    silences = played.engine.state("notify").table("silences")
    now, match = played.clock.time(), {"keys": ["entity:*"]}
    played.engine.append(
        [command("silence", f"s{days}", now, match=match, expires=now + days * DAY) for days in (1, 20)]
    )
    kept = []
    for _ in range(3):
        later(played, 20 * DAY, log=True)
        kept.append([name for name, _ in silences.items()])
    assert kept == [["s1", "s20"], ["s20"], []]


def test_a_silence_is_kept_as_long_as_the_log_may_come_to_what_it_hushes() -> None:
    played = crisis()
    now, match = played.clock.time(), {"keys": ["entity:*"]}
    played.engine.append([command("silence", "s", now, match=match, expires=now + DAY)])
    silences = played.engine.state("notify").table("silences")
    later(played, 60 * DAY)
    assert len(list(silences.items())) == 1, "it goes by our clock"
    later(played, DAY, log=True)
    assert not list(silences.items())
