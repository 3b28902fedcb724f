"""What the aggregate stage told last of each alert: said again after a restart, and for how long it may quote."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from alerts.flash import Telling
from pipelines import exhibits
from pipelines.alarms import Rung
from pipelines.documents import Candidate, decode, encode
from pipelines.exhibits import Gone
from pipelines.held import Flashes, Told
from pipelines.streams.base import CANDIDATES, Output, State, Table

TELL_AGAIN = 3_600.0
"""How long after its end an episode's last event is sent again at a restart."""

TABLES = ("told", "rung")
"""Of bursts by their key, of the other rules by rule and key."""


def ring(rung: Rung, candidate: Candidate, state: State) -> Output:
    """The event of another rule than the burst's. A rule that is not configured any more is told of as it rang."""
    told: Table[Told] = state.table("rung")
    event, name = rung.event, f"{rung.rule}|{rung.event.key}"
    version, budget = rung.version, rung.budget
    if version is None and (last := told.get(name)) is not None:
        rang = decode(Candidate, last.candidate)
        version, budget = rang.version, rang.budget
    named = msgspec.structs.replace(candidate, rule=rung.rule, version=version or "", budget=budget)
    value = encode(named)
    told.put(name, Told(event.kind != "resolved", event.at, value))
    return Output(CANDIDATES, event.key, value)


def again(state: State, now: float) -> Iterator[Output]:
    """The last event of every open or just closed episode: ids make it harmless."""
    for name in TABLES:
        for _, told in state.table(name).items():  # noqa: PERF102 (a table has no values())
            if told.open or now - told.at < TELL_AGAIN:
                last = decode(Candidate, told.candidate)
                yield Output(CANDIDATES, last.event.key, encode(msgspec.structs.replace(last, resent=True)))


def shed(state: State, now: float) -> None:
    """Lets go of last events that nobody is told again."""
    for name in TABLES:
        told: Table[Told] = state.table(name)
        for key, last in list(told.items()):
            if not last.open and now - last.at > TELL_AGAIN:
                told.delete(key)


def take_down(state: State, gone: Gone) -> None:
    """Takes quotes out of all that the stage keeps of alerts."""
    exhibits.take_down(state.table("shown"), gone)
    for name in TABLES:
        told: Table[Told] = state.table(name)
        for key, last in list(told.items()):
            if (lighter := exhibits.lighter(last.candidate, gone)) is not None:
                told.put(key, Told(last.open, last.at, lighter))
    flashes: Table[Flashes] = state.table("flashes")
    for key, row in list(flashes.items()):
        if _unquote([telling for flash in row.rules.values() for telling in flash.tellings], gone):
            flashes.put(key, row)


def _unquote(tellings: list[Telling], gone: Gone) -> bool:
    """Takes exhibits that must go out of stories; whether there were any."""
    changed = [one for one in tellings if one.exhibit is not None and gone(one.exhibit)]
    for one in changed:
        one.exhibit = None
    return bool(changed)
