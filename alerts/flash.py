"""The rule ``flash``: one devastating story, told by as many independent publishers as the rule asks for.

Pure. It fires once a key: as long as such stories go on, none of them more than the rule's cooldown after the one
before, they are one alert. Results depend on the key's own stories and their times only.
"""

from __future__ import annotations

import math

import msgspec

from alerts.episode import SEVERITIES, EpisodeEvent, Kind, Reason
from alerts.exhibits import Exhibit
from alerts.rules import FlashRule

PUBLISHERS = 12
"""Publishers of one alert that are told apart."""

CERTAIN = 0.999
"""Probability beyond which a model's own is not believed: a story alone counts 6.9 nats at most."""

WIDE = 4
"""Publishers from which it is critical."""


class Telling(msgspec.Struct, array_like=True):
    """What one publisher told last."""

    at: float
    publisher: str
    probability: float
    """That it is bad news for the key; of several the highest."""
    mark: bytes
    """Signature of the text: whoever brings the same words has no story of its own."""
    exhibit: Exhibit | None
    """None once its text had to go."""


class Alarm(msgspec.Struct, array_like=True):
    """An open alert, as kept in its key's state."""

    opened_by: str
    opened_at: float
    since: float
    """When the first of its stories was told."""
    sequence: int
    severity: int
    told: int
    """Publishers at the last event: twice as many are worth an update."""
    threshold: float


class Flash(msgspec.Struct, array_like=True):
    """What one rule knows of one key."""

    tellings: list[Telling] = []
    """In the order of their times: of the rule's window, and while an alert is open of all its time."""
    last: float = -math.inf
    """When such a story was told last, copies too."""
    alarm: Alarm | None = None
    episodes: int = 0


def over(rule: FlashRule, key: str, flash: Flash, until: float) -> EpisodeEvent | None:
    """Lets time pass up to ``until``: the end of an open alert once its cooldown was quiet."""
    due = flash.last + rule.cooldown
    return close(key, flash, due, "quiet") if until >= due else None


def close(key: str, flash: Flash, at: float, reason: Reason) -> EpisodeEvent | None:
    """Ends an open alert."""
    alarm = flash.alarm
    if alarm is None:
        return None
    alarm.sequence += 1
    flash.alarm = None
    return _event(key, flash, alarm, "resolved", at, reason)


def shown(flash: Flash) -> tuple[Exhibit, ...]:
    """The stories that an alert may quote."""
    return tuple(one.exhibit for one in flash.tellings if one.exhibit is not None)


def tell(
    rule: FlashRule, key: str, flash: Flash, telling: Telling, document: str, copied: str | None
) -> EpisodeEvent | None:
    """Takes in a story after ``over``. ``copied``: the publisher whose words it has, if it has another's."""
    flash.last = telling.at
    if flash.alarm is None:
        flash.tellings = [one for one in flash.tellings if one.at >= telling.at - rule.within]
    if copied is not None:
        _count_copy(flash, copied, telling.publisher)
        return None
    if not _place(flash, telling):
        return None
    if flash.alarm is None:
        if len(flash.tellings) < rule.publishers:
            return None
        flash.episodes += 1
        count = len(flash.tellings)
        since = min(one.at for one in flash.tellings)
        flash.alarm = Alarm(
            document, telling.at, since, 0, _level(count), count, rule.publishers * nats(rule.probability)
        )
        return _event(key, flash, flash.alarm, "firing", telling.at)
    alarm, count = flash.alarm, len(flash.tellings)
    if count < 2 * alarm.told and _level(count) <= alarm.severity:
        return None
    alarm.told, alarm.severity = count, max(alarm.severity, _level(count))
    alarm.sequence += 1
    return _event(key, flash, alarm, "updated", telling.at)


def _place(flash: Flash, telling: Telling) -> bool:
    """Puts a telling in the place of the same publisher's; whether it may change anything."""
    for place, known in enumerate(flash.tellings):
        if known.publisher == telling.publisher:
            del flash.tellings[place]
            telling.probability = max(telling.probability, known.probability)
            telling.exhibit = known.exhibit or telling.exhibit
            flash.tellings.append(telling)
            return flash.alarm is None
    if len(flash.tellings) < PUBLISHERS:
        flash.tellings.append(telling)
    return True


def _count_copy(flash: Flash, copied: str, publisher: str) -> None:
    for one in flash.tellings:
        if one.publisher == copied and one.exhibit is not None:
            known = one.exhibit.publishers
            more = (publisher,) if publisher not in known and len(known) < PUBLISHERS else ()
            one.exhibit = msgspec.structs.replace(
                one.exhibit, reprints=one.exhibit.reprints + 1, publishers=(*known, *more)
            )


def nats(probability: float) -> float:
    """What a story counts: -ln(1 - p)."""
    return -math.log(1.0 - min(probability, CERTAIN))


def _level(publishers: int) -> int:
    return SEVERITIES.index("critical" if publishers >= WIDE else "error")


def _event(key: str, flash: Flash, alarm: Alarm, kind: Kind, at: float, reason: Reason | None = None) -> EpisodeEvent:
    """``score``: the sum of the publishers' nats, by which none of them is right were they wrong independently;
    ``threshold``: what the rule asks for, in the same measure. A rule has no expectation."""
    tellings = flash.tellings
    observed = sum(one.probability for one in tellings)
    return EpisodeEvent(
        kind=kind,
        key=key,
        episode=flash.episodes,
        opened_by=alarm.opened_by,
        opened_at=alarm.opened_at,
        at=at,
        since=alarm.since,
        sequence=alarm.sequence,
        score=sum(nats(one.probability) for one in tellings),
        threshold=alarm.threshold,
        observed=observed,
        others=0.0,
        expected=0.0,
        expected_low=0.0,
        expected_high=0.0,
        stories=len(tellings),
        publishers=len(tellings),
        share=max((one.probability for one in tellings), default=0.0),
        usual_share=0.0,
        baseline_span=0.0,
        severity=SEVERITIES[alarm.severity],
        excess=observed,
        excess_low=0.0,
        reason=reason,
    )
