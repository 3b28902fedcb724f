"""Texts that try a model's understanding, phenomenon by phenomenon: read, never trained on; and how a model does.

ChallengeError    a file of them that can't be read as it stands: names file, line, field, value and remedy
"""

from models.challenge.chinese import CHINESE_PHENOMENA, Post, chinese
from models.challenge.fields import ChallengeError, Entity
from models.challenge.headlines import KINDS, PHENOMENA, Headline, headlines
from models.challenge.report import Report, report

__all__ = [
    "CHINESE_PHENOMENA",
    "KINDS",
    "PHENOMENA",
    "ChallengeError",
    "Entity",
    "Headline",
    "Post",
    "Report",
    "chinese",
    "headlines",
    "report",
]
