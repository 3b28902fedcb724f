"""Texts that try a model's understanding, phenomenon by phenomenon: read, never trained on; and how a model does.

ChallengeError    a file of them that can't be read as it stands: names file, line, field, value and remedy
"""

from models.challenge.chinese import CHINESE_PHENOMENA, Post, chinese
from models.challenge.fields import ChallengeError, Entity
from models.challenge.headlines import KINDS, PHENOMENA, Headline, headlines
from models.challenge.report import Report, report
from models.challenge.sets import (
    NEWEST,
    NUMBERS,
    SECOND_CHINESE_PHENOMENA,
    SECOND_PHENOMENA,
    ChallengeSet,
    challenge_set,
)

__all__ = [
    "CHINESE_PHENOMENA",
    "KINDS",
    "NEWEST",
    "NUMBERS",
    "PHENOMENA",
    "SECOND_CHINESE_PHENOMENA",
    "SECOND_PHENOMENA",
    "ChallengeError",
    "ChallengeSet",
    "Entity",
    "Headline",
    "Post",
    "Report",
    "challenge_set",
    "chinese",
    "headlines",
    "report",
]
