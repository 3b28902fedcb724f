"""The stories that an alert shows: which kinds of events they tell, and which of them fit into the body. Pure.

A body is below ``LIMIT`` bytes of JSON whatever the texts hold: a fixed ladder of cuts is taken until it fits,
and ``data.truncated`` names what was cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from alerts import wording
from alerts.body import AlertBody, Shown, Story, Unexplained, encode
from alerts.wording import HEADLINE, NAME, iso, name, plain, share

LIMIT = 20_000
"""Bytes. Standard Webhooks asks for bodies below 20 kB, and receivers cut off what is longer."""

STORIES = 5
COUNTER = 2
KINDS = 5
"""Kinds of adverse events that are told of one story, and twice as many of all."""

LADDER = (
    (STORIES, COUNTER, HEADLINE, True),
    (STORIES, 1, 140, True),
    (3, 1, 140, True),
    (3, 0, 80, True),
    (3, 0, 80, False),
    (1, 0, 80, False),
    (0, 0, 80, False),
)
"""Cuts, mildest first: stories, counter-evidence, characters of a headline, whether stories keep their links."""


Why = tuple[tuple[int, int, float], ...] | Unexplained
"""The phrases that make a headline bad news, by their places in it as it is shown at its longest and their weights; or
why they are not told."""


class Exhibit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One story as it is kept beside a running excursion. Times in seconds since 1970."""

    document: str
    """Id of the first document that told it."""
    headline: str
    source: str
    """Configured source that brought it."""
    publisher: str | None = None
    url: str | None = None
    published: float
    first_seen: float
    at: float = 0.0
    """When it counted: where the detector's clock stood."""
    negative: float
    positive: float
    nats: float = 0.0
    """What it contributed to the score."""
    reprints: int = 0
    """Further copies of the story, which count for nothing."""
    publishers: tuple[str, ...] = ()
    """Publishers that told it, those that reprint it among them."""
    story: int = 0
    """Which story it is, within its key."""
    social: bool = False
    risk: float | None = None
    """Probability of an adverse event; None where the model has no head for them."""
    events: tuple[str, ...] = ()
    """Kinds of adverse events that it tells, the likeliest first."""
    model: str = ""
    """The one that judged it."""
    mentions: tuple[tuple[int, int], ...] = ()
    """Where the company toward which it was judged stands in the headline."""


def kinds(exhibits: Sequence[Exhibit]) -> dict[str, int]:
    """Kind of adverse event to the number of stories that tell it, the most frequent first."""
    told = Counter(kind for one in exhibits for kind in one.events)
    ranked = sorted(told.items(), key=lambda pair: (-pair[1], pair[0]))
    return {plain(kind, NAME): number for kind, number in ranked[: 2 * KINDS]}


def mostly(exhibits: Sequence[Exhibit]) -> str | None:
    """The kind that at least half of the stories tell, if they are several; of equals the first by its name."""
    for kind, number in kinds(exhibits).items():
        return kind if number > 1 and 2 * number >= len(exhibits) else None
    return None


def speaking(exhibits: Sequence[Exhibit]) -> list[Exhibit]:
    """Those that an alert shows, by what they contributed."""
    return sorted(exhibits, key=lambda one: (-one.nats, one.published, one.document))[:STORIES]


def headline(one: Exhibit) -> str:
    """As it is shown at its longest."""
    return plain(one.headline, HEADLINE)


def fit(body: AlertBody, exhibits: Sequence[Exhibit], counter: Sequence[Exhibit], why: Mapping[str, Why]) -> bytes:
    """Takes the mildest cut of the ladder that keeps the body below the limit. ``why``: by document."""
    told = speaking(exhibits)
    against = sorted(counter, key=lambda one: (-one.positive, one.published, one.document))[:COUNTER]
    encoded = b""
    for rung in LADDER:
        encoded = encode(_cut(body, told, against, why, rung))
        if len(encoded) < LIMIT:
            break
    return encoded


def _cut(
    body: AlertBody,
    told: list[Exhibit],
    against: list[Exhibit],
    why: Mapping[str, Why],
    rung: tuple[int, int, int, bool],
) -> AlertBody:
    stories, others, characters, linked = rung
    shown = [*told[:stories], *against[:others]]
    cuts = list(body.data.truncated)
    if any(len(one.headline) > characters for one in shown):
        cuts.append("headlines")
    if stories < len(told):
        cuts.append("stories")
    if others < len(against):
        cuts.append("counter")
    if any(one.url and (not linked or wording.link(one.url) is None) for one in shown):
        cuts.append("links")
    evidence = Shown(
        stories=tuple(_story(one, characters, linked, why.get(one.document)) for one in told[:stories]),
        first_source=body.data.evidence.first_source,
        counter=tuple(_story(one, characters, linked, None) for one in against[:others]),
        events=body.data.evidence.events,
    )
    data = msgspec.structs.replace(body.data, evidence=evidence, truncated=tuple(cuts))
    return msgspec.structs.replace(body, data=data)


def _story(one: Exhibit, characters: int, linked: bool, why: Why | None) -> Story:
    whole = headline(one)
    shown = plain(whole, characters)
    kept = len(shown) if shown == whole else len(shown) - 1  # the last of a cut one stands for the rest
    return Story(
        id=plain(one.document, NAME),
        headline=shown,
        source=plain(one.source, NAME),
        publisher=name(one.publisher),
        url=wording.link(one.url) if linked else None,
        published=iso(one.published),
        first_seen=iso(one.first_seen),
        reprints=one.reprints,
        publishers=len(one.publishers),
        negative=share(one.negative),
        neutral=share(1.0 - one.negative - one.positive),
        positive=share(one.positive),
        nats=round(one.nats, 2),
        social=one.social,
        risk=None if one.risk is None else share(one.risk),
        events=tuple(plain(kind, NAME) for kind in one.events[:KINDS]),
        why=tuple(phrase for phrase in why if phrase[1] <= kept) if isinstance(why, tuple) else None,
        unexplained=why if isinstance(why, str) else None,
    )
