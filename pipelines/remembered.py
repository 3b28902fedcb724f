"""What the notify stage remembers of what it told and was asked, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pipelines.commands import OVER_KEPT
from pipelines.streams.base import State, Table


class Sent(msgspec.Struct, array_like=True):
    """One episode as channels know it."""

    alert: str
    at: float
    status: str
    sequence: int
    severity: str
    channels: list[str]
    rule: str = "burst"
    """Kind of the rule that rang."""


class Told(msgspec.Struct, array_like=True):
    at: float
    alert: str = ""
    """The alert whose event it is; none for an operational one."""


LOG = "log"
"""Where the time is kept that alerts have come to."""


def reached(at: float, state: State) -> None:
    """Notes the time of an event of the log, in seconds since 1970."""
    kept: Table[float] = state.table("kept")
    if at > (kept.get(LOG) or 0.0):
        kept.put(LOG, at)


def forget(state: State, now: float) -> None:
    """Lets go of what was long over at ``now``, in seconds since 1970. What an open alert told last is told again at
    every start, however old, and so has to be known for as long. A silence goes by the log's time: one that was over
    long ago for us may still hush what the log is at."""
    before, past = now - OVER_KEPT, (state.table("kept").get(LOG) or 0.0) - OVER_KEPT
    is_open = {name for name, sent in state.table("sent").items() if sent.status != "resolved"}
    is_open.update(name for name, row in state.table("burning").items() if row.ended is None)
    is_over: dict[str, Callable[[Any], bool]] = {
        "silences": lambda silence: silence.expires < past,
        "sent": lambda sent: sent.at < before and sent.alert not in is_open,
        "events": lambda told: told.at < before and told.alert not in is_open,
    }
    for table, over in is_over.items():
        for name, row in list(state.table(table).items()):
            if over(row):
                state.table(table).delete(name)
