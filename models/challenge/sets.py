"""The challenge sets by number. A newer one is fresh: nobody has chosen anything by it yet (docs/models.md)."""

from __future__ import annotations

from typing import NamedTuple

from models.challenge.chinese import FILE as CHINESE_FILE
from models.challenge.chinese import Post, chinese
from models.challenge.headlines import FILE, Headline, headlines

NUMBERS = (1, 2)
NEWEST = NUMBERS[-1]

SECOND_PHENOMENA = (
    "threat",
    "hurdle",
    "split_opinion",
    "contagion",
    "late_news",
    "case_closed",
    "payouts",
    "deal_sides",
    "euphemism",
    "supply_chain",
    "overturned",
    "boardroom",
    "slang",
    "example",
    "quoted_denial",
    "background",
    "incident",
    "ended",
    "inverse_metric",
    "macro_flip",
    "esg",
    "jargon",
    "routine",
)
SECOND_CHINESE_PHENOMENA = (
    "ultimatum",
    "hurdle",
    "euphemism",
    "contagion",
    "late_news",
    "case_closed",
    "deal_sides",
    "supply_chain",
    "boardroom",
    "forum",
    "background",
    "incident",
    "inverse_metric",
    "macro_flip",
    "routine",
)


class ChallengeSet(NamedTuple):
    """What a model is tried on at once."""

    number: int
    english: list[Headline]
    chinese: list[Post]


def challenge_set(number: int = NEWEST) -> ChallengeSet:
    """The first set or the second, in the order of their files."""
    if number == 1:
        return ChallengeSet(1, headlines(), chinese())
    return ChallengeSet(
        2,
        headlines(FILE.with_name("headlines2.tsv"), SECOND_PHENOMENA),
        chinese(CHINESE_FILE.with_name("chinese2.tsv"), SECOND_CHINESE_PHENOMENA),
    )
