"""One event, one alert: which of the bursts that share their stories speaks for all of them. Pure.

A story about a company bursts at the company, its pair with the topic, its watch-lists, the topic and the market. What
is told is the most specific of them whose stories account for four fifths of the excess; the others are held by it and
listed inside. Which rings first keeps its name, so that an event has one name for as long as it lasts; only what rang
minutes ago may still merge away into what comes. docs/decisions/0019-one-event-one-alert.md has the reasons.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import IntEnum

import msgspec

from alerts.episode import Severity

EXPLAINED = 0.8
"""Share of a burst's excess that others' stories account for, from which they explain it."""

LEFT = 0.5
"""Below it they explain it no more: less than above, so that a burst at the edge does not ring for a story more."""

PART = 0.25
"""Share of a wide burst's excess from which a company in it is an event of its own, and no detail of a general one."""

AWAY = 0.125
"""Share of a wide burst's excess up to which a company that rang just before is a detail of it after all."""

TIPPED = 0.1
"""Share of its excess from which others may be what made a wide burst ring."""

BROAD = 0.5
"""A wide burst of which one company makes up this share is that company's, by another name."""

FEW = 3
"""So many companies' bursts may explain a wider one between them; of more a person wants to hear the wider one."""

SETTLING = 600.0
"""Seconds after it rang in which an alert may still merge into another: longer, and somebody is at work on it."""

TOGETHER = 3_600.0
"""Seconds: what a wide burst holds came, each, within so long of the one before. A company that bursts into a wide
alert which has not moved for an hour is news."""


REMEMBERED = 86_400.0
"""Seconds for which what an alert told is known after its end: a burst that it would take to ring is none."""

MANY = 8
"""Companies in a wide burst from which it is known how much is usual among them."""

MOST = 0.9
"""Of them have no more than what is taken for usual."""

STANDS = 1.5
"""A company in a wide burst may have so many times what most have, or lie so many times as far above it as that lies
above the middle one, and still be like the others."""


class Width(IntEnum):
    """How much a key takes in: the more, the less specific it is."""

    PAIR = 0
    COMPANY = 1
    LIST = 2
    TOPIC = 3
    MARKET = 4


class Burning(msgspec.Struct, array_like=True):
    """An open episode, as far as merging asks. Times in seconds since 1970."""

    key: str
    width: int
    alert: str
    """Id under which it is told or recorded."""
    opened_at: float
    moved: float
    """When it last changed, or something joined it."""
    severity: Severity
    score: float
    threshold: float
    observed: float
    excess: float
    shared: dict[str, float]
    """Another key to the share of the observed evidence that is the other's, too."""
    largest: float = 0.0
    """The share of the company that has most of it."""
    rang: float | None = None
    """When it rang by itself; None while it has not."""
    holder: str = ""
    """Name of the episode that holds it, or held it last; "" where none ever did."""
    into: str = ""
    """That one's alert."""
    life: int = 0
    """How often it rang and merged away."""
    known: tuple[str, ...] = ()
    """Keys of narrower alerts with a part in it that ended."""
    told: float = 0.0
    """Evidence that another alert told of, which ended."""
    since: float = 0.0
    """When its burst began."""
    usual: float = 0.0
    """Of what holds many companies: the observed evidence up to which one of them is like the others."""
    follows: str = ""
    """The alert, over, that told of a part of it; or its key's own of an hour before."""
    ended: float | None = None
    """When its alert was over: such a one is remembered, and burns no more."""


def share(of: Burning, by: Burning) -> float:
    """Share of the excess of ``of`` that the stories of ``by`` account for, 0 to 1."""
    return _share(of, by.key, by.width)


def explained(wide: Burning, told: Iterable[Burning]) -> bool:
    """Whether people know what a burst tells: for most of it a few narrower alerts or one that is over account, or
    without their stories it would not ring.

    A score is convex in its evidence, and not above 0 without any: less a part of the evidence it is less by that part
    at least. So one that only just rings is theirs; by its next event it has more of its own, or has not.
    """
    return _rests_on(wide, _known(wide, told))


def told_by(one: Burning, came: Sequence[float], over: Burning) -> float:
    """Observed evidence of ``one`` that an alert, over, has told: at least so much of it is of that one's key and came
    between its beginning and its end. ``came``: a candidate's."""
    if over.ended is None or not came:
        return 0.0
    within = (bisect_right(came, over.ended) - bisect_right(came, over.since)) / len(came)
    of_key = 1.0 if over.width == Width.MARKET or over.key == one.key else one.shared.get(over.key, 0.0)
    return min(max(0.0, of_key + within - 1.0) * one.observed, told_of(one, over))


def told_of(one: Burning, over: Burning) -> float:
    """The most evidence of ``one`` that people know from a wider alert which held it, or would have: of a company, no
    more than companies in it have. Of a list or topic twice what it had: a company is worth a mistake, those are not.
    """
    if one.width > Width.COMPANY:
        return 2.0 * one.observed
    return min(one.observed, over.usual) if over.usual > 0.0 else one.observed


def usual(observed: Sequence[float]) -> float:
    """Evidence up to which a company in a wide burst is like the others, of all theirs in its order; 0 of a few."""
    if len(observed) < MANY:
        return 0.0
    most, middle = observed[int(MOST * (len(observed) - 1))], observed[len(observed) // 2]
    return max(STANDS * most, most + STANDS * (most - middle))


def holder_of(new: Burning, told: Sequence[Burning], at: float) -> Burning | None:
    """Which of ``told``, alerts that rang and are open, speaks for ``new`` as well; None where none does."""
    found = [one for one in told if _explains(one, new, at)]
    if found:
        return max(found, key=lambda one: (share(new, one), -one.width, -one.opened_at, one.alert))
    few = _few(new, told)
    return few[0] if few and explained(new, told) else None


def stays(held: Burning, holder: Burning, told: Sequence[Burning]) -> bool:
    """Whether what is held still is a part of it, as both stand by now."""
    if holder.width > max(held.width, Width.COMPANY):
        return share(holder, held) >= EXPLAINED or is_detail(held, holder)
    return max(share(held, holder), _known(held, told)) >= LEFT or explained(held, told)


def taken_by(new: Burning, told: Sequence[Burning], at: float) -> list[tuple[Burning, Burning]]:
    """What rang and now merges away, as (which, into which), since ``new`` rings, or grew."""
    everything = [new, *(one for one in told if one is not new)]
    away: list[tuple[Burning, Burning]] = []
    for one in everything[1:]:
        age = at - (one.rang if one.rang is not None else at)
        if one.width < new.width:
            # What a company burst with is not what an old alert gathered before it.
            fresh = age < SETTLING and (one.width > Width.COMPANY or at - new.opened_at < TOGETHER)
            if fresh and share(one, new) >= EXPLAINED and is_detail(one, new) and _is_small(one, new):
                away.append((one, new))
        elif one.width > new.width and age < TOGETHER:
            few = _few(one, everything)
            if new in few and (_known(one, everything) >= EXPLAINED or (age < SETTLING and explained(one, everything))):
                away.append((one, few[0]))
    return sorted(away, key=lambda pair: pair[0].alert)


def rather(new: Burning, untold: Iterable[Burning], told: Sequence[Burning], at: float) -> Burning | None:
    """The wider burst that is to ring in place of ``new``, which would be one alert too many of its kind: a few within
    it have rung within the hour. The narrowest of those that burn and were held so far."""
    found = [
        wide
        for wide in untold
        if wide.width > max(new.width, Width.COMPANY)
        and share(new, wide) >= EXPLAINED
        and is_detail(new, wide)
        and all(share(wide, one) < BROAD for one in told)
        and sum(_is_of_the_hour(one, wide, at) for one in told) >= FEW
    ]
    return min(found, key=lambda one: (one.width, one.opened_at, one.alert), default=None)


def burns_on(one: Burning, over: Burning) -> bool:
    """Whether a company is still to be told of when a wider alert that held it is over: not where it was that one by
    another name, nor where many are alike in it, of which those that stand out rang."""
    return one.width <= Width.COMPANY < over.width and over.usual == 0.0 and share(over, one) < EXPLAINED


def is_detail(one: Burning, of: Burning) -> bool:
    """Whether ``one``, all of whose stories are those of a wider burst, is no event beside it."""
    if of.width <= Width.COMPANY:
        return True
    if one.width > Width.COMPANY:
        return share(of, one) < BROAD
    return share(of, one) < PART and _of_excess(of, of.largest) < BROAD and not _stands_out(one, of)


def _stands_out(one: Burning, of: Burning) -> bool:
    """Whether a company would ring by what it has beyond what others have in a wide burst."""
    return of.usual > 0.0 and one.excess > 0.0 and not _rests_on(one, of.usual / one.excess)


def _rests_on(one: Burning, known: float) -> bool:
    """Whether a burst is what people know already of its excess, a share; or would not ring without."""
    if known >= EXPLAINED:
        return True
    part = known * one.excess / one.observed if one.observed > 0 else 0.0
    return known >= TIPPED and (1.0 - part) * one.score < one.threshold


def _is_small(one: Burning, of: Burning) -> bool:
    return of.width <= Width.COMPANY or share(of, one) < (AWAY if one.width <= Width.COMPANY else PART)


def _is_of_the_hour(one: Burning, wide: Burning, at: float) -> bool:
    recent = one.rang is not None and at - one.rang < TOGETHER
    return recent and one.width < min(wide.width, Width.TOPIC) and share(one, wide) >= EXPLAINED


def _explains(by: Burning, new: Burning, at: float) -> bool:
    if share(new, by) < EXPLAINED:
        return False
    if by.width <= max(new.width, Width.COMPANY):
        return True
    if share(by, new) >= EXPLAINED:  # it is all that the wider one is; that one's name holds once people know it
        return by.rang is not None and at - by.rang >= SETTLING
    return is_detail(new, by) and at - by.moved < TOGETHER


def _few(wide: Burning, told: Iterable[Burning]) -> list[Burning]:
    """The narrower ones that account for most of it, the most first."""
    narrower = [one for one in told if one.width < wide.width and share(wide, one) > 0.0]
    return sorted(narrower, key=lambda one: (-share(wide, one), one.width, one.opened_at, one.alert))[:FEW]


def _known(wide: Burning, told: Iterable[Burning]) -> float:
    """Share of its excess that a few narrower alerts account for, those that ended before it among them; or one that
    held it and ended."""
    parts = {one.key: share(wide, one) for one in told if one.width < wide.width}
    parts.update((key, _share(wide, key, Width.PAIR)) for key in wide.known)
    told_once = wide.told / wide.excess if wide.excess > 0 else 0.0
    return min(1.0, max(told_once, sum(sorted(parts.values(), reverse=True)[:FEW])))


def _share(of: Burning, key: str, width: int) -> float:
    return _of_excess(of, 1.0 if width == Width.MARKET else of.shared.get(key, 0.0))


def _of_excess(of: Burning, part: float) -> float:
    return min(1.0, part * of.observed / of.excess) if of.excess > 0 else 0.0
