"""The drift watch: what is read and said, by day, against the stream's own past and against the model's card.

All readings meet here, in the one notify stage, whatever number of processes score. For each model and class of texts

- a *block* is a day in UTC with at least ``LEAST`` texts, or as many days as it takes to have them; the day on which a
  model was first seen is left out, being no whole one;
- the first ``BLOCKS`` blocks are the stream's own reference. Against it, each block and each week is looked at: has the
  stream changed?
- the last ``BLOCKS`` blocks are looked at against the sets of the card: is this still what the model was validated on?
  The nearest set counts, and what it may be away is what the sets lie from each other, and what days differ.

``models.drift`` has the statistic. An alarm rings once, and is over after ``CALM`` blocks within the limits. That of
the stream rings no longer than a reference takes: what it was meanwhile is then the reference. Another model begins
anew.

A batch that is scored again after a crash counts twice in its day, which moves no share by anything that matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec
from prometheus_client import Gauge

from models.card import Reference
from models.drift import BLOCKS, WEEK, Look, distances, look, spread
from pipelines.documents import Operation, Reading, RecordError, epoch, iso
from pipelines.streams.base import State, Table

DRIFT = Gauge(
    "tapewatch_model_drift",
    "Effect size w between what a model reads and says and a reference: the stream's own past, or the card.",
    ["model", "class", "measure", "reference"],
)
THRESHOLD = Gauge(
    "tapewatch_model_drift_threshold",
    "The effect size from which it is more than days differ anyway.",
    ["model", "class", "measure", "reference"],
)
LEARNED = Gauge(
    "tapewatch_model_drift_learned_ratio", "How much of the stream's own reference is there.", ["model", "class"]
)

DAY = 86_400.0
LEAST = 200
"""Texts in a block: with fewer only the grossest change is more than chance."""
CALM = 3
"""Blocks within the limits after which an alarm is over."""
FORGOTTEN = 7
"""Days after which a model that nothing was read by is forgotten; rolled back to before that, it goes on."""

STREAM, CARD = "stream", "card"

Counts = dict[str, list[int]]
"""Measure to texts by bin."""


class Block(msgspec.Struct, array_like=True):
    """The block under way. Days are numbered from 1970."""

    day: int
    """The last one that is in it."""
    whole: bool
    counts: Counts = {}


class Alarm(msgspec.Struct, array_like=True):
    """One that rings: since when, for how many blocks, and how many of the last ones were within the limits."""

    at: float
    blocks: int = 1
    calm: int = 0


class History(msgspec.Struct, array_like=True):
    """What is known of one model and class."""

    reference: list[Counts] = []
    recent: list[Counts] = []
    after: int = 0
    """Blocks since the reference was whole."""
    alarms: dict[str, Alarm] = {}
    looks: dict[str, dict[str, tuple[float, float]]] = {}
    """Reference to measure to what was found last: effect and limit."""


TABLES: Mapping[str, type[Any]] = {"drift": History, "drift_block": Block, "drift_card": Reference}
"""By ``model|bins|class``, and ``model|bins``."""


def take(reading: Reading, state: State) -> list[Operation]:
    """Counts a reading; returns what is to be told. Raises RecordError for one that doesn't fit those before it."""
    model, told = f"{reading.model}|{reading.bins}", list[Operation]()
    if reading.reference is not None:
        state.table("drift_card").put(model, reading.reference)
    for class_, counts in reading.counts.items():
        told += _count(f"{model}|{class_}", counts, epoch(reading.at), state)
    return told


def _count(key: str, counts: Mapping[str, Sequence[int]], at: float, state: State) -> list[Operation]:
    table: Table[Block] = state.table("drift_block")
    day, over = int(at // DAY), None
    block = table.get(key) or Block(day, whole=False)
    _check(block.counts, counts)
    if day > block.day:
        if not block.whole or _texts(block.counts) >= LEAST:
            over = block.counts if block.whole else None
            block.counts = {}
        block.day, block.whole = day, True
    _add(block.counts, counts)
    table.put(key, block)
    return _close(key, over, at, state) if over is not None else []


def _check(held: Counts, counts: Mapping[str, Sequence[int]]) -> None:
    for name, new in counts.items():
        if len(held.get(name, new)) != len(new):
            raise RecordError(f"{len(new)} bins of {name!r}, where this model had {len(held[name])}")


def _add(held: Counts, counts: Mapping[str, Sequence[int]]) -> None:
    for name, new in counts.items():
        held[name] = [one + more for one, more in zip(held.get(name) or [0] * len(new), new, strict=True)]


def _texts(counts: Counts) -> int:
    return sum(counts.get("language", ()))


# -- a block that is over ---------------------------------------------------------------------------------


def _close(key: str, counts: Counts, at: float, state: State) -> list[Operation]:
    table: Table[History] = state.table("drift")
    history = table.get(key) or History()
    history.recent = [*history.recent, counts][-BLOCKS:]
    if len(history.reference) < BLOCKS:
        history.reference = [*history.reference, counts]
    else:
        history.after += 1
    told = []
    if len(history.reference) == BLOCKS:
        card: Reference | None = state.table("drift_card").get(key.rpartition("|")[0])
        looks = {STREAM: _stream_looks(history), CARD: _card_looks(history, card) if card is not None else {}}
        history.looks = {
            name: {m: (one.effect, one.limit) for m, one in found.items()} for name, found in looks.items()
        }
        told = [event for name, found in looks.items() for event in _judge(key, name, found, history, at)]
    table.put(key, history)
    told += _forget(at, state)
    show(state)
    return told


def _measured(history: History) -> Iterator[tuple[str, list[list[int]]]]:
    """Measures that every block of the reference has, with its blocks."""
    for name in history.reference[0]:
        blocks = [block[name] for block in history.reference if name in block]
        if len(blocks) == len(history.reference):
            yield name, blocks


def _stream_looks(history: History) -> dict[str, Look]:
    """Of the last block and the last week what is further beyond, or nearer to, its limit."""
    found = {}
    for name, blocks in _measured(history):
        known = spread(blocks)
        spans = [history.recent[-days:] for days in (1, WEEK) if history.after >= days]
        windows = [[block[name] for block in span if name in block] for span in spans]
        looks = [look(window, known.total, known) for window in windows if window]
        if looks:
            found[name] = max(looks, key=lambda one: one.effect / one.limit)
    return found


def _card_looks(history: History, card: Reference) -> dict[str, Look]:
    """The last blocks together, against the nearest set of the card."""
    between = [distances(one, other) for one, other in combinations(card.parts.values(), 2)]
    found = {}
    for name, blocks in _measured(history):
        recent = [block[name] for block in history.recent if name in block]
        sets = [part[name] for part in card.parts.values() if name in part]
        if recent and sets:
            known = spread(blocks)
            nearest = min((look(recent, one, known) for one in sets), key=lambda one: one.effect)
            apart = max((pair[name] for pair in between if name in pair), default=0.0)
            found[name] = Look(nearest.effect, apart + nearest.limit)
    return found


def _judge(key: str, reference: str, looks: Mapping[str, Look], history: History, at: float) -> list[Operation]:
    beyond = {name: one for name, one in looks.items() if one.effect > one.limit}
    alarm = history.alarms.get(reference)
    if alarm is None:
        if not beyond:
            return []
        history.alarms[reference] = Alarm(at)
        return [_rings(key, reference, beyond, at)]
    alarm.blocks += 1
    alarm.calm = 0 if beyond else alarm.calm + 1
    if reference == STREAM and alarm.blocks > BLOCKS:
        history.reference, history.after = history.recent, 0
        why = "have changed for good: what they are now is the reference"
    elif alarm.calm == CALM:
        why = "are again as the reference is"
    else:
        return []
    del history.alarms[reference]
    return [_over(key, reference, alarm, why, at)]


def _forget(at: float, state: State) -> list[Operation]:
    """Lets go of models that nothing was read by for long, and of what rang for them."""
    blocks: Table[Block] = state.table("drift_block")
    histories: Table[History] = state.table("drift")
    told = []
    for key, block in list(blocks.items()):
        if at // DAY - block.day > FORGOTTEN:
            blocks.delete(key)
            history = histories.get(key) or History()
            why = "are read by this model no more"
            told += [_over(key, reference, alarm, why, at) for reference, alarm in history.alarms.items()]
            histories.delete(key)
    alive = {key.rpartition("|")[0] for key, _ in blocks.items()}
    cards: Table[Reference] = state.table("drift_card")
    for model in [model for model, _ in cards.items() if model not in alive]:
        cards.delete(model)
    return told


# -- what is told -----------------------------------------------------------------------------------------


def _rings(key: str, reference: str, beyond: Mapping[str, Look], at: float) -> Operation:
    model, _, class_ = key.rsplit("|", 2)
    worst = sorted(beyond.items(), key=lambda entry: entry[1].limit - entry[1].effect)
    figures = ", ".join(f"{name} {one.effect:.2f} (limit {one.limit:.2f})" for name, one in worst)
    stream = reference == STREAM
    what = "not what they were" if stream else f"not what {model} was validated on"
    details = {f"{name}{part}": round(x, 3) for name, one in worst for part, x in zip(("", "_limit"), one, strict=True)}
    return Operation(
        type="ops.model_drift",
        at=iso(at),
        subject=f"{class_}/{reference}",
        summary=f"{class_} texts are {what}: {figures}",
        severity="warning" if stream else "info",
        details={"model": model, "class": class_, "reference": reference, **details},
    )


def _over(key: str, reference: str, alarm: Alarm, why: str, at: float) -> Operation:
    model, _, class_ = key.rsplit("|", 2)
    return Operation(
        type="ops.model_drift_resolved",
        at=iso(at),
        subject=f"{class_}/{reference}",
        summary=f"{class_} texts {why}",
        severity="warning" if reference == STREAM else "info",
        details={"model": model, "class": class_, "reference": reference, "since": iso(alarm.at)},
    )


def report(state: State) -> list[dict[str, Any]]:
    """What is known of each model and class, as the API tells it."""
    histories: Table[History] = state.table("drift")
    found = []
    for key, history in histories.items():
        model, _, class_ = key.rsplit("|", 2)
        found.append(
            {
                "model": model,
                "class": class_,
                "blocks_learned": len(history.reference),
                "blocks_needed": BLOCKS,
                "rings_since": {name: iso(alarm.at) for name, alarm in history.alarms.items()},
                "measures": [
                    {"measure": measure, "reference": name, "effect": round(effect, 3), "limit": round(limit, 3)}
                    for name, looks in history.looks.items()
                    for measure, (effect, limit) in looks.items()
                ],
            }
        )
    return found


def show(state: State) -> None:
    """Sets the gauges."""
    for gauge in (DRIFT, THRESHOLD, LEARNED):
        gauge.clear()
    histories: Table[History] = state.table("drift")
    for key, history in histories.items():
        model, _, class_ = key.rsplit("|", 2)
        LEARNED.labels(model, class_).set(len(history.reference) / BLOCKS)
        for reference, found in history.looks.items():
            for measure, (effect, limit) in found.items():
                DRIFT.labels(model, class_, measure, reference).set(effect)
                THRESHOLD.labels(model, class_, measure, reference).set(limit)
