"""What would it catch? For each key and class the smallest crises that ring, tried out in what was recorded.

The work of minutes of a processor for long watch-lists: a daemon has it done by ``serve`` in a process of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Literal

import msgspec

from alerts.baseline import DAY
from alerts.detector import Detector
from alerts.power import AlwaysRinging, Chance, Reach, TooShort, Trials
from models.evaluate import wilson
from pipelines.answers import Answers
from pipelines.documents import iso
from pipelines.recorded import OWN, Of, Recorded, kind
from pipelines.view import KEEP_SERIES
from pipelines.watch import Watch

Class = Literal["news", "social"]

LENGTHS = (3_600.0, 21_600.0, DAY)
"""Within which a crisis comes, in seconds."""


HARDLY = 0.75
"""Badness below which stories that are taken for bad ones are mostly none."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be tried: for which keys, under which settings. ``watched``: all keys, which tell of the population;
    ``budgets``, ``calendars``: of keys that have one of their own."""

    keys: tuple[str, ...]
    watched: tuple[str, ...]
    budget: float
    budgets: dict[str, float] = {}
    calendars: dict[str, str] = {}
    min_open: float
    lateness: float
    classes: tuple[Class, ...] = ("news", "social")
    lengths: tuple[float, ...] = LENGTHS
    trials: int = 100
    seed: int = 0


class Caught(msgspec.Struct, frozen=True, kw_only=True):
    """Crises of ``stories`` stories: which share rang, within its 95 % interval, and half of those how soon."""

    stories: int
    probability: float
    low: float
    high: float
    median_delay_seconds: float | None
    rang: int
    trials: int


class Within(msgspec.Struct, frozen=True, kw_only=True):
    """Crises that come within ``seconds``. ``half``, ``most``: the smallest that rings with 50 % and with 90 %, null
    where 100 stories are not enough. ``anyway``: what rings in that time without a crisis."""

    seconds: float
    half: Caught | None
    most: Caught | None
    anyway: Caught
    curve: tuple[tuple[int, float], ...]
    """(stories, probability)."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """Of one key and class. ``why``: why there are no figures, where there are none."""

    key: str
    class_: Class
    documents: int
    """Of the class, in the key's history."""
    since: str | None = None
    until: str | None = None
    drawn_from: Of = "any"
    """Whose bad stories a crisis draws on."""
    stories_known: int = 0
    badness: float = 0.0
    """Of those stories, on average: their probability of being bad news."""
    at_rest: float = 1.0
    """Share of the moments tried at which the key did not ring already."""
    notes: tuple[str, ...] = ()
    within: tuple[Within, ...] = ()
    why: str | None = None


def run(recorded: Recorded, question: Question) -> Iterator[Answer]:
    """Key after key, classes in turn. No answer depends on which other keys are asked about."""
    detector = Detector(budget=question.budget, min_open=question.min_open, lateness=question.lateness)
    found: dict[tuple[str, bool, float | None, str | None], Answer] = {}
    for key in question.keys:
        # Of keys that nothing is known of, one is like the other.
        name = key if recorded.knows(key) else kind(key)
        if not (classes := recorded.classes(key)):
            yield Answer(key=key, class_=question.classes[0], documents=0, why="nothing is recorded yet of any key")
        for social in classes:
            if ("social" if social else "news") in question.classes:
                alike = name, social, question.budgets.get(key), question.calendars.get(key)
                if alike not in found:
                    found[alike] = _answer(recorded, question, detector, key, name, social=social)
                yield msgspec.structs.replace(found[alike], key=key)


def _answer(recorded: Recorded, question: Question, detector: Detector, key: str, name: str, *, social: bool) -> Answer:
    class_: Class = "social" if social else "news"
    rng = Random(f"{question.seed}|{name}|{class_}")  # noqa: S311 (figures to be had again, no secret)
    past, drawn, documents = recorded.past(key, rng), recorded.stories(key, social), recorded.count(key, social)
    answer = Answer(
        key=key,
        class_=class_,
        documents=documents,
        since=iso(past.since),
        until=iso(past.end),
        drawn_from=drawn.of,
        stories_known=len(drawn.stories),
        badness=round(fmean(story.b for story in drawn.stories), 3) if drawn.stories else 0.0,
    )
    answer = msgspec.structs.replace(answer, notes=tuple(_notes(answer)))
    if not drawn.stories:
        return msgspec.structs.replace(answer, why="no bad story is known of any key")
    try:
        trials = Trials(
            past,
            drawn.stories,
            social=social,
            detector=detector,
            budget=question.budgets.get(key),
            shape=recorded.shape(key),
            lengths=question.lengths,
            trials=question.trials,
            rng=rng,
        )
    except (TooShort, AlwaysRinging) as error:
        return msgspec.structs.replace(answer, why=str(error))
    within = tuple(_within(trials.reach(length)) for length in question.lengths)
    return msgspec.structs.replace(answer, within=within, at_rest=round(trials.at_rest, 3))


def _notes(answer: Answer) -> Iterator[str]:
    if answer.documents == 0:
        yield "no item of its own: what is usual is taken from the other keys"
    if 0 < answer.stories_known < OWN:
        yield f"crises draw on {answer.stories_known} known bad stories only"
    if 0.0 < answer.badness < HARDLY:
        yield "the bad stories known are hardly bad: a clearer crisis rings sooner"


def _within(reach: Reach) -> Within:
    half, most = (None if chance is None else _caught(chance) for chance in reach.smallest)
    return Within(seconds=reach.length, half=half, most=most, anyway=_caught(reach.anyway), curve=reach.curve)


def _caught(chance: Chance) -> Caught:
    low, high = wilson(chance.rang, chance.trials)
    return Caught(
        stories=chance.stories,
        probability=round(chance.probability, 3),
        low=round(low, 3),
        high=round(high, 3),
        median_delay_seconds=None if chance.delay is None else round(chance.delay, 1),
        rang=chance.rang,
        trials=chance.trials,
    )


# -- from a read model, in a process of its own -----------------------------------------------------------


class Task(msgspec.Struct, frozen=True):
    """A question about what the read model at ``path`` holds."""

    path: str
    question: Question


def recorded_of(answers: Answers, question: Question) -> Recorded:
    """What a read model holds of the keys that are asked about, and of all."""
    points = ((key, answers.history(key, 0.0, float("inf"))) for key in question.watched)
    return Recorded(points, question.keys, question.calendars, held=KEEP_SERIES)


def serve() -> None:
    """Answers the task on standard input on standard output, behind everything else that the machine does."""
    os.nice(19)
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    answers = Answers(Path(task.path), Watch([], []))
    try:
        found = list(run(recorded_of(answers, task.question), task.question))
    finally:
        answers.close()
    sys.stdout.buffer.write(msgspec.json.encode(found))
