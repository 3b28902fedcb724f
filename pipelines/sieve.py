"""Which stories speak for a ``flash`` rule: what is told, of which company, how probable it is that it is bad news.

Score marks the evidence with the rules that it speaks for, and `tapewatch rules check` asks the same of the log.
"""

from __future__ import annotations

from collections.abc import Sequence

from alerts.flash import Flash, Telling
from alerts.rules import FlashRule
from models.reading import spans_of
from pipelines.documents import ScoredDocument
from pipelines.judgements import Testimony
from pipelines.signatures import similarity
from pipelines.watch import WatchedKey

COPY = 0.9
"""Share of two texts' words (Jaccard) from which one is the other's copy: an agency's text under another's name."""


def spoken_for(
    rules: Sequence[FlashRule], scored: ScoredDocument, text: str, key: WatchedKey, said: Testimony
) -> tuple[str, ...]:
    """Names of the rules for which a document speaks to a key. ``text``: what was read of it; ``said``: what it says to
    the key. A flash is about a company, and told by publishers: topics, lists and posts have none."""
    if scored.class_ == "social" or not key.is_company:
        return ()
    return tuple(
        rule.name
        for rule in rules
        if said.bad >= rule.probability and rule.watches(key.watchlists) and _tells(rule, scored, text, said)
    )


def _tells(rule: FlashRule, scored: ScoredDocument, text: str, said: Testimony) -> bool:
    """Whether it tells any of what the rule names."""
    kinds = [named.label for named in said.risk.labels] if said.risk is not None else []
    return (
        any(kind in rule.risks for kind in kinds)
        or (scored.topic is not None and scored.topic.label in rule.topics)
        or any(spans_of(phrase, text) for phrase in rule.phrases)
    )


def copied(one: Flash, telling: Telling) -> str | None:
    """The publisher whose words a telling has, if it has another's."""
    return next(
        (
            known.publisher
            for known in one.tellings
            if known.publisher != telling.publisher and similarity(known.mark, telling.mark) >= COPY
        ),
        None,
    )
