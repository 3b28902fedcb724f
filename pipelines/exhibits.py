"""The evidence of a key's running excursion, which its alerts quote: what is hung, and for how long."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

import msgspec

from alerts.exhibits import Exhibit
from models.predictions import BAD
from pipelines.documents import Candidate, Evidence, decode, encode, epoch
from pipelines.streams.base import Table

EXHIBITS = 24
"""Stories kept as evidence of an excursion; an alert shows five."""

COUNTER = 3

GOOD = 0.6
"""Probability of good news from which another speaks against it."""

PUBLISHERS = 12
"""Independent publishers of one story that are told apart."""

WEIGHED = 64
"""Documents by which a burst is compared with others; and keys that are told of them."""

PARTS = 16
"""Into which a burst is cut to say when it came."""

LEAST = 0.1
"""Weight from which a document says who the burst is about."""


class Weighed(msgspec.Struct, array_like=True, frozen=True):
    """A piece of evidence of a running excursion: when it counted, what it weighed, and what of that is other keys'."""

    number: int
    """Of its document, a hash."""
    at: float
    x: float
    keys: dict[str, float]


class Shown(msgspec.Struct, array_like=True):
    """The evidence of a key's running excursion."""

    exhibits: list[Exhibit] = []
    counter: list[Exhibit] = []
    weighed: list[Weighed] = []
    """In the order of their numbers; of very many those with the lowest, a random sample of them."""


def forget(shown: Shown, before: float) -> None:
    """Lets go of what counted before the excursion began that an alert would tell of: an older one, that it followed
    without a pause, has ended."""
    if any(one.at < before for one in (*shown.exhibits, *shown.counter)):
        shown.exhibits = [one for one in shown.exhibits if one.at >= before]
        shown.counter = [one for one in shown.counter if one.at >= before]
    if any(one.at < before for one in shown.weighed):
        shown.weighed = [one for one in shown.weighed if one.at >= before]


def weigh(shown: Shown, evidence: Evidence, number: int, novelty: float, at: float) -> None:
    """Notes what a document adds to the excursion, and of how much of that its other keys are told as well."""
    x = novelty * evidence.relevance * evidence.b
    if x < LEAST:
        return
    keys = {key: x * min(1.0, relevance / evidence.relevance) for key, relevance in evidence.also}
    insort(shown.weighed, Weighed(number, at, x, keys), key=lambda one: one.number)
    del shown.weighed[WEIGHED:]


def shared(shown: Shown) -> dict[str, float]:
    """Key to the share of the evidence that is its own as well, the largest first."""
    total = sum(one.x for one in shown.weighed)
    parts: dict[str, float] = {}
    for one in shown.weighed:
        for key, x in one.keys.items():
            parts[key] = parts.get(key, 0.0) + x
    most = sorted(parts.items(), key=lambda pair: (-pair[1], pair[0]))[:WEIGHED]
    return {key: round(part / total, 4) for key, part in most}


def came(shown: Shown) -> tuple[float, ...]:
    """By when each sixteenth of the evidence had come, in seconds since 1970."""
    total, passed = sum(one.x for one in shown.weighed), 0.0
    found: list[float] = []
    for one in sorted(shown.weighed, key=lambda one: (one.at, one.number)):
        passed += one.x
        # Rounded, or the last one's sum might fall short of the whole by the last digit.
        found += [round(one.at, 3)] * (int(round(PARTS * passed / total, 6)) - len(found))
    return tuple(found)


def hang(shown: Shown, evidence: Evidence, story: int, nats: float, at: float) -> None:
    """A new story, where it speaks for the excursion or against it. ``nats``: what it contributed to the score; ``at``:
    where the detector's clock stood."""
    exhibit = exhibit_of(evidence, story, nats, at)
    if evidence.b >= BAD:
        shown.exhibits.append(exhibit)
        if len(shown.exhibits) > EXHIBITS:
            # The first story stays, whatever it weighs: it says where the burst began.
            weakest = min(range(1, len(shown.exhibits)), key=lambda i: shown.exhibits[i].nats)
            del shown.exhibits[weakest]
    elif evidence.positive >= GOOD:
        shown.counter.append(exhibit)
        del shown.counter[:-COUNTER]


def exhibit_of(evidence: Evidence, story: int, nats: float, at: float) -> Exhibit:
    """A piece of evidence as an alert may show it."""
    return Exhibit(
        document=evidence.id,
        headline=evidence.title,
        publisher=evidence.by or evidence.publisher,
        source=evidence.source,
        url=evidence.url,
        published=epoch(evidence.published),
        first_seen=epoch(evidence.fetched),
        at=at,
        negative=evidence.negative,
        positive=evidence.positive,
        nats=nats,
        publishers=(evidence.publisher,) if evidence.publisher else (),
        story=story,
        social=evidence.class_ == "social",
        risk=evidence.risk,
        events=evidence.events,
        model=evidence.model,
        mentions=evidence.mentions,
    )


def reprint(shown: Shown, evidence: Evidence, story: int) -> None:
    """One more copy of a story."""
    for place, exhibit in enumerate(shown.exhibits):
        if exhibit.story == story:
            publishers = exhibit.publishers
            if evidence.publisher and evidence.publisher not in publishers and len(publishers) < PUBLISHERS:
                publishers = (*publishers, evidence.publisher)
            shown.exhibits[place] = msgspec.structs.replace(
                exhibit, reprints=exhibit.reprints + 1, publishers=publishers
            )
            return


Gone = Callable[[Exhibit], bool]
"""Whether an exhibit must go."""


def older_than(before: float) -> Gone:
    """What was first seen before ``before``, in seconds since 1970."""
    return lambda exhibit: exhibit.first_seen < before


def without(shown: Shown, gone: Gone) -> Shown:
    """What is left."""
    left = [one for one in shown.exhibits if not gone(one)], [one for one in shown.counter if not gone(one)]
    return Shown(*left, shown.weighed)


def take_down(table: Table[Shown], gone: Gone) -> None:
    for key, shown in list(table.items()):
        left = without(shown, gone)
        if left != shown:
            table.put(key, left)


def lighter(candidate: bytes, gone: Gone) -> bytes | None:
    """A candidate without what must go; None where it shows nothing of that."""
    whole = decode(Candidate, candidate)
    shown = Shown(list(whole.exhibits), list(whole.counter))
    left = without(shown, gone)
    if left == shown:
        return None
    return encode(msgspec.structs.replace(whole, exhibits=tuple(left.exhibits), counter=tuple(left.counter)))
