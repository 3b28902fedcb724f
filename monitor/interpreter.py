"""What is set in the interpreter before a daemon's threads start."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import msgspec

import alerts
import models
import monitor
import pipelines

ROOMS = tuple(room.__name__ for room in (alerts, models, monitor, pipelines))


def describe() -> int:
    """Has msgspec describe every record class that was imported so far to itself; how many there are.

    Else it does so when a class is first decoded, and other threads see the description while it is being made: the
    second of two that are the first ends the process with a null pointer (0.22.0; a daemon died of it when a stage and
    the read model met their first verdict at the same moment).

    Raises TypeError for one that msgspec can't decode.
    """
    kinds = list(records())
    for kind in kinds:
        msgspec.json.Decoder(kind)
    return len(kinds)


def records(kind: type[msgspec.Struct] = msgspec.Struct) -> Iterator[type[msgspec.Struct]]:
    """All Struct classes of the four rooms that were imported so far."""
    for below in kind.__subclasses__():
        if below.__module__.split(".")[0] in ROOMS:
            yield below
        yield from records(below)


def rest_collector() -> None:
    """Looks for cyclic garbage more seldom, and never among what lives as long as the process.

    A stage makes many small objects and next to no cycles: at Python's own thresholds the collector goes through the
    whole index of names again and again, and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
