"""What the detector knows of one key, and the small changes that an item makes to it."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import msgspec

from alerts.baseline import NEWS, SOCIAL, ClassSettings
from alerts.episode import Episode
from alerts.spike import PUBLISHERS, ClassState, best, new_class

STORIES = 2
"""What an alarm needs at least."""

CLEAR = 0.5
"""Probability from which a new story counts towards the two that an alarm needs."""


class Item(NamedTuple):
    """One scored item of a key. ``weight`` is novelty times relevance."""

    at: float
    b: float
    weight: float = 1.0
    social: bool = False
    id: str = ""
    publisher: str | None = None
    new_story: bool = True


class KeyState(msgspec.Struct, array_like=True):
    """Everything the detector knows of a key; half a kilobyte, less than one in a long unrest of both classes."""

    since: float
    clock: float
    news: ClassState | None = None
    social: ClassState | None = None
    episode: Episode | None = None
    episodes: int = 0
    late: int = 0
    learning: bool = False
    """Whether its last item was history."""


def begin(state: KeyState, social: bool) -> ClassState:
    """The state of a class that the key has its first item of."""
    one = new_class(state.since, 0.0)
    if social:
        state.social = one
    else:
        state.news = one
    return one


def breadth(one: ClassState, item: Item) -> None:
    """Counts the stories of each running excursion, and the publishers that told one of their own: who reprints
    another's is no second witness."""
    if item.b < CLEAR or item.weight <= 0:
        return
    name = zlib.crc32(item.publisher.encode()) if item.new_story and item.publisher is not None else None
    for run in one.run:
        run.stories += item.new_story
        if run.first_bad == 0.0:
            run.first_bad = one.last
        if name is not None and len(run.publishers) < PUBLISHERS and name not in run.publishers:
            run.publishers.append(name)


def classes(state: KeyState) -> list[tuple[ClassState, ClassSettings]]:
    """The classes that the key has had an item of."""
    return [(one, settings) for one, settings in ((state.news, NEWS), (state.social, SOCIAL)) if one is not None]


def count(one: ClassState, x: float, y: float) -> None:
    """An item's bad evidence and its other, in the block that is open."""
    one.base.block_bad += x
    one.base.block_others += y
    one.base.block_documents += 1


def grounds(state: KeyState, one: ClassState, settings: ClassSettings) -> tuple[float, int]:
    """The raw bad evidence of a class as a share of what is asked of it, which for a young baseline is up to twice as
    much; and its stories."""
    top = best(one)
    if top is None:
        return 0.0, 0
    span = state.clock - one.base.since
    return top.x / (settings.least * (1.0 + max(0.0, 1.0 - span / settings.cold))), top.stories


def enough(state: KeyState, one: ClassState, settings: ClassSettings) -> bool:
    """Whether a class has the evidence and the stories that an alarm asks for."""
    share, stories = grounds(state, one, settings)
    return share >= 1.0 and stories >= STORIES
